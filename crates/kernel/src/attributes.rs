//! Attributes: the metadata of a document.

use crate::{Error, Number, document::HEAP_BLOCK, limits};
use std::{collections::BTreeMap, fmt};

/// A single attribute value.
#[derive(Clone, PartialEq, PartialOrd)]
pub enum Scalar {
    /// A string.
    Str(String),
    /// A finite number.
    Num(Number),
    /// True or false.
    Bool(bool),
}

/// An attribute: one value, or a list of them. A null attribute is an absent one.
#[derive(Clone, PartialEq)]
pub enum AttrValue {
    /// One value.
    One(Scalar),
    /// Several values, possibly of several types.
    Many(Vec<Scalar>),
}

/// A document's attributes by key.
pub type Attributes = BTreeMap<String, AttrValue>;

impl fmt::Debug for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Scalar::Str(_) => "Str(..)",
            Scalar::Num(_) => "Num(..)",
            Scalar::Bool(_) => "Bool(..)",
        })
    }
}

impl fmt::Debug for AttrValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttrValue::One(s) => s.fmt(f),
            AttrValue::Many(v) => write!(f, "Many({})", v.len()),
        }
    }
}

impl Scalar {
    /// Parses a JSON string, number or boolean.
    ///
    /// # Errors
    /// `invalid_request` for null, lists, objects and strings that are too long; it names `param`.
    pub fn from_json(value: &serde_json::Value, param: &str) -> Result<Self, Error> {
        match value {
            serde_json::Value::String(s) if s.len() > limits::ATTRIBUTE_VALUE_BYTES_MAX => {
                Err(Error::invalid(param, "a string may have at most 4096 bytes"))
            }
            serde_json::Value::String(s) => Ok(Scalar::Str(s.clone())),
            serde_json::Value::Bool(b) => Ok(Scalar::Bool(*b)),
            serde_json::Value::Number(n) => number(n)
                .map(Scalar::Num)
                .ok_or_else(|| Error::invalid(param, "must be a finite number; integers may have at most 64 bits")),
            _ => Err(Error::invalid(param, "must be a string, a number or a boolean")),
        }
    }

    /// The value as JSON. Integers print without a fraction.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Scalar::Str(s) => s.clone().into(),
            Scalar::Bool(b) => (*b).into(),
            Scalar::Num(x) => x.to_json(),
        }
    }
}

/// Reads a number, exactly if it is an integer of 64 bits. A larger integer, which the JSON parser has already rounded
/// to a float here, is refused where its text is still available.
fn number(n: &serde_json::Number) -> Option<Number> {
    let whole = n.as_i64().map(Number::from).or_else(|| n.as_u64().map(Number::from));
    whole.or_else(|| n.as_f64().filter(|x| x.is_finite()).map(Number::from))
}

impl AttrValue {
    /// Parses a JSON value; `None` for null.
    ///
    /// # Errors
    /// `invalid_request`, which names `param`.
    pub fn from_json(value: &serde_json::Value, param: &str) -> Result<Option<Self>, Error> {
        match value {
            serde_json::Value::Null => Ok(None),
            serde_json::Value::Array(items) => {
                if items.len() > limits::ATTRIBUTE_LIST_MAX {
                    return Err(Error::invalid(param, "a list may have at most 256 values"));
                }
                let list = items.iter().map(|v| Scalar::from_json(v, param)).collect::<Result<_, _>>()?;
                Ok(Some(AttrValue::Many(list)))
            }
            other => Scalar::from_json(other, param).map(|s| Some(AttrValue::One(s))),
        }
    }

    /// The attribute as JSON.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            AttrValue::One(s) => s.to_json(),
            AttrValue::Many(v) => v.iter().map(Scalar::to_json).collect(),
        }
    }

    /// Upper bound of the length as JSON, bytes.
    pub fn json_bytes(&self) -> u64 {
        let scalar = |scalar: &Scalar| match scalar {
            Scalar::Str(s) => crate::json_bytes(s),
            _ => JSON_NUMBER,
        };
        2 + self.scalars().iter().map(|value| scalar(value) + 1).sum::<u64>()
    }

    /// All values of the attribute.
    pub fn scalars(&self) -> &[Scalar] {
        match self {
            AttrValue::One(s) => std::slice::from_ref(s),
            AttrValue::Many(v) => v,
        }
    }
}

/// Heap size of attributes, bytes: the keys, the values and the tree that holds them.
pub fn heap_bytes(attributes: &Attributes) -> u64 {
    let text = |scalar: &Scalar| if let Scalar::Str(s) = scalar { s.len() + HEAP_BLOCK } else { 0 };
    let value = |value: &AttrValue| {
        let list = if let AttrValue::Many(list) = value { size_of_val(list.as_slice()) + HEAP_BLOCK } else { 0 };
        list + value.scalars().iter().map(text).sum::<usize>()
    };
    let all = attributes.iter().map(|(key, v)| TREE_ENTRY + key.len() + HEAP_BLOCK + value(v));
    all.sum::<usize>() as u64
}

/// Bytes of tree nodes for one pair: key and value, twice, since nodes are half full at worst.
const TREE_ENTRY: usize = 2 * (size_of::<String>() + size_of::<AttrValue>());

/// Length of the longest JSON number that serde_json writes, bytes: `-1.7976931348623157e-308`.
const JSON_NUMBER: u64 = 24;

#[cfg(test)]
mod tests;
