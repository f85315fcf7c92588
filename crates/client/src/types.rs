//! Replies whose members programs use. All others are passed on as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Number of documents by status.
pub type Counts = BTreeMap<String, u64>;

/// Reply to an upsert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpsertReply {
    /// Results in the order of the request.
    pub results: Vec<DocumentResult>,
    /// Number of documents by status.
    pub counts: Counts,
    /// Commit that holds the documents.
    pub commit: u64,
}

/// Result of one document in an upsert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentResult {
    /// Id of the document.
    pub id: Option<String>,
    /// `indexed`, `unchanged`, `quarantined`, `rejected`, `skipped` or `failed`.
    pub status: String,
    /// Stored passages.
    #[serde(default)]
    pub passages: u64,
    /// Findings of the screens.
    #[serde(default)]
    pub findings: Vec<DocumentFinding>,
    /// Error, if the document failed.
    #[serde(default)]
    pub error: Option<Value>,
}

/// Finding of a screen.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentFinding {
    /// `injection`, `pii` or `secret`.
    pub kind: String,
    /// Name of the rule.
    pub rule: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// Number of occurrences.
    pub count: u64,
    /// Action that the finding led to.
    pub action: String,
}

/// Reply to a search.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchReply {
    /// Hits, best first.
    pub hits: Vec<Hit>,
    /// Mode in which the hits were ranked.
    pub mode: String,
    /// Warnings for the caller.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Whether a part of the eligible rows was not searched.
    #[serde(default)]
    pub incomplete: bool,
}

/// A passage that matches the query.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// Id of the document.
    pub document_id: String,
    /// Index of the passage in the document.
    pub passage: u64,
    /// Score that orders the reply.
    pub score: f64,
    /// Scores of the retrievers.
    #[serde(default)]
    pub scores: Scores,
    /// Title of the document.
    #[serde(default)]
    pub title: Option<String>,
    /// Text of the passage.
    #[serde(default)]
    pub text: Option<String>,
    /// Findings in the document.
    #[serde(default)]
    pub findings: Vec<DocumentFinding>,
}

/// Scores of the retrievers.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Similarity of the vectors.
    #[serde(default)]
    pub vector: Option<f64>,
    /// BM25 score of the text.
    #[serde(default)]
    pub text: Option<f64>,
    /// Score of the reranker.
    #[serde(default)]
    pub rerank: Option<f64>,
}
