//! Context: a search with a budget of tokens, whose passages are rendered for a prompt.

use crate::{common::CommitNumber, search::Search};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeSeed, Error as _, MapAccess, Visitor, value},
};
use serde_json::json;
use std::{borrow::Cow, fmt};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

/// A search with a token budget. Its JSON is one object with the members of both.
#[derive(Serialize)]
pub struct Context {
    /// The search that finds the passages.
    #[serde(flatten)]
    pub search: Search,
    /// The budget that they share.
    #[serde(flatten)]
    pub budget: Budget,
}

/// The members that a context has in addition to those of a search.
#[derive(Serialize, ToSchema)]
pub struct Budget {
    /// Maximum number of tokens of the whole context, including markers: 1 to 200,000.
    pub max_tokens: usize,
    /// How passages are separated from instructions. Absent: `delimited`.
    pub rendering: Option<RenderingWord>,
}

/// How passages are separated from instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RenderingWord {
    Plain,
    Delimited,
    Datamarked,
    Base64,
}

/// Written by hand, because serde's derived code for flattened members buffers all of them, and accepts unknown ones.
impl<'de> Deserialize<'de> for Context {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContextVisitor;
        impl<'de> Visitor<'de> for ContextVisitor {
            type Value = Context;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Context, A::Error> {
                let (mut max_tokens, mut rendering) = (None, None);
                let rest = SearchMembers { members, max_tokens: &mut max_tokens, rendering: &mut rendering };
                let search = Search::deserialize(value::MapAccessDeserializer::new(rest))?;
                let max_tokens = max_tokens.ok_or_else(|| A::Error::missing_field(MAX_TOKENS))?;
                Ok(Context { search, budget: Budget { max_tokens, rendering: rendering.flatten() } })
            }
        }
        deserializer.deserialize_map(ContextVisitor)
    }
}

const MAX_TOKENS: &str = "max_tokens";
const RENDERING: &str = "rendering";

/// The members of a context as a search sees them. Those of the budget are taken out on the way.
struct SearchMembers<'a, A> {
    members: A,
    max_tokens: &'a mut Option<usize>,
    rendering: &'a mut Option<Option<RenderingWord>>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for SearchMembers<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, mut seed: K) -> Result<Option<K::Value>, A::Error> {
        loop {
            seed = match self.members.next_key_seed(ContextKeySeed(seed))? {
                None => return Ok(None),
                Some(ContextKey::OfSearch(key)) => return Ok(Some(key)),
                Some(ContextKey::MaxTokens(seed)) => {
                    read_once(&mut self.members, MAX_TOKENS, self.max_tokens)?;
                    seed
                }
                Some(ContextKey::Rendering(seed)) => {
                    read_once(&mut self.members, RENDERING, self.rendering)?;
                    seed
                }
            }
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.members.next_value_seed(seed)
    }
}

/// Reads the value of a member, which may be given only once.
fn read_once<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    members: &mut A,
    name: &'static str,
    value: &mut Option<T>,
) -> Result<(), A::Error> {
    if value.is_some() {
        return Err(A::Error::duplicate_field(name));
    }
    *value = Some(members.next_value()?);
    Ok(())
}

/// A key of a context: one of a search, or one of the budget with the seed that it did not need.
enum ContextKey<K, S> {
    OfSearch(K),
    MaxTokens(S),
    Rendering(S),
}

struct ContextKeySeed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for ContextKeySeed<S> {
    type Value = ContextKey<S::Value, S>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for ContextKeySeed<S> {
    type Value = ContextKey<S::Value, S>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("field identifier")
    }

    fn visit_str<E: de::Error>(self, key: &str) -> Result<Self::Value, E> {
        match key {
            MAX_TOKENS => Ok(ContextKey::MaxTokens(self.0)),
            RENDERING => Ok(ContextKey::Rendering(self.0)),
            other => match self.0.deserialize(value::StrDeserializer::<UnknownKey>::new(other)) {
                Ok(key) => Ok(ContextKey::OfSearch(key)),
                // The error of a search would not name the members of the budget.
                Err(UnknownKey { known }) => {
                    let known: Vec<String> =
                        known.iter().chain(&[MAX_TOKENS, RENDERING]).map(|name| format!("`{name}`")).collect();
                    Err(E::custom(format_args!("unknown field `{other}`, expected one of {}", known.join(", "))))
                }
            },
        }
    }
}

/// The error of a key that no search has, with the names of those that a search has.
#[derive(Debug)]
struct UnknownKey {
    known: &'static [&'static str],
}

impl de::Error for UnknownKey {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self { known: &[] }
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self { known }
    }
}

impl std::error::Error for UnknownKey {}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key is unknown")
    }
}

impl PartialSchema for Context {
    fn schema() -> RefOr<Schema> {
        let (RefOr::T(Schema::Object(mut all)), RefOr::T(Schema::Object(budget))) =
            (Search::schema(), Budget::schema())
        else {
            unreachable!("derived schemas of structs are objects")
        };
        all.properties.extend(budget.properties);
        all.required.extend(budget.required);
        all.description = Some("A search with a token budget.".to_owned());
        all.example = Some(json!({"query": "how many days of leave", "max_tokens": 2000}));
        RefOr::T(Schema::Object(all))
    }
}

impl ToSchema for Context {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Context")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Search::schemas(schemas);
        Budget::schemas(schemas);
    }
}

/// Text for a prompt, with its sources.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = ContextReply)]
pub struct RenderedContext {
    pub context: String,
    /// The marker that separates passages; random in every reply, empty for `plain`.
    pub marker: String,
    /// Text for the caller's system prompt that explains the marker.
    pub preamble: String,
    /// Sources in the order of the context.
    pub sources: Vec<Source>,
    /// Number of tokens of the whole context.
    pub tokens: usize,
    /// Name of the tokenizer that counted the tokens.
    pub tokenizer: String,
    pub left_out: Vec<LeftOut>,
    pub commit: CommitNumber,
    pub warnings: Vec<String>,
}

/// Source of a numbered passage.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Source {
    /// Number of the passage in the context, from 1.
    pub n: usize,
    pub document_id: String,
    pub passage: u32,
    pub title: Option<String>,
    pub uri: Option<String>,
    pub tokens: usize,
}

/// A document that was found but not used.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct LeftOut {
    pub document_id: String,
    /// Reason: `budget` if it did not fit into `max_tokens`, `reply_size` if it did not fit into the 16 MiB of a reply.
    pub why: Cow<'static, str>,
}
