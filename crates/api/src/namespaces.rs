//! Namespaces and their settings.

use crate::common::{CommitNumber, nullable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A namespace's settings. Absent members keep their value.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"embedding": {"model": "all-MiniLM-L6-v2"}, "distance": "cosine", "screening": {"injection": "quarantine"}}))]
pub struct NamespacePut {
    /// Source of the vectors; fixed once the namespace holds documents.
    pub embedding: Option<EmbeddingBody>,
    /// How vectors are compared; fixed once the namespace holds documents.
    pub distance: Option<DistanceWord>,
    /// How text is divided into passages; fixed once the namespace holds documents.
    pub chunking: Option<ChunkingBody>,
    /// How words are compared; fixed once the namespace holds documents.
    pub text: Option<TextBody>,
    /// Actions on findings.
    pub screening: Option<ScreeningBody>,
    /// Retention of documents.
    pub retention: Option<RetentionBody>,
    /// Whether every document must name its readers. If so, documents without readers, including older ones, are open
    /// only to keys with `read_all`.
    pub require_readers: Option<bool>,
}

/// A model of the server, or the length of callers' own vectors.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<u32>,
}

/// How vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum DistanceWord {
    Cosine,
    Dot,
    Euclidean,
}

/// How text is divided into passages, in the model's tokens.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChunkingBody {
    /// Maximum length of a passage, 16 to 8192.
    pub max_tokens: u32,
    /// Number of tokens repeated from the previous passage; at most half of `max_tokens`. Absent: 32, or half of
    /// `max_tokens` if that is less.
    pub overlap_tokens: Option<u32>,
}

/// How words are compared.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TextBody {
    /// Language whose rules reduce words to their stems: `english` (the default), `arabic`, `danish`, `dutch`,
    /// `finnish`, `french`, `german`, `greek`, `hungarian`, `italian`, `norwegian`, `portuguese`, `romanian`,
    /// `russian`, `spanish`, `swedish`, `tamil`, `turkish`; or `plain` for words as they are written. Chinese,
    /// Japanese, Korean and Thai text can be found with any of them.
    pub language: String,
}

/// Action on each kind of finding. New namespaces quarantine `injection`, and tag `pii` and `secret`.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreeningBody {
    pub injection: Option<ActionWord>,
    pub pii: Option<ActionWord>,
    pub secret: Option<ActionWord>,
}

/// `allow`: no action, and not recorded. `tag`: recorded with the document. `mask`: replaced in the stored text.
/// `quarantine`: stored, but in no answer until it is reviewed. `reject`: not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionWord {
    Allow,
    Tag,
    Mask,
    Quarantine,
    Reject,
}

/// Retention of documents.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RetentionBody {
    /// Number of days after a document was first stored until it is deleted; no later write or patch extends them. A
    /// lower number also applies to stored documents. Null: documents written from now on are not deleted by age.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>)]
    pub days: Option<Option<u32>>,
    /// `keep` is the only value: the text is kept as long as its document.
    pub original: Option<String>,
}

/// A namespace.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Namespace)]
pub struct NamespaceInfo {
    pub name: String,
    /// Null until the first document determines it.
    pub embedding: Option<EmbeddingBody>,
    pub distance: DistanceWord,
    pub chunking: ChunkingBody,
    pub text: TextBody,
    pub screening: ScreeningBody,
    pub retention: RetentionBody,
    pub require_readers: bool,
    pub created_at: String,
    /// Number of documents that the key sees, including quarantined ones.
    pub documents: u64,
    /// Number of their passages.
    pub passages: u64,
    /// Bytes of the documents that the key sees, with everything that they hold: ids, titles, addresses, attributes,
    /// readers, findings, text and vectors. Indexes are not counted.
    pub bytes: u64,
    /// Number of these documents that wait for a review.
    pub quarantined: u64,
    pub commit: CommitNumber,
    /// Epoch of the tenant key that wraps this namespace's keys.
    pub key_epoch: u32,
}

/// A page of namespaces.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct NamespaceList {
    pub namespaces: Vec<NamespaceInfo>,
    /// Value of `after` for the next page. Null on the last page.
    pub next: Option<String>,
}
