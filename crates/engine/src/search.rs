//! Search: compile -> embed the question -> snapshot -> bitmap -> arms -> fuse -> fetch winners -> rerank if asked.
//!
//! Ranking takes only an `Eligible`, made from the plan's audience, filter, status and time:
//! no row that the reader may not see is ever ranked, counted or touched.

use crate::{
    Engine, Explain, Flow, Mode, SearchReply, SearchRequest, SegmentSearch, answer, cost, diversify,
    fetch::{Fetched, Fetching, fetch},
    fuse::{
        Fused, RRF_K,
        blend::{Asked, blend},
    },
    phrases,
    query::{self, Plan, VectorSource},
    turnstile::Pass,
    work::Asker,
};
use access::{Grant, Search};
use kernel::{Clock, Error, Presence, Status, Timestamp, Tokens, cost::RunOn};
use ledger::Deed;
use models::Kind;
use registry::NamespaceRecord;
use segment::{Highlighter, TextStats};
use std::{sync::Arc, time::Duration};
use store::{Address, Eligible, Look, Snapshot, Totals};

impl Engine {
    /// Finds passages. See the module's text for the order.
    pub async fn search(&self, grant: Grant<Search>, request: SearchRequest) -> Flow<SearchReply> {
        let acting_as = request.acting_as.clone().unwrap_or_default();
        let end = self.search_under(&grant, request).await.map(|reply| {
            let ids = reply.hits.iter().map(|h| h.document_id.clone()).collect();
            let deed = Deed::success().count("hits", reply.hits.len() as u64).documents(ids).principals(acting_as);
            (reply, deed)
        });
        self.settle(grant, end).await
    }

    /// The search itself; `context` builds on it under the same grant.
    pub(crate) async fn search_under(
        &self,
        grant: &Grant<Search>,
        request: SearchRequest,
    ) -> Result<SearchReply, Error> {
        let _pass = self.inner.searches.enter(grant.incarnation(), 1)?;
        let started = self.inner.clock.monotonic();
        let record = self.namespace_record(grant)?;
        let mut plan = query::compile(grant, &record.settings, &self.inner.models, request)?;
        let warnings = plan.take_warnings();
        let vector = self.query_vector(grant, &plan).await?;
        let tokens = self.tokeniser(&plan);
        let embedded = self.inner.clock.monotonic();
        let room = self.inner.stores.enter(grant, &record.settings).await?;
        let snapshot = room.snapshot(plan.min_commit()).await?;
        let opened = self.inner.clock.monotonic();
        let now = self.inner.clock.now();
        let mut steps = Steps::from(self.inner.clock.clone(), opened);
        let cost = cost::of_search(&snapshot, &plan);
        let mut memory = self.inner.search_bytes.enter(grant.incarnation(), bytes_of(&snapshot, &plan))?;
        let presence = grant.presence().clone();
        let work = move || {
            let mut desk = Desk { steps: &mut steps, memory: &mut memory, presence: &presence };
            let reply = rank(&snapshot, &plan, (vector.as_deref(), tokens.as_deref()), now, &mut desk)?;
            Ok::<_, Error>((SearchReply { timings: steps.millis, ..reply }, plan, memory))
        };
        let asker = Asker::answer(grant);
        let (mut reply, plan, memory) = match cost.run_on() {
            RunOn::Caller(short) => self.inner.work.here(&asker, &short, work)?,
            RunOn::Pool => self.inner.work.cpu(asker, work).await?,
        }?;
        reply.timings.splice(0..0, [("embed", millis(started, embedded)), ("open", millis(embedded, opened))]);
        reply.warnings.splice(0..0, warnings);
        let reply = match plan.rerank() {
            Some(_) => self.rerank(grant, Arc::new(plan), reply).await?,
            None => reply,
        };
        Ok(SearchReply { memory: Some(memory), ..reply })
    }

    async fn query_vector(&self, grant: &Grant<Search>, plan: &Plan) -> Result<Option<Vec<f32>>, Error> {
        match plan.vector() {
            VectorSource::None => Ok(None),
            VectorSource::Given(vector) => Ok(Some(vector.clone())),
            VectorSource::Model(model) => {
                let question = plan.question().ok_or_else(|| Error::invalid("query", "is needed to make a vector"))?;
                self.embed(grant, model, Kind::Query, vec![question.clone()]).await.map(Some)
            }
        }
    }

    /// Of the model that makes this query's vector.
    fn tokeniser(&self, plan: &Plan) -> Option<Arc<dyn Tokens>> {
        match plan.vector() {
            VectorSource::Model(model) => self.inner.models.tokens(model),
            VectorSource::None | VectorSource::Given(_) => None,
        }
    }

    /// The namespace's record, or the uniform 404.
    pub(crate) fn namespace_record<A: access::Action>(&self, grant: &Grant<A>) -> Result<NamespaceRecord, Error> {
        let name = grant.namespace().ok_or_else(Error::not_found)?;
        self.inner.registry.known_namespace(grant.incarnation(), name)
    }
}

type Ranked = Vec<Fused<Address>>;

/// What each step took.
struct Steps {
    clock: Arc<dyn Clock>,
    last: Duration,
    millis: Vec<(&'static str, f64)>,
}

impl Steps {
    fn from(clock: Arc<dyn Clock>, last: Duration) -> Self {
        Self { clock, last, millis: Vec::new() }
    }

    fn ends(&mut self, step: &'static str) {
        let now = self.clock.monotonic();
        let took = millis(self.last, now);
        // A step that was done again took both times together.
        match self.millis.iter_mut().find(|(known, _)| *known == step) {
            Some((_, millis)) => *millis += took,
            None => self.millis.push((step, took)),
        }
        self.last = now;
    }
}

pub(crate) fn millis(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64() * 1e3
}

/// What a search may take before its hits are there: bitmaps of its rows, two sums for each where words are asked for,
/// candidates of both arms, and a filter's tables with a bitmap for each of its nodes.
fn bytes_of(snapshot: &Snapshot, plan: &Plan) -> u64 {
    let passages = snapshot.totals().passages;
    let sums = if plan.words().is_some() { 8 * passages } else { 0 };
    let filter = plan.filter().map_or(0, |filter| {
        COMPILED_FILTER_BYTES * filter.bytes() + filter.nodes() as u64 * (snapshot.extent().documents / 8 + 256)
    });
    passages / 2 + sums + 256 * plan.depth() as u64 + filter
}

/// Bytes of a filter's tables for each of its own: a state of an automaton for each byte of a pattern, at worst.
const COMPILED_FILTER_BYTES: u64 = 32;

/// What a search works with: its step timer, its permit for memory, and whether its client still waits.
struct Desk<'a> {
    steps: &'a mut Steps,
    memory: &'a mut Pass,
    presence: &'a Presence,
}

impl Desk<'_> {
    /// A step is done; the next one begins only if the client still waits.
    fn ends(&mut self, step: &'static str) -> Result<(), Error> {
        self.steps.ends(step);
        self.presence.check()
    }
}

fn rank(
    snapshot: &Snapshot,
    plan: &Plan,
    (vector, tokens): (Option<&[f32]>, Option<&dyn Tokens>),
    now: Timestamp,
    desk: &mut Desk<'_>,
) -> Result<SearchReply, Error> {
    // How long the job waited for a core.
    desk.ends("queue")?;
    let eligible = snapshot.eligible(plan.audience(), plan.filter(), &[Status::Indexed], now)?;
    desk.ends("filter")?;
    let phrases::Read { query, eligible, quoted } = phrases::read(snapshot, plan, eligible)?;
    let query = query.with_title_weight(plan.title_weight());
    let stats = match query.is_empty() {
        true => TextStats::for_query(&query),
        false => snapshot.text_stats(&query, &eligible)?,
    };
    let words = plan.words().map_or("", |words| words.expose());
    let asked =
        Asked { words, query: &query, stats: &stats, vector: vector.unwrap_or_default(), tokens, quoted: &quoted };
    let found = enough(snapshot, plan, &eligible, &asked, desk)?;
    let seen = match plan.include().explain {
        true => snapshot.totals_for(plan.audience(), now)?,
        false => Totals::default(),
    };
    let explain = plan.include().explain.then(|| Explain {
        rows: seen.passages,
        eligible_rows: eligible.rows(),
        text_candidates: found.arms[0],
        vector_candidates: found.arms[1],
        segments: SegmentSearch::told(found.looks, plan.audience(), seen.passages),
        rrf_k: RRF_K,
        fusion: found.fusion,
        rerank: None,
    });
    let mut warnings = unknown_keys(snapshot, plan, now)?;
    warnings.extend_from_slice(query.warnings());
    let mut highlighter = (plan.include().highlights && plan.words().is_some()).then(|| Highlighter::new(&query));
    let fetching = Fetching { memory: desk.memory, highlighter: highlighter.as_mut(), presence: desk.presence };
    let Fetched { hits, warning } = fetch(snapshot, plan, &eligible, found.chosen, fetching)?;
    let incomplete = warning.is_some();
    warnings.extend(warning);
    warnings.extend(highlighter.and_then(|highlighter| highlighter.warning()));
    desk.steps.ends("fetch");
    Ok(SearchReply {
        hits,
        mode: plan.mode(),
        incomplete,
        warnings,
        commit: snapshot.commit(),
        timings: Vec::new(),
        explain,
        memory: None,
    })
}

/// What is answered, and how it was found.
struct Found {
    chosen: Ranked,
    /// Candidates of text and vector.
    arms: [usize; 2],
    looks: Vec<Look>,
    fusion: Option<answer::Fused>,
}

/// As many hits as were asked for, if there are as many. Caps may leave too few of the first candidates: then both
/// retrievers return more. The order of the first hits does not depend on that.
fn enough(
    snapshot: &Snapshot,
    plan: &Plan,
    eligible: &Eligible,
    asked: &Asked<'_>,
    desk: &mut Desk<'_>,
) -> Result<Found, Error> {
    let mut depth = plan.depth();
    loop {
        let found = look(snapshot, plan, eligible, asked, depth, desk)?;
        let all = found.arms.iter().all(|candidates| *candidates < depth);
        if found.chosen.len() >= plan.wanted() || all || !plan.is_capped() {
            return Ok(found);
        }
        depth = depth.saturating_mul(8);
        desk.memory.grow(256 * (depth as u64).min(eligible.rows()))?;
    }
}

/// Both arms to this depth, fused, and what caps and diversity leave of it.
fn look(
    snapshot: &Snapshot,
    plan: &Plan,
    eligible: &Eligible,
    asked: &Asked<'_>,
    depth: usize,
    desk: &mut Desk<'_>,
) -> Result<Found, Error> {
    let text = snapshot.text_counted(asked.query, asked.stats, eligible, depth)?;
    desk.ends("text")?;
    let (near, looks) = snapshot.vector(asked.vector, eligible, depth)?;
    desk.ends("vector")?;
    let arms = [text.len(), near.len()];
    let [text, near] = [text, near].map(|hits| hits.into_iter().map(|h| (h.at, h.score)).collect::<Vec<_>>());
    let [text, near] = phrases::joined(snapshot, plan, asked, [text, near], depth)?;
    let (ranked, fusion) = match plan.mode() {
        Mode::Hybrid => {
            let (ranked, fusion) = blend(snapshot, eligible, plan, asked, ([&text, &near], depth))?;
            (ranked, Some(fusion))
        }
        Mode::Text | Mode::Vector => (alone(&text, 0).chain(alone(&near, 1)).collect(), None),
    };
    let ranked = phrases::first(ranked, asked.quoted);
    desk.ends("fuse")?;
    let chosen = diversify::choose(snapshot, plan, eligible, ranked)?;
    Ok(Found { chosen, arms, looks, fusion })
}

/// One arm keeps its own scores.
fn alone(list: &[(Address, f32)], arm: usize) -> impl Iterator<Item = Fused<Address>> {
    list.iter().map(move |(item, score)| {
        let mut arms = [None; 2];
        arms[arm] = Some(*score);
        Fused { item: *item, score: *score, arms, phrases: 0 }
    })
}

/// A key that no document has matches nothing, and the reply warns of it.
fn unknown_keys(snapshot: &Snapshot, plan: &Plan, now: Timestamp) -> Result<Vec<String>, Error> {
    let keys = plan.filter().map(|f| f.attribute_keys()).unwrap_or_default();
    let unknown = snapshot.unknown_attributes(keys, plan.audience(), now)?;
    Ok(unknown.into_iter().map(|key| format!("filter: no document has the attribute '{key}'")).collect())
}
