//! Recall measurements.

use super::{Convert, common, search::acting_as};
use crate::http::request_data::RequestBody;
use api::{
    recall::{QUERIES_MAX, Recall, RecallResults},
    strict::{BoundedList, SentVector},
};
use engine::{RecallProbe, RecallRequest};
use kernel::{Error, Untrusted, limits};

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
        let acting_as = self.r#as.map(acting_as).transpose()?;
        Ok(RecallRequest { probe, top_k, filter: common::filter(self.filter)?, acting_as })
    }
}

impl Convert<RecallResults> for engine::RecallReply {
    fn convert(self) -> RecallResults {
        RecallResults {
            recall: self.recall,
            lowest: self.lowest,
            queries: self.queries,
            top_k: self.top_k,
            rows: self.rows,
            eligible_rows: self.eligible_rows,
            ways: self.strategies.into_iter().map(|(way, count)| (way.into(), count)).collect(),
            compared_share: self.compared_share,
            segments: self.segments.into_iter().map(Convert::convert).collect(),
            commit: self.commit.convert(),
        }
    }
}
