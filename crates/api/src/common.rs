//! Types that several resources share.

use crate::strict::{BoundedList, ParseName, Parsed};
use kernel::{DocumentId, Principal, limits};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, DeserializeOwned, value::StrDeserializer},
};
use serde_json::Value;
use std::fmt;
use utoipa::{PartialSchema, ToSchema, openapi};

/// A number that fits into `f32`. JSON has no NaN; `1e39` is out of range like infinity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Finite(pub f32);

impl<'de> Deserialize<'de> for Finite {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl de::Visitor<'_> for NumberVisitor {
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
        deserializer.deserialize_f64(NumberVisitor)
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

/// A word of the contract, such as `hybrid`, as the value of its type.
///
/// # Errors
/// A message for people, which names the words that are known.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<de::value::Error>::new(text)).map_err(|e| e.to_string())
}

/// A name, such as a principal.
///
/// # Errors
/// A message for people, with the rule that the text breaks.
pub fn name<T: ParseName>(text: &str) -> Result<T, String> {
    T::read(text).map_err(|e| e.message)
}

/// Ids as they are parsed.
pub type IdList = BoundedList<Parsed<DocumentId>, { limits::IDS_PER_REQUEST_MAX }>;
/// Principals as they are parsed.
pub type PrincipalList = BoundedList<Parsed<Principal>, { limits::READERS_MAX }>;
/// Words as they are parsed.
pub type WordList = BoundedList<String, { limits::SHORT_LIST_MAX }>;

/// Commit number, which grows with every write to a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[schema(as = Commit)]
pub struct CommitNumber(pub u64);

/// Work that continues after the reply.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Started {
    /// Id of the operation; `GET /v1/operations/{operation}` shows its progress.
    pub operation: String,
}

/// Result of accepting a namespace in the state of its files.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Accepted {
    /// Whether the namespace was refused with `rolled_back` before; false if there was nothing to accept.
    pub accepted: bool,
}

/// Result of a deletion.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Deleted {
    /// Always true: if the object did not exist, the reply is a 404.
    pub deleted: bool,
}

/// One audit record, in the format of OCSF.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(value_type = Object)]
pub struct Event(pub Value);

/// A finding of a screen: names of rules and counts, never the text.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Finding)]
pub struct ScreenFinding {
    /// Kind: `injection`, `pii` or `secret`.
    pub kind: String,
    /// Stable name of the rule.
    #[schema(example = "pii.email")]
    pub rule: String,
    /// Severity: `low`, `medium` or `high`.
    pub severity: String,
    /// Number of matches.
    pub count: u32,
    /// Action that was taken: `tag`, `mask`, `quarantine` or `reject`.
    pub action: String,
}
