//! Documents: storing, showing, listing, changing and deleting them.

use crate::{
    attributes::AttributesJson,
    common::{CommitNumber, Finite, IdList, PrincipalList, ScreenFinding, Started, WordList, nullable},
    error::Detail,
    search::ActingAs,
    strict::{BoundedList, FilterTree, SentAttributes, SentPrincipals, SentVector},
};
use kernel::limits;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// Documents to store.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Upsert, example = json!({"documents": [{"id": "handbook/leave.md", "text": "Everyone has 30 days of leave.", "attributes": {"year": 2026}, "readers": ["group:staff"]}]}))]
pub struct UpsertRequest {
    /// 1 to 1,000 documents.
    #[schema(value_type = Vec<NewDocument>)]
    pub documents: BoundedList<NewDocument, { limits::DOCUMENTS_PER_REQUEST_MAX }>,
    /// What to do if the id belongs to a document that the key sees and that has other content. Absent: `overwrite`.
    pub on_conflict: Option<ConflictWord>,
}

/// One document. With `vector`, with or without text, one passage with the caller's own vector is stored. A document
/// that is invalid in itself fails alone; the others of its request are stored.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewDocument {
    /// 1 to 512 bytes without control characters. It names the document that the key sees under this id. If the key
    /// sees none, the id is free, although another document that the key cannot see may exist under it. With the scope
    /// `overwrite` or `read_all` it names every document. Absent: a keyed hash of the whole document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The content. Text, bytes and vector together take at most 32 MiB per document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes of a file in base64, instead of `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_base64: Option<String>,
    /// Media type: `text/plain`, `text/markdown` or `text/html`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// Title of at most 1,024 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Address of at most 2,048 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Up to 64 keys of at most 128 bytes, each given once. Values are strings of at most 4,096 bytes, numbers,
    /// booleans, null (absent), or lists of at most 256 of them. Whole numbers of up to 64 bits are kept exactly;
    /// longer ones are refused.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<SentAttributes>,
    /// Principals that may read the document: 1 to 256, such as `user:alice`. Absent: the whole tenant, unless the
    /// namespace has `require_readers`.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<SentPrincipals>,
    #[schema(value_type = Option<Vec<Finite>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<SentVector>,
    /// Time at which the document is deleted (RFC 3339). The namespace's `retention.days` may delete it earlier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// What to do if the id belongs to a document that the key sees and that has other content. Absent: `overwrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConflictWord {
    Overwrite,
    Skip,
    Fail,
}

/// Results of the documents or, with `Prefer: respond-async`, the operation that stores them.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
pub enum UpsertReply {
    Stored(Stored),
    Started(Started),
}

/// Results of the documents.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Stored {
    /// One result for each document, in order.
    pub results: Vec<DocumentResult>,
    /// Number of documents by status.
    pub counts: BTreeMap<Cow<'static, str>, u64>,
    pub commit: CommitNumber,
}

/// Result of one document.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct DocumentResult {
    /// Null if the given id was invalid.
    pub id: Option<String>,
    /// Status: `indexed`; `unchanged`: the same content, screened under the same settings, is already stored;
    /// `quarantined`: stored, but in no answer until it is reviewed; `rejected` by a screen; `skipped` (`on_conflict`);
    /// `failed`, see `error`.
    pub status: Cow<'static, str>,
    pub passages: usize,
    pub findings: Vec<ScreenFinding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Detail>,
}

/// One document.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Document)]
pub enum ShownDocument {
    Whole(Box<WholeDocument>),
    Withheld(WithheldDocument),
}

/// A quarantined document for a key without the scope `review`: its content is withheld.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct WithheldDocument {
    pub id: String,
    /// Status: `quarantined`.
    pub status: Cow<'static, str>,
    pub findings: Vec<ScreenFinding>,
}

/// A document with its content.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct WholeDocument {
    pub id: String,
    /// Status: `indexed` or `quarantined`.
    pub status: Cow<'static, str>,
    pub title: Option<String>,
    pub uri: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attributes: Option<AttributesJson>,
    /// Null: the whole tenant may read it.
    pub readers: Option<Vec<String>>,
    pub created_at: String,
    pub updated_at: String,
    pub expires_at: Option<String>,
    pub passages: usize,
    pub findings: Vec<ScreenFinding>,
    pub commit: CommitNumber,
    /// Only for a quarantined document: keyed hash of its content as sent, 64 hexadecimal digits, which a review may
    /// name. Absent after a patch has changed the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// The visible text, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The vector of a document with one passage, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// The vectors of a document with several passages, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vectors: Option<Vec<Vec<f32>>>,
}

/// The documents to list.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter": {"type": "gte", "key": "year", "value": 2024}, "limit": 50}))]
pub struct DocumentList {
    #[schema(value_type = Option<Object>)]
    pub filter: Option<FilterTree>,
    #[schema(value_type = Option<Vec<String>>)]
    pub ids: Option<IdList>,
    pub r#as: Option<ActingAs>,
    /// Parts to return: `text`, `attributes`, `vector`. Absent: `attributes`.
    #[schema(value_type = Option<Vec<String>>)]
    pub include: Option<WordList>,
    /// Page size; 0 only counts. Absent: 100.
    pub limit: Option<usize>,
    /// Value of `next` on the previous page.
    pub after: Option<String>,
}

/// A page of documents, ordered by id. It may have fewer than `limit` documents, because a reply has at most 16 MiB.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct DocumentPage {
    pub documents: Vec<ShownDocument>,
    /// Number of documents that match and that the key sees.
    pub total: u64,
    /// Opaque value of `after` for the next page. Null on the last page.
    pub next: Option<String>,
    pub commit: CommitNumber,
}

/// The documents to delete.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentDelete {
    #[schema(value_type = Option<Vec<String>>)]
    pub ids: Option<IdList>,
    #[schema(value_type = Option<Object>)]
    pub filter: Option<FilterTree>,
    /// Only with `ids`: answer when no object, checkpoint or log holds the deleted documents any more. A key with
    /// `read_all` may also name documents that were deleted earlier.
    pub erase: Option<bool>,
}

/// Result of a deletion of documents.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = Counted)]
pub struct DeletedDocuments {
    pub deleted: u64,
    pub commit: CommitNumber,
    /// With `erase`: a signed note (c2sp.org/signed-note) whose text is JSON; `ringfence audit verify` checks it. It
    /// names the ids of which no copy is left. For a key without `read_all` it names only documents that this request
    /// deleted, and covers only copies that the key could read. Absent if it would name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// Changes to documents without new text. Attributes are merged; null removes a member.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DocumentPatch {
    #[schema(value_type = Option<Vec<String>>)]
    pub ids: Option<IdList>,
    #[schema(value_type = Option<Object>)]
    pub filter: Option<FilterTree>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    pub attributes: Option<SentAttributes>,
    /// Null opens the document to the whole tenant.
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub readers: Option<Option<PrincipalList>>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub uri: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub expires_at: Option<Option<String>>,
}

/// Result of a change of documents.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct Matched {
    pub matched: u64,
    pub commit: CommitNumber,
}
