//! Reviews of quarantined documents.

use crate::{common::CommitNumber, strict::BoundedList};
use kernel::limits;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{borrow::Cow, fmt};
use utoipa::ToSchema;

/// A reviewer's decision on quarantined documents. It applies to the content that the reviewer saw.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"documents": [{"id": "handbook/leave.md", "commit": 12}], "decision": "release"}))]
pub struct Review {
    /// 1 to 10,000 documents.
    #[serde(alias = "ids")]
    #[schema(value_type = Vec<ReviewedDocument>)]
    pub documents: BoundedList<ReviewEntry, { limits::IDS_PER_REQUEST_MAX }>,
    pub decision: DecisionWord,
    /// The reason, at most 4,096 bytes. The audit records a pseudonym of it, not its text.
    pub note: Option<String>,
}

/// A document as the reviewer saw it: with its `commit` or its `content_hash`, as a read or a list returned them. If
/// one commit wrote several documents with this id, only the hash identifies the reviewed one.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReviewedDocument {
    pub id: String,
    /// The document's `commit`. Exactly one of `commit` and `content_hash` must be given.
    pub commit: Option<u64>,
    /// The document's `content_hash`.
    pub content_hash: Option<String>,
}

/// An entry as it is parsed. A bare id, which was the earlier form, gets an error that names what is missing.
#[derive(Serialize)]
pub struct ReviewEntry(pub ReviewedDocument);

impl<'de> Deserialize<'de> for ReviewEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = ReviewEntry;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document with its commit or content_hash")
            }

            fn visit_str<E: de::Error>(self, id: &str) -> Result<ReviewEntry, E> {
                Ok(ReviewEntry(ReviewedDocument { id: id.to_owned(), commit: None, content_hash: None }))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ReviewEntry, A::Error> {
                ReviewedDocument::deserialize(MapAccessDeserializer::new(map)).map(ReviewEntry)
            }
        }
        deserializer.deserialize_any(Form)
    }
}

/// `release`: the document can be found from now on. `reject`: the document is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DecisionWord {
    Release,
    Reject,
}

/// Result of each document, in the order of the request.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct ReviewResults {
    pub results: Vec<ReviewResult>,
    pub commit: CommitNumber,
}

/// Result of one document.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct ReviewResult {
    pub id: String,
    /// Status: `released`, `rejected`, `not_quarantined`, `not_found`, or `conflict`: the document has changed since it
    /// was reviewed.
    pub status: Cow<'static, str>,
}
