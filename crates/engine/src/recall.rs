//! Recall: how much of the exact answer the serving path gives, on this namespace, for this reader.
//!
//! Each query is searched by vector twice over the same eligible rows, as every search is and by an exact scan, in a
//! job of its own on the requests' pool: others take their turns between, and when the asker has gone the rest is
//! left undone. Nothing of what was found leaves; the reply is numbers.

use crate::{Engine, Flow, SegmentSearch, query, work::Asker};
use access::{Grant, Search};
use kernel::{Audience, Code, CommitNo, Error, Filter, Principal, Status, Untrusted, limits};
use ledger::Deed;
use models::Kind;
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use store::Address;

/// What to measure with.
#[derive(Debug)]
pub struct RecallRequest {
    /// The queries.
    pub probe: Probe,
    /// Neighbours that count, 1 to 1,000.
    pub top_k: usize,
    /// Which documents may answer.
    pub filter: Option<Filter>,
    /// On whose behalf (scope `act_as`).
    pub acting_as: Option<Vec<Principal>>,
}

/// Where queries come from.
#[derive(Debug)]
pub enum Probe {
    /// So many stored vectors of eligible passages, evenly spread; each is its own nearest neighbour.
    Samples(usize),
    /// Questions, for the namespace's model.
    Questions(Vec<Untrusted>),
    /// Vectors.
    Vectors(Vec<Vec<f32>>),
}

/// How near the serving path comes to the exact answer.
#[derive(Debug)]
pub struct RecallReply {
    /// Mean share of the exact `top_k` that was found; 1 when nothing was asked.
    pub recall: f64,
    /// Of the worst query.
    pub lowest: f64,
    /// Queries that were asked.
    pub queries: usize,
    /// Neighbours that counted.
    pub top_k: usize,
    /// Passages of the namespace that this reader sees.
    pub rows: u64,
    /// Those that might answer.
    pub eligible_rows: u64,
    /// How often a segment was searched in each way; empty for a reader who does not see everything.
    pub ways: BTreeMap<&'static str, usize>,
    /// The plan of the last query.
    pub segments: Vec<SegmentSearch>,
    /// Rows compared by the serving path for each that an exact scan compares.
    /// `None` for a reader who does not see everything.
    pub compared_share: Option<f64>,
    /// The state that was searched.
    pub commit: CommitNo,
}

impl Engine {
    /// Measures recall. See the module.
    pub async fn recall(&self, grant: Grant<Search>, request: RecallRequest) -> Flow<RecallReply> {
        let acting_as = request.acting_as.clone().unwrap_or_default();
        let end = self.recall_under(&grant, request).await.map(|reply| {
            let deed = Deed::success().count("queries", reply.queries as u64).principals(acting_as);
            (reply, deed)
        });
        self.settle(grant, end).await
    }

    async fn recall_under(&self, grant: &Grant<Search>, request: RecallRequest) -> Result<RecallReply, Error> {
        let _pass = self.inner.searches.enter(grant.incarnation(), 1)?;
        let RecallRequest { probe, top_k, filter, acting_as } = request;
        let record = self.namespace_record(grant)?;
        let queries = match &probe {
            Probe::Samples(count) => *count,
            Probe::Questions(questions) => questions.len(),
            Probe::Vectors(vectors) => vectors.len(),
        };
        // Each query's vector, where it came from and here.
        let vectors = 8 * (queries as u64).saturating_mul(record.settings.embedding.dimensions() as u64);
        let _memory = self.inner.search_bytes.enter(grant.incarnation(), vectors + 64 * top_k as u64)?;
        let audience = grant.audience(acting_as.as_deref(), record.settings.readers())?;
        let (member, given) = match probe {
            Probe::Samples(count) => ("samples", Err(count)),
            Probe::Vectors(vectors) => ("vectors", Ok(vectors)),
            Probe::Questions(questions) => {
                ("queries", Ok(self.question_vectors(grant, &record.settings, questions).await?))
            }
        };
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let snapshot = Arc::new(room.snapshot(None).await?);
        let now = self.inner.clock.now();
        let theirs = snapshot.clone();
        let dimensions = record.settings.embedding.dimensions();
        let prepared = move || {
            if let Ok(vectors) = given.as_ref().map(Vec::as_slice)
                && member == "vectors"
            {
                vectors.iter().try_for_each(|vector| query::check_vector(member, vector, dimensions))?;
            }
            let eligible = theirs.eligible(&audience, filter.as_ref(), &[Status::Indexed], now)?;
            let count = given.as_ref().map_or_else(|count| *count, Vec::len);
            check_work(member, count as u64, eligible.rows())?;
            let vectors = match given {
                Ok(vectors) => vectors,
                Err(count) => theirs.sample(&eligible, count)?,
            };
            let seen = theirs.totals_for(&audience, now)?.passages;
            Ok::<_, Error>((Arc::new(eligible), vectors, audience, seen))
        };
        // All its jobs together have one deadline.
        let clock = &self.inner.clock;
        let started = clock.monotonic();
        let left = || limits::RECALL_WORK_MAX.saturating_sub(clock.monotonic().saturating_sub(started));
        let asker = || Asker::answer(grant).within(left());
        let (eligible, vectors, audience, seen) = self.inner.work.cpu(asker(), prepared).await??;
        let mut sum = Sum { lowest: 1.0, compared: (audience == Audience::Everything).then_some(0), ..Sum::default() };
        for vector in vectors {
            let (snapshot, eligible) = (snapshot.clone(), eligible.clone());
            let both = move || {
                let (served, looks) = snapshot.vector(&vector, &eligible, top_k)?;
                let exact = snapshot.vector_exact(&vector, &eligible, top_k)?;
                let served: HashSet<Address> = served.into_iter().map(|hit| hit.at).collect();
                let found = exact.iter().filter(|hit| served.contains(&hit.at)).count();
                Ok::<_, store::Error>((found, exact.len(), looks))
            };
            let (found, wanted, looks) = self.inner.work.cpu(asker(), both).await??;
            sum.add(found, wanted, SegmentSearch::told(looks, &audience, seen));
        }
        self.inner.recalled.add(sum.wanted, sum.found);
        Ok(sum.reply(top_k, seen, eligible.rows(), snapshot.commit()))
    }

    async fn question_vectors(
        &self,
        grant: &Grant<Search>,
        settings: &kernel::NamespaceSettings,
        questions: Vec<Untrusted>,
    ) -> Result<Vec<Vec<f32>>, Error> {
        let model = query::model_of(settings, &self.inner.models)?;
        let values = self.embed(grant, &model, Kind::Query, questions).await?;
        Ok(values.chunks(settings.embedding.dimensions().max(1)).map(<[f32]>::to_vec).collect())
    }
}

/// Quotas count one request: what it may scan is bounded.
fn check_work(member: &'static str, queries: u64, eligible_rows: u64) -> Result<(), Error> {
    if queries.saturating_mul(eligible_rows) <= limits::RECALL_ROWS_MAX {
        return Ok(());
    }
    let most = limits::RECALL_ROWS_MAX / eligible_rows.max(1);
    let message = format!("{queries} queries over {eligible_rows} passages are too many; ask {most}, or filter");
    Err(Error::new(Code::TooLarge, message).with_param(member))
}

#[derive(Default)]
struct Sum {
    queries: usize,
    shares: f64,
    lowest: f64,
    wanted: usize,
    found: usize,
    compared: Option<u64>,
    eligible: u64,
    ways: BTreeMap<&'static str, usize>,
    segments: Vec<SegmentSearch>,
}

impl Sum {
    fn add(&mut self, found: usize, wanted: usize, segments: Vec<SegmentSearch>) {
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand")]
        let share = if wanted == 0 { 1.0 } else { found as f64 / wanted as f64 };
        self.queries += 1;
        self.shares += share;
        self.lowest = self.lowest.min(share);
        self.wanted += wanted;
        self.found += found;
        for segment in &segments {
            if let Some(way) = segment.way {
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
            ways: self.ways,
            segments: self.segments,
            compared_share: self.compared.map(|compared| compared as f64 / self.eligible.max(1) as f64),
            commit,
        }
    }
}

/// Sums over every measurement since the start.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    wanted: AtomicU64,
    found: AtomicU64,
}

impl Recalled {
    fn add(&self, wanted: usize, found: usize) {
        self.wanted.fetch_add(wanted as u64, Ordering::Relaxed);
        self.found.fetch_add(found as u64, Ordering::Relaxed);
    }

    /// Neighbours that were wanted, and those that were found.
    pub(crate) fn sums(&self) -> (u64, u64) {
        (self.wanted.load(Ordering::Relaxed), self.found.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use segment::{Trace, Way};
    use store::Look;

    /// The same eligible rows with few hidden rows, and with enough hidden rows for a graph.
    #[test]
    fn who_does_not_see_all_is_told_nothing_that_depends_on_hidden_rows() {
        let look = |rows, way, compared| Look { rows, trace: Trace { rows: 40, way, compared, rescored: compared } };
        let few = || vec![look(60, Way::Scan, 40), look(45, Way::Scan, 40)];
        let many = || vec![look(90_000, Way::Walk { breadth: 64 }, 900), look(45, Way::Scan, 40)];
        let told = |looks, audience: &Audience| {
            let mut sum = Sum::default();
            sum.add(10, 10, SegmentSearch::told(looks, audience, 80));
            format!("{:?} {:?}", sum.ways, sum.segments)
        };
        for audience in [Audience::Principals(Vec::new()), Audience::Named(Vec::new())] {
            assert_eq!(told(few(), &audience), told(many(), &audience));
        }
        assert_ne!(told(few(), &Audience::Everything), told(many(), &Audience::Everything));
    }

    #[test]
    fn what_one_request_may_scan_is_bounded() {
        assert!(check_work("samples", 100, 1_000_000).is_ok() && check_work("samples", 1_000, 0).is_ok());
        let refused = check_work("vectors", 101, 1_000_000).expect_err("too much");
        assert!(refused.code == Code::TooLarge && refused.message.contains("ask 100"), "{refused}");
    }
}
