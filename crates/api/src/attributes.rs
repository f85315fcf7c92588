//! Attributes of a document in a reply.

use crate::strict::SentAttributes;
use kernel::{AttrValue, Attributes, Scalar};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Attributes as JSON. They are serialised without a copy, since hits of one document share them.
pub struct AttributesJson(pub Arc<Attributes>);

impl Serialize for AttributesJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, value)| (key, AttributeValueJson(value))))
    }
}

/// One attribute as JSON.
pub(crate) struct AttributeValueJson<'a>(pub(crate) &'a AttrValue);

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

impl<'de> Deserialize<'de> for AttributesJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let members = Map::<String, Value>::deserialize(deserializer)?;
        let SentAttributes(sent) = SentAttributes::from_json(&members).map_err(de::Error::custom)?;
        let sent = sent.unwrap_or_default().into_iter();
        Ok(Self(Arc::new(sent.filter_map(|(key, value)| Some((key, value?))).collect())))
    }
}
