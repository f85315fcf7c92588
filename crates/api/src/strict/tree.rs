//! A filter as it was sent. Parsing ends at the first element over a limit, so it never takes more memory than a valid
//! filter.

use super::{
    bounded::{Surplus, TOO_MANY_IN_ALL},
    long_integers,
};
use kernel::limits;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

/// JSON in the form of filters. Each member may occur only once: otherwise the last of two would silently win.
#[derive(Clone, Default, Serialize)]
pub struct FilterTree(pub Value);

/// Shows nothing of the value, which is a customer's.
impl fmt::Debug for FilterTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tree(..)")
    }
}

impl<'de> Deserialize<'de> for FilterTree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut size = TreeSize::default();
        JsonNode { size: &mut size, depth: 0 }.deserialize(deserializer).map(FilterTree)
    }
}

/// Number of nodes and values parsed so far.
#[derive(Default)]
struct TreeSize {
    nodes: usize,
    values: usize,
}

struct JsonNode<'a> {
    size: &'a mut TreeSize,
    /// Number of objects and lists around the node.
    depth: usize,
}

impl JsonNode<'_> {
    /// A node one level deeper.
    fn inner<E: serde::de::Error>(&mut self) -> Result<JsonNode<'_>, E> {
        if self.depth >= DEPTH_MAX {
            let most = limits::FILTER_DEPTH_MAX;
            return Err(E::custom(format_args!("{TOO_MANY_IN_ALL}{most} levels, one filter in another")));
        }
        Ok(JsonNode { size: self.size, depth: self.depth + 1 })
    }

    fn value<E: serde::de::Error>(self, value: impl Into<Value>) -> Result<Value, E> {
        self.size.values += 1;
        let most = limits::FILTER_VALUES_TOTAL_MAX;
        if self.size.values > most + OTHER_VALUES {
            return Err(E::custom(format_args!("{TOO_MANY_IN_ALL}{most} values in all its lists together")));
        }
        Ok(value.into())
    }
}

impl<'de> DeserializeSeed<'de> for JsonNode<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonNode<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a filter")
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Value, E> {
        self.value(v)
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Value, E> {
        self.value(v)
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Value, E> {
        self.value(v)
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        self.value(long_integers::checked_float::<E>(v)?)
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        self.value(v)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.value(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        // A list holds filters or values, which have the same bound.
        const { assert!(limits::FILTER_NODES_MAX == limits::FILTER_VALUES_MAX) }
        let mut list = Vec::new();
        while list.len() < limits::FILTER_VALUES_MAX {
            match items.next_element_seed(self.inner()?)? {
                Some(item) => list.push(item),
                None => return Ok(list.into()),
            }
        }
        // One more element is an error; otherwise the list ends here.
        items.next_element_seed(Surplus(limits::FILTER_VALUES_MAX))?;
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        self.size.nodes += 1;
        if self.size.nodes > limits::FILTER_NODES_MAX {
            let most = limits::FILTER_NODES_MAX;
            return Err(A::Error::custom(format_args!("{TOO_MANY_IN_ALL}{most} nodes")));
        }
        let mut object = serde_json::Map::new();
        while let Some(key) = members.next_key::<String>()? {
            if object.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate field `{key}`")));
            }
            if object.len() >= MEMBERS_MAX {
                return Err(A::Error::custom(
                    "is a filter with members that are unknown; known are type, key, value, filters",
                ));
            }
            let value = members.next_value_seed(self.inner()?)?;
            object.insert(key, value);
        }
        Ok(object.into())
    }
}

/// Each filter is an object in a list, and the innermost has a list of values.
const DEPTH_MAX: usize = 2 * limits::FILTER_DEPTH_MAX + 2;
/// Number of types, keys and single values: a few for each node.
const OTHER_VALUES: usize = MEMBERS_MAX * limits::FILTER_NODES_MAX;
/// More members than a filter has, so that an unknown member can be named.
const MEMBERS_MAX: usize = 8;
