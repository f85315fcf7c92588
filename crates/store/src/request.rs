//! What can be asked of a namespace, and what comes of it.

use crate::index::Index;
use intake::Admitted;
use kernel::{Audience, CommitNo, CompiledFilter, Document, DocumentId, Field, Filter, Timestamp};
use roaring::RoaringBitmap;

/// The audit line of a mutation: made when its outcome is known, rides in its commit.
pub type Line = Box<dyn FnOnce(&Outcome) -> Vec<u8> + Send>;

/// What an upsert does to a document of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Takes its place.
    #[default]
    Overwrite,
    /// Leaves it.
    Skip,
    /// Leaves it and says so as an error of that document.
    Fail,
}

/// One document to store.
#[derive(Debug)]
pub struct Upsert {
    /// Screened, cut, embedded.
    pub admitted: Admitted,
    /// When its id is taken.
    pub on_conflict: OnConflict,
}

/// Which documents a mutation is about. Those that the audience does not see are not among them.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These.
    Ids(Vec<DocumentId>),
    /// All that match.
    Filter(Filter),
}

/// A document that a reviewer judged, in the state in which the reviewer saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reviewed {
    /// Its id.
    pub id: DocumentId,
    /// What was seen.
    pub state: ReviewedState,
}

/// What tells one state of a document from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReviewedState {
    /// The commit that wrote it last.
    Commit(CommitNo),
    /// The keyed hash of what was sent.
    ContentHash([u8; 32]),
}

impl ReviewedState {
    /// Whether the document still is in it.
    pub(crate) fn is_of(&self, doc: &Document) -> bool {
        match self {
            ReviewedState::Commit(commit) => doc.commit == *commit,
            // All zeros stand for what is no longer what was sent.
            ReviewedState::ContentHash(hash) => doc.content_hash == *hash && *hash != [0; 32],
        }
    }
}

/// What becomes of the content of quarantined documents in an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Quarantine {
    /// Shown: the caller reviews.
    Shown,
    /// Withheld: id, status, findings, times and commit are told; nothing of what was sent, by filters neither.
    #[default]
    Withheld,
}

/// What a reviewer decided about quarantined documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// May be found from now on.
    Release,
    /// Is deleted.
    Reject,
}

/// What the namespace holds under an id, before anything is embedded.
#[derive(Clone, Debug)]
pub enum Known {
    /// Nothing.
    Absent,
    /// The very same content. Without text and vectors.
    Same(Box<Document>),
    /// Something else. Without text and vectors.
    Other(Box<Document>),
}

/// What became of one document that a request named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpsertStatus {
    /// Stored; can be found.
    Indexed,
    /// Stored; held back by a screen.
    Quarantined,
    /// The same content was there already.
    Unchanged,
    /// Left out: the id is taken, and [`OnConflict::Skip`].
    Skipped,
    /// Left out: the id is taken, and [`OnConflict::Fail`]. Of a review: it is not in the state that was seen.
    Conflict,
    /// Of a review: can be found now.
    Released,
    /// Of a review: deleted.
    Rejected,
    /// Of a review: it was not held back.
    NotQuarantined,
    /// Of a review: nothing there that this audience sees.
    NotFound,
}

impl UpsertStatus {
    /// The name in the contract.
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

/// One document's result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpsertResult {
    /// Its id.
    pub id: DocumentId,
    /// What became of it.
    pub status: UpsertStatus,
    /// Passages of the document that stands under the id now.
    pub passages: usize,
}

/// What a mutation did. Every mutation has a commit, also one that changed nothing: its audit
/// line rides there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Its number.
    pub commit: CommitNo,
    /// Of an append or a review, in the order of the request.
    pub results: Vec<UpsertResult>,
    /// Documents that the selection matched.
    pub matched: u64,
    /// Documents that are gone now.
    pub deleted: u64,
    /// Every document that was written or deleted, by its id.
    pub ids: Vec<DocumentId>,
}

/// The same filter for documents whose content is withheld: what it says of attributes and addresses meets none.
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

/// Of these documents, those that an audience sees now and a filter takes. Every read and every
/// selection of a write goes through here.
pub(crate) fn visible(
    index: &Index,
    mut docs: RoaringBitmap,
    audience: &Audience,
    filter: Option<&CompiledFilter>,
    now: Timestamp,
) -> Result<RoaringBitmap, crate::Error> {
    docs -= index.expired(now);
    if *audience != Audience::Everything {
        docs &= index.visible(audience);
    }
    if let Some(filter) = filter.filter(|_| !docs.is_empty()) {
        docs &= index.evaluate(filter)?;
    }
    Ok(docs)
}
