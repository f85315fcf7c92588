//! Filters in OpenAI's format, extended. A filter is parsed once, with bounded depth and size; no part of one is ever
//! ignored silently.
//!
//! These are the semantics. The naive evaluator [`Filter::matches`] defines them; [`CompiledFilter`], which requests
//! use, and the indexes must agree with it:
//! * a comparison matches only values of its own type; `eq null` means that the attribute is absent, and `ne` is the
//!   negation of `eq`;
//! * `gt`, `gte`, `lt` and `lte` compare numbers exactly, and RFC 3339 strings as instants;
//! * on a list, `eq` and orderings match if any element does, and `contains` tests membership;
//! * on a string, `contains` tests for a substring, `prefix` for a prefix, and `match` for all words in any order;
//! * `in` matches if any of its values is equal, and `nin` is its negation; `exists` takes true (the default) or false.

mod compiled;

use crate::{AttrValue, Attributes, Error, Instant, Number, Scalar, Status, Timestamp, limits};
pub use compiled::{Column, CompiledFilter, FilterValue, Leaf, Matcher, Node};
use serde_json::Value;
use std::fmt;

/// Field of a document that a filter compares.
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
    /// An attribute of the document.
    Attribute(String),
}

/// Ordering operator.
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

/// A parsed filter. `Debug` shows its operators, never its keys and values.
#[derive(Clone, PartialEq)]
pub enum Filter {
    /// Accepts what all of these accept.
    And(Vec<Filter>),
    /// Accepts what any of these accepts.
    Or(Vec<Filter>),
    /// Accepts what this filter rejects.
    Not(Box<Filter>),
    /// The field is equal to one of these values (`eq` has one, `in` several).
    In(Field, Vec<Scalar>),
    /// The field compares to a number.
    Number(Field, Comparison, Number),
    /// The field compares to an instant.
    Instant(Field, Comparison, Instant),
    /// The field is a list with this member, or a string with this substring.
    Contains(Field, Scalar),
    /// The field is a string with this prefix.
    Prefix(Field, String),
    /// The field has all these words.
    Match(Field, MatchWords),
    /// The field is present.
    Exists(Field),
}

/// Hides keys and values, because a customer wrote them.
impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::And(filters) => f.debug_tuple("And").field(filters).finish(),
            Filter::Or(filters) => f.debug_tuple("Or").field(filters).finish(),
            Filter::Not(inner) => f.debug_tuple("Not").field(inner).finish(),
            Filter::In(_, values) => write!(f, "In({} values)", values.len()),
            Filter::Number(_, op, _) => write!(f, "Number({op:?})"),
            Filter::Instant(_, op, _) => write!(f, "Instant({op:?})"),
            Filter::Contains(..) => f.write_str("Contains"),
            Filter::Prefix(..) => f.write_str("Prefix"),
            Filter::Match(..) => f.write_str("Match"),
            Filter::Exists(_) => f.write_str("Exists"),
        }
    }
}

/// The words that a `match` requires, each once, in the normal form that text search uses too. They are stored as one
/// string, since a vector of short words would take twenty times their length.
#[derive(Clone, PartialEq, Eq)]
pub struct MatchWords(Box<str>);

impl MatchWords {
    /// The words of a text.
    pub fn of(text: &str) -> Self {
        let folded = crate::folded(text, crate::Folding::Common);
        let mut words: Vec<&str> = folded_words(&folded).collect();
        words.sort_unstable();
        words.dedup();
        Self(words.join(WORD_SEPARATOR).into())
    }

    /// Whether there are no words.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The words in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split(WORD_SEPARATOR).filter(|word| !word.is_empty())
    }

    /// All words, with a space between each two. Equal sets of words give equal strings.
    pub(crate) fn joined(&self) -> &str {
        &self.0
    }
}

/// Hides the words, because a customer wrote them.
impl fmt::Debug for MatchWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MatchWords(..)")
    }
}

/// Separator of the words. No word contains it.
const WORD_SEPARATOR: &str = " ";

/// The fields of a document that filters can compare.
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
    /// Attributes of the document.
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

    /// Values of this field in a document, as scalars. Times are RFC 3339 strings.
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
    /// Whether `left op right` holds.
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
    /// Parses a filter.
    ///
    /// # Errors
    /// `invalid_request` or `unknown_field`, which names the member: an empty filter, an unknown operator or member, a
    /// value of the wrong type, more than 32 levels, 1,024 nodes or 8 MiB.
    pub fn parse(value: &Value) -> Result<Self, Error> {
        parse(value, 1, &mut ParsedSize::default())
    }

    /// Evaluates the filter on one document. This defines the meaning of a filter. It costs the words of the filter
    /// times those of the document; requests evaluate the result of [`Filter::compile`] instead.
    pub fn matches(&self, doc: &DocumentView<'_>) -> bool {
        match self {
            Filter::And(all) => all.iter().all(|f| f.matches(doc)),
            Filter::Or(any) => any.iter().any(|f| f.matches(doc)),
            Filter::Not(inner) => !inner.matches(doc),
            Filter::Exists(field) => field.present(doc),
            Filter::In(field, expected) => {
                let instants = field.is_time();
                field.values(doc).iter().any(|v| expected.iter().any(|w| equal(v, w, instants)))
            }
            Filter::Number(field, op, x) => {
                field.values(doc).iter().any(|v| matches!(v, Scalar::Num(y) if op.holds(y, x)))
            }
            Filter::Instant(field, op, t) => field
                .values(doc)
                .iter()
                .any(|v| matches!(v, Scalar::Str(s) if Instant::parse(s).is_some_and(|u| op.holds(&u, t)))),
            Filter::Contains(field, expected) => {
                let values = field.values(doc);
                if field.is_list(doc) {
                    return values.iter().any(|v| v == expected);
                }
                matches!((values.first(), expected), (Some(Scalar::Str(s)), Scalar::Str(w)) if s.contains(w.as_str()))
            }
            Filter::Prefix(field, expected) => {
                field.values(doc).iter().any(|v| matches!(v, Scalar::Str(s) if s.starts_with(expected.as_str())))
            }
            Filter::Match(field, words) => field.values(doc).iter().any(|v| match v {
                Scalar::Str(s) => {
                    let have = words_of(s);
                    words.iter().all(|expected| have.iter().any(|word| word == expected))
                }
                _ => false,
            }),
        }
    }

    /// Attribute keys that the filter names, for the warning about keys that no document has.
    pub fn attribute_keys(&self) -> Vec<&str> {
        let mut keys = Vec::new();
        self.collect_keys(&mut keys);
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// Size of the keys and values, bytes, plus a few for each value: what compiling the filter reads.
    pub fn bytes(&self) -> u64 {
        let of = |field: &Field| if let Field::Attribute(key) = field { key.len() } else { 8 };
        let scalar = |scalar: &Scalar| if let Scalar::Str(s) = scalar { s.len() + 8 } else { 8 };
        let (field, values) = match self {
            Filter::And(list) | Filter::Or(list) => return list.iter().map(Filter::bytes).sum(),
            Filter::Not(inner) => return inner.bytes(),
            Filter::In(field, expected) => (field, expected.iter().map(scalar).sum()),
            Filter::Contains(field, expected) => (field, scalar(expected)),
            Filter::Prefix(field, text) => (field, text.len()),
            // A text of one-letter words has half as many words as bytes, so each word counts as 8 bytes more.
            Filter::Match(field, words) => (field, words.iter().map(|word| word.len() + 8).sum()),
            Filter::Number(field, ..) | Filter::Instant(field, ..) | Filter::Exists(field) => (field, 16),
        };
        (of(field) + values) as u64
    }

    /// Number of nodes in the filter.
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

    /// Words of a string as `match` compares them: runs of letters and digits in the normal form that text search uses
    /// too.
    pub fn words(text: &str) -> Vec<String> {
        words_of(text)
    }
}

impl Field {
    /// Whether equality compares instants instead of spellings.
    pub fn is_time(&self) -> bool {
        matches!(self, Field::CreatedAt | Field::UpdatedAt | Field::ExpiresAt)
    }
}

fn equal(value: &Scalar, expected: &Scalar, instants: bool) -> bool {
    if let (true, Scalar::Str(a), Scalar::Str(b)) = (instants, value, expected) {
        return matches!((Instant::parse(a), Instant::parse(b)), (Some(a), Some(b)) if a == b);
    }
    value == expected
}

fn words_of(text: &str) -> Vec<String> {
    folded_words(&crate::folded(text, crate::Folding::Common)).map(str::to_owned).collect()
}

/// Words of a text that is already in its normal form.
fn folded_words(folded: &str) -> impl Iterator<Item = &str> {
    folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Size of the part of a filter that has been parsed so far.
#[derive(Default)]
struct ParsedSize {
    nodes: usize,
    bytes: u64,
}

fn parse(value: &Value, depth: usize, size: &mut ParsedSize) -> Result<Filter, Error> {
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
        .ok_or_else(|| Error::invalid("filter.type", "must name an operator"))?;
    if let "and" | "or" | "not" = kind {
        only(object, &["type", "filters"])?;
        return compound(kind, object, depth, size);
    }
    only(object, &["type", "key", "value"])?;
    let key = object
        .get("key")
        .and_then(Value::as_str)
        .ok_or_else(|| Error::invalid("filter.key", "must name an attribute or a '$' key"))?;
    // The total of all leaves is bounded too, because the tables of a compiled filter grow with it.
    let leaf = leaf(kind, Field::parse(key)?, object.get("value"))?;
    size.bytes += leaf.bytes();
    if size.bytes > limits::FILTER_BYTES_MAX as u64 {
        return Err(Error::invalid("filter", "has more than 8 MiB of keys and values; split it into several requests"));
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
    size: &mut ParsedSize,
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
