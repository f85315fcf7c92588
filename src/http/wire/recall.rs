//! Wire types of recall measurements.

use super::{
    common::{self, Commit},
    search::{ActingAs, SegmentSearch},
};
use crate::{
    http::request_data::RequestBody,
    strict::{BoundedList, FilterTree, SentVector},
};
use engine::{RecallProbe, RecallRequest};
use kernel::{Error, Untrusted, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What to measure with: one of `samples`, `queries` and `vectors`; without any, 100 samples. All queries together may
/// scan at most 100 million passages.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"samples": 100, "top_k": 10}))]
pub(crate) struct Recall {
    /// Number of stored vectors to search for, 1 to 1,000, spread evenly over the eligible passages. The nearest
    /// passage of each is itself.
    samples: Option<usize>,
    /// Questions for the namespace's model, at most 1,000.
    #[schema(value_type = Option<Vec<String>>)]
    queries: Option<BoundedList<String, QUERIES_MAX>>,
    /// Vectors, at most 1,000.
    #[schema(value_type = Option<Vec<Vec<common::Finite>>>)]
    vectors: Option<BoundedList<SentVector, QUERIES_MAX>>,
    /// Number of nearest passages that count, 1 to 1,000. Absent: 10.
    top_k: Option<usize>,
    #[schema(value_type = Option<Object>)]
    filter: Option<FilterTree>,
    r#as: Option<ActingAs>,
}

const QUERIES_MAX: usize = limits::RECALL_QUERIES_MAX;
const SAMPLES_DEFAULT: usize = 100;

impl RequestBody for Recall {
    type Checked = RecallRequest;

    fn check(self) -> Result<RecallRequest, Error> {
        let top_k = self.top_k.unwrap_or(limits::TOP_K_DEFAULT);
        if !(1..=limits::TOP_K_MAX).contains(&top_k) {
            return Err(Error::invalid("top_k", "must be 1 to 1000"));
        }
        let count = |member: &'static str, n: usize| match n {
            1..=QUERIES_MAX => Ok(()),
            _ => Err(Error::invalid(member, "must be 1 to 1000")),
        };
        let probe = match (self.samples, self.queries, self.vectors) {
            (samples, None, None) => {
                let samples = samples.unwrap_or(SAMPLES_DEFAULT);
                count("samples", samples)?;
                RecallProbe::Samples(samples)
            }
            (None, Some(BoundedList(queries)), None) => {
                count("queries", queries.len())?;
                if queries.iter().any(|q| q.len() > limits::QUERY_BYTES_MAX || q.trim().is_empty()) {
                    return Err(Error::invalid("queries", "must each be 1 to 32768 bytes, not all blank"));
                }
                RecallProbe::Questions(queries.into_iter().map(Untrusted::new).collect())
            }
            (None, None, Some(BoundedList(vectors))) => {
                count("vectors", vectors.len())?;
                let vector =
                    |(n, SentVector(v)): (usize, SentVector)| v.map_err(|fault| fault.at(&format!("vectors[{n}]")));
                RecallProbe::Vectors(vectors.into_iter().enumerate().map(vector).collect::<Result<_, _>>()?)
            }
            _ => {
                return Err(Error::invalid(
                    "samples",
                    "cannot be combined: give only one of samples, queries and vectors",
                ));
            }
        };
        let acting_as = self.r#as.map(ActingAs::check).transpose()?;
        Ok(RecallRequest { probe, top_k, filter: common::filter(self.filter)?, acting_as })
    }
}

/// Share of the exact nearest passages that searches find.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecallReply {
    /// Mean share of the exact nearest passages that were found, 0 to 1; 1 if there was nothing to search for.
    recall: f64,
    /// The share for the worst query.
    lowest: f64,
    /// Number of queries that were made; lower than requested if fewer passages are eligible.
    queries: usize,
    top_k: usize,
    /// Number of passages of the namespace that the key sees.
    rows: u64,
    /// Number of these passages that were eligible.
    eligible_rows: u64,
    /// Number of segment searches by method: `scan`, `walk`, `walk_then_scan`. Empty for a key without `read_all`.
    ways: BTreeMap<&'static str, usize>,
    /// Compared passages, as a share of those that an exact scan compares. Absent for a key without
    /// `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_share: Option<f64>,
    /// How the last query was executed.
    segments: Vec<SegmentSearch>,
    commit: Commit,
}

impl From<engine::RecallReply> for RecallReply {
    fn from(reply: engine::RecallReply) -> Self {
        Self {
            recall: reply.recall,
            lowest: reply.lowest,
            queries: reply.queries,
            top_k: reply.top_k,
            rows: reply.rows,
            eligible_rows: reply.eligible_rows,
            ways: reply.strategies,
            compared_share: reply.compared_share,
            segments: reply.segments.into_iter().map(SegmentSearch::from).collect(),
            commit: reply.commit.into(),
        }
    }
}
