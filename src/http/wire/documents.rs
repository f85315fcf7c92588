//! Wire types of documents.

use super::{
    common::{self, Commit, Finding, IdList, PrincipalList, Started, WordList, at, nullable},
    error::Detail,
};
use crate::{
    http::request_data::RequestBody,
    strict::{BoundedList, FilterTree, SentAttributes, SentPrincipals, SentVector},
};
use base64::Engine as _;
use engine::{
    Include, IngestReply, IngestRequest, ListRequest, OnConflict, PageEnd, PatchRequest, Quarantine, RawBody,
    RawDocument, RawPatch, Selection,
};
use kernel::{DocumentId, Error, Untrusted, limits};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::ToSchema;

/// Documents to store.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"documents": [{"id": "handbook/leave.md", "text": "Everyone has 30 days of leave.", "attributes": {"year": 2026}, "readers": ["group:staff"]}]}))]
pub(crate) struct Upsert {
    /// 1 to 1,000 documents.
    #[schema(value_type = Vec<NewDocument>)]
    documents: BoundedList<NewDocument, { limits::DOCUMENTS_PER_REQUEST_MAX }>,
    /// What to do if the id belongs to a document that the key sees and that has other content. Absent: `overwrite`.
    on_conflict: Option<ConflictWord>,
}

/// One document. With `vector`, with or without text, one passage with the caller's own vector is stored. A document
/// that is invalid in itself fails alone; the others of its request are stored.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDocument {
    /// 1 to 512 bytes without control characters. It names the document that the key sees under this id. If the key
    /// sees none, the id is free, although another document that the key cannot see may exist under it. With the scope
    /// `overwrite` or `read_all` it names every document. Absent: a keyed hash of the whole document.
    id: Option<String>,
    /// The content. Text, bytes and vector together take at most 32 MiB per document.
    text: Option<String>,
    /// The bytes of a file in base64, instead of `text`.
    content_base64: Option<String>,
    /// Media type: `text/plain`, `text/markdown` or `text/html`.
    media_type: Option<String>,
    /// Title of at most 1,024 bytes.
    title: Option<String>,
    /// Address of at most 2,048 bytes.
    uri: Option<String>,
    /// Up to 64 keys of at most 128 bytes, each given once. Values are strings of at most 4,096 bytes, numbers,
    /// booleans, null (absent), or lists of at most 256 of them. Whole numbers of up to 64 bits are kept exactly;
    /// longer ones are refused.
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    attributes: Option<SentAttributes>,
    /// Principals that may read the document: 1 to 256, such as `user:alice`. Absent: the whole tenant, unless the
    /// namespace has `require_readers`.
    #[schema(value_type = Option<Vec<String>>)]
    readers: Option<SentPrincipals>,
    #[schema(value_type = Option<Vec<common::Finite>>)]
    vector: Option<SentVector>,
    /// Time at which the document is deleted (RFC 3339). The namespace's `retention.days` may delete it earlier.
    expires_at: Option<String>,
}

/// What to do if the id belongs to a document that the key sees and that has other content. Absent: `overwrite`.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ConflictWord {
    Overwrite,
    Skip,
    Fail,
}

impl RequestBody for Upsert {
    type Checked = IngestRequest;

    fn check(self) -> Result<IngestRequest, Error> {
        let BoundedList(sent) = self.documents;
        common::bounded("documents", sent.len(), limits::DOCUMENTS_PER_REQUEST_MAX)?;
        let (mut documents, mut refused) = (Vec::with_capacity(sent.len()), Vec::new());
        for (n, document) in sent.into_iter().enumerate() {
            let id = document.id.as_deref().and_then(|id| DocumentId::parse(id).ok());
            match document.check(&format!("documents[{n}]")) {
                Ok(document) => documents.push(document),
                Err(error) => refused.push((n, engine::DocumentOutcome::failed(id, error))),
            }
        }
        let on_conflict = match self.on_conflict {
            None | Some(ConflictWord::Overwrite) => OnConflict::Overwrite,
            Some(ConflictWord::Skip) => OnConflict::Skip,
            Some(ConflictWord::Fail) => OnConflict::Fail,
        };
        Ok(IngestRequest { documents: documents.into(), refused, on_conflict })
    }
}

impl NewDocument {
    /// Checks one document. An error fails only this document; the others of its request are stored.
    fn check(self, path: &str) -> Result<RawDocument, Error> {
        let member_path = |member: &str| format!("{path}.{member}");
        let body = match (self.text, self.content_base64) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid(member_path("content_base64"), "cannot be combined with 'text'"));
            }
            (Some(text), None) => RawBody::Text(Untrusted::new(text)),
            (None, Some(encoded)) => {
                let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
                let bytes =
                    bytes.map_err(|_| Error::invalid(member_path("content_base64"), "is not standard base64"))?;
                RawBody::Bytes { media_type: self.media_type.clone(), bytes }
            }
            (None, None) if self.vector.is_some() => RawBody::None,
            (None, None) => {
                return Err(Error::invalid(member_path("text"), "is missing: give text, content_base64 or vector"));
            }
        };
        Ok(RawDocument {
            id: self.id.as_deref().map(|id| at(member_path("id"), DocumentId::parse(id))).transpose()?,
            body,
            media_type: self.media_type,
            title: self.title.map(Untrusted::new),
            uri: self.uri.map(Untrusted::new),
            attributes: self
                .attributes
                .map(|sent| common::attributes(&member_path("attributes"), sent))
                .transpose()?
                .unwrap_or_default(),
            readers: self.readers.map(|r| r.0.map_err(|fault| fault.at(&member_path("readers")))).transpose()?,
            vector: self.vector.map(|v| v.0.map_err(|fault| fault.at(&member_path("vector")))).transpose()?,
            expires_at: self.expires_at.map(|t| common::time(&member_path("expires_at"), &t)).transpose()?,
        })
    }
}

/// Results of the documents or, with `Prefer: respond-async`, the operation that stores them.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum UpsertReply {
    Stored(Stored),
    Started(Started),
}

/// Results of the documents.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stored {
    /// One result for each document, in order.
    results: Vec<DocumentResult>,
    /// Number of documents by status.
    counts: BTreeMap<&'static str, u64>,
    commit: Commit,
}

/// Result of one document.
#[derive(Serialize, ToSchema)]
pub(crate) struct DocumentResult {
    /// Null if the given id was invalid.
    id: Option<String>,
    /// Status: `indexed`; `unchanged`: the same content, screened under the same settings, is already stored;
    /// `quarantined`: stored, but in no answer until it is reviewed; `rejected` by a screen; `skipped` (`on_conflict`);
    /// `failed`, see `error`.
    status: &'static str,
    passages: usize,
    findings: Vec<Finding>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Detail>,
}

impl From<IngestReply> for Stored {
    fn from(reply: IngestReply) -> Self {
        let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
        for result in &reply.results {
            *counts.entry(result.status.as_str()).or_default() += 1;
        }
        let results = reply.results.into_iter().map(|r| DocumentResult {
            id: r.id.map(|id| id.as_str().to_owned()),
            status: r.status.as_str(),
            passages: r.passages,
            findings: common::findings(&r.findings),
            error: r.error.as_ref().map(crate::http::error::detail),
        });
        Self { results: results.collect(), counts, commit: reply.commit.into() }
    }
}

/// One document.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Document {
    Whole(Box<WholeDocument>),
    Withheld(WithheldDocument),
}

/// A quarantined document for a key without the scope `review`: its content is withheld.
#[derive(Serialize, ToSchema)]
pub(crate) struct WithheldDocument {
    id: String,
    /// Status: `quarantined`.
    status: &'static str,
    findings: Vec<Finding>,
}

/// A document with its content.
#[derive(Serialize, ToSchema)]
pub(crate) struct WholeDocument {
    id: String,
    /// Status: `indexed` or `quarantined`.
    status: &'static str,
    title: Option<String>,
    uri: Option<String>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<common::AttributesJson>,
    /// Null: the whole tenant may read it.
    readers: Option<Vec<String>>,
    created_at: String,
    updated_at: String,
    expires_at: Option<String>,
    passages: usize,
    findings: Vec<Finding>,
    commit: Commit,
    /// Only for a quarantined document: keyed hash of its content as sent, 64 hexadecimal digits, which a review may
    /// name. Absent after a patch has changed the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    content_hash: Option<String>,
    /// The visible text, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// The vector of a document with one passage, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    vector: Option<Vec<f32>>,
    /// The vectors of a document with several passages, if requested.
    #[serde(skip_serializing_if = "Option::is_none")]
    vectors: Option<Vec<Vec<f32>>>,
}

impl Document {
    /// The parts of a document that are shown.
    pub(crate) fn new(d: kernel::Document, include: Include, quarantine: Quarantine) -> Self {
        if d.status == kernel::Status::Quarantined && quarantine == Quarantine::Withheld {
            let (id, status) = (d.id.as_str().to_owned(), d.status.as_str());
            return Self::Withheld(WithheldDocument { id, status, findings: common::findings(&d.findings) });
        }
        Self::Whole(Box::new(WholeDocument::new(d, include)))
    }
}

impl WholeDocument {
    fn new(d: kernel::Document, include: Include) -> Self {
        let filled = |text: Untrusted| (!text.is_empty()).then(|| text.into_exposed());
        let reviewed = d.status == kernel::Status::Quarantined && d.content_hash != [0; 32];
        let passages = d.passages.len();
        let mut vectors: Vec<Vec<f32>> = match (include.vector, d.vectors.len().checked_div(passages)) {
            (true, Some(dimensions)) if dimensions > 0 => d.vectors.chunks(dimensions).map(<[f32]>::to_vec).collect(),
            _ => Vec::new(),
        };
        Self {
            id: d.id.as_str().to_owned(),
            status: d.status.as_str(),
            title: filled(d.title),
            uri: filled(d.uri),
            attributes: include.attributes.then(|| common::AttributesJson(Arc::new(d.attributes))),
            readers: d.readers.map(|r| r.iter().map(|p| p.as_str().to_owned()).collect()),
            created_at: d.created_at.to_string(),
            updated_at: d.updated_at.to_string(),
            expires_at: d.expires_at.map(|t| t.to_string()),
            passages,
            findings: common::findings(&d.findings),
            commit: d.commit.into(),
            content_hash: reviewed.then(|| common::hex(&d.content_hash)),
            text: include.text.then(|| d.text.into_exposed()),
            vector: if vectors.len() == 1 { vectors.pop() } else { None },
            vectors: (vectors.len() > 1).then_some(vectors),
        }
    }
}

/// The documents to list.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"filter": {"type": "gte", "key": "year", "value": 2024}, "limit": 50}))]
pub(crate) struct DocumentList {
    #[schema(value_type = Option<Object>)]
    filter: Option<FilterTree>,
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<IdList>,
    r#as: Option<super::search::ActingAs>,
    /// Parts to return: `text`, `attributes`, `vector`. Absent: `attributes`.
    #[schema(value_type = Option<Vec<String>>)]
    include: Option<WordList>,
    /// Page size; 0 only counts. Absent: 100.
    limit: Option<usize>,
    /// Value of `next` on the previous page.
    after: Option<String>,
}

impl RequestBody for DocumentList {
    type Checked = ListRequest;

    fn check(self) -> Result<ListRequest, Error> {
        let limit = self.limit.unwrap_or(limits::LIST_LIMIT_DEFAULT);
        if limit > limits::LIST_LIMIT_MAX {
            return Err(Error::invalid("limit", "must be 0 to 1000"));
        }
        let include = common::include(self.include.as_ref().map(|list| &*list.0), &["text", "attributes", "vector"])?;
        Ok(ListRequest {
            filter: common::filter(self.filter)?,
            ids: self.ids.map(|list| common::ids("ids", list)).transpose()?,
            acting_as: self.r#as.map(super::search::ActingAs::check).transpose()?,
            include: include.unwrap_or(Include { attributes: true, ..Include::default() }),
            limit,
            after: self.after.map(|id| at("after", PageEnd::parse(&id))).transpose()?,
        })
    }
}

/// A page of documents, ordered by id. It may have fewer than `limit` documents, because a reply has at most 16 MiB.
#[derive(Serialize, ToSchema)]
pub(crate) struct DocumentPage {
    documents: Vec<Document>,
    /// Number of documents that match and that the key sees.
    total: u64,
    /// Opaque value of `after` for the next page. Null on the last page.
    next: Option<String>,
    commit: Commit,
}

impl From<engine::DocumentListReply> for DocumentPage {
    fn from(page: engine::DocumentListReply) -> Self {
        Self {
            documents: page.documents.into_iter().map(|d| Document::new(d, page.include, page.quarantine)).collect(),
            total: page.total,
            next: page.next.map(|end| end.to_string()),
            commit: page.commit.into(),
        }
    }
}

/// Documents by their ids, or all that match a filter.
fn selection(ids: Option<IdList>, filter: Option<FilterTree>) -> Result<Selection, Error> {
    match (ids, common::filter(filter)?) {
        (Some(ids), None) => Ok(Selection::Ids(common::ids("ids", ids)?)),
        (None, Some(filter)) => Ok(Selection::Filter(filter)),
        (Some(_), Some(_)) => Err(Error::invalid("ids", "cannot be combined with 'filter'")),
        (None, None) => Err(Error::invalid("ids", "is missing: give ids or filter")),
    }
}

/// The documents to delete.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentDelete {
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<IdList>,
    #[schema(value_type = Option<Object>)]
    filter: Option<FilterTree>,
    /// Only with `ids`: answer when no object, checkpoint or log holds the deleted documents any more. A key with
    /// `read_all` may also name documents that were deleted earlier.
    erase: Option<bool>,
}

impl RequestBody for DocumentDelete {
    type Checked = (Selection, bool);

    fn check(self) -> Result<Self::Checked, Error> {
        let erase = self.erase.unwrap_or(false);
        if erase && self.ids.is_none() {
            return Err(Error::invalid("erase", "requires ids: documents are erased by their ids"));
        }
        Ok((selection(self.ids, self.filter)?, erase))
    }
}

/// Result of a deletion of documents.
#[derive(Serialize, ToSchema)]
pub(crate) struct Counted {
    pub(crate) deleted: u64,
    pub(crate) commit: Commit,
    /// With `erase`: a signed note (c2sp.org/signed-note) whose text is JSON; `ringfence audit verify` checks it. It
    /// names the ids of which no copy is left. For a key without `read_all` it names only documents that this request
    /// deleted, and covers only copies that the key could read. Absent if it would name none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate: Option<String>,
}

impl From<engine::DeleteReply> for Counted {
    fn from(reply: engine::DeleteReply) -> Self {
        Self { deleted: reply.deleted, commit: Commit::from(reply.commit), certificate: reply.certificate }
    }
}

/// Changes to documents without new text. Attributes are merged; null removes a member.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DocumentPatch {
    #[schema(value_type = Option<Vec<String>>)]
    ids: Option<IdList>,
    #[schema(value_type = Option<Object>)]
    filter: Option<FilterTree>,
    #[schema(value_type = Option<BTreeMap<String, Object>>)]
    attributes: Option<SentAttributes>,
    /// Null opens the document to the whole tenant.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>)]
    readers: Option<Option<PrincipalList>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    uri: Option<Option<String>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>)]
    expires_at: Option<Option<String>>,
}

impl RequestBody for DocumentPatch {
    type Checked = PatchRequest;

    fn check(self) -> Result<PatchRequest, Error> {
        let which = selection(self.ids, self.filter)?;
        let readers = |list: Option<PrincipalList>| list.map(|r| common::principals("readers", r)).transpose();
        let time = |text: Option<String>| text.map(|t| common::time("expires_at", &t)).transpose();
        let patch = RawPatch {
            attributes: self
                .attributes
                .map(|SentAttributes(sent)| sent.map_err(|fault| fault.at("attributes")))
                .transpose()?
                .unwrap_or_default(),
            readers: self.readers.map(readers).transpose()?,
            uri: self.uri.map(|uri| uri.map(Untrusted::new)),
            expires_at: self.expires_at.map(time).transpose()?,
        };
        let nothing =
            patch.attributes.is_empty() && patch.readers.is_none() && patch.uri.is_none() && patch.expires_at.is_none();
        if nothing {
            return Err(Error::invalid(
                "attributes",
                "is missing: there is nothing to change; give attributes, readers, uri or expires_at",
            ));
        }
        Ok(PatchRequest { selection: which, patch })
    }
}

/// Result of a change of documents.
#[derive(Serialize, ToSchema)]
pub(crate) struct Matched {
    pub(crate) matched: u64,
    pub(crate) commit: Commit,
}
