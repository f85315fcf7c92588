//! A document as the store keeps it, and the rules for who may see it.

use crate::{Attributes, CommitNo, DocumentId, Principal, ScreenAction, Timestamp, Untrusted};
use std::{collections::HashSet, fmt};

/// State of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Searches can find it.
    Indexed,
    /// A screen holds it back until it is reviewed. No search returns it.
    Quarantined,
    /// It is being embedded in the background; searches cannot find it yet.
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

/// Kind of a screen's finding.
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

/// Severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// Worth a tag.
    Low,
    /// Worth a review.
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
    /// Kind of the finding.
    pub kind: FindingKind,
    /// Stable name of the rule, for example `pii.email`.
    pub rule: String,
    /// Severity of the finding.
    pub severity: Severity,
    /// Number of occurrences.
    pub count: u32,
    /// Action that the finding led to.
    pub action: ScreenAction,
}

/// Range of a document's text, in bytes and in code points.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Span {
    /// First byte in the document's text.
    pub byte_start: u32,
    /// One past the last byte.
    pub byte_end: u32,
    /// First Unicode code point. The contract's `span` counts in code points.
    pub point_start: u32,
    /// One past the last code point.
    pub point_end: u32,
}

/// A passage: the unit of ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Passage {
    /// Range of the passage in the document's text.
    pub span: Span,
    /// Length of the passage in the model's tokens.
    pub tokens: u32,
}

/// A document as it is stored. Everything a tenant wrote is `Untrusted` or has no `Debug` text.
#[derive(Clone, PartialEq)]
pub struct Document {
    /// Id of the document in its namespace.
    pub id: DocumentId,
    /// State of the document.
    pub status: Status,
    /// Keyed hash of the document as it was sent (text, title, uri, attributes, readers, vector, …) and of the settings
    /// that judged it. An equal hash means that nothing changed. It is zero if the stored document is no longer the one
    /// that was sent.
    pub content_hash: [u8; 32],
    /// Title, or empty.
    pub title: Untrusted,
    /// URI of the source, or empty.
    pub uri: Untrusted,
    /// Attributes of the document.
    pub attributes: Attributes,
    /// Principals that may see the document; `None` stands for the whole tenant. It is never an empty list.
    pub readers: Option<Vec<Principal>>,
    /// Time of the first write.
    pub created_at: Timestamp,
    /// Time of the last write.
    pub updated_at: Timestamp,
    /// Time after which no answer shows the document.
    pub expires_at: Option<Timestamp>,
    /// Commit that wrote this version.
    pub commit: CommitNo,
    /// Findings of the screens.
    pub findings: Vec<Finding>,
    /// Visible text. GET returns it, and spans refer to it.
    pub text: Untrusted,
    /// Passages in reading order. There is at least one if there is text or a vector.
    pub passages: Vec<Passage>,
    /// Vectors of the passages, one after another: `passages.len() × dimensions` finite values. Empty if the namespace
    /// has no embedding or the document has no vectors.
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
    /// Heap size of the document in memory, bytes, without the allocator's rounding. Its size on disk differs: a list
    /// of 256 flags takes 512 bytes there and 6 KB in memory.
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

    /// A copy without text and vectors: what is known of the document apart from its content.
    #[must_use]
    pub fn without_body(&self) -> Self {
        Self {
            id: self.id.clone(),
            status: self.status,
            content_hash: self.content_hash,
            title: self.title.clone(),
            uri: self.uri.clone(),
            attributes: self.attributes.clone(),
            readers: self.readers.clone(),
            created_at: self.created_at,
            updated_at: self.updated_at,
            expires_at: self.expires_at,
            commit: self.commit,
            findings: self.findings.clone(),
            text: Untrusted::default(),
            passages: self.passages.clone(),
            vectors: Vec::new(),
        }
    }

    /// The text of passage `n`; empty when the span is not inside the text.
    pub fn passage_text(&self, n: usize) -> &str {
        self.passages
            .get(n)
            .and_then(|p| self.text.expose().get(p.span.byte_start as usize..p.span.byte_end as usize))
            .unwrap_or("")
    }
}

/// Overhead of the allocator for a small block, bytes: its own word, and rounding to 16.
pub(crate) const HEAP_BLOCK: usize = 16;

/// Whether the documents of a namespace must name their readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadersRule {
    /// A document without readers is visible to the whole tenant.
    Optional,
    /// A document without readers is refused. One that was stored earlier is visible to `read_all` only.
    Required,
}

/// The principals on whose behalf a request reads or writes. Every read and every write has to respect it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// `read_all`: every document of the tenant.
    Everything,
    /// Documents without readers, and those that name one of these principals.
    Principals(Vec<Principal>),
    /// Only documents that name one of these principals. In a namespace where documents must name their readers, a
    /// document that names none is visible to `read_all` only.
    Named(Vec<Principal>),
}

impl Audience {
    /// Whether this audience may see a document with these readers.
    pub fn may_see(&self, readers: Option<&[Principal]>) -> bool {
        match (self, readers) {
            (Audience::Everything, _) | (Audience::Principals(_), None) => true,
            (Audience::Named(_), None) => false,
            (Audience::Principals(principals) | Audience::Named(principals), Some(readers)) => {
                overlaps(principals, readers)
            }
        }
    }

    /// Principals of the audience. Empty if it sees everything.
    pub fn principals(&self) -> &[Principal] {
        match self {
            Audience::Everything => &[],
            Audience::Principals(principals) | Audience::Named(principals) => principals,
        }
    }

    /// The same audience in a namespace that has this rule.
    #[must_use]
    pub fn with_readers_rule(self, required: ReadersRule) -> Self {
        match (self, required) {
            (Audience::Principals(principals), ReadersRule::Required) => Audience::Named(principals),
            (audience, _) => audience,
        }
    }
}

/// Whether two lists of principals have one in common. Long lists are hashed: a document may name as many readers as a
/// key has principals.
fn overlaps(principals: &[Principal], readers: &[Principal]) -> bool {
    if principals.len().saturating_mul(readers.len()) <= COMPARED_PAIRWISE_MAX {
        return readers.iter().any(|reader| principals.contains(reader));
    }
    let principals: HashSet<&str> = principals.iter().map(Principal::as_str).collect();
    readers.iter().any(|reader| principals.contains(reader.as_str()))
}

/// Number of pairs up to which comparing each pair costs less than building a hash table of one side.
const COMPARED_PAIRWISE_MAX: usize = 256;
