//! Requests and replies of the flows, as plain types. Their JSON forms are in the crate `api`.

use crate::admission::Permit;
use intake::{RawDocument, RawPatch};
use kernel::{
    Attributes, Audience, CommitNo, DeferredDrop, Document, DocumentId, Error, Filter, Finding, Principal, Untrusted,
};
use ledger::Audited;
use std::sync::Arc;
use store::{Decision, OnConflict, PageEnd, Quarantine, Reviewed, SegmentSearchStats, Selection};

/// Result of a flow. Success and failure are both audited.
pub type FlowResult<T> = Result<Audited<T>, Audited<Error>>;

/// A reply that carries a permit for the memory it takes.
pub trait WithPermit {
    /// Moves the permit out. The caller holds it until the connection has written the reply.
    fn take_permit(&mut self) -> Option<Permit>;
}

impl WithPermit for SearchReply {
    fn take_permit(&mut self) -> Option<Permit> {
        self.memory.take()
    }
}

impl WithPermit for DocumentListReply {
    fn take_permit(&mut self) -> Option<Permit> {
        self.memory.take()
    }
}

impl WithPermit for DocumentReply {
    fn take_permit(&mut self) -> Option<Permit> {
        self.memory.take()
    }
}

/// Request for one page of a list.
#[derive(Clone, Debug)]
pub struct PageRequest {
    /// Most items to return.
    pub limit: usize,
    /// Cursor: return only items after this one.
    pub after: Option<String>,
}

/// One page of a list.
#[derive(Debug)]
pub struct ListPage<T> {
    /// Items in the order of the list.
    pub items: Vec<T>,
    /// Cursor to pass as `after` for the next page; `None` at the end.
    pub next: Option<String>,
}

/// Reply to a deletion that reports nothing else.
#[derive(Debug)]
pub struct NamespaceDeleted;

/// Documents to store.
#[derive(Debug)]
pub struct IngestRequest {
    /// Documents in the caller's order.
    pub documents: RawDocuments,
    /// Results of documents that were invalid when they were parsed, by position in the request. The others are stored.
    pub refused: Vec<(usize, DocumentOutcome)>,
    /// What to do if the id exists with other content.
    pub on_conflict: OnConflict,
}

/// Documents of a request and their size in memory, which takes time proportional to their number of parts to sum up.
/// Large ones are freed on a separate thread.
pub struct RawDocuments {
    documents: DeferredDrop<Vec<RawDocument>>,
    heap_bytes: u64,
}

impl RawDocuments {
    /// Memory that the documents take, in bytes.
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
        Self { documents: DeferredDrop::new(documents, heap_bytes > LARGE_BYTES_MIN), heap_bytes }
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

/// Documents that take more bytes than this are freed on a separate thread. Less is freed within a millisecond, even if
/// it consists of the smallest parts.
pub(crate) const LARGE_BYTES_MIN: u64 = 512 << 10;

/// Outcome for one document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResultStatus {
    /// Stored and searchable.
    Indexed,
    /// Already stored with the same content.
    Unchanged,
    /// Stored and withheld from searches.
    Quarantined,
    /// Rejected by a screen; not stored.
    Rejected,
    /// Left unchanged because of `on_conflict: skip`.
    Skipped,
    /// Invalid, or in conflict with a stored document.
    Failed,
}

impl ResultStatus {
    /// Name in the API.
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

/// Result for one document.
#[derive(Debug)]
pub struct DocumentOutcome {
    /// Id of the document, if it is known.
    pub id: Option<DocumentId>,
    /// Outcome for the document.
    pub status: ResultStatus,
    /// Number of passages stored.
    pub passages: usize,
    /// Findings of the screens.
    pub findings: Vec<Finding>,
    /// The reason why it failed.
    pub error: Option<Error>,
}

impl DocumentOutcome {
    /// Result for a document that is invalid.
    pub fn failed(id: Option<DocumentId>, error: Error) -> Self {
        Self { id, status: ResultStatus::Failed, passages: 0, findings: Vec::new(), error: Some(error) }
    }
}

/// Reply to an ingest.
#[derive(Debug)]
pub struct IngestReply {
    /// One result for each document, in the order of the request.
    pub results: Vec<DocumentOutcome>,
    /// The commit that contains the stored documents.
    pub commit: CommitNo,
}

/// What to return of a document in addition to its metadata.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Include {
    /// Text of the document.
    pub text: bool,
    /// Attributes of the document.
    pub attributes: bool,
    /// Vectors of the passages (scope `vectors`).
    pub vector: bool,
    /// How the search was carried out.
    pub explain: bool,
    /// Positions of the query's words in a hit.
    pub highlights: bool,
}

/// How to rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Both retrievers, fused.
    Hybrid,
    /// The vector retriever only.
    Vector,
    /// The text retriever (BM25) only.
    Text,
}

impl Mode {
    /// Name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Hybrid => "hybrid",
            Mode::Vector => "vector",
            Mode::Text => "text",
        }
    }
}

/// Minimum scores; a hit must reach each one that is set.
#[derive(Clone, Copy, Debug, Default)]
pub struct MinScores {
    /// Minimum score of the vector retriever.
    pub vector: Option<f32>,
    /// Minimum score of the text retriever.
    pub text: Option<f32>,
    /// Minimum score of the reranker.
    pub rerank: Option<f32>,
}

/// How a hybrid search fuses its two rankings into one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Fusion {
    /// Fusion method.
    pub method: FusionMethod,
    /// Weight of each retriever, for `weighted` and `convex`; equal weights if absent.
    pub weights: Option<FusionWeights>,
}

/// Method of a [`Fusion`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FusionMethod {
    /// Scores, with weights chosen for each query from the distribution of each retriever's scores and from how well
    /// the model knows the query's words.
    #[default]
    Adaptive,
    /// Reciprocal rank fusion.
    Rrf,
    /// Weighted reciprocal rank fusion.
    Weighted,
    /// Weighted sum of normalized scores.
    Convex,
}

impl FusionMethod {
    /// Name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            FusionMethod::Adaptive => "adaptive",
            FusionMethod::Rrf => "rrf",
            FusionMethod::Weighted => "weighted",
            FusionMethod::Convex => "convex",
        }
    }
}

/// Weights of the retrievers. Only their ratio matters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusionWeights {
    /// Weight of the text retriever, 0 or more.
    pub text: f32,
    /// Weight of the vector retriever, 0 or more. Not both weights are 0.
    pub vector: f32,
}

/// Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Diversity {
    /// Balance of relevance and novelty. 1 ranks by relevance only; 0 ranks every hit after the first only by
    /// dissimilarity to those before it.
    pub lambda: f32,
}

/// What a quotation in a question means. One with a plus before it (`+"sick leave"`) is required in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phrases {
    /// Passages that contain it rank first.
    #[default]
    Prefer,
    /// Only passages that contain it are returned.
    Require,
}

/// Reranks the best candidates by a model that reads each together with the question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rerank {
    /// Name of the model; absent: the server's default.
    pub model: Option<String>,
    /// Number of candidates to rerank; absent: 50, or `top_k` if that is more.
    pub depth: Option<usize>,
}

/// A search request. The default requests nothing; callers set the members that they need.
#[derive(Debug, Default)]
pub struct SearchRequest {
    /// The question, if any.
    pub query: Option<Untrusted>,
    /// The query vector, if the caller provides one.
    pub vector: Option<Vec<f32>>,
    /// Number of hits to return, 1 to 1,000.
    pub top_k: usize,
    /// How to rank; absent: hybrid if possible, else the mode that is available.
    pub mode: Option<Mode>,
    /// Restricts the search to documents that match.
    pub filter: Option<Filter>,
    /// Principals on whose behalf the caller searches (scope `act_as`).
    pub acting_as: Option<Vec<Principal>>,
    /// What to return of each hit.
    pub include: Include,
    /// Minimum scores.
    pub min_scores: MinScores,
    /// Most passages to return of one document.
    pub max_per_document: Option<usize>,
    /// Most passages to return of one source, that is of all documents with the same `uri`. Each document without a
    /// `uri` is a source of its own.
    pub max_per_source: Option<usize>,
    /// How to fuse the two rankings; absent: adaptively.
    pub fusion: Option<Fusion>,
    /// What a quotation in the question means.
    pub phrases: Phrases,
    /// Ranks passages that say something new before those that repeat others.
    pub diversity: Option<Diversity>,
    /// Whether and how a model reranks the best candidates.
    pub rerank: Option<Rerank>,
    /// The search waits until this commit is visible.
    pub min_commit: Option<CommitNo>,
    /// Weight of a word in the title relative to one in the passage; absent: the value that measured best.
    pub title_weight: Option<f32>,
}

/// Scores of a hit by retriever and reranker.
#[derive(Clone, Copy, Debug, Default)]
pub struct HitScores {
    /// Similarity to the query vector.
    pub vector: Option<f32>,
    /// BM25 score.
    pub text: Option<f32>,
    /// Score of the reranker. If set, `score` equals it.
    pub rerank: Option<f32>,
}

/// A passage in a search reply.
#[derive(Debug)]
pub struct SearchHit {
    /// Id of the document.
    pub document_id: DocumentId,
    /// Index of the passage in the document.
    pub passage: u32,
    /// Final score. It is comparable within this reply only.
    pub score: f32,
    /// Scores of the retrievers and the reranker.
    pub scores: HitScores,
    /// Title of the document.
    pub title: Untrusted,
    /// URI of the document; may be empty.
    pub uri: Untrusted,
    /// Text of the passage, if requested.
    pub text: Option<Untrusted>,
    /// Attributes of the document, if requested.
    pub attributes: Option<Arc<Attributes>>,
    /// Vector of the passage, if requested.
    pub vector: Option<Vec<f32>>,
    /// Start and end of the passage in the document's text, in Unicode code points.
    pub span: (u32, u32),
    /// Start and end of each of the query's words in the passage's text, in Unicode code points, if requested.
    pub highlights: Option<Vec<(u32, u32)>>,
    /// Findings of the screens in the document.
    pub findings: Vec<Finding>,
    /// Length of the passage in tokens.
    pub tokens: u32,
    /// Number of preferred phrases of the question that the passage contains.
    pub phrases: usize,
}

/// Reply to a search.
#[derive(Debug)]
pub struct SearchReply {
    /// Hits, best first.
    pub hits: Vec<SearchHit>,
    /// Mode in which the hits were ranked.
    pub mode: Mode,
    /// Whether the reply could not hold all hits.
    pub incomplete: bool,
    /// Warnings to the caller.
    pub warnings: Vec<String>,
    /// Commit of the snapshot that was searched.
    pub commit: CommitNo,
    /// Milliseconds by stage.
    pub timings: Vec<(&'static str, f64)>,
    /// How the search was carried out, if requested.
    pub explain: Option<SearchExplanation>,
    /// Permit for the reply's memory, held until the connection has written it.
    pub memory: Option<Permit>,
}

/// How a search was carried out. It contains no content.
#[derive(Clone, Debug)]
pub struct SearchExplanation {
    /// Rows of the namespace that the reader sees.
    pub rows: u64,
    /// Rows that passed readers, status, expiry and filter before ranking.
    pub eligible_rows: u64,
    /// Candidates that the text retriever returned.
    pub text_candidates: usize,
    /// Candidates that the vector retriever returned.
    pub vector_candidates: usize,
    /// How the vector retriever searched each segment that contains eligible rows.
    pub segments: Vec<SegmentSearch>,
    /// Constant `k` of reciprocal rank fusion.
    pub rrf_k: f32,
    /// How the rankings were fused, if both retrievers ran.
    pub fusion: Option<FusionReport>,
    /// How the candidates were reranked, if they were.
    pub rerank: Option<RerankReport>,
}

/// How the candidates of one search were reranked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RerankReport {
    /// Name of the model.
    pub model: String,
    /// `cross_encoder` or `late_interaction`.
    pub method: &'static str,
    /// Number of candidates that the model read.
    pub candidates: usize,
}

/// How the rankings of one search were fused.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FusionReport {
    /// Fusion method.
    pub method: FusionMethod,
    /// Weight of each retriever; the weights sum to 1.
    pub weights: FusionWeights,
    /// Signals from which an adaptive fusion computed the weights.
    pub signals: Option<FusionSignals>,
}

/// Signals of a query that need no relevance judgments, computed from the first 100 candidates of each retriever.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FusionSignals {
    /// Distance of the best BM25 score above the mean of all candidates, in standard deviations.
    pub text_outlier: f32,
    /// Distance of the best similarity above the mean of all candidates, in standard deviations.
    pub vector_outlier: f32,
    /// Share of the best similarity that the mean candidate lacks, 0 to 1. It is low where the model discriminates
    /// little.
    pub vector_contrast: f32,
    /// Share of the query's words, weighted by rarity, for which the model has no token of their own. Only words that
    /// some eligible passage contains count, since the text retriever knows nothing of others either. 0 if no model
    /// made the query vector.
    pub unfamiliar: f32,
    /// Share of those words, weighted in the same way, that contain a digit: part numbers, tickets, error codes.
    pub identifiers: f32,
}

/// How the vector retriever searched one segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentSearch {
    /// Rows of the segment.
    pub rows: u64,
    /// Eligible rows of the segment.
    pub eligible_rows: u64,
    /// `scan`, `walk` or `walk_then_scan`. `None` for a reader who does not see everything: whether there is a graph to
    /// walk, and whether that is cheaper, depends on rows that such a reader does not see.
    pub strategy: Option<&'static str>,
    /// Breadth of a graph walk: the number of best rows that it keeps.
    pub breadth: Option<usize>,
    /// Rows compared by their int8 codes. `None` for a reader who does not see everything.
    pub compared: Option<u64>,
    /// Rows scored with 16-bit vectors: the best of the compared rows, or all eligible rows if they were too few to
    /// compare any by codes.
    pub rescored: Option<u64>,
}

impl SegmentSearch {
    /// What a reader may know of how segments were searched. The number and sizes of segments, and the search strategy
    /// that follows from them, depend on everything that was written to the namespace. A reader who does not see
    /// everything therefore gets one entry: the sum of eligible rows, with the rows that this reader sees as the
    /// segment's rows.
    pub(crate) fn visible_to(searches: Vec<SegmentSearchStats>, audience: &Audience, rows: u64) -> Vec<Self> {
        let each = searches.into_iter().map(Self::from);
        if *audience == Audience::Everything {
            return each.collect();
        }
        let joined = each.reduce(|sum, one| Self { rows, eligible_rows: sum.eligible_rows + one.eligible_rows, ..sum });
        let hide_segments = |Self { eligible_rows, .. }| Self {
            rows,
            eligible_rows,
            strategy: None,
            breadth: None,
            compared: None,
            rescored: None,
        };
        joined.map(hide_segments).into_iter().collect()
    }
}

impl From<SegmentSearchStats> for SegmentSearch {
    fn from(search: SegmentSearchStats) -> Self {
        let segment::SearchStats { rows: eligible_rows, strategy: way, compared, rescored } = search.trace;
        let (compared, rescored) = (Some(compared), Some(rescored));
        Self {
            rows: search.rows,
            eligible_rows,
            strategy: Some(way.as_str()),
            breadth: way.breadth(),
            compared,
            rescored,
        }
    }
}

/// Request to list documents.
#[derive(Debug)]
pub struct ListRequest {
    /// Restricts the list to documents that match.
    pub filter: Option<Filter>,
    /// Restricts the list to these ids.
    pub ids: Option<Vec<DocumentId>>,
    /// Principals on whose behalf the caller reads (scope `act_as`).
    pub acting_as: Option<Vec<Principal>>,
    /// What to return of each document.
    pub include: Include,
    /// Most documents of the page; 0 only counts them.
    pub limit: usize,
    /// Cursor: the end of the previous page.
    pub after: Option<PageEnd>,
}

/// A page of documents.
#[derive(Debug)]
pub struct DocumentListReply {
    /// Documents, ordered by id.
    pub documents: Vec<Document>,
    /// Number of documents that match in all.
    pub total: u64,
    /// Cursor to pass as `after` for the next page; `None` at the end.
    pub next: Option<PageEnd>,
    /// What to return of each document.
    pub include: Include,
    /// Whether the content of quarantined documents is returned.
    pub quarantine: Quarantine,
    /// Commit of the snapshot that was read.
    pub commit: CommitNo,
    /// Permit for the reply's memory, held until the connection has written it.
    pub memory: Option<Permit>,
}

/// Reply with one document.
#[derive(Debug)]
pub struct DocumentReply {
    /// The document.
    pub document: Document,
    /// What to return of the document.
    pub include: Include,
    /// Whether the document's content is returned if it is quarantined.
    pub quarantine: Quarantine,
    /// Permit for the reply's memory, held until the connection has written it.
    pub memory: Option<Permit>,
}

/// Reply to a deletion.
#[derive(Clone, Debug)]
pub struct DeleteReply {
    /// Number of documents deleted.
    pub deleted: u64,
    /// The commit that contains the change.
    pub commit: CommitNo,
    /// For an erasure, the signed statement that nothing is stored of the documents any more.
    pub certificate: Option<String>,
}

/// Request to change documents without new text.
#[derive(Debug)]
pub struct PatchRequest {
    /// The documents to change.
    pub selection: Selection,
    /// The change.
    pub patch: RawPatch,
}

/// Reply to a patch.
#[derive(Clone, Copy, Debug)]
pub struct PatchReply {
    /// Number of documents changed.
    pub matched: u64,
    /// The commit that contains the change.
    pub commit: CommitNo,
}

/// A reviewer's decision on quarantined documents.
#[derive(Debug)]
pub struct ReviewRequest {
    /// The documents, each in the state that the reviewer saw.
    pub documents: Vec<Reviewed>,
    /// The decision.
    pub decision: Decision,
    /// The reason. The audit contains its pseudonym; the text itself is only in the sealed commit.
    pub note: Option<Untrusted>,
}

/// Reply to a review.
#[derive(Debug)]
pub struct ReviewReply {
    /// Status of each document, in the order of the request.
    pub results: Vec<(DocumentId, &'static str)>,
    /// The commit that contains the change.
    pub commit: CommitNo,
}
