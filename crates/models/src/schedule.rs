//! Chooses the next work: tenants in round robin by tokens, queries before passages, and never more texts than the
//! bound.
//!
//! ```text
//! queries   tenant a: [job][job]    deficit round robin: a tenant is served while it has credit; each round
//!           tenant b: [job]         adds 32 tokens to it; the actual cost of a text is charged afterwards
//! passages  tenant c: [job 1000 texts]
//! ```
//! This is plain data without threads and without a clock, so that tests drive it step by step.

use crate::{
    TaskKind, TenantQueueId,
    pending::{Pending, Unit},
};
use kernel::Turns;
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The queue of all models.
pub(crate) struct FairScheduler {
    queries: ClassQueue,
    passages: ClassQueue,
    /// Number of queries served since the last passage.
    consecutive_queries: usize,
    /// Maximum number of queued texts.
    max: usize,
}

/// Result of [`FairScheduler::take`].
#[derive(Default)]
pub(crate) struct NextWork {
    /// The unit to serve.
    pub(crate) unit: Option<Unit>,
    /// Jobs to answer with an error: their callers cancelled them.
    pub(crate) skipped: Vec<Arc<Pending>>,
}

/// Limits of a model: texts per call, and tokens of one text.
#[derive(Clone, Copy)]
pub(crate) struct ModelLimits {
    pub(crate) batch_max: usize,
    pub(crate) tokens_max: usize,
}

impl FairScheduler {
    /// An empty queue for `max` texts.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            queries: ClassQueue::default(),
            passages: ClassQueue::default(),
            consecutive_queries: 0,
            max: max.max(1),
        }
    }

    /// Number of queued texts.
    pub(crate) fn waiting(&self) -> usize {
        self.queries.waiting + self.passages.waiting
    }

    /// Queues a job. Returns false, and drops the job, when the queue is full.
    #[must_use]
    pub(crate) fn push(&mut self, job: Arc<Pending>) -> bool {
        let fits = self.has_capacity(&job);
        if fits {
            self.class_queue(job.kind).push(job);
        }
        fits
    }

    /// Takes the next unit. `limits_of` returns the limits of a model.
    pub(crate) fn take(&mut self, limits_of: impl Fn(usize) -> ModelLimits) -> NextWork {
        let mut taken = NextWork::default();
        // Queries come first, but a waiting passage gets at least every fourth turn.
        let passages_first = self.consecutive_queries >= CONSECUTIVE_QUERIES_MAX;
        let order =
            if passages_first { [TaskKind::Passage, TaskKind::Query] } else { [TaskKind::Query, TaskKind::Passage] };
        for kind in order {
            taken.unit = self.class_queue(kind).take(&limits_of, &mut taken.skipped);
            if taken.unit.is_none() {
                continue;
            }
            match kind {
                TaskKind::Query if self.passages.waiting > 0 => self.consecutive_queries += 1,
                _ => self.consecutive_queries = 0,
            }
            break;
        }
        taken
    }

    /// Charges the tenant's queue the actual cost of a unit, in tokens.
    pub(crate) fn charge(&mut self, unit: &Unit, tokens: usize) {
        if let Some(tenant) = self.class_queue(unit.pending.kind).tenants.get_mut(&unit.pending.queue) {
            tenant.credit += unit.charged as i64 - tokens as i64;
        }
    }

    /// Empties the queue and returns its jobs.
    pub(crate) fn drain(&mut self) -> Vec<Arc<Pending>> {
        let classes = [std::mem::take(&mut self.queries), std::mem::take(&mut self.passages)];
        classes
            .into_iter()
            .flat_map(|class_queue| class_queue.tenants.into_values())
            .flat_map(|tenant| tenant.jobs)
            .map(|j| j.0)
            .collect()
    }

    /// One tenant's passages leave room for other tenants, and all passages leave room for queries. A job larger than
    /// its tenant's share is accepted only while that tenant has nothing else queued, so that no document is too long.
    fn has_capacity(&self, job: &Pending) -> bool {
        let of_tenant = match job.kind {
            TaskKind::Query => &self.queries,
            TaskKind::Passage => &self.passages,
        }
        .texts_of(job.queue);
        let share = (self.max / 2).max(1);
        let all = match job.kind {
            TaskKind::Query => self.max,
            TaskKind::Passage => self.max - self.max / 8,
        };
        let fits_tenant = of_tenant == 0 || of_tenant + job.len() <= share;
        let fits_all = self.waiting() + job.len().min(share) <= all;
        fits_tenant && fits_all
    }

    fn class_queue(&mut self, kind: TaskKind) -> &mut ClassQueue {
        match kind {
            TaskKind::Query => &mut self.queries,
            TaskKind::Passage => &mut self.passages,
        }
    }
}

/// The queues of all tenants for one class of jobs.
#[derive(Default)]
struct ClassQueue {
    tenants: HashMap<TenantQueueId, ModelQueue>,
    /// The keys of `tenants`.
    turns: Turns<TenantQueueId>,
    waiting: usize,
}

#[derive(Default)]
struct ModelQueue {
    /// Tokens that the tenant may still use in this round; below zero after an expensive unit.
    credit: i64,
    texts: usize,
    /// Jobs, and the number of texts of each that were handed out.
    jobs: VecDeque<(Arc<Pending>, usize)>,
}

impl ClassQueue {
    fn texts_of(&self, queue: TenantQueueId) -> usize {
        self.tenants.get(&queue).map_or(0, |tenant| tenant.texts)
    }

    fn push(&mut self, job: Arc<Pending>) {
        let fresh = || ModelQueue { credit: QUANTUM_TOKENS, ..ModelQueue::default() };
        let tenant = self.tenants.entry(job.queue).or_insert_with(fresh);
        self.turns.join(job.queue);
        tenant.texts += job.len();
        self.waiting += job.len();
        tenant.jobs.push_back((job, 0));
    }

    fn take(&mut self, limits_of: &impl Fn(usize) -> ModelLimits, skipped: &mut Vec<Arc<Pending>>) -> Option<Unit> {
        // This ends: every pass over the round raises each tenant's credit or removes the tenant.
        while let Some(queue) = self.turns.first(|_| true) {
            let Some(tenant) = self.tenants.get_mut(&queue) else {
                self.turns.leave(queue);
                continue;
            };
            self.waiting -= tenant.skip_finished(skipped);
            if tenant.jobs.is_empty() {
                self.tenants.remove(&queue);
                self.turns.leave(queue);
                continue;
            }
            // No credit is left: the tenant gets its tokens for the next round and goes to the end.
            if tenant.credit <= 0 {
                tenant.credit += QUANTUM_TOKENS;
                self.turns.end_turn(queue);
                continue;
            }
            let unit = tenant.take(limits_of);
            self.waiting -= unit.as_ref().map_or(0, |u| u.range.len());
            return unit;
        }
        None
    }
}

impl ModelQueue {
    /// Removes cancelled and answered jobs from the front. Returns the number of texts that they contained.
    fn skip_finished(&mut self, skipped: &mut Vec<Arc<Pending>>) -> usize {
        let mut dropped = 0;
        while let Some((job, taken)) = self.jobs.front() {
            if !job.is_finished() {
                break;
            }
            dropped += job.len() - taken;
            skipped.push(Arc::clone(job));
            self.jobs.pop_front();
        }
        self.texts -= dropped;
        dropped
    }

    fn take(&mut self, limits_of: &impl Fn(usize) -> ModelLimits) -> Option<Unit> {
        let (job, taken) = self.jobs.front_mut()?;
        let limits = limits_of(job.model);
        let range = *taken..job.len().min(*taken + limits.batch_max.max(1));
        // Charge an estimate now; the actual cost is charged when the unit is done.
        let charged = range.clone().map(|i| job.estimated_tokens(i, limits.tokens_max)).sum();
        *taken = range.end;
        self.texts -= range.len();
        self.credit -= charged as i64;
        let unit = Unit { pending: Arc::clone(job), range, charged };
        if unit.range.end == unit.pending.len() {
            self.jobs.pop_front();
        }
        Some(unit)
    }
}

/// Number of queries that may overtake a waiting passage in a row.
const CONSECUTIVE_QUERIES_MAX: usize = 3;

/// Tokens that a round adds to each tenant: about one query, or an eighth of a long passage.
const QUANTUM_TOKENS: i64 = 32;

#[cfg(test)]
mod tests;
