//! A document as the store keeps it, and who may see it.

use crate::{Attributes, CommitNo, DocumentId, Principal, ScreenAction, Timestamp, Untrusted};
use std::{collections::HashSet, fmt};

/// Where a document stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Can be found.
    Indexed,
    /// Held back by a screen until it is reviewed. Never in the reply of a search.
    Quarantined,
    /// Being embedded in the background; cannot be found yet.
    Pending,
}

impl Status {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Indexed => "indexed",
            Status::Quarantined => "quarantined",
            Status::Pending => "pending",
        }
    }
}

/// What kind of thing a screen found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FindingKind {
    /// Text that tries to instruct a model.
    Injection,
    /// Personal data.
    Pii,
    /// A credential.
    Secret,
}

impl FindingKind {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            FindingKind::Injection => "injection",
            FindingKind::Pii => "pii",
            FindingKind::Secret => "secret",
        }
    }
}

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a tag.
    Low,
    /// Worth a look.
    Medium,
    /// Worth holding back.
    High,
}

impl Severity {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
        }
    }
}

/// What a screen found in one document: counts and rule names, never the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub kind: FindingKind,
    /// The rule's stable name, `pii.email`.
    pub rule: String,
    /// How grave.
    pub severity: Severity,
    /// How often.
    pub count: u32,
    /// What was done about it.
    pub action: ScreenAction,
}

/// Part of a document's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte in the document's text.
    pub byte_start: u32,
    /// One past the last byte.
    pub byte_end: u32,
    /// First Unicode code point (what the contract calls `span`).
    pub point_start: u32,
    /// One past the last code point.
    pub point_end: u32,
}

/// A passage: what is ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Passage {
    /// Where it stands in the document's text.
    pub span: Span,
    /// Its length in the model's tokens.
    pub tokens: u32,
}

/// A document as it is stored. Everything a tenant wrote is `Untrusted` or has no `Debug` text.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Its id inside the namespace.
    pub id: DocumentId,
    /// Where it stands.
    pub status: Status,
    /// Keyed hash of what was sent (text, title, uri, attributes, readers, vector, …) and of the settings that judged
    /// it: equal means unchanged. Zero where it is no longer what was sent.
    pub content_hash: [u8; 32],
    /// Title, or empty.
    pub title: Untrusted,
    /// Source, or empty.
    pub uri: Untrusted,
    /// Attributes.
    pub attributes: Attributes,
    /// Who may see it; `None` is the whole tenant. Never an empty list.
    pub readers: Option<Vec<Principal>>,
    /// First stored.
    pub created_at: Timestamp,
    /// Last written.
    pub updated_at: Timestamp,
    /// Gone from every answer after this.
    pub expires_at: Option<Timestamp>,
    /// The commit that wrote it.
    pub commit: CommitNo,
    /// What the screens found.
    pub findings: Vec<Finding>,
    /// Visible text; what GET returns and what spans count in.
    pub text: Untrusted,
    /// Passages in reading order. At least one when there is text or a vector.
    pub passages: Vec<Passage>,
    /// Vectors of the passages, one after another: `passages.len() × dimensions` finite values;
    /// empty when the namespace has no embedding or the document none.
    pub vectors: Vec<f32>,
}

impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document")
            .field("id", &self.id)
            .field("status", &self.status)
            .field("text", &self.text)
            .field("passages", &self.passages.len())
            .field("commit", &self.commit)
            .finish_non_exhaustive()
    }
}

impl Document {
    /// Heap bytes of this form of it, in memory, without the allocator's rounding. What it takes on disk is another
    /// number: a list of 256 flags is 512 bytes there and 6 KB here.
    pub fn heap_bytes(&self) -> u64 {
        let readers =
            self.readers.iter().flatten().map(|reader| size_of::<Principal>() + reader.as_str().len() + HEAP_BLOCK);
        let findings = self.findings.iter().map(|finding| size_of::<Finding>() + finding.rule.len() + HEAP_BLOCK);
        let bytes = size_of::<Self>()
            + self.id.as_str().len()
            + [&self.title, &self.uri, &self.text].map(Untrusted::len).iter().sum::<usize>()
            + readers.sum::<usize>()
            + findings.sum::<usize>()
            + size_of_val(self.passages.as_slice())
            + size_of_val(self.vectors.as_slice());
        bytes as u64 + crate::attributes::heap_bytes(&self.attributes)
    }

    /// The text of passage `n`; empty when the span is not inside the text.
    pub fn passage_text(&self, n: usize) -> &str {
        self.passages
            .get(n)
            .and_then(|p| self.text.expose().get(p.span.byte_start as usize..p.span.byte_end as usize))
            .unwrap_or("")
    }
}

/// What the allocator adds to a small block, bytes: its own word, and rounding to 16.
pub(crate) const HEAP_BLOCK: usize = 16;

/// Whether documents of a namespace have to name their readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadersRule {
    /// A document without readers is open to the whole tenant.
    Optional,
    /// A document without readers is refused, and one that was there before is open to `read_all` only.
    Required,
}

/// Whose eyes look: an obligation on every read and every write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// `read_all`: every document of the tenant.
    Everything,
    /// Open documents, and those that name one of these principals.
    Principals(Vec<Principal>),
    /// Only documents that name one of these principals: where documents have to name their readers, one that names
    /// none is open to `read_all` only.
    Named(Vec<Principal>),
}

impl Audience {
    /// Whether a document with these readers may be seen.
    pub fn may_see(&self, readers: Option<&[Principal]>) -> bool {
        match (self, readers) {
            (Audience::Everything, _) | (Audience::Principals(_), None) => true,
            (Audience::Named(_), None) => false,
            (Audience::Principals(mine) | Audience::Named(mine), Some(readers)) => share(mine, readers),
        }
    }

    /// The same eyes in a namespace that has this rule.
    #[must_use]
    pub fn where_readers_are(self, required: ReadersRule) -> Self {
        match (self, required) {
            (Audience::Principals(mine), ReadersRule::Required) => Audience::Named(mine),
            (audience, _) => audience,
        }
    }
}

/// Whether two lists have one in common. Long ones are hashed: a document may name as many readers as a key has
/// principals.
fn share(mine: &[Principal], readers: &[Principal]) -> bool {
    if mine.len().saturating_mul(readers.len()) <= COMPARED_ONE_BY_ONE {
        return readers.iter().any(|reader| mine.contains(reader));
    }
    let mine: HashSet<&str> = mine.iter().map(Principal::as_str).collect();
    readers.iter().any(|reader| mine.contains(reader.as_str()))
}

/// Pairs of principals that cost less than a table of one side.
const COMPARED_ONE_BY_ONE: usize = 256;
