//! Recall measurements.

use crate::{
    common::{CommitNumber, Finite},
    search::{ActingAs, SearchedSegment},
    strict::{BoundedList, FilterTree, SentVector},
};
use kernel::limits;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, collections::BTreeMap};
use utoipa::ToSchema;

/// What to measure with: one of `samples`, `queries` and `vectors`; without any, 100 samples. All queries together may
/// scan at most 100 million passages.
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"samples": 100, "top_k": 10}))]
pub struct Recall {
    /// Number of stored vectors to search for, 1 to 1,000, spread evenly over the eligible passages. The nearest
    /// passage of each is itself.
    pub samples: Option<usize>,
    /// Questions for the namespace's model, at most 1,000.
    #[schema(value_type = Option<Vec<String>>)]
    pub queries: Option<BoundedList<String, QUERIES_MAX>>,
    /// Vectors, at most 1,000.
    #[schema(value_type = Option<Vec<Vec<Finite>>>)]
    pub vectors: Option<BoundedList<SentVector, QUERIES_MAX>>,
    /// Number of nearest passages that count, 1 to 1,000. Absent: 10.
    pub top_k: Option<usize>,
    #[schema(value_type = Option<Object>)]
    pub filter: Option<FilterTree>,
    pub r#as: Option<ActingAs>,
}

/// Maximum number of queries of one measurement.
pub const QUERIES_MAX: usize = limits::RECALL_QUERIES_MAX;

/// Share of the exact nearest passages that searches find.
#[derive(Deserialize, Serialize, ToSchema)]
#[schema(as = RecallReply)]
pub struct RecallResults {
    /// Mean share of the exact nearest passages that were found, 0 to 1; 1 if there was nothing to search for.
    pub recall: f64,
    /// The share for the worst query.
    pub lowest: f64,
    /// Number of queries that were made; lower than requested if fewer passages are eligible.
    pub queries: usize,
    pub top_k: usize,
    /// Number of passages of the namespace that the key sees.
    pub rows: u64,
    /// Number of these passages that were eligible.
    pub eligible_rows: u64,
    /// Number of segment searches by method: `scan`, `walk`, `walk_then_scan`. Empty for a key without `read_all`.
    pub ways: BTreeMap<Cow<'static, str>, usize>,
    /// Compared passages, as a share of those that an exact scan compares. Absent for a key without
    /// `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_share: Option<f64>,
    /// How the last query was executed.
    pub segments: Vec<SearchedSegment>,
    pub commit: CommitNumber,
}
