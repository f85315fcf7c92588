//! Wire types and checks that several resources share.

use crate::strict::{BoundedList, FilterTree, Parsed, SentAttributes};
use engine::Include;
use kernel::{AttrValue, Attributes, CommitNo, DocumentId, Error, Filter, Principal, Scalar, Timestamp, limits};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, sync::Arc};
use utoipa::{PartialSchema, ToSchema, openapi};

/// A number that fits into `f32`. JSON has no NaN; `1e39` is out of range like infinity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finite(pub(crate) f32);

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl de::Visitor<'_> for Number {
            type Value = Finite;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
            fn visit_f64<E: de::Error>(self, v: f64) -> Result<Finite, E> {
                let narrow = v as f32;
                if narrow.is_finite() {
                    Ok(Finite(narrow))
                } else {
                    Err(E::custom("must be a finite number within f32"))
                }
            }
            #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest f32 is what is wanted")]
            fn visit_u64<E: de::Error>(self, v: u64) -> Result<Finite, E> {
                Ok(Finite(v as f32))
            }
            #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest f32 is what is wanted")]
            fn visit_i64<E: de::Error>(self, v: i64) -> Result<Finite, E> {
                Ok(Finite(v as f32))
            }
        }
        deserializer.deserialize_f64(Number)
    }
}

impl PartialSchema for Finite {
    fn schema() -> openapi::RefOr<openapi::Schema> {
        f32::schema()
    }
}

impl ToSchema for Finite {}

/// Distinguishes an absent member (`None`) from null (`Some(None)`).
pub(crate) fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(d: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(d).map(Some)
}

/// Adds the member's name to an error of a value's own parser.
pub(crate) fn at<T>(param: impl Into<String>, result: Result<T, Error>) -> Result<T, Error> {
    result.map_err(|e| e.with_param(param))
}

/// Ids as they are parsed.
pub(crate) type IdList = BoundedList<Parsed<DocumentId>, { limits::IDS_PER_REQUEST_MAX }>;
/// Principals as they are parsed.
pub(crate) type PrincipalList = BoundedList<Parsed<Principal>, { limits::READERS_MAX }>;
/// Words as they are parsed.
pub(crate) type WordList = BoundedList<String, { limits::SHORT_LIST_MAX }>;

/// Checks that there is at least one id.
pub(crate) fn ids(param: &str, list: IdList) -> Result<Vec<DocumentId>, Error> {
    bounded(param, list.0.len(), limits::IDS_PER_REQUEST_MAX)?;
    Ok(list.names())
}

/// Checks that there is at least one principal: an empty list could mean all or none.
pub(crate) fn principals(param: &str, list: PrincipalList) -> Result<Vec<Principal>, Error> {
    bounded(param, list.0.len(), limits::READERS_MAX)?;
    Ok(list.names())
}

/// A keyed hash as hexadecimal digits.
pub(crate) fn hex(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses a keyed hash from hexadecimal digits.
pub(crate) fn hash(digits: &str) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    let pairs = digits.as_bytes().chunks_exact(2);
    if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

/// Checks that a list is neither empty nor too long.
pub(crate) fn bounded(param: &str, length: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&length) {
        return Ok(());
    }
    Err(Error::invalid(param, format!("must be a list of 1 to {most}")))
}

/// Parses a time.
pub(crate) fn time(param: &str, text: &str) -> Result<Timestamp, Error> {
    at(param, Timestamp::parse(text))
}

/// Parses a filter. Its errors name the filter as a whole.
pub(crate) fn filter(tree: Option<FilterTree>) -> Result<Option<Filter>, Error> {
    match tree {
        None | Some(FilterTree(serde_json::Value::Null)) => Ok(None),
        Some(FilterTree(value)) => Filter::parse(&value).map(Some),
    }
}

/// Attributes as sent, where null means absence.
pub(crate) fn attributes(param: &str, sent: SentAttributes) -> Result<Attributes, Error> {
    let SentAttributes(sent) = sent;
    let sent = sent.map_err(|fault| fault.at(param))?;
    Ok(sent.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// Attributes as JSON. They are serialised without a copy, since hits of one document share them.
pub(crate) struct AttributesJson(pub(crate) Arc<Attributes>);

impl Serialize for AttributesJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, AttributeValueJson(value))))
    }
}

struct AttributeValueJson<'a>(&'a AttrValue);

impl Serialize for AttributeValueJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            AttrValue::One(value) => ScalarJson(value).serialize(serializer),
            AttrValue::Many(values) => serializer.collect_seq(values.iter().map(ScalarJson)),
        }
    }
}

struct ScalarJson<'a>(&'a Scalar);

impl Serialize for ScalarJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Scalar::Str(text) => serializer.serialize_str(text),
            other => other.to_json().serialize(serializer),
        }
    }
}

/// Parses the list of optional parts to show. `None` if the list is absent.
pub(crate) fn include(words: Option<&[String]>, known: &[&str]) -> Result<Option<Include>, Error> {
    let Some(words) = words else { return Ok(None) };
    let mut include = Include::default();
    for word in words {
        match word.as_str() {
            w if !known.contains(&w) => {
                return Err(Error::invalid("include", format!("may hold {}", known.join(", "))));
            }
            "text" => include.text = true,
            "attributes" => include.attributes = true,
            "vector" => include.vector = true,
            "highlights" => include.highlights = true,
            _ => include.explain = true,
        }
    }
    Ok(Some(include))
}

/// Commit number, which grows with every write to a namespace.
#[derive(Serialize, ToSchema)]
pub(crate) struct Commit(u64);

impl From<CommitNo> for Commit {
    fn from(commit: CommitNo) -> Self {
        Self(commit.0)
    }
}

/// Work that continues after the reply.
#[derive(Serialize, ToSchema)]
pub(crate) struct Started {
    /// Id of the operation; `GET /v1/operations/{operation}` shows its progress.
    pub(crate) operation: String,
}

/// Result of accepting a namespace in the state of its files.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Whether the namespace was refused with `rolled_back` before; false if there was nothing to accept.
    pub(crate) accepted: bool,
}

/// Result of a deletion.
#[derive(Serialize, ToSchema)]
pub(crate) struct Deleted {
    /// Always true: if the object did not exist, the reply is a 404.
    pub(crate) deleted: bool,
}

/// One audit record, in the format of OCSF.
#[derive(Serialize, ToSchema)]
#[schema(value_type = Object)]
pub(crate) struct Event(serde_json::Value);

/// A finding of a screen: names of rules and counts, never the text.
#[derive(Serialize, ToSchema)]
pub(crate) struct Finding {
    /// Kind: `injection`, `pii` or `secret`.
    pub(crate) kind: String,
    /// Stable name of the rule.
    #[schema(example = "pii.email")]
    pub(crate) rule: String,
    /// Severity: `low`, `medium` or `high`.
    pub(crate) severity: String,
    /// Number of matches.
    pub(crate) count: u32,
    /// Action that was taken: `tag`, `mask`, `quarantine` or `reject`.
    pub(crate) action: String,
}

impl From<&kernel::Finding> for Finding {
    fn from(f: &kernel::Finding) -> Self {
        Self {
            kind: f.kind.as_str().to_owned(),
            rule: f.rule.clone(),
            severity: f.severity.as_str().to_owned(),
            count: f.count,
            action: f.action.as_str().to_owned(),
        }
    }
}

/// Findings in the order of the screens.
pub(crate) fn findings(list: &[kernel::Finding]) -> Vec<Finding> {
    list.iter().map(Finding::from).collect()
}
