//! Filters: the OpenAI shape, extended. Parsed once, bounded in depth and size; nothing is
//! ever ignored silently.
//!
//! Meaning (the naive evaluator [`Filter::matches`] is the definition; [`CompiledFilter`], which requests use, and indexes
//! must agree):
//! * a comparison meets only values of its own type; `eq null` is absence, `ne` is the negation of `eq`;
//! * `gt gte lt lte` order numbers, exactly, and RFC 3339 strings as instants;
//! * on a list, `eq` and orderings meet when any element does; `contains` is membership;
//! * on a string, `contains` is a substring, `prefix` a prefix, `match` all words in any order;
//! * `in` is any of `eq`, `nin` its negation; `exists` takes true (default) or false.

mod compiled;

use crate::{AttrValue, Attributes, Error, Instant, Number, Scalar, Status, Timestamp, limits};
pub use compiled::{Column, CompiledFilter, Leaf, Matcher, Node, Wanted};
use serde_json::Value;
use std::fmt;

/// What a filter looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Field {
    /// `$id`
    Id,
    /// `$uri`
    Uri,
    /// `$status`
    Status,
    /// `$created_at`
    CreatedAt,
    /// `$updated_at`
    UpdatedAt,
    /// `$expires_at`
    ExpiresAt,
    /// A document's own attribute.
    Attribute(String),
}

/// How an ordering compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `gt`
    Gt,
    /// `gte`
    Gte,
    /// `lt`
    Lt,
    /// `lte`
    Lte,
}

/// A parsed filter. `Debug` shows its form, never its values.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// Every one of these.
    And(Vec<Filter>),
    /// Any of these.
    Or(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// Equal to any of these values (`eq` has one, `in` several).
    In(Field, Vec<Scalar>),
    /// Ordering against a number.
    Number(Field, Comparison, Number),
    /// Ordering against an instant.
    Instant(Field, Comparison, Instant),
    /// List membership or substring.
    Contains(Field, Scalar),
    /// Prefix of a string.
    Prefix(Field, String),
    /// All these words.
    Match(Field, MatchWords),
    /// Present.
    Exists(Field),
}

/// The words that a `match` wants, each once, in the normal form that text search uses too. One string: a vector of words
/// would take twenty times the length of short ones.
#[derive(Clone, PartialEq, Eq)]
pub struct MatchWords(Box<str>);

impl MatchWords {
    /// The words of a text.
    pub fn of(text: &str) -> Self {
        let folded = crate::folded(text, crate::Folding::Common);
        let mut words: Vec<&str> = folded_words(&folded).collect();
        words.sort_unstable();
        words.dedup();
        Self(words.join(WORD_GAP).into())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(WORD_GAP).filter(|word| !word.is_empty())
    }

    /// All of them, with a blank between each two. The same for the same words.
    pub(crate) fn joined(&self) -> &str {
        &self.0
    }
}

/// Nothing of the words: a customer wrote them.
impl fmt::Debug for MatchWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MatchWords(..)")
    }
}

/// No word has one.
const WORD_GAP: &str = " ";

/// What a filter sees of a document.
#[derive(Clone, Copy)]
pub struct DocumentView<'a> {
    /// `$id`
    pub id: &'a str,
    /// `$uri`, empty when absent.
    pub uri: &'a str,
    /// `$status`
    pub status: Status,
    /// `$created_at`
    pub created_at: Timestamp,
    /// `$updated_at`
    pub updated_at: Timestamp,
    /// `$expires_at`
    pub expires_at: Option<Timestamp>,
    /// Attributes.
    pub attributes: &'a Attributes,
}

impl Field {
    fn parse(key: &str) -> Result<Self, Error> {
        Ok(match key {
            "$id" => Field::Id,
            "$uri" => Field::Uri,
            "$status" => Field::Status,
            "$created_at" => Field::CreatedAt,
            "$updated_at" => Field::UpdatedAt,
            "$expires_at" => Field::ExpiresAt,
            "" => return Err(Error::invalid("filter.key", "must not be empty")),
            k if k.starts_with('$') => {
                return Err(Error::invalid(
                    "filter.key",
                    "unknown '$' key; known are $id $uri $status $created_at $updated_at $expires_at",
                ));
            }
            k if k.len() > limits::ATTRIBUTE_KEY_BYTES_MAX => {
                return Err(Error::invalid("filter.key", "may have at most 128 bytes"));
            }
            k => Field::Attribute(k.to_owned()),
        })
    }

    /// The values this field has in a document, as scalars; times as RFC 3339 strings.
    pub fn values(&self, doc: &DocumentView<'_>) -> Vec<Scalar> {
        let time = |t: Timestamp| vec![Scalar::Str(t.to_string())];
        match self {
            Field::Id => vec![Scalar::Str(doc.id.to_owned())],
            Field::Uri if doc.uri.is_empty() => vec![],
            Field::Uri => vec![Scalar::Str(doc.uri.to_owned())],
            Field::Status => vec![Scalar::Str(doc.status.as_str().to_owned())],
            Field::CreatedAt => time(doc.created_at),
            Field::UpdatedAt => time(doc.updated_at),
            Field::ExpiresAt => doc.expires_at.map(time).unwrap_or_default(),
            Field::Attribute(key) => doc.attributes.get(key).map(|v| v.scalars().to_vec()).unwrap_or_default(),
        }
    }

    fn present(&self, doc: &DocumentView<'_>) -> bool {
        match self {
            Field::Attribute(key) => doc.attributes.contains_key(key),
            other => !other.values(doc).is_empty(),
        }
    }

    fn is_list(&self, doc: &DocumentView<'_>) -> bool {
        matches!(self, Field::Attribute(key) if matches!(doc.attributes.get(key), Some(AttrValue::Many(_))))
    }
}

impl Comparison {
    /// Whether `left op right`.
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Comparison::Gt => left > right,
            Comparison::Gte => left >= right,
            Comparison::Lt => left < right,
            Comparison::Lte => left <= right,
        }
    }
}

impl Filter {
    /// Reads a filter.
    ///
    /// # Errors
    /// `invalid_request` or `unknown_field` naming the member: an empty filter, an unknown
    /// operator or member, a value of the wrong type, more than 32 levels, 1,024 nodes or 8 MiB.
    pub fn parse(value: &Value) -> Result<Self, Error> {
        parse(value, 1, &mut Size::default())
    }

    /// The definition of a filter's meaning: evaluates it on one document. Costs words times words; requests evaluate
    /// what [`Filter::compile`] makes.
    pub fn matches(&self, doc: &DocumentView<'_>) -> bool {
        match self {
            Filter::And(all) => all.iter().all(|f| f.matches(doc)),
            Filter::Or(any) => any.iter().any(|f| f.matches(doc)),
            Filter::Not(inner) => !inner.matches(doc),
            Filter::Exists(field) => field.present(doc),
            Filter::In(field, wanted) => {
                let instants = field.is_time();
                field.values(doc).iter().any(|v| wanted.iter().any(|w| equal(v, w, instants)))
            }
            Filter::Number(field, op, x) => {
                field.values(doc).iter().any(|v| matches!(v, Scalar::Num(y) if op.holds(y, x)))
            }
            Filter::Instant(field, op, t) => field
                .values(doc)
                .iter()
                .any(|v| matches!(v, Scalar::Str(s) if Instant::parse(s).is_some_and(|u| op.holds(&u, t)))),
            Filter::Contains(field, wanted) => {
                let values = field.values(doc);
                if field.is_list(doc) {
                    return values.iter().any(|v| v == wanted);
                }
                matches!((values.first(), wanted), (Some(Scalar::Str(s)), Scalar::Str(w)) if s.contains(w.as_str()))
            }
            Filter::Prefix(field, wanted) => {
                field.values(doc).iter().any(|v| matches!(v, Scalar::Str(s) if s.starts_with(wanted.as_str())))
            }
            Filter::Match(field, words) => field.values(doc).iter().any(|v| match v {
                Scalar::Str(s) => {
                    let have = words_of(s);
                    words.iter().all(|wanted| have.iter().any(|word| word == wanted))
                }
                _ => false,
            }),
        }
    }

    /// Every attribute key it names, for the warning about keys that no document has.
    pub fn attribute_keys(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        self.collect_keys(&mut keys);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Bytes of its keys and values, a few for each value: what is read when it is compiled.
    pub fn bytes(&self) -> u64 {
        let of = |field: &Field| if let Field::Attribute(key) = field { key.len() } else { 8 };
        let scalar = |scalar: &Scalar| if let Scalar::Str(s) = scalar { s.len() + 8 } else { 8 };
        let (field, values) = match self {
            Filter::And(list) | Filter::Or(list) => return list.iter().map(Filter::bytes).sum(),
            Filter::Not(inner) => return inner.bytes(),
            Filter::In(field, wanted) => (field, wanted.iter().map(scalar).sum()),
            Filter::Contains(field, wanted) => (field, scalar(wanted)),
            Filter::Prefix(field, text) => (field, text.len()),
            // Of short words there are half as many as bytes.
            Filter::Match(field, words) => (field, words.iter().map(|word| word.len() + 8).sum()),
            Filter::Number(field, ..) | Filter::Instant(field, ..) | Filter::Exists(field) => (field, 16),
        };
        (of(field) + values) as u64
    }

    /// How many nodes stand in it.
    pub fn nodes(&self) -> usize {
        match self {
            Filter::And(list) | Filter::Or(list) => 1 + list.iter().map(Filter::nodes).sum::<usize>(),
            Filter::Not(inner) => 1 + inner.nodes(),
            _ => 1,
        }
    }

    fn collect_keys<'a>(&'a self, keys: &mut Vec<&'a str>) {
        match self {
            Filter::And(list) | Filter::Or(list) => list.iter().for_each(|f| f.collect_keys(keys)),
            Filter::Not(inner) => inner.collect_keys(keys),
            Filter::In(field, _)
            | Filter::Number(field, _, _)
            | Filter::Instant(field, _, _)
            | Filter::Contains(field, _)
            | Filter::Prefix(field, _)
            | Filter::Match(field, _)
            | Filter::Exists(field) => {
                if let Field::Attribute(key) = field {
                    keys.push(key);
                }
            }
        }
    }

    /// The words of a string as `match` compares them: runs of letters and digits in the normal form that text search uses too.
    pub fn words(text: &str) -> Vec<String> {
        words_of(text)
    }
}

impl Field {
    /// Whether equality compares instants rather than spellings.
    pub fn is_time(&self) -> bool {
        matches!(self, Field::CreatedAt | Field::UpdatedAt | Field::ExpiresAt)
    }
}

fn equal(value: &Scalar, wanted: &Scalar, instants: bool) -> bool {
    if let (true, Scalar::Str(a), Scalar::Str(b)) = (instants, value, wanted) {
        return matches!((Instant::parse(a), Instant::parse(b)), (Some(a), Some(b)) if a == b);
    }
    value == wanted
}

fn words_of(text: &str) -> Vec<String> {
    folded_words(&crate::folded(text, crate::Folding::Common)).map(str::to_owned).collect()
}

/// The words of a text in its normal form.
fn folded_words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// How much of a filter has been read.
#[derive(Default)]
struct Size {
    nodes: usize,
    bytes: u64,
}

fn parse(value: &Value, depth: usize, size: &mut Size) -> Result<Filter, Error> {
    size.nodes += 1;
    if depth > limits::FILTER_DEPTH_MAX {
        return Err(Error::invalid("filter", "is nested more than 32 levels deep"));
    }
    if size.nodes > limits::FILTER_NODES_MAX {
        return Err(Error::invalid("filter", "has more than 1024 nodes"));
    }
    let object = value.as_object().ok_or_else(|| Error::invalid("filter", "must be an object with a member 'type'"))?;
    let kind = object
        .get("type")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::invalid("filter.type", "must say which operator"))?;
    if let "and" | "or" | "not" = kind {
        only(object, &["type", "filters"])?;
        return compound(kind, object, depth, size);
    }
    only(object, &["type", "key", "value"])?;
    let key = object
        .get("key")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::invalid("filter.key", "must name an attribute or a '$' key"))?;
    let leaf = leaf(kind, Field::parse(key)?, object.get("value"))?;
    size.bytes += leaf.bytes();
    if size.bytes > limits::FILTER_BYTES_MAX as u64 {
        return Err(Error::invalid(
            "filter",
            "has more than 8 MiB of keys and values; ask several times, with fewer each",
        ));
    }
    Ok(leaf)
}

fn only(object: &serde_json::Map<String, Value>, known: &[&str]) -> Result<(), Error> {
    match object.keys().find(|k| !known.contains(&k.as_str())) {
        None => Ok(()),
        Some(_) => Err(Error::new(
            crate::Code::UnknownField,
            format!("a filter of this type has only the members {}", known.join(", ")),
        )
        .with_param("filter")),
    }
}

fn compound(
    kind: &str,
    object: &serde_json::Map<String, Value>,
    depth: usize,
    size: &mut Size,
) -> Result<Filter, Error> {
    let list = object
        .get("filters")
        .and_then(Value::as_array)
        .filter(|l| !l.is_empty())
        .ok_or_else(|| Error::invalid("filter.filters", "must be a list of at least one filter"))?;
    let mut filters = Vec::new();
    for item in list {
        filters.push(parse(item, depth + 1, size)?);
    }
    Ok(match kind {
        "and" => Filter::And(filters),
        "or" => Filter::Or(filters),
        _ if filters.len() == 1 => Filter::Not(Box::new(filters.remove(0))),
        _ => return Err(Error::invalid("filter.filters", "'not' takes exactly one filter")),
    })
}

fn leaf(kind: &str, field: Field, value: Option<&Value>) -> Result<Filter, Error> {
    let missing = || Error::invalid("filter.value", "is missing");
    if kind == "exists" {
        return match value {
            None | Some(Value::Bool(true)) => Ok(Filter::Exists(field)),
            Some(Value::Bool(false)) => Ok(Filter::Not(Box::new(Filter::Exists(field)))),
            Some(_) => Err(Error::invalid("filter.value", "must be true or false")),
        };
    }
    let value = value.ok_or_else(missing)?;
    match kind {
        "eq" | "ne" => {
            let eq = match value {
                Value::Null => Filter::Not(Box::new(Filter::Exists(field))),
                v => Filter::In(field, vec![Scalar::from_json(v, "filter.value")?]),
            };
            Ok(if kind == "eq" { eq } else { Filter::Not(Box::new(eq)) })
        }
        "in" | "nin" => {
            let list = value
                .as_array()
                .filter(|l| !l.is_empty() && l.len() <= limits::FILTER_VALUES_MAX)
                .ok_or_else(|| Error::invalid("filter.value", "must be a list of 1 to 1024 values"))?;
            let scalars = list.iter().map(|v| Scalar::from_json(v, "filter.value")).collect::<Result<_, _>>()?;
            let any = Filter::In(field, scalars);
            Ok(if kind == "in" { any } else { Filter::Not(Box::new(any)) })
        }
        "gt" | "gte" | "lt" | "lte" => ordering(kind, field, value),
        "contains" => Ok(Filter::Contains(field, Scalar::from_json(value, "filter.value")?)),
        "prefix" | "match" => {
            let Scalar::Str(text) = Scalar::from_json(value, "filter.value")? else {
                return Err(Error::invalid("filter.value", "must be a string"));
            };
            if kind == "prefix" {
                return Ok(Filter::Prefix(field, text));
            }
            let words = MatchWords::of(&text);
            if words.is_empty() {
                return Err(Error::invalid("filter.value", "has no word to match"));
            }
            Ok(Filter::Match(field, words))
        }
        _ => Err(Error::invalid(
            "filter.type",
            "unknown operator; known are eq ne gt gte lt lte in nin contains prefix exists match and or not",
        )),
    }
}

fn ordering(kind: &str, field: Field, value: &Value) -> Result<Filter, Error> {
    let op = match kind {
        "gt" => Comparison::Gt,
        "gte" => Comparison::Gte,
        "lt" => Comparison::Lt,
        _ => Comparison::Lte,
    };
    match Scalar::from_json(value, "filter.value")? {
        Scalar::Num(x) => Ok(Filter::Number(field, op, x)),
        Scalar::Str(s) => Instant::parse(&s).map(|t| Filter::Instant(field, op, t)).ok_or_else(|| {
            Error::invalid("filter.value", "ordering works on numbers and RFC 3339 times, not on other strings")
        }),
        Scalar::Bool(_) => Err(Error::invalid("filter.value", "booleans have no order")),
    }
}

#[cfg(test)]
mod tests;
