//! Measuring recall, on the wire.

use super::{
    common::{self, Commit},
    search::{ActingAs, SegmentSearch},
};
use crate::{
    http::call::Incoming,
    strict::{List, Tree, Vector},
};
use engine::{Probe, RecallRequest};
use kernel::{Error, Untrusted, limits};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What to measure with: one of `samples`, `queries` and `vectors`; without any, 100 samples. All queries together may
/// scan 100 million passages.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"samples": 100, "top_k": 10}))]
pub(crate) struct Recall {
    /// Number of stored vectors to search for, 1 to 1,000, spread evenly over the eligible passages. The nearest of
    /// each is itself.
    samples: Option<usize>,
    /// Questions for the namespace's model, at most 1,000.
    #[schema(value_type = Option<Vec<String>>)]
    queries: Option<List<String, MOST>>,
    /// Vectors, at most 1,000.
    #[schema(value_type = Option<Vec<Vec<common::Finite>>>)]
    vectors: Option<List<Vector, MOST>>,
    /// How many nearest passages count, 1 to 1,000. Absent: 10.
    top_k: Option<usize>,
    #[schema(value_type = Option<Object>)]
    filter: Option<Tree>,
    r#as: Option<ActingAs>,
}

const MOST: usize = limits::RECALL_QUERIES_MAX;
const SAMPLES: usize = 100;

impl Incoming for Recall {
    type Checked = RecallRequest;

    fn check(self) -> Result<RecallRequest, Error> {
        let top_k = self.top_k.unwrap_or(limits::TOP_K_DEFAULT);
        if !(1..=limits::TOP_K_MAX).contains(&top_k) {
            return Err(Error::invalid("top_k", "must be 1 to 1000"));
        }
        let count = |member: &'static str, n: usize| match n {
            1..=MOST => Ok(()),
            _ => Err(Error::invalid(member, "must be 1 to 1000")),
        };
        let probe = match (self.samples, self.queries, self.vectors) {
            (samples, None, None) => {
                let samples = samples.unwrap_or(SAMPLES);
                count("samples", samples)?;
                Probe::Samples(samples)
            }
            (None, Some(List(queries)), None) => {
                count("queries", queries.len())?;
                if queries.iter().any(|q| q.len() > limits::QUERY_BYTES_MAX || q.trim().is_empty()) {
                    return Err(Error::invalid("queries", "must each be 1 to 32768 bytes, not all blank"));
                }
                Probe::Questions(queries.into_iter().map(Untrusted::new).collect())
            }
            (None, None, Some(List(vectors))) => {
                count("vectors", vectors.len())?;
                let vector = |(n, Vector(v)): (usize, Vector)| v.map_err(|fault| fault.at(&format!("vectors[{n}]")));
                Probe::Vectors(vectors.into_iter().enumerate().map(vector).collect::<Result<_, _>>()?)
            }
            _ => return Err(Error::invalid("samples", "give one of samples, queries and vectors")),
        };
        let acting_as = self.r#as.map(ActingAs::check).transpose()?;
        Ok(RecallRequest { probe, top_k, filter: common::filter(self.filter)?, acting_as })
    }
}

/// How many of the exact nearest passages searches find.
#[derive(Serialize, ToSchema)]
pub(crate) struct RecallReply {
    /// Mean share of the exact nearest passages that were found, 0 to 1; 1 if there was nothing to search for.
    recall: f64,
    /// The same share for the worst query.
    lowest: f64,
    /// Queries that were made; fewer than asked for where fewer passages are eligible.
    queries: usize,
    top_k: usize,
    /// Passages of the namespace that the key sees.
    rows: u64,
    /// Passages among them that were eligible.
    eligible_rows: u64,
    /// How often a segment was searched by each method: `scan`, `walk`, `walk_then_scan`.
    ways: BTreeMap<&'static str, usize>,
    /// Passages compared, as a share of those that an exact scan compares. Absent for a key without `read_all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    compared_share: Option<f64>,
    /// How the last query was carried out.
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
            ways: reply.ways,
            compared_share: reply.compared_share,
            segments: reply.segments.into_iter().map(SegmentSearch::from).collect(),
            commit: reply.commit.into(),
        }
    }
}
