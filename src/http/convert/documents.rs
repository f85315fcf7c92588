//! Documents.

use super::{
    Convert,
    common::{self, at},
    search::acting_as,
};
use crate::http::request_data::RequestBody;
use api::{
    attributes::AttributesJson,
    common::{IdList, PrincipalList},
    documents::{
        ConflictWord, DeletedDocuments, DocumentDelete, DocumentList, DocumentPage, DocumentPatch, DocumentResult,
        NewDocument, ShownDocument, Stored, UpsertRequest, WholeDocument, WithheldDocument,
    },
    strict::{BoundedList, FilterTree, SentAttributes},
};
use base64::Engine as _;
use engine::{
    Include, IngestReply, IngestRequest, ListRequest, OnConflict, PageEnd, PatchRequest, Quarantine, RawBody,
    RawDocument, RawPatch, Selection,
};
use kernel::{DocumentId, Error, Untrusted, limits};
use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

impl RequestBody for UpsertRequest {
    type Checked = IngestRequest;

    fn check(self) -> Result<IngestRequest, Error> {
        let BoundedList(sent) = self.documents;
        common::bounded("documents", sent.len(), limits::DOCUMENTS_PER_REQUEST_MAX)?;
        let (mut documents, mut refused) = (Vec::with_capacity(sent.len()), Vec::new());
        for (n, document) in sent.into_iter().enumerate() {
            let id = document.id.as_deref().and_then(|id| DocumentId::parse(id).ok());
            match check(document, &format!("documents[{n}]")) {
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

/// Checks one document. An error fails only this document; the others of its request are stored.
fn check(document: NewDocument, path: &str) -> Result<RawDocument, Error> {
    let member_path = |member: &str| format!("{path}.{member}");
    let body = match (document.text, document.content_base64) {
        (Some(_), Some(_)) => {
            return Err(Error::invalid(member_path("content_base64"), "cannot be combined with 'text'"));
        }
        (Some(text), None) => RawBody::Text(Untrusted::new(text)),
        (None, Some(encoded)) => {
            let bytes = base64::engine::general_purpose::STANDARD.decode(encoded);
            let bytes = bytes.map_err(|_| Error::invalid(member_path("content_base64"), "is not standard base64"))?;
            RawBody::Bytes { media_type: document.media_type.clone(), bytes }
        }
        (None, None) if document.vector.is_some() => RawBody::None,
        (None, None) => {
            return Err(Error::invalid(member_path("text"), "is missing: give text, content_base64 or vector"));
        }
    };
    Ok(RawDocument {
        id: document.id.as_deref().map(|id| at(member_path("id"), DocumentId::parse(id))).transpose()?,
        body,
        media_type: document.media_type,
        title: document.title.map(Untrusted::new),
        uri: document.uri.map(Untrusted::new),
        attributes: document
            .attributes
            .map(|sent| common::attributes(&member_path("attributes"), sent))
            .transpose()?
            .unwrap_or_default(),
        readers: document.readers.map(|r| r.0.map_err(|fault| fault.at(&member_path("readers")))).transpose()?,
        vector: document.vector.map(|v| v.0.map_err(|fault| fault.at(&member_path("vector")))).transpose()?,
        expires_at: document.expires_at.map(|t| common::time(&member_path("expires_at"), &t)).transpose()?,
    })
}

impl Convert<Stored> for IngestReply {
    fn convert(self) -> Stored {
        let mut counts: BTreeMap<Cow<'static, str>, u64> = BTreeMap::new();
        for result in &self.results {
            *counts.entry(result.status.as_str().into()).or_default() += 1;
        }
        let results = self.results.into_iter().map(|r| DocumentResult {
            id: r.id.map(|id| id.as_str().to_owned()),
            status: r.status.as_str().into(),
            passages: r.passages,
            findings: common::findings(&r.findings),
            error: r.error.as_ref().map(crate::http::error::detail),
        });
        Stored { results: results.collect(), counts, commit: self.commit.convert() }
    }
}

/// The parts of a document that are shown.
pub(crate) fn shown(d: kernel::Document, include: Include, quarantine: Quarantine) -> ShownDocument {
    if d.status == kernel::Status::Quarantined && quarantine == Quarantine::Withheld {
        let (id, status) = (d.id.as_str().to_owned(), d.status.as_str().into());
        return ShownDocument::Withheld(WithheldDocument { id, status, findings: common::findings(&d.findings) });
    }
    ShownDocument::Whole(Box::new(whole(d, include)))
}

fn whole(d: kernel::Document, include: Include) -> WholeDocument {
    let filled = |text: Untrusted| (!text.is_empty()).then(|| text.into_exposed());
    let reviewed = d.status == kernel::Status::Quarantined && d.content_hash != [0; 32];
    let passages = d.passages.len();
    let mut vectors: Vec<Vec<f32>> = match (include.vector, d.vectors.len().checked_div(passages)) {
        (true, Some(dimensions)) if dimensions > 0 => d.vectors.chunks(dimensions).map(<[f32]>::to_vec).collect(),
        _ => Vec::new(),
    };
    WholeDocument {
        id: d.id.as_str().to_owned(),
        status: d.status.as_str().into(),
        title: filled(d.title),
        uri: filled(d.uri),
        attributes: include.attributes.then(|| AttributesJson(Arc::new(d.attributes))),
        readers: d.readers.map(|r| r.iter().map(|p| p.as_str().to_owned()).collect()),
        created_at: d.created_at.to_string(),
        updated_at: d.updated_at.to_string(),
        expires_at: d.expires_at.map(|t| t.to_string()),
        passages,
        findings: common::findings(&d.findings),
        commit: d.commit.convert(),
        content_hash: reviewed.then(|| common::hex(&d.content_hash)),
        text: include.text.then(|| d.text.into_exposed()),
        vector: if vectors.len() == 1 { vectors.pop() } else { None },
        vectors: (vectors.len() > 1).then_some(vectors),
    }
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
            acting_as: self.r#as.map(acting_as).transpose()?,
            include: include.unwrap_or(Include { attributes: true, ..Include::default() }),
            limit,
            after: self.after.map(|id| at("after", PageEnd::parse(&id))).transpose()?,
        })
    }
}

impl Convert<DocumentPage> for engine::DocumentListReply {
    fn convert(self) -> DocumentPage {
        DocumentPage {
            documents: self.documents.into_iter().map(|d| shown(d, self.include, self.quarantine)).collect(),
            total: self.total,
            next: self.next.map(|end| end.to_string()),
            commit: self.commit.convert(),
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

impl Convert<DeletedDocuments> for engine::DeleteReply {
    fn convert(self) -> DeletedDocuments {
        DeletedDocuments { deleted: self.deleted, commit: self.commit.convert(), certificate: self.certificate }
    }
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
