//! Members of a document whose values may be invalid without the request being invalid: an invalid value becomes a
//! [`Fault`] that fails this one document, and the rest of the member is read and dropped. A wrong JSON type, or a member
//! that is given twice, is still an error of the whole request.

use super::{bounded::TOO_MANY_IN_ALL, whole};
use kernel::{AttrValue, Error, Principal, limits};
use serde::{
    Deserialize, Deserializer,
    de::{self, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use std::{cell::Cell, collections::BTreeMap, fmt};

/// What is wrong with a value, and its path below the member.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    below: String,
    rule: String,
}

/// A value, or why it is invalid.
pub(crate) type Lenient<T> = Result<T, Fault>;

impl Fault {
    fn new(below: impl Into<String>, rule: impl Into<String>) -> Self {
        Self { below: below.into(), rule: rule.into() }
    }

    /// The error of this member.
    pub(crate) fn at(self, member: &str) -> Error {
        Error::invalid(format!("{member}{}", self.below), self.rule)
    }
}

thread_local! {
    /// Number of attribute values in the request that this thread reads.
    static VALUES: Cell<usize> = const { Cell::new(0) };
}

/// Resets the count for the next request.
pub(super) fn begin() {
    VALUES.set(0);
}

/// Attributes as sent; null is absence, or a removal.
pub(crate) struct Given(pub(crate) Lenient<BTreeMap<String, Option<AttrValue>>>);

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Given;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Given, A::Error> {
                let mut given = BTreeMap::new();
                while let Some(key) = members.next_key::<String>()? {
                    if given.contains_key(&key) {
                        return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
                    }
                    if let Err(fault) = check_key(&key, given.len()) {
                        members.next_value::<IgnoredAny>()?;
                        return drain(members, fault);
                    }
                    let Sent(value) = members.next_value()?;
                    if whole::was_refused() {
                        return drain(members, Fault::new(format!(".{key}"), whole::RULE));
                    }
                    match AttrValue::from_json(&value, "") {
                        Ok(value) => given.insert(key, value),
                        Err(error) => return drain(members, Fault::new(format!(".{key}"), error.message)),
                    };
                }
                Ok(Given(Ok(given)))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

fn drain<'de, A: MapAccess<'de>>(mut members: A, fault: Fault) -> Result<Given, A::Error> {
    while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
    Ok(Given(Err(fault)))
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

/// One attribute's JSON, kept only as far as an error needs it: of a list one value too many, of nested JSON nothing.
struct Sent(Value);

impl<'de> Deserialize<'de> for Sent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SentVisitor { in_list: false }).map(Sent)
    }
}

struct InList(Value);

impl<'de> Deserialize<'de> for InList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SentVisitor { in_list: true }).map(InList)
    }
}

struct SentVisitor {
    in_list: bool,
}

/// Counts one of the request's values.
fn counted<E: de::Error>(value: impl Into<Value>) -> Result<Value, E> {
    VALUES.set(VALUES.get() + 1);
    if VALUES.get() > limits::ATTRIBUTE_VALUES_PER_REQUEST_MAX {
        let most = limits::ATTRIBUTE_VALUES_PER_REQUEST_MAX;
        return Err(E::custom(format_args!("{TOO_MANY_IN_ALL}{most} attribute values together; send less at once")));
    }
    Ok(value.into())
}

impl<'de> Visitor<'de> for SentVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E: de::Error>(self, v: bool) -> Result<Value, E> {
        counted(v)
    }

    fn visit_i64<E: de::Error>(self, v: i64) -> Result<Value, E> {
        counted(v)
    }

    fn visit_u64<E: de::Error>(self, v: u64) -> Result<Value, E> {
        counted(v)
    }

    fn visit_f64<E: de::Error>(self, v: f64) -> Result<Value, E> {
        counted(whole::noted(v))
    }

    fn visit_str<E: de::Error>(self, v: &str) -> Result<Value, E> {
        counted(v)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        counted(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let kept = if self.in_list { 0 } else { limits::ATTRIBUTE_LIST_MAX + 1 };
        let mut list = Vec::new();
        while list.len() < kept {
            match items.next_element()? {
                Some(InList(item)) => list.push(item),
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

/// A vector; numbers that do not fit `f32`, or too many of them, are a fault.
pub(crate) struct Vector(pub(crate) Lenient<Vec<f32>>);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Numbers;
        impl<'de> Visitor<'de> for Numbers {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest f32 is what is wanted")]
            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vector, A::Error> {
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
                        return Ok(Vector(Err(fault)));
                    }
                    vector.push(narrow);
                }
                Ok(Vector(Ok(vector)))
            }
        }
        deserializer.deserialize_seq(Numbers)
    }
}

/// A document's readers; an invalid principal is a fault. An empty list is an error of the request, since it could mean
/// all readers or none.
pub(crate) struct Principals(pub(crate) Lenient<Vec<Principal>>);

impl<'de> Deserialize<'de> for Principals {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Principals;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut names: A) -> Result<Principals, A::Error> {
                let mut list = Vec::new();
                let fault = loop {
                    match names.next_element::<One>()? {
                        None if list.is_empty() => {
                            let most = limits::READERS_MAX;
                            return Err(A::Error::custom(format_args!("must be a list of 1 to {most}")));
                        }
                        None => return Ok(Principals(Ok(list))),
                        Some(One(Err(rule))) => break Fault::new(format!("[{}]", list.len()), rule),
                        Some(One(Ok(_))) if list.len() == limits::READERS_MAX => {
                            break Fault::new("", format!("must be a list of 1 to {}", limits::READERS_MAX));
                        }
                        Some(One(Ok(name))) => list.push(name),
                    }
                };
                while names.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Principals(Err(fault)))
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

/// A principal, or the rule it breaks.
struct One(Result<Principal, String>);

impl<'de> Deserialize<'de> for One {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = One;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<One, E> {
                Ok(One(Principal::parse(text).map_err(|error| error.message)))
            }
        }
        deserializer.deserialize_str(Text)
    }
}
