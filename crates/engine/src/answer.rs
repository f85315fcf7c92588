//! What flows are asked and what they answer: plain types. JSON is `src/http/wire.rs`'s matter.

use crate::turnstile::Pass;
use intake::{RawDocument, RawPatch};
use kernel::{
    Attributes, Audience, CommitNo, Discarded, Document, DocumentId, Error, Filter, Finding, Principal, Untrusted,
};
use ledger::Audited;
use std::sync::Arc;
use store::{Decision, Look, OnConflict, PageEnd, Quarantine, Reviewed, Selection};

/// A flow's end: either way it stands in the audit.
pub type Flow<T> = Result<Audited<T>, Audited<Error>>;

/// A reply with a permit for the memory that it takes.
pub trait Permitted {
    /// Takes the permit out. The sender of the reply holds it until the reply is written.
    fn take_permit(&mut self) -> Option<Pass>;
}

impl Permitted for SearchReply {
    fn take_permit(&mut self) -> Option<Pass> {
        self.memory.take()
    }
}

impl Permitted for DocumentPage {
    fn take_permit(&mut self) -> Option<Pass> {
        self.memory.take()
    }
}

impl Permitted for DocumentReply {
    fn take_permit(&mut self) -> Option<Pass> {
        self.memory.take()
    }
}

/// Part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// At most so many.
    pub limit: usize,
    /// Only what comes after this.
    pub after: Option<String>,
}

/// A page's content.
#[derive(Debug)]
pub struct Paged<T> {
    /// In order.
    pub items: Vec<T>,
    /// What to give as `after` for more.
    pub next: Option<String>,
}

/// Something is gone.
#[derive(Debug)]
pub struct Deleted;

/// Documents to store.
#[derive(Debug)]
pub struct IngestRequest {
    /// In the caller's order.
    pub documents: RawDocuments,
    /// Results of those that were wrong as they were read, by their place in the request. The others are stored.
    pub refused: Vec<(usize, DocumentResult)>,
    /// What to do where the id exists with other content.
    pub on_conflict: OnConflict,
}

/// Documents of a request with what they weigh, which takes as long to sum up as they have parts. Freed on a thread of
/// their own if there are many parts.
pub struct RawDocuments {
    documents: Discarded<Vec<RawDocument>>,
    heap_bytes: u64,
}

impl RawDocuments {
    /// What they take of memory, bytes.
    pub fn heap_bytes(&self) -> u64 {
        self.heap_bytes
    }

    pub(crate) fn into_inner(self) -> Vec<RawDocument> {
        self.documents.into_inner()
    }
}

impl From<Vec<RawDocument>> for RawDocuments {
    /// Cost: O(parts).
    fn from(documents: Vec<RawDocument>) -> Self {
        let heap_bytes = documents.iter().map(RawDocument::heap_bytes).sum();
        Self { documents: Discarded::new(documents, heap_bytes > LARGE_BYTES_MIN), heap_bytes }
    }
}

impl std::ops::Deref for RawDocuments {
    type Target = [RawDocument];

    fn deref(&self) -> &[RawDocument] {
        &self.documents
    }
}

impl std::fmt::Debug for RawDocuments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawDocuments({}, {} bytes)", self.documents.len(), self.heap_bytes)
    }
}

/// What takes more is freed on a thread of its own: less is freed in a millisecond, of the smallest parts too.
pub(crate) const LARGE_BYTES_MIN: u64 = 512 << 10;

/// What became of one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultStatus {
    /// Can be found.
    Indexed,
    /// Was there already, with this very content.
    Unchanged,
    /// Stored and held back.
    Quarantined,
    /// Refused by a screen; not stored.
    Rejected,
    /// Left alone as `on_conflict: skip` asks.
    Skipped,
    /// Wrong in itself, or in conflict.
    Failed,
}

impl ResultStatus {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            ResultStatus::Indexed => "indexed",
            ResultStatus::Unchanged => "unchanged",
            ResultStatus::Quarantined => "quarantined",
            ResultStatus::Rejected => "rejected",
            ResultStatus::Skipped => "skipped",
            ResultStatus::Failed => "failed",
        }
    }
}

/// One document's result.
#[derive(Debug)]
pub struct DocumentResult {
    /// Its id, where one is known.
    pub id: Option<DocumentId>,
    /// What became of it.
    pub status: ResultStatus,
    /// Passages stored.
    pub passages: usize,
    /// What the screens found.
    pub findings: Vec<Finding>,
    /// Why it failed.
    pub error: Option<Error>,
}

impl DocumentResult {
    /// Of a document that is wrong in itself.
    pub fn failed(id: Option<DocumentId>, error: Error) -> Self {
        Self { id, status: ResultStatus::Failed, passages: 0, findings: Vec::new(), error: Some(error) }
    }
}

/// Results in the order of the request.
#[derive(Debug)]
pub struct IngestReply {
    /// One for each document.
    pub results: Vec<DocumentResult>,
    /// The commit that holds what was stored.
    pub commit: CommitNo,
}

/// What to show of a document beside its head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// Its text.
    pub text: bool,
    /// Its attributes.
    pub attributes: bool,
    /// Its vectors (scope `vectors`).
    pub vector: bool,
    /// How a hit was found.
    pub explain: bool,
    /// Where its words are that were asked for.
    pub highlights: bool,
}

/// How to rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both arms, fused.
    Hybrid,
    /// Vectors only.
    Vector,
    /// BM25 only.
    Text,
}

impl Mode {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Hybrid => "hybrid",
            Mode::Vector => "vector",
            Mode::Text => "text",
        }
    }
}

/// Least scores of the arms; a hit must have each that is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinScores {
    /// Of the vector arm.
    pub vector: Option<f32>,
    /// Of the text arm.
    pub text: Option<f32>,
    /// Of the reranker.
    pub rerank: Option<f32>,
}

/// How the rankings of a hybrid search become one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fusion {
    /// By what.
    pub method: FusionMethod,
    /// How much each arm counts; for `weighted` and `convex`, where absent means alike.
    pub weights: Option<Weights>,
}

/// See [`Fusion`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FusionMethod {
    /// Scores, each arm weighed for this one query by how its scores lie and how well the model knows the words.
    #[default]
    Adaptive,
    /// Reciprocal ranks.
    Rrf,
    /// Reciprocal ranks, weighed.
    Weighted,
    /// Scores brought to one scale, weighed.
    Convex,
}

impl FusionMethod {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            FusionMethod::Adaptive => "adaptive",
            FusionMethod::Rrf => "rrf",
            FusionMethod::Weighted => "weighted",
            FusionMethod::Convex => "convex",
        }
    }
}

/// How much each arm counts. Only their ratio matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weights {
    /// 0 or more.
    pub text: f32,
    /// 0 or more; not both 0.
    pub vector: f32,
}

/// Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diversity {
    /// 1: relevance only; 0: after the first hit only unlikeness to those before.
    pub lambda: f32,
}

/// What a quotation in a question means. One with a plus before it (`+"sick leave"`) is demanded in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phrases {
    /// Passages that hold it come first.
    #[default]
    Prefer,
    /// Only passages that hold it answer.
    Require,
}

/// The best candidates are judged again, by a model that reads them beside the question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rerank {
    /// Which; absent: the server's own choice.
    pub model: Option<String>,
    /// How many candidates; absent: 50, or `top_k` where that is more.
    pub depth: Option<usize>,
}

/// A search. The default asks for nothing; callers fill in the members that they need.
#[derive(Debug, Default)]
pub struct SearchRequest {
    /// The question.
    pub query: Option<Untrusted>,
    /// Or its vector.
    pub vector: Option<Vec<f32>>,
    /// Hits wanted, 1 to 1,000.
    pub top_k: usize,
    /// How to rank; absent: what serves.
    pub mode: Option<Mode>,
    /// Which documents may answer.
    pub filter: Option<Filter>,
    /// On whose behalf (scope `act_as`).
    pub acting_as: Option<Vec<Principal>>,
    /// What to show.
    pub include: Include,
    /// Least scores.
    pub min_scores: MinScores,
    /// Most passages of one document.
    pub max_per_document: Option<usize>,
    /// Most passages of one source, that is of all documents with the same `uri`. Those without one are each a
    /// source of their own.
    pub max_per_source: Option<usize>,
    /// How two rankings become one; absent: adaptively.
    pub fusion: Option<Fusion>,
    /// What a quotation in the question means.
    pub phrases: Phrases,
    /// Passages that say something new before those that repeat.
    pub diversity: Option<Diversity>,
    /// Whether and how a model judges the best candidates again.
    pub rerank: Option<Rerank>,
    /// Wait for this commit.
    pub min_commit: Option<CommitNo>,
    /// How much more a word of the title counts than one of the passage; absent: what measured best.
    pub title_weight: Option<f32>,
}

/// The arms' own scores of a hit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scores {
    /// Similarity.
    pub vector: Option<f32>,
    /// BM25.
    pub text: Option<f32>,
    /// The reranker's. Then `score` is this one.
    pub rerank: Option<f32>,
}

/// A passage that answers.
#[derive(Debug)]
pub struct Hit {
    /// Its document.
    pub document_id: DocumentId,
    /// Which passage.
    pub passage: u32,
    /// Orders this reply only.
    pub score: f32,
    /// The arms' own.
    pub scores: Scores,
    /// Of the document.
    pub title: Untrusted,
    /// Of the document; may be empty.
    pub uri: Untrusted,
    /// The passage's text, if asked for.
    pub text: Option<Untrusted>,
    /// Of the document, if asked for.
    pub attributes: Option<Arc<Attributes>>,
    /// The passage's vector, if asked for.
    pub vector: Option<Vec<f32>>,
    /// In Unicode code points of the document's text.
    pub span: (u32, u32),
    /// In Unicode code points of the passage's text: words that were asked for, if asked for.
    pub highlights: Option<Vec<(u32, u32)>>,
    /// Of the document.
    pub findings: Vec<Finding>,
    /// The passage's length in tokens.
    pub tokens: u32,
    /// How many of the phrases that the question prefers stand in it.
    pub phrases: usize,
}

/// What a search found.
#[derive(Debug)]
pub struct SearchReply {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How it was ranked.
    pub mode: Mode,
    /// Whether part of the eligible rows went unsearched.
    pub incomplete: bool,
    /// What the caller should know.
    pub warnings: Vec<String>,
    /// The state that was searched.
    pub commit: CommitNo,
    /// Step and milliseconds.
    pub timings: Vec<(&'static str, f64)>,
    /// The plan, if asked for.
    pub explain: Option<Explain>,
    /// For the memory that it takes, until it is written.
    pub memory: Option<Pass>,
}

/// How a search was carried out. Numbers only.
#[derive(Clone, Debug)]
pub struct Explain {
    /// Rows of the namespace that this reader sees.
    pub rows: u64,
    /// Rows that passed readers, status, expiry and filter before any ranking.
    pub eligible_rows: u64,
    /// Candidates each arm gave.
    pub text_candidates: usize,
    /// See `text_candidates`.
    pub vector_candidates: usize,
    /// How the vector arm searched each segment in which something was eligible.
    pub segments: Vec<SegmentSearch>,
    /// Constant of the reciprocal rank fusion.
    pub rrf_k: f32,
    /// How the arms were fused, if both were asked.
    pub fusion: Option<Fused>,
    /// How the candidates were reranked, if they were.
    pub rerank: Option<Reranked>,
}

/// How the candidates of one search were reranked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reranked {
    /// By which model.
    pub model: String,
    /// `cross_encoder` or `late_interaction`.
    pub method: &'static str,
    /// How many it read.
    pub candidates: usize,
}

/// How the arms of one search were fused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fused {
    /// By what.
    pub method: FusionMethod,
    /// How much each arm counted; they sum to 1.
    pub weights: Weights,
    /// What an adaptive fusion went by.
    pub signals: Option<Signals>,
}

/// What can be seen of a query without knowing the answer. Of each arm's first 100 candidates.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Signals {
    /// How far the best BM25 score stands above the mean of all candidates, in standard deviations.
    pub text_outlier: f32,
    /// The same of the best similarity.
    pub vector_outlier: f32,
    /// How much of the best similarity the mean candidate lacks, 0 to 1: low where the model tells little apart.
    pub vector_contrast: f32,
    /// Share of the query's words, by rarity, that the model has no token of its own for. Only words that some
    /// eligible passage holds count: of others text knows nothing either. 0 where no model made the query's vector.
    pub unfamiliar: f32,
    /// Share of those words, weighed alike, that hold a digit: part numbers, tickets, error codes.
    pub identifiers: f32,
}

/// How the vector arm searched one segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentSearch {
    /// Its rows.
    pub rows: u64,
    /// Those that might answer.
    pub eligible_rows: u64,
    /// `scan`, `walk` or `walk_then_scan`; `None` for a reader who does not see everything: whether there is a graph to
    /// walk, and whether that is cheaper, depends on rows that such a reader does not see.
    pub way: Option<&'static str>,
    /// Rows in view of a walk.
    pub breadth: Option<usize>,
    /// Rows compared by their int8 codes; `None` for a reader who does not see everything.
    pub compared: Option<u64>,
    /// Rows scored in 16 bits: the best of those, or all where so few might answer that none was compared.
    pub rescored: Option<u64>,
}

impl SegmentSearch {
    /// What a reader is told of how segments were searched. Into how many a namespace is cut, how large they are and
    /// what that makes of a plan depends on all that was written to it: who does not see everything is told the sums
    /// of eligible rows, as of one segment that has the rows which this reader sees.
    pub(crate) fn told(looks: Vec<Look>, audience: &Audience, rows: u64) -> Vec<Self> {
        let each = looks.into_iter().map(Self::from);
        if *audience == Audience::Everything {
            return each.collect();
        }
        let joined = each.reduce(|sum, one| Self { rows, eligible_rows: sum.eligible_rows + one.eligible_rows, ..sum });
        let told = |Self { eligible_rows, .. }| Self {
            rows,
            eligible_rows,
            way: None,
            breadth: None,
            compared: None,
            rescored: None,
        };
        joined.map(told).into_iter().collect()
    }
}

impl From<Look> for SegmentSearch {
    fn from(look: Look) -> Self {
        let segment::Trace { rows: eligible_rows, way, compared, rescored } = look.trace;
        let (compared, rescored) = (Some(compared), Some(rescored));
        Self { rows: look.rows, eligible_rows, way: Some(way.as_str()), breadth: way.breadth(), compared, rescored }
    }
}

/// A list.
#[derive(Debug)]
pub struct ListRequest {
    /// Which documents.
    pub filter: Option<Filter>,
    /// Or just these.
    pub ids: Option<Vec<DocumentId>>,
    /// On whose behalf.
    pub acting_as: Option<Vec<Principal>>,
    /// What to show.
    pub include: Include,
    /// Most documents of the page; 0 only counts.
    pub limit: usize,
    /// Only what comes after a page that ended there.
    pub after: Option<PageEnd>,
}

/// A page of documents.
#[derive(Debug)]
pub struct DocumentPage {
    /// Ordered by id.
    pub documents: Vec<Document>,
    /// How many match in all.
    pub total: u64,
    /// What to give as `after` for more.
    pub next: Option<PageEnd>,
    /// What to show of each.
    pub include: Include,
    /// Whether the content of quarantined ones is shown.
    pub quarantine: Quarantine,
    /// The state that was read.
    pub commit: CommitNo,
    /// For the memory that it takes, until it is written.
    pub memory: Option<Pass>,
}

/// One document.
#[derive(Debug)]
pub struct DocumentReply {
    /// The document.
    pub document: Document,
    /// What to show of it.
    pub include: Include,
    /// Whether its content is shown if it is quarantined.
    pub quarantine: Quarantine,
    /// For the memory that it takes, until it is written.
    pub memory: Option<Pass>,
}

/// What a deletion did.
#[derive(Clone, Debug)]
pub struct DeleteReply {
    /// Documents gone.
    pub deleted: u64,
    /// Since which commit.
    pub commit: CommitNo,
    /// With an erasure: the signed statement that nothing holds them any more.
    pub certificate: Option<String>,
}

/// A change without new text.
#[derive(Debug)]
pub struct PatchRequest {
    /// Which documents.
    pub which: Selection,
    /// What changes.
    pub patch: RawPatch,
}

/// What a patch did.
#[derive(Clone, Copy, Debug)]
pub struct PatchReply {
    /// Documents changed.
    pub matched: u64,
    /// Since which commit.
    pub commit: CommitNo,
}

/// A reviewer's decision on quarantined documents.
#[derive(Debug)]
pub struct ReviewRequest {
    /// Which, each in the state that the reviewer saw.
    pub documents: Vec<Reviewed>,
    /// What to do.
    pub decision: Decision,
    /// The reason. Its pseudonym stands in the audit; the text itself only in the sealed commit.
    pub note: Option<Untrusted>,
}

/// What became of each.
#[derive(Debug)]
pub struct ReviewReply {
    /// In the order of the request.
    pub results: Vec<(DocumentId, &'static str)>,
    /// Since which commit.
    pub commit: CommitNo,
}
