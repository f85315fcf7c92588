//! The JSON form of kernel types in the registry's journals.
//!
//! Kernel types do not derive `Serialize`: what is on disk is this crate's format, described in `schemas/registry.md`,
//! and a renamed field in kernel must not change it silently. Names are parsed again when they are read, so a damaged
//! entry fails here and not later.

use base64::{Engine, engine::general_purpose::STANDARD};
use kernel::{
    Chunking, Distance, Embedding, Incarnation, KeyId, Language, NamespaceName, NamespaceSettings, NamespaceUuid,
    ObjectUuid, OperationId, OperatorName, Principal, Quotas, Retention, Role, Scope, ScreenAction, Screening,
    TenantId,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kernel type that is stored as one string.
pub(crate) trait TextForm: Sized {
    /// Formats the value.
    fn to_text(&self) -> String;
    /// Parses the value; `None` if the text is not valid.
    fn from_text(text: &str) -> Option<Self>;
}

macro_rules! text_forms {
    ($to_text:ident: $($name:ty),*) => {$(
        impl TextForm for $name {
            fn to_text(&self) -> String { self.$to_text().to_string() }
            fn from_text(text: &str) -> Option<Self> { <$name>::parse(text).ok() }
        }
    )*};
}
text_forms!(as_str: TenantId, NamespaceName, KeyId, OperatorName, Principal, Scope, Role);
text_forms!(to_string: Incarnation, NamespaceUuid, ObjectUuid, OperationId);

/// `#[serde(with = "text")]`: a value as one string.
pub(crate) mod text {
    use super::{Deserialize, Deserializer, Serializer, TextForm};

    pub(crate) fn serialize<T: TextForm, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.to_text())
    }

    pub(crate) fn deserialize<'de, T: TextForm, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let text = String::deserialize(d)?;
        T::from_text(&text).ok_or_else(|| super::parse_error::<T, _>())
    }
}

/// `#[serde(with = "optional_text")]`: a value as one string, or null.
pub(crate) mod optional_text {
    use super::{Deserialize, Deserializer, Serialize, Serializer, TextForm};

    #[expect(clippy::ref_option, reason = "serde's `with` hands over a reference to the field")]
    pub(crate) fn serialize<T: TextForm, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(TextForm::to_text).serialize(s)
    }

    pub(crate) fn deserialize<'de, T: TextForm, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| T::from_text(&text).ok_or_else(super::parse_error::<T, _>)).transpose()
    }
}

/// `#[serde(with = "text_list")]`: a list of such values.
pub(crate) mod text_list {
    use super::{Deserialize, Deserializer, Serializer, TextForm};

    pub(crate) fn serialize<T: TextForm, S: Serializer>(value: &[T], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(TextForm::to_text))
    }

    pub(crate) fn deserialize<'de, T: TextForm, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        texts.iter().map(|t| T::from_text(t).ok_or_else(|| super::parse_error::<T, _>())).collect()
    }
}

/// Encodes bytes as they appear in a journal.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `#[serde(with = "bytes")]`: bytes as base64.
pub(crate) mod bytes {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serializer};
    use serde::de::Error as _;

    pub(crate) fn serialize<T: AsRef<[u8]>, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&STANDARD.encode(value))
    }

    pub(crate) fn deserialize<'de, T: TryFrom<Vec<u8>>, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = STANDARD.decode(text).map_err(|_| D::Error::custom("not base64"))?;
        T::try_from(bytes).map_err(|_| D::Error::custom("bytes of the wrong length"))
    }
}

/// `#[serde(with = "text_keyed_map")]`: a map whose keys are such values.
pub(crate) mod text_keyed_map {
    use super::{Deserialize, Deserializer, Serialize, Serializer, TextForm};
    use std::collections::BTreeMap;

    pub(crate) fn serialize<K: TextForm, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(key, value)| (key.to_text(), value)))
    }

    pub(crate) fn deserialize<'de, K, V, D>(d: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: TextForm + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let texts = BTreeMap::<String, V>::deserialize(d)?;
        let parsed = texts.into_iter().map(|(k, v)| Some((K::from_text(&k)?, v)));
        parsed.collect::<Option<_>>().ok_or_else(super::parse_error::<K, _>)
    }
}

/// `#[serde(with = "keyed")]`: a map whose values contain their key, stored as the list of its values.
pub(crate) mod keyed {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    /// A record that contains the key under which it is stored.
    pub(crate) trait Keyed {
        type Key: Ord;
        fn key(&self) -> Self::Key;
    }

    impl<T: Keyed> Keyed for std::sync::Arc<T> {
        type Key = T::Key;
        fn key(&self) -> Self::Key {
            (**self).key()
        }
    }

    pub(crate) fn serialize<V, S>(map: &BTreeMap<V::Key, V>, s: S) -> Result<S::Ok, S::Error>
    where
        V: Keyed + Serialize,
        S: Serializer,
    {
        s.collect_seq(map.values())
    }

    pub(crate) fn deserialize<'de, V, D>(d: D) -> Result<BTreeMap<V::Key, V>, D::Error>
    where
        V: Keyed + Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let values = Vec::<V>::deserialize(d)?;
        Ok(values.into_iter().map(|v| (v.key(), v)).collect())
    }
}

/// Error for a value that does not parse. The text itself stays out of the message: it may be a customer's.
fn parse_error<T, E: serde::de::Error>() -> E {
    E::custom(format_args!("not a {}", std::any::type_name::<T>()))
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Quotas", deny_unknown_fields)]
pub(crate) struct QuotasForm {
    documents: Option<u64>,
    bytes: Option<u64>,
    namespaces: Option<u64>,
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "NamespaceSettings", deny_unknown_fields)]
pub(crate) struct SettingsForm {
    #[serde(with = "EmbeddingForm")]
    embedding: Embedding,
    #[serde(with = "DistanceForm")]
    distance: Distance,
    #[serde(with = "ChunkingForm")]
    chunking: Chunking,
    #[serde(with = "language")]
    language: Language,
    #[serde(with = "ScreeningForm")]
    screening: Screening,
    #[serde(with = "RetentionForm")]
    retention: Retention,
    require_readers: bool,
}

/// `#[serde(with = "language")]`: a language as its name.
mod language {
    use super::{Deserialize, Deserializer, Language, Serializer};
    use serde::de::Error;

    pub(super) fn serialize<S: Serializer>(language: &Language, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(language.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Language, D::Error> {
        Language::parse(&String::deserialize(d)?).map_err(|error| D::Error::custom(error.message))
    }
}

/// `#[serde(with = "shared_settings")]`: [`SettingsForm`] behind an `Arc`.
pub(crate) mod shared_settings {
    use super::{Deserializer, NamespaceSettings, Serializer, SettingsForm};
    use std::sync::Arc;

    pub(crate) fn serialize<S: Serializer>(settings: &Arc<NamespaceSettings>, s: S) -> Result<S::Ok, S::Error> {
        SettingsForm::serialize(settings, s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Arc<NamespaceSettings>, D::Error> {
        SettingsForm::deserialize(d).map(Arc::new)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Embedding", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum EmbeddingForm {
    Default,
    Model { name: String, dimensions: u32 },
    Own { dimensions: u32 },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Distance", rename_all = "snake_case")]
pub(crate) enum DistanceForm {
    Cosine,
    Dot,
    Euclidean,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Chunking", deny_unknown_fields)]
pub(crate) struct ChunkingForm {
    max_tokens: u32,
    overlap_tokens: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Screening", deny_unknown_fields)]
pub(crate) struct ScreeningForm {
    #[serde(with = "ScreenActionForm")]
    injection: ScreenAction,
    #[serde(with = "ScreenActionForm")]
    pii: ScreenAction,
    #[serde(with = "ScreenActionForm")]
    secret: ScreenAction,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "ScreenAction", rename_all = "snake_case")]
pub(crate) enum ScreenActionForm {
    Allow,
    Tag,
    Mask,
    Quarantine,
    Reject,
}

#[derive(Serialize, Deserialize)]
// Unknown fields are accepted: earlier records also say what happens to the original.
#[serde(remote = "Retention")]
pub(crate) struct RetentionForm {
    days: Option<u32>,
}

/// `#[serde(with = "millis")]`: a time in milliseconds since 1970.
pub(crate) mod millis {
    use super::{Deserialize, Deserializer, Serializer};
    use kernel::Timestamp;

    pub(crate) fn serialize<S: Serializer>(value: &Timestamp, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_i64(value.as_millis())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Timestamp, D::Error> {
        i64::deserialize(d).map(Timestamp::from_millis)
    }
}

/// `#[serde(with = "optional_millis")]`: the same, or null.
pub(crate) mod optional_millis {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use kernel::Timestamp;

    #[expect(clippy::ref_option, reason = "serde's `with` hands over a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<Timestamp>, s: S) -> Result<S::Ok, S::Error> {
        value.map(Timestamp::as_millis).serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Timestamp>, D::Error> {
        Ok(Option::<i64>::deserialize(d)?.map(Timestamp::from_millis))
    }
}

/// One entry or checkpoint body with its version.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    body: T,
}

/// The version alone, so that a later one is refused by name and not as a malformed body.
#[derive(Deserialize)]
struct FormatVersion {
    v: u32,
}

/// Version of the registry's entries and checkpoints. Version 0 may change without migration.
pub(crate) const VERSION: u32 = 0;

/// Encodes a body as it is stored.
pub(crate) fn encode<T: Serialize>(body: &T) -> Result<zeroize::Zeroizing<Vec<u8>>, crate::Error> {
    serde_json::to_vec(&Envelope { v: VERSION, body })
        .map(zeroize::Zeroizing::new)
        .map_err(|source| crate::Error::Misread { what: "entry to write", source })
}

/// Decodes the output of [`encode`]. If the body does not parse, its version is still read, for the error.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(what: &'static str, bytes: &[u8]) -> Result<T, crate::Error> {
    let parse_error = |source| crate::Error::Misread { what, source };
    match serde_json::from_slice::<Envelope<T>>(bytes) {
        Ok(read) if read.v == VERSION => Ok(read.body),
        Ok(read) => Err(crate::Error::Version { what, found: read.v }),
        Err(source) => match serde_json::from_slice::<FormatVersion>(bytes).map_err(parse_error)?.v {
            VERSION => Err(parse_error(source)),
            found => Err(crate::Error::Version { what, found }),
        },
    }
}
