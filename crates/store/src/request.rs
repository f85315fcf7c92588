//! Requests to a namespace and their results.

use intake::Admitted;
use kernel::{CommitNo, Document, DocumentId, Field, Filter};

/// Makes the audit record of a mutation once its outcome is known. The record is written in the mutation's commit.
pub type MakeAuditRecord = Box<dyn FnOnce(&WriteOutcome) -> Vec<u8> + Send>;

/// What an upsert does if its id is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Replaces the existing document.
    #[default]
    Overwrite,
    /// Leaves the existing document.
    Skip,
    /// Leaves the existing document and reports an error for the new one.
    Fail,
}

/// One document to store.
#[derive(Debug)]
pub struct Upsert {
    /// The screened, chunked and embedded document.
    pub admitted: Admitted,
    /// What to do if its id is taken.
    pub on_conflict: OnConflict,
}

/// The documents that a mutation concerns. Those that the audience cannot see are left out.
#[derive(Clone, Debug)]
pub enum Selection {
    /// Documents by id.
    Ids(Vec<DocumentId>),
    /// All documents that match.
    Filter(Filter),
}

/// A document that a reviewer decided on, in the state that the reviewer saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Id of the document.
    pub id: DocumentId,
    /// State that the reviewer saw.
    pub state: ReviewedState,
}

/// Identifies one state of a document among all its states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewedState {
    /// The commit that wrote it last.
    Commit(CommitNo),
    /// The keyed hash of the content that was sent.
    ContentHash([u8; 32]),
}

impl ReviewedState {
    /// Whether the document is still in this state.
    pub(crate) fn is_of(&self, doc: &Document) -> bool {
        match self {
            ReviewedState::Commit(commit) => doc.commit == *commit,
            // All zeros mark a document whose content is no longer what was sent.
            ReviewedState::ContentHash(hash) => doc.content_hash == *hash && *hash != [0; 32],
        }
    }
}

/// Whether the content of quarantined documents is part of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quarantine {
    /// Content is shown, because the caller reviews it.
    Shown,
    /// Content is withheld: an answer has id, status, findings, times and commit, but nothing of what was sent, and no
    /// filter matches on it.
    #[default]
    Withheld,
}

/// A reviewer's decision about quarantined documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Search may find them from now on.
    Release,
    /// They are deleted.
    Reject,
}

/// What the namespace holds under an id, as looked up before the new document is embedded.
#[derive(Clone, Debug)]
pub enum ExistingDocument {
    /// No document.
    Absent,
    /// A document with the same content; without text and vectors.
    Same(Box<Document>),
    /// A document with other content; without text and vectors.
    Other(Box<Document>),
}

/// Result for one document that a request named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpsertStatus {
    /// Stored; search can find it.
    Indexed,
    /// Stored, but held back by a screen.
    Quarantined,
    /// Not stored, because the same content was already there.
    Unchanged,
    /// Not stored, because the id is taken ([`OnConflict::Skip`]).
    Skipped,
    /// Not stored, because the id is taken ([`OnConflict::Fail`]). In a review: the document is not in the state that
    /// the reviewer saw.
    Conflict,
    /// Review: search can find it now.
    Released,
    /// Review: it was deleted.
    Rejected,
    /// Review: it was not quarantined.
    NotQuarantined,
    /// Review: the audience can see no such document.
    NotFound,
}

impl UpsertStatus {
    /// Name of the status in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            UpsertStatus::Indexed => "indexed",
            UpsertStatus::Quarantined => "quarantined",
            UpsertStatus::Unchanged => "unchanged",
            UpsertStatus::Skipped => "skipped",
            UpsertStatus::Conflict => "conflict",
            UpsertStatus::Released => "released",
            UpsertStatus::Rejected => "rejected",
            UpsertStatus::NotQuarantined => "not_quarantined",
            UpsertStatus::NotFound => "not_found",
        }
    }
}

/// Result for one document of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpsertResult {
    /// Id of the document.
    pub id: DocumentId,
    /// What happened to the document.
    pub status: UpsertStatus,
    /// Number of passages of the document that is now under the id.
    pub passages: usize,
}

/// Outcome of a mutation. Every mutation has a commit, even one that changed nothing, because the commit carries its
/// audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteOutcome {
    /// Number of the commit.
    pub commit: CommitNo,
    /// Results of an append or a review, in the order of the request.
    pub results: Vec<UpsertResult>,
    /// Number of documents that the selection matched.
    pub matched: u64,
    /// Number of documents that were deleted.
    pub deleted: u64,
    /// Id of every document that was written or deleted.
    pub ids: Vec<DocumentId>,
}

/// The filter for documents whose content is withheld: conditions on attributes and the uri match none of them.
pub(crate) fn without_content(filter: &Filter) -> Filter {
    let all = |list: &[Filter]| list.iter().map(without_content).collect();
    match filter {
        Filter::And(list) => Filter::And(all(list)),
        Filter::Or(list) => Filter::Or(all(list)),
        Filter::Not(inner) => Filter::Not(Box::new(without_content(inner))),
        Filter::In(field, _)
        | Filter::Number(field, _, _)
        | Filter::Instant(field, _, _)
        | Filter::Contains(field, _)
        | Filter::Prefix(field, _)
        | Filter::Match(field, _)
        | Filter::Exists(field) => match field {
            Field::Uri | Field::Attribute(_) => Filter::Or(Vec::new()),
            Field::Id | Field::Status | Field::CreatedAt | Field::UpdatedAt | Field::ExpiresAt => filter.clone(),
        },
    }
}
