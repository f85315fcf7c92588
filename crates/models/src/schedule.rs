//! Who is next: lanes in turn by tokens, queries before passages, never more than the bound.
//!
//! ```text
//! queries   lane a: [job][job]      deficit round robin: a lane is served while it has credit; each round
//!           lane b: [job]           gives it 32 tokens more; what a text really cost is settled afterwards
//! passages  lane c: [job 1000 texts]
//! ```
//! Plain data, no threads and no clock, so that tests drive it step by step.

use crate::{
    Kind, Lane,
    pending::{Pending, Unit},
};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The queue of all models.
pub(crate) struct Schedule {
    queries: Class,
    passages: Class,
    /// Queries served since a passage was.
    queries_in_a_row: usize,
    /// Texts that may wait.
    max: usize,
}

/// What [`Schedule::take`] found.
#[derive(Default)]
pub(crate) struct Taken {
    /// Serve this.
    pub(crate) unit: Option<Unit>,
    /// Answer these: their askers have gone.
    pub(crate) skipped: Vec<Arc<Pending>>,
}

/// How a model wants its texts: per call, and tokens of one at most.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) batch_max: usize,
    pub(crate) tokens_max: usize,
}

impl Schedule {
    /// An empty queue for `max` texts.
    pub(crate) fn new(max: usize) -> Self {
        Self { queries: Class::default(), passages: Class::default(), queries_in_a_row: 0, max: max.max(1) }
    }

    /// Texts waiting.
    pub(crate) fn waiting(&self) -> usize {
        self.queries.waiting + self.passages.waiting
    }

    /// Takes a job in. False, and the job is gone, when there is no room.
    #[must_use]
    pub(crate) fn push(&mut self, job: Arc<Pending>) -> bool {
        let fits = self.has_room(&job);
        if fits {
            self.class(job.kind).push(job);
        }
        fits
    }

    /// The next unit. `shape` tells how a model wants it.
    pub(crate) fn take(&mut self, shape: impl Fn(usize) -> Shape) -> Taken {
        let mut taken = Taken::default();
        let passages_first = self.queries_in_a_row >= QUERIES_IN_A_ROW_MAX;
        let order = if passages_first { [Kind::Passage, Kind::Query] } else { [Kind::Query, Kind::Passage] };
        for kind in order {
            taken.unit = self.class(kind).take(&shape, &mut taken.skipped);
            if taken.unit.is_none() {
                continue;
            }
            match kind {
                Kind::Query if self.passages.waiting > 0 => self.queries_in_a_row += 1,
                _ => self.queries_in_a_row = 0,
            }
            break;
        }
        taken
    }

    /// Charges a lane what its unit truly cost, tokens.
    pub(crate) fn settle(&mut self, unit: &Unit, tokens: usize) {
        if let Some(waiting) = self.class(unit.pending.kind).lanes.get_mut(&unit.pending.lane) {
            waiting.credit += unit.charged as i64 - tokens as i64;
        }
    }

    /// Empties the queue.
    pub(crate) fn drain(&mut self) -> Vec<Arc<Pending>> {
        let classes = [std::mem::take(&mut self.queries), std::mem::take(&mut self.passages)];
        classes
            .into_iter()
            .flat_map(|class| class.lanes.into_values())
            .flat_map(|lane| lane.jobs)
            .map(|j| j.0)
            .collect()
    }

    /// One lane's passages leave room for other lanes, and all passages leave room for queries. A job larger than
    /// its lane's share enters only while that lane has nothing else waiting, so that no document is too long.
    fn has_room(&self, job: &Pending) -> bool {
        let of_lane = match job.kind {
            Kind::Query => &self.queries,
            Kind::Passage => &self.passages,
        }
        .waiting_of(job.lane);
        let share = (self.max / 2).max(1);
        let all = match job.kind {
            Kind::Query => self.max,
            Kind::Passage => self.max - self.max / 8,
        };
        let fits_lane = of_lane == 0 || of_lane + job.len() <= share;
        let fits_all = self.waiting() + job.len().min(share) <= all;
        fits_lane && fits_all
    }

    fn class(&mut self, kind: Kind) -> &mut Class {
        match kind {
            Kind::Query => &mut self.queries,
            Kind::Passage => &mut self.passages,
        }
    }
}

/// Lanes of one urgency.
#[derive(Default)]
struct Class {
    lanes: HashMap<Lane, Waiting>,
    /// Whose turn it is; each lane of `lanes` once.
    ring: VecDeque<Lane>,
    waiting: usize,
}

#[derive(Default)]
struct Waiting {
    /// Tokens that the lane may still use in this round; below zero after a dear unit.
    credit: i64,
    texts: usize,
    /// Jobs and how many of their texts were handed out.
    jobs: VecDeque<(Arc<Pending>, usize)>,
}

impl Class {
    fn waiting_of(&self, lane: Lane) -> usize {
        self.lanes.get(&lane).map_or(0, |l| l.texts)
    }

    fn push(&mut self, job: Arc<Pending>) {
        let waiting = self.lanes.entry(job.lane).or_insert_with(|| {
            self.ring.push_back(job.lane);
            Waiting { credit: ROUND_TOKENS, ..Waiting::default() }
        });
        waiting.texts += job.len();
        self.waiting += job.len();
        waiting.jobs.push_back((job, 0));
    }

    fn take(&mut self, shape: &impl Fn(usize) -> Shape, skipped: &mut Vec<Arc<Pending>>) -> Option<Unit> {
        // Ends: every pass over the ring raises each lane's credit or removes the lane.
        while let Some(lane) = self.ring.front().copied() {
            let Some(waiting) = self.lanes.get_mut(&lane) else {
                self.ring.pop_front();
                continue;
            };
            self.waiting -= waiting.skip_over(skipped);
            if waiting.jobs.is_empty() {
                self.lanes.remove(&lane);
                self.ring.pop_front();
                continue;
            }
            if waiting.credit <= 0 {
                waiting.credit += ROUND_TOKENS;
                self.ring.rotate_left(1);
                continue;
            }
            let unit = waiting.take(shape);
            self.waiting -= unit.as_ref().map_or(0, |u| u.range.len());
            return unit;
        }
        None
    }
}

impl Waiting {
    /// Drops jobs at the front that nobody waits for. How many texts went with them.
    fn skip_over(&mut self, skipped: &mut Vec<Arc<Pending>>) -> usize {
        let mut dropped = 0;
        while let Some((job, taken)) = self.jobs.front() {
            if !job.is_over() {
                break;
            }
            dropped += job.len() - taken;
            skipped.push(Arc::clone(job));
            self.jobs.pop_front();
        }
        self.texts -= dropped;
        dropped
    }

    fn take(&mut self, shape: &impl Fn(usize) -> Shape) -> Option<Unit> {
        let (job, taken) = self.jobs.front_mut()?;
        let shape = shape(job.model);
        let range = *taken..job.len().min(*taken + shape.batch_max.max(1));
        let charged = range.clone().map(|i| job.guess(i, shape.tokens_max)).sum();
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

/// Queries that may pass a waiting passage one after the other.
const QUERIES_IN_A_ROW_MAX: usize = 3;

/// Tokens that a round gives each lane: about one question, an eighth of a long passage.
const ROUND_TOKENS: i64 = 32;

#[cfg(test)]
mod tests;
