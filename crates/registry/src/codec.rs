//! How kernel's words stand in the registry's JSON.
//!
//! Kernel types do not derive `Serialize`: what is on disk is this crate's format, written in
//! `schemas/registry.md`, and a renamed field in kernel must not change it silently. Names are
//! parsed again when they are read, so a damaged entry fails here and not later.

use base64::{Engine, engine::general_purpose::STANDARD};
use kernel::{
    Chunking, Distance, Embedding, Incarnation, KeyId, Language, NamespaceName, NamespaceSettings, NamespaceUuid,
    ObjectUuid, OperationId, OperatorName, Principal, Quotas, Retention, Role, Scope, ScreenAction, Screening,
    TenantId,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A kernel type that stands as one string.
pub(crate) trait Word: Sized {
    /// The string.
    fn print(&self) -> String;
    /// Parses it; `None` when it is none of ours.
    fn read(text: &str) -> Option<Self>;
}

macro_rules! words {
    ($print:ident: $($name:ty),*) => {$(
        impl Word for $name {
            fn print(&self) -> String { self.$print().to_string() }
            fn read(text: &str) -> Option<Self> { <$name>::parse(text).ok() }
        }
    )*};
}
words!(as_str: TenantId, NamespaceName, KeyId, OperatorName, Principal, Scope, Role);
words!(to_string: Incarnation, NamespaceUuid, ObjectUuid, OperationId);

/// `#[serde(with = "word")]`: one word.
pub(crate) mod word {
    use super::{Deserialize, Deserializer, Serializer, Word};

    pub(crate) fn serialize<T: Word, S: Serializer>(value: &T, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&value.print())
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(d: D) -> Result<T, D::Error> {
        let text = String::deserialize(d)?;
        T::read(&text).ok_or_else(|| super::misread::<T, _>())
    }
}

/// `#[serde(with = "word_or_none")]`: one word, or none.
pub(crate) mod word_or_none {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Word};

    #[expect(clippy::ref_option, reason = "serde's `with` hands over a reference to the field")]
    pub(crate) fn serialize<T: Word, S: Serializer>(value: &Option<T>, s: S) -> Result<S::Ok, S::Error> {
        value.as_ref().map(Word::print).serialize(s)
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(d: D) -> Result<Option<T>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|text| T::read(&text).ok_or_else(super::misread::<T, _>)).transpose()
    }
}

/// `#[serde(with = "words")]`: a list of words.
pub(crate) mod words {
    use super::{Deserialize, Deserializer, Serializer, Word};

    pub(crate) fn serialize<T: Word, S: Serializer>(value: &[T], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(value.iter().map(Word::print))
    }

    pub(crate) fn deserialize<'de, T: Word, D: Deserializer<'de>>(d: D) -> Result<Vec<T>, D::Error> {
        let texts = Vec::<String>::deserialize(d)?;
        texts.iter().map(|t| T::read(t).ok_or_else(|| super::misread::<T, _>())).collect()
    }
}

/// Bytes as they stand in a journal.
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

/// `#[serde(with = "by_word")]`: a map from words.
pub(crate) mod by_word {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Word};
    use std::collections::BTreeMap;

    pub(crate) fn serialize<K: Word, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_map(map.iter().map(|(key, value)| (key.print(), value)))
    }

    pub(crate) fn deserialize<'de, K, V, D>(d: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Word + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let texts = BTreeMap::<String, V>::deserialize(d)?;
        let parsed = texts.into_iter().map(|(k, v)| Some((K::read(&k)?, v)));
        parsed.collect::<Option<_>>().ok_or_else(super::misread::<K, _>)
    }
}

/// `#[serde(with = "keyed")]`: a map whose values know their key, as the list of its values.
pub(crate) mod keyed {
    use super::{Deserialize, Deserializer, Serialize, Serializer};
    use std::collections::BTreeMap;

    /// A record that knows what it is filed under.
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

/// A word that does not parse. The text itself stays out of the message: it may be a customer's.
fn misread<T, E: serde::de::Error>() -> E {
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

/// A language by its name.
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
// Not strict: earlier records say what becomes of the original.
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

/// `#[serde(with = "millis_or_none")]`: the same, or null.
pub(crate) mod millis_or_none {
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

/// One entry or checkpoint body: a version, then what it holds.
#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    v: u32,
    body: T,
}

/// Only the version, so that a later one is refused by name and not as a misread body.
#[derive(Deserialize)]
struct Version {
    v: u32,
}

/// The version of the registry's entries and checkpoints. 0 may change without migration.
pub(crate) const VERSION: u32 = 0;

/// As stored.
pub(crate) fn encode<T: Serialize>(body: &T) -> Result<zeroize::Zeroizing<Vec<u8>>, crate::Error> {
    serde_json::to_vec(&Envelope { v: VERSION, body })
        .map(zeroize::Zeroizing::new)
        .map_err(|source| crate::Error::Misread { what: "entry to write", source })
}

/// Reads what [`encode`] wrote. What does not read is looked at again for its version only.
pub(crate) fn decode<T: for<'de> Deserialize<'de>>(what: &'static str, bytes: &[u8]) -> Result<T, crate::Error> {
    let misread = |source| crate::Error::Misread { what, source };
    match serde_json::from_slice::<Envelope<T>>(bytes) {
        Ok(read) if read.v == VERSION => Ok(read.body),
        Ok(read) => Err(crate::Error::Version { what, found: read.v }),
        Err(source) => match serde_json::from_slice::<Version>(bytes).map_err(misread)?.v {
            VERSION => Err(misread(source)),
            found => Err(crate::Error::Version { what, found }),
        },
    }
}
