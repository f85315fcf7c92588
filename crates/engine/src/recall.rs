//! Measures recall: how much of the exact result the serving path finds, in this namespace, for this reader.
//!
//! Each query is searched by vector twice over the same eligible rows, once as every search is and once by an exact
//! scan. Each query is a separate job on the request pool, so that other tenants take their turns in between, and the
//! remaining queries are skipped when the client has disconnected. No content leaves the server; the reply consists of
//! numbers.

use crate::{Engine, FlowResult, SegmentSearch, query, work::TaskContext};
use access::{Grant, Search};
use kernel::{Audience, Code, CommitNo, Error, Filter, Principal, Status, Untrusted, limits};
use ledger::AuditEvent;
use models::TaskKind;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use store::Address;

/// Request to measure recall.
#[derive(Debug)]
pub struct RecallRequest {
    /// Source of the queries.
    pub probe: RecallProbe,
    /// Number of nearest neighbours to compare, 1 to 1,000.
    pub top_k: usize,
    /// Restricts the search to documents that match.
    pub filter: Option<Filter>,
    /// Principals on whose behalf the caller searches (scope `act_as`).
    pub acting_as: Option<Vec<Principal>>,
}

/// Source of the queries.
#[derive(Debug)]
pub enum RecallProbe {
    /// This number of stored vectors of eligible passages, evenly spread. Each is its own nearest neighbour.
    Samples(usize),
    /// Questions, which the namespace's model embeds.
    Questions(Vec<Untrusted>),
    /// Query vectors.
    Vectors(Vec<Vec<f32>>),
}

/// Reply with the measured recall.
#[derive(Debug)]
pub struct RecallReply {
    /// Mean share of the exact `top_k` that was found; 1 if there was no query.
    pub recall: f64,
    /// Recall of the worst query.
    pub lowest: f64,
    /// Number of queries.
    pub queries: usize,
    /// Number of nearest neighbours that were compared.
    pub top_k: usize,
    /// Passages of the namespace that the reader sees.
    pub rows: u64,
    /// Eligible passages.
    pub eligible_rows: u64,
    /// Number of segment searches by strategy; empty for a reader who does not see everything.
    pub strategies: BTreeMap<&'static str, usize>,
    /// How segments were searched for the last query.
    pub segments: Vec<SegmentSearch>,
    /// Rows that the serving path compares, divided by the rows that an exact scan compares. `None` for a reader who
    /// does not see everything.
    pub compared_share: Option<f64>,
    /// Commit of the snapshot that was searched.
    pub commit: CommitNo,
}

impl Engine {
    /// Measures recall; see the module.
    pub async fn recall(&self, grant: Grant<Search>, request: RecallRequest) -> FlowResult<RecallReply> {
        let acting_as = request.acting_as.clone().unwrap_or_default();
        let end = self.recall_under(&grant, request).await.map(|reply| {
            let event = AuditEvent::success().count("queries", reply.queries as u64).principals(acting_as);
            (reply, event)
        });
        self.finish_read(grant, end).await
    }

    async fn recall_under(&self, grant: &Grant<Search>, request: RecallRequest) -> Result<RecallReply, Error> {
        let _permit = self.inner.searches.acquire(grant.incarnation(), 1)?;
        let RecallRequest { probe, top_k, filter, acting_as } = request;
        let record = self.namespace_record(grant)?;
        let queries = match &probe {
            RecallProbe::Samples(count) => *count,
            RecallProbe::Questions(questions) => questions.len(),
            RecallProbe::Vectors(vectors) => vectors.len(),
        };
        // Each query's vector is in memory twice: in the request or the model's reply, and here.
        let vectors = 8 * (queries as u64).saturating_mul(record.settings.embedding.dimensions() as u64);
        let _memory = self.inner.search_bytes.acquire(grant.incarnation(), vectors + 64 * top_k as u64)?;
        let audience = grant.audience(acting_as.as_deref(), record.settings.readers())?;
        let (member, given) = match probe {
            RecallProbe::Samples(count) => ("samples", Err(count)),
            RecallProbe::Vectors(vectors) => ("vectors", Ok(vectors)),
            RecallProbe::Questions(questions) => {
                ("queries", Ok(self.question_vectors(grant, &record.settings, questions).await?))
            }
        };
        let handle = self.inner.stores.enter(grant, &record.settings).await?;
        let snapshot = Arc::new(handle.snapshot(None).await?);
        let now = self.inner.clock.now();
        let shared_snapshot = snapshot.clone();
        let dimensions = record.settings.embedding.dimensions();
        let prepared = move || {
            if let Ok(vectors) = given.as_ref().map(Vec::as_slice)
                && member == "vectors"
            {
                vectors.iter().try_for_each(|vector| query::check_vector(member, vector, dimensions))?;
            }
            let eligible = shared_snapshot.eligible(&audience, filter.as_ref(), &[Status::Indexed], now)?;
            let count = given.as_ref().map_or_else(|count| *count, Vec::len);
            check_work(member, count as u64, eligible.rows())?;
            let vectors = match given {
                Ok(vectors) => vectors,
                Err(count) => shared_snapshot.sample(&eligible, count)?,
            };
            let visible = shared_snapshot.totals_for(&audience, now)?.passages;
            Ok::<_, Error>((Arc::new(eligible), vectors, audience, visible))
        };
        // One deadline applies to all jobs together.
        let clock = &self.inner.clock;
        let started = clock.monotonic();
        let left = || limits::RECALL_WORK_MAX.saturating_sub(clock.monotonic().saturating_sub(started));
        let context = || TaskContext::answer(grant).within(left());
        let (eligible, vectors, audience, visible) = self.inner.work.cpu(context(), prepared).await??;
        let mut sum = RecallTotals {
            lowest: 1.0,
            compared: (audience == Audience::Everything).then_some(0),
            ..RecallTotals::default()
        };
        for vector in vectors {
            let (snapshot, eligible) = (snapshot.clone(), eligible.clone());
            let measure = move || {
                let (served, searches) = snapshot.vector(&vector, &eligible, top_k)?;
                let exact = snapshot.vector_exact(&vector, &eligible, top_k)?;
                let served: HashSet<Address> = served.into_iter().map(|hit| hit.at).collect();
                let found = exact.iter().filter(|hit| served.contains(&hit.at)).count();
                Ok::<_, store::Error>((found, exact.len(), searches))
            };
            let (found, expected, searches) = self.inner.work.cpu(context(), measure).await??;
            sum.add(found, expected, SegmentSearch::visible_to(searches, &audience, visible));
        }
        self.inner.recalled.add(sum.expected, sum.found);
        Ok(sum.reply(top_k, visible, eligible.rows(), snapshot.commit()))
    }

    async fn question_vectors(
        &self,
        grant: &Grant<Search>,
        settings: &kernel::NamespaceSettings,
        questions: Vec<Untrusted>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let model = query::model_of(settings, &self.inner.models)?;
        let values = self.embed(grant, &model, TaskKind::Query, questions).await?;
        Ok(values.chunks(settings.embedding.dimensions().max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Bounds the rows that one measurement may scan, because quotas count it as one request.
fn check_work(member: &'static str, queries: u64, eligible_rows: u64) -> Result<(), Error> {
    if queries.saturating_mul(eligible_rows) <= limits::RECALL_ROWS_MAX {
        return Ok(());
    }
    let most = limits::RECALL_ROWS_MAX / eligible_rows.max(1);
    let message = format!("{queries} queries over {eligible_rows} passages are too many; ask {most}, or filter");
    Err(Error::new(Code::TooLarge, message).with_param(member))
}

#[derive(Default)]
struct RecallTotals {
    queries: usize,
    shares: f64,
    lowest: f64,
    expected: usize,
    found: usize,
    compared: Option<u64>,
    eligible: u64,
    ways: BTreeMap<&'static str, usize>,
    segments: Vec<SegmentSearch>,
}

impl RecallTotals {
    fn add(&mut self, found: usize, expected: usize, segments: Vec<SegmentSearch>) {
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
        let share = if expected == 0 { 1.0 } else { found as f64 / expected as f64 };
        self.queries += 1;
        self.shares += share;
        self.lowest = self.lowest.min(share);
        self.expected += expected;
        self.found += found;
        for segment in &segments {
            if let Some(way) = segment.strategy {
                *self.ways.entry(way).or_default() += 1;
            }
            self.compared = self.compared.zip(segment.compared).map(|(sum, one)| sum + one);
            self.eligible += segment.eligible_rows;
        }
        self.segments = segments;
    }

    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    fn reply(self, top_k: usize, rows: u64, eligible_rows: u64, commit: CommitNo) -> RecallReply {
        RecallReply {
            recall: if self.queries == 0 { 1.0 } else { self.shares / self.queries as f64 },
            lowest: self.lowest,
            queries: self.queries,
            top_k,
            rows,
            eligible_rows,
            strategies: self.ways,
            segments: self.segments,
            compared_share: self.compared.map(|compared| compared as f64 / self.eligible.max(1) as f64),
            commit,
        }
    }
}

/// Counters over all measurements since the start.
#[derive(Debug, Default)]
pub(crate) struct RecallCounters {
    expected: AtomicU64,
    found: AtomicU64,
}

impl RecallCounters {
    fn add(&self, expected: usize, found: usize) {
        self.expected.fetch_add(expected as u64, Ordering::Relaxed);
        self.found.fetch_add(found as u64, Ordering::Relaxed);
    }

    /// Number of exact neighbours, and how many of them the serving path found.
    pub(crate) fn sums(&self) -> (u64, u64) {
        (self.expected.load(Ordering::Relaxed), self.found.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segment::{ScanStrategy, SearchStats};
    use store::SegmentSearchStats;

    /// Compares the same eligible rows with few hidden rows and with enough hidden rows for a graph.
    #[test]
    fn a_restricted_reader_learns_nothing_that_depends_on_hidden_rows() {
        let search = |rows, way, compared| SegmentSearchStats {
            rows,
            trace: SearchStats { rows: 40, strategy: way, compared, rescored: compared },
        };
        let few = || vec![search(60, ScanStrategy::Scan, 40), search(45, ScanStrategy::Scan, 40)];
        let many = || vec![search(90_000, ScanStrategy::Walk { breadth: 64 }, 900), search(45, ScanStrategy::Scan, 40)];
        let shown = |searches, audience: &Audience| {
            let mut sum = RecallTotals::default();
            sum.add(10, 10, SegmentSearch::visible_to(searches, audience, 80));
            format!("{:?} {:?}", sum.ways, sum.segments)
        };
        for audience in [Audience::Principals(Vec::new()), Audience::Named(Vec::new())] {
            assert_eq!(shown(few(), &audience), shown(many(), &audience));
        }
        assert_ne!(shown(few(), &Audience::Everything), shown(many(), &Audience::Everything));
    }

    #[test]
    fn what_one_request_may_scan_is_bounded() {
        assert!(check_work("samples", 100, 1_000_000).is_ok() && check_work("samples", 1_000, 0).is_ok());
        let refused = check_work("vectors", 101, 1_000_000).expect_err("too much");
        assert!(refused.code == Code::TooLarge && refused.message.contains("ask 100"), "{refused}");
    }
}
