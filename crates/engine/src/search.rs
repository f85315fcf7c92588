//! Search: compile -> embed the question -> snapshot -> bitmap -> retrievers -> fuse -> fetch hits -> rerank if
//! requested.
//!
//! Ranking takes only an `Eligible`, which is made from the plan's audience, filter, status and time. No row that the
//! reader may not see is ever ranked, counted or touched.

use crate::{
    Engine, FlowResult, Mode, SearchExplanation, SearchReply, SearchRequest, SegmentSearch,
    admission::Permit,
    cost, diversify,
    fetch::{FetchContext, FetchResult, fetch},
    fuse::{
        FusedCandidate, RRF_K,
        blend::{RetrieverInput, fuse_retrievers},
    },
    phrases,
    query::{self, SearchPlan, VectorSource},
    types,
    work::TaskContext,
};
use access::{Grant, Search};
use kernel::{CancelFlag, Clock, Error, Status, Timestamp, Tokens, cost::RunOn};
use ledger::AuditEvent;
use models::TaskKind;
use registry::NamespaceRecord;
use segment::{Highlighter, TextStats};
use std::{sync::Arc, time::Duration};
use store::{Address, Eligible, SegmentSearchStats, Snapshot, Totals};

impl Engine {
    /// Finds passages. The module's documentation describes the order of steps.
    pub async fn search(&self, grant: Grant<Search>, request: SearchRequest) -> FlowResult<SearchReply> {
        let acting_as = request.acting_as.clone().unwrap_or_default();
        let end = self.search_under(&grant, request).await.map(|reply| {
            let ids = reply.hits.iter().map(|h| h.document_id.clone()).collect();
            let event =
                AuditEvent::success().count("hits", reply.hits.len() as u64).documents(ids).principals(acting_as);
            (reply, event)
        });
        self.finish_read(grant, end).await
    }

    /// Runs the search itself, without the audit record. `context` uses it under the same grant.
    pub(crate) async fn search_under(
        &self,
        grant: &Grant<Search>,
        request: SearchRequest,
    ) -> Result<SearchReply, Error> {
        let _permit = self.inner.searches.acquire(grant.incarnation(), 1)?;
        let started = self.inner.clock.monotonic();
        let record = self.namespace_record(grant)?;
        let mut plan = query::compile(grant, &record.settings, &self.inner.models, request)?;
        let warnings = plan.take_warnings();
        let vector = self.query_vector(grant, &plan).await?;
        let tokens = self.tokeniser(&plan);
        let embedded = self.inner.clock.monotonic();
        let handle = self.inner.stores.enter(grant, &record.settings).await?;
        let snapshot = handle.snapshot(plan.min_commit()).await?;
        let opened = self.inner.clock.monotonic();
        let now = self.inner.clock.now();
        let mut timer = StageTimer::from(self.inner.clock.clone(), opened);
        let cost = cost::search_cost(&snapshot, &plan);
        // The permit covers the working memory now; it grows with the hits and leaves with the reply.
        let mut memory = self.inner.search_bytes.acquire(grant.incarnation(), memory_estimate(&snapshot, &plan))?;
        let cancel = grant.cancel_flag().clone();
        let work = move || {
            let mut context = SearchContext { timer: &mut timer, memory: &mut memory, cancel: &cancel };
            let reply = rank(&snapshot, &plan, (vector.as_deref(), tokens.as_deref()), now, &mut context)?;
            Ok::<_, Error>((SearchReply { timings: timer.millis, ..reply }, plan, memory))
        };
        let task = TaskContext::answer(grant);
        // A search with a small cost bound runs on this thread and does not wait for the pool.
        let (mut reply, plan, memory) = match cost.run_on() {
            RunOn::Caller(short) => self.inner.work.run_inline(&task, &short, work)?,
            RunOn::Pool => self.inner.work.cpu(task, work).await?,
        }?;
        reply.timings.splice(0..0, [("embed", millis(started, embedded)), ("open", millis(embedded, opened))]);
        reply.warnings.splice(0..0, warnings);
        let reply = match plan.rerank() {
            Some(_) => self.rerank(grant, Arc::new(plan), reply).await?,
            None => reply,
        };
        Ok(SearchReply { memory: Some(memory), ..reply })
    }

    async fn query_vector(&self, grant: &Grant<Search>, plan: &SearchPlan) -> Result<Option<Vec<f32>>, Error> {
        match plan.vector() {
            VectorSource::None => Ok(None),
            VectorSource::Given(vector) => Ok(Some(vector.clone())),
            VectorSource::Model(model) => {
                let question = plan.question().ok_or_else(|| Error::invalid("query", "is needed to make a vector"))?;
                self.embed(grant, model, TaskKind::Query, vec![question.clone()]).await.map(Some)
            }
        }
    }

    /// The tokenizer of the model that makes this query's vector, if one does.
    fn tokeniser(&self, plan: &SearchPlan) -> Option<Arc<dyn Tokens>> {
        match plan.vector() {
            VectorSource::Model(model) => self.inner.models.tokens(model),
            VectorSource::None | VectorSource::Given(_) => None,
        }
    }

    /// Returns the namespace's record, or the uniform 404.
    pub(crate) fn namespace_record<A: access::Action>(&self, grant: &Grant<A>) -> Result<NamespaceRecord, Error> {
        let name = grant.namespace().ok_or_else(Error::not_found)?;
        self.inner.registry.require_namespace(grant.incarnation(), name)
    }
}

type Ranking = Vec<FusedCandidate<Address>>;

/// Milliseconds that each stage of a search took.
struct StageTimer {
    clock: Arc<dyn Clock>,
    last: Duration,
    millis: Vec<(&'static str, f64)>,
}

impl StageTimer {
    fn from(clock: Arc<dyn Clock>, last: Duration) -> Self {
        Self { clock, last, millis: Vec::new() }
    }

    fn end_stage(&mut self, stage: &'static str) {
        let now = self.clock.monotonic();
        let took = millis(self.last, now);
        // A stage that ran twice is reported with both times added.
        match self.millis.iter_mut().find(|(known, _)| *known == stage) {
            Some((_, millis)) => *millis += took,
            None => self.millis.push((stage, took)),
        }
        self.last = now;
    }
}

pub(crate) fn millis(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64() * 1e3
}

/// Estimates the memory of a search before its hits are fetched, in bytes: bitmaps of its rows, two sums for each row
/// if the query has words, candidates of both retrievers, and a filter's tables with a bitmap for each of its nodes.
fn memory_estimate(snapshot: &Snapshot, plan: &SearchPlan) -> u64 {
    let passages = snapshot.totals().passages;
    let sums = if plan.words().is_some() { 8 * passages } else { 0 };
    let filter = plan.filter().map_or(0, |filter| {
        COMPILED_FILTER_BYTES * filter.bytes() + filter.nodes() as u64 * (snapshot.extent().documents / 8 + 256)
    });
    passages / 2 + sums + 256 * plan.depth() as u64 + filter
}

/// Bytes of a compiled filter for each byte of its source. At worst, each byte of a pattern becomes a state of an
/// automaton.
const COMPILED_FILTER_BYTES: u64 = 32;

/// What all stages of a search share: their timer, the permit for memory, and whether the client still waits.
struct SearchContext<'a> {
    timer: &'a mut StageTimer,
    memory: &'a mut Permit,
    cancel: &'a CancelFlag,
}

impl SearchContext<'_> {
    /// Ends a stage. The next one starts only if the client still waits.
    fn end_stage(&mut self, stage: &'static str) -> Result<(), Error> {
        self.timer.end_stage(stage);
        self.cancel.check()
    }
}

fn rank(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    (vector, tokens): (Option<&[f32]>, Option<&dyn Tokens>),
    now: Timestamp,
    context: &mut SearchContext<'_>,
) -> Result<SearchReply, Error> {
    // The time since the last stage was spent waiting for a core.
    context.end_stage("queue")?;
    let eligible = snapshot.eligible(plan.audience(), plan.filter(), &[Status::Indexed], now)?;
    context.end_stage("filter")?;
    let phrases::ParsedQuestion { query, eligible, quoted } = phrases::parse_question(snapshot, plan, eligible)?;
    let query = query.with_title_weight(plan.title_weight());
    let stats = match query.is_empty() {
        true => TextStats::for_query(&query),
        // Only passages that the reader can find count, so that scores do not depend on others.
        false => snapshot.text_stats(&query, &eligible)?,
    };
    let words = plan.words().map_or("", |words| words.expose());
    let input = RetrieverInput {
        words,
        query: &query,
        stats: &stats,
        vector: vector.unwrap_or_default(),
        tokens,
        quoted: &quoted,
    };
    let found = retrieve_until_filled(snapshot, plan, &eligible, &input, context)?;
    let visible = match plan.include().explain {
        true => snapshot.totals_for(plan.audience(), now)?,
        false => Totals::default(),
    };
    let explain = plan.include().explain.then(|| SearchExplanation {
        rows: visible.passages,
        eligible_rows: eligible.rows(),
        text_candidates: found.retrievers[0],
        vector_candidates: found.retrievers[1],
        segments: SegmentSearch::visible_to(found.searches, plan.audience(), visible.passages),
        rrf_k: RRF_K,
        fusion: found.fusion,
        rerank: None,
    });
    let mut warnings = unknown_keys(snapshot, plan, now)?;
    warnings.extend_from_slice(query.warnings());
    let mut highlighter = (plan.include().highlights && plan.words().is_some()).then(|| Highlighter::new(&query));
    let fetching = FetchContext { memory: context.memory, highlighter: highlighter.as_mut(), cancel: context.cancel };
    let FetchResult { hits, warning } = fetch(snapshot, plan, &eligible, found.chosen, fetching)?;
    let incomplete = warning.is_some();
    warnings.extend(warning);
    warnings.extend(highlighter.and_then(|highlighter| highlighter.warning()));
    context.timer.end_stage("fetch");
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

/// The chosen candidates, and how they were found.
struct RetrievedCandidates {
    chosen: Ranking,
    /// Number of candidates of the text and of the vector retriever.
    retrievers: [usize; 2],
    searches: Vec<SegmentSearchStats>,
    fusion: Option<types::FusionReport>,
}

/// Retrieves as many hits as were requested, if there are as many. Caps may leave too few of the first candidates; both
/// retrievers then return more. The order of the first hits does not depend on that.
fn retrieve_until_filled(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    eligible: &Eligible,
    input: &RetrieverInput<'_>,
    context: &mut SearchContext<'_>,
) -> Result<RetrievedCandidates, Error> {
    let mut depth = plan.depth();
    loop {
        let found = retrieve(snapshot, plan, eligible, input, depth, context)?;
        let all = found.retrievers.iter().all(|candidates| *candidates < depth);
        if found.chosen.len() >= plan.candidates_needed() || all || !plan.is_capped() {
            return Ok(found);
        }
        depth = depth.saturating_mul(8);
        context.memory.grow(256 * (depth as u64).min(eligible.rows()))?;
    }
}

/// Runs both retrievers to this depth, fuses their rankings, and applies caps and diversity.
fn retrieve(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    eligible: &Eligible,
    input: &RetrieverInput<'_>,
    depth: usize,
    context: &mut SearchContext<'_>,
) -> Result<RetrievedCandidates, Error> {
    let text = snapshot.text_counted(input.query, input.stats, eligible, depth)?;
    context.end_stage("text")?;
    let (near, searches) = snapshot.vector(input.vector, eligible, depth)?;
    context.end_stage("vector")?;
    let retrievers = [text.len(), near.len()];
    let [text, near] = [text, near].map(|hits| hits.into_iter().map(|h| (h.at, h.score)).collect::<Vec<_>>());
    let [text, near] = phrases::append_phrase_candidates(snapshot, plan, input, [text, near], depth)?;
    let (ranked, fusion) = match plan.mode() {
        Mode::Hybrid => {
            let (ranked, fusion) = fuse_retrievers(snapshot, eligible, plan, input, ([&text, &near], depth))?;
            (ranked, Some(fusion))
        }
        Mode::Text | Mode::Vector => (single_retriever(&text, 0).chain(single_retriever(&near, 1)).collect(), None),
    };
    let ranked = phrases::rank_phrases_first(ranked, input.quoted);
    context.end_stage("fuse")?;
    let chosen = diversify::choose(snapshot, plan, eligible, ranked)?;
    Ok(RetrievedCandidates { chosen, retrievers, searches, fusion })
}

/// The ranking of a single retriever, with its own scores.
fn single_retriever(list: &[(Address, f32)], retriever: usize) -> impl Iterator<Item = FusedCandidate<Address>> {
    list.iter().map(move |(item, score)| {
        let mut retrievers = [None; 2];
        retrievers[retriever] = Some(*score);
        FusedCandidate { item: *item, score: *score, retrievers, phrases: 0 }
    })
}

/// Warns of filter keys that no document has: they match nothing.
fn unknown_keys(snapshot: &Snapshot, plan: &SearchPlan, now: Timestamp) -> Result<Vec<String>, Error> {
    let keys = plan.filter().map(|f| f.attribute_keys()).unwrap_or_default();
    let unknown = snapshot.unknown_attributes(keys, plan.audience(), now)?;
    Ok(unknown.into_iter().map(|key| format!("filter: no document has the attribute '{key}'")).collect())
}
