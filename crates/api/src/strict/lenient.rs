//! Members of a document whose values may be invalid without making the whole request invalid: an invalid value becomes
//! a [`Fault`] that fails this one document, and the rest of the member is parsed and dropped. A wrong JSON type, or a
//! member that is given twice, is still an error of the whole request.

use super::{bounded::TOO_MANY_IN_ALL, long_integers};
use crate::attributes::AttributeValueJson;
use kernel::{AttrValue, Error, Principal, limits};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value};
use std::{cell::Cell, collections::BTreeMap, fmt};

/// What is wrong with a value, and its path below the member.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    below: String,
    rule: String,
}

/// A value, or why it is invalid.
pub type Lenient<T> = Result<T, Fault>;

impl Fault {
    fn new(below: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { below: below.into(), rule: rule.into() }
    }

    /// The error for this member.
    pub fn at(self, member: &str) -> Error {
        Error::invalid(format!("{member}{}", self.below), self.rule)
    }
}

/// Serialises the value; a value that was refused while it was parsed cannot be sent.
fn serialize_valid<S: Serializer, T>(
    value: &Lenient<T>,
    serializer: S,
    serialize: impl FnOnce(&T, S) -> Result<S::Ok, S::Error>,
) -> Result<S::Ok, S::Error> {
    match value {
        Ok(value) => serialize(value, serializer),
        Err(fault) => Err(serde::ser::Error::custom(&fault.rule)),
    }
}

thread_local! {
    /// Number of attribute values in the request that this thread parses.
    static VALUES: Cell<usize> = const { Cell::new(0) };
}

/// Resets the count for the next request.
pub(super) fn begin() {
    VALUES.set(0);
}

/// Attributes as sent; null means absence, or in a patch a removal.
pub struct SentAttributes(pub Lenient<BTreeMap<String, Option<AttrValue>>>);

impl SentAttributes {
    /// Attributes to send.
    ///
    /// # Errors
    /// `invalid_request` for a value that no attribute may have; it names the attribute.
    pub fn from_json(members: &Map<String, Value>) -> Result<Self, Error> {
        let value = |(key, value): (&String, &Value)| {
            Ok((key.clone(), AttrValue::from_json(value, &format!("attributes.{key}"))?))
        };
        Ok(Self(Ok(members.iter().map(value).collect::<Result<_, Error>>()?)))
    }
}

impl Serialize for SentAttributes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_valid(&self.0, serializer, |attributes, serializer| {
            serializer.collect_map(attributes.iter().map(|(key, value)| (key, value.as_ref().map(AttributeValueJson))))
        })
    }
}

impl<'de> Deserialize<'de> for SentAttributes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LenientMembers;
        impl<'de> Visitor<'de> for LenientMembers {
            type Value = SentAttributes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<SentAttributes, A::Error> {
                let mut attributes = BTreeMap::new();
                while let Some(key) = members.next_key::<String>()? {
                    if attributes.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                    }
                    if let Err(fault) = check_key(&key, attributes.len()) {
                        members.next_value::<IgnoredAny>()?;
                        return skip_rest(members, fault);
                    }
                    let AttributeJson(value) = members.next_value()?;
                    if long_integers::was_refused() {
                        return skip_rest(members, Fault::new(format!(".{key}"), long_integers::RULE));
                    }
                    match AttrValue::from_json(&value, "") {
                        Ok(value) => attributes.insert(key, value),
                        Err(error) => return skip_rest(members, Fault::new(format!(".{key}"), error.message)),
                    };
                }
                Ok(SentAttributes(Ok(attributes)))
            }
        }
        deserializer.deserialize_map(LenientMembers)
    }
}

fn skip_rest<'de, A: MapAccess<'de>>(mut members: A, fault: Fault) -> Result<SentAttributes, A::Error> {
    while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(SentAttributes(Err(fault)))
}

fn check_key(key: &str, before: usize) -> Lenient<()> {
    if before >= limits::ATTRIBUTES_MAX {
        return Err(Fault::new("", format!("may have at most {} members", limits::ATTRIBUTES_MAX)));
    }
    if key.is_empty() || key.len() > limits::ATTRIBUTE_KEY_BYTES_MAX || key.starts_with('$') {
        return Err(Fault::new("", "a key has 1 to 128 bytes and does not begin with '$'"));
    }
    Ok(())
}

/// JSON of one attribute, kept only as far as an error needs it: one surplus value of a list, and nothing of nested
/// JSON.
struct AttributeJson(Value);

impl<'de> Deserialize<'de> for AttributeJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AttributeVisitor { in_list: false }).map(AttributeJson)
    }
}

struct ListItem(Value);

impl<'de> Deserialize<'de> for ListItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AttributeVisitor { in_list: true }).map(ListItem)
    }
}

struct AttributeVisitor {
    in_list: bool,
}

/// Counts one attribute value of the request.
fn count_value<E: de::Error>(value: impl Into<Value>) -> Result<Value, E> {
    VALUES.set(VALUES.get() + 1);
    if VALUES.get() > limits::ATTRIBUTE_VALUES_PER_REQUEST_MAX {
        let most = limits::ATTRIBUTE_VALUES_PER_REQUEST_MAX;
        return Err(E::custom(format_args!(
            "{TOO_MANY_IN_ALL}{most} attribute values together; send fewer per request"
        )));
    }
    Ok(value.into())
}

impl<'de> Visitor<'de> for AttributeVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Value, E> {
        count_value(v)
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        count_value(v)
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        count_value(v)
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        count_value(long_integers::record_float(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        count_value(v)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        count_value(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        // A list may hold one value too many, which makes the error; a list within a list keeps nothing.
        let kept = if self.in_list { 0 } else { limits::ATTRIBUTE_LIST_MAX + 1 };
        let mut list = Vec::new();
        while list.len() < kept {
            match items.next_element()? {
                Some(ListItem(item)) => list.push(item),
                None => return Ok(list.into()),
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object(serde_json::Map::new()))
    }
}

/// A vector; numbers that do not fit into `f32`, or too many numbers, are a fault.
pub struct SentVector(pub Lenient<Vec<f32>>);

impl Serialize for SentVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_valid(&self.0, serializer, |vector, serializer| serializer.collect_seq(vector))
    }
}

impl<'de> Deserialize<'de> for SentVector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = SentVector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<SentVector, A::Error> {
                let (mut vector, mut fault) = (Vec::new(), None);
                while let Some(number) = numbers.next_element::<f64>()? {
                    let narrow = number as f32;
                    if !narrow.is_finite() {
                        fault = Some(Fault::new(format!("[{}]", vector.len()), "must be a finite number within f32"));
                    } else if vector.len() == limits::DIMENSIONS_MAX {
                        fault = Some(Fault::new("", format!("may have at most {} numbers", limits::DIMENSIONS_MAX)));
                    }
                    if let Some(fault) = fault.take() {
                        while numbers.next_element::<IgnoredAny>()?.is_some() {}
                        return Ok(SentVector(Err(fault)));
                    }
                    vector.push(narrow);
                }
                Ok(SentVector(Ok(vector)))
            }
        }
        deserializer.deserialize_seq(Numbers)
    }
}

/// A document's readers; an invalid principal is a fault. An empty list is an error of the request, since it could mean
/// all readers or none.
pub struct SentPrincipals(pub Lenient<Vec<Principal>>);

impl Serialize for SentPrincipals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serialize_valid(&self.0, serializer, |names, serializer| {
            serializer.collect_seq(names.iter().map(Principal::as_str))
        })
    }
}

impl<'de> Deserialize<'de> for SentPrincipals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = SentPrincipals;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<SentPrincipals, A::Error> {
                let mut list = Vec::new();
                let fault = loop {
                    match names.next_element::<PrincipalOrRule>()? {
                        None if list.is_empty() => {
                            let most = limits::READERS_MAX;
                            return Err(A::Error::custom(format_args!("must be a list of 1 to {most}")));
                        }
                        None => return Ok(SentPrincipals(Ok(list))),
                        Some(PrincipalOrRule(Err(rule))) => break Fault::new(format!("[{}]", list.len()), rule),
                        Some(PrincipalOrRule(Ok(_))) if list.len() == limits::READERS_MAX => {
                            break Fault::new("", format!("must be a list of 1 to {}", limits::READERS_MAX));
                        }
                        Some(PrincipalOrRule(Ok(name))) => list.push(name),
                    }
                };
                while names.next_element::<IgnoredAny>()?.is_some() {}
                Ok(SentPrincipals(Err(fault)))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

/// A principal, or the rule that the text breaks.
struct PrincipalOrRule(Result<Principal, String>);

impl<'de> Deserialize<'de> for PrincipalOrRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct LenientText;
        impl Visitor<'_> for LenientText {
            type Value = PrincipalOrRule;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<PrincipalOrRule, E> {
                Ok(PrincipalOrRule(Principal::parse(text).map_err(|error| error.message)))
            }
        }
        deserializer.deserialize_str(LenientText)
    }
}
