//! Replies that programs look into. Everything else is passed on as JSON.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How many documents came to which end, by status.
pub type Counts = BTreeMap<String, u64>;

/// What an upsert did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UpsertReply {
    /// In the order of the request.
    pub results: Vec<DocumentResult>,
    /// By status.
    pub counts: Counts,
    /// The commit that holds them.
    pub commit: u64,
}

/// One document of an upsert.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DocumentResult {
    /// Its id.
    pub id: Option<String>,
    /// `indexed`, `unchanged`, `quarantined`, `rejected`, `skipped` or `failed`.
    pub status: String,
    /// Passages stored.
    #[serde(default)]
    pub passages: u64,
    /// What the screens found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// Why it failed.
    #[serde(default)]
    pub error: Option<Value>,
}

/// What a screen found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// `injection`, `pii` or `secret`.
    pub kind: String,
    /// The rule.
    pub rule: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// How often.
    pub count: u64,
    /// What was done.
    pub action: String,
}

/// What a search found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SearchReply {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How it was ranked.
    pub mode: String,
    /// What the caller should know.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Part of the eligible rows went unsearched.
    #[serde(default)]
    pub incomplete: bool,
}

/// A passage that answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Hit {
    /// Its document.
    pub document_id: String,
    /// Which passage.
    pub passage: u64,
    /// Orders this reply.
    pub score: f64,
    /// The arms' own.
    #[serde(default)]
    pub scores: Scores,
    /// Of the document.
    #[serde(default)]
    pub title: Option<String>,
    /// Of the passage.
    #[serde(default)]
    pub text: Option<String>,
    /// Of the document.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// The arms' own scores.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Scores {
    /// Similarity.
    #[serde(default)]
    pub vector: Option<f64>,
    /// BM25.
    #[serde(default)]
    pub text: Option<f64>,
    /// The reranker's.
    #[serde(default)]
    pub rerank: Option<f64>,
}
