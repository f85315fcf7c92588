//! Is there one order of what was done to a document that explains every answer?
//!
//! The search of Wing & Gong (1993) with the memory of Lowe (2017): operations are put in order one
//! by one; one may come next if none that is left returned before it was called. A document is a
//! register that holds a version or nothing. An operation whose outcome nobody was told may come at
//! any time after its call, or never: it is put in only right before an operation that its effect
//! explains, which loses no order and keeps the search small.

use std::collections::HashSet;

/// What was done to a document, with what the answer said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// This version took the place of whatever was there. Every version is written once.
    Put(u64),
    /// The same if nothing was there; whether it was stored.
    PutIfAbsent { version: u64, stored: Option<bool> },
    /// Nothing is there any more; whether something was.
    Delete { was: Option<bool> },
    /// What was there.
    Read(Option<u64>),
    /// Whether a search for this version's own word found the document.
    Has { version: u64, found: bool },
}

/// One operation. Times are numbers of events, no two alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) called: u64,
    /// `None`: nobody knows whether it happened, and it may still.
    pub(crate) returned: Option<u64>,
    pub(crate) deed: Deed,
}

/// What the search found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is such an order.
    Fine,
    /// There is none. The operation that no order got past.
    Wrong { stuck_at: Op },
    /// Too many orders to look at them all; counts as a failure.
    TooHard,
}

impl PartialEq for Op {
    fn eq(&self, other: &Self) -> bool {
        self.called == other.called
    }
}

impl Eq for Op {}

/// Searches. Cost: about the number of operations times how many overlap.
pub(crate) fn check(ops: &[Op]) -> Verdict {
    let mut known: Vec<Op> = ops.iter().filter(|op| op.returned.is_some()).copied().collect();
    let mut unknown: Vec<Op> = ops.iter().filter(|op| op.returned.is_none() && op.deed.writes()).copied().collect();
    known.sort_by_key(|op| op.called);
    unknown.sort_by_key(|op| op.called);
    Search { known, unknown, seen: HashSet::new() }.run()
}

impl Deed {
    fn writes(self) -> bool {
        !matches!(self, Deed::Read(_) | Deed::Has { .. })
    }

    /// What is there afterwards; `None` when the answer does not fit what was there.
    fn step(self, held: Option<u64>) -> Option<Option<u64>> {
        let fits = |holds: bool, then| if holds { Some(then) } else { None };
        match self {
            Deed::Put(version) => Some(Some(version)),
            Deed::PutIfAbsent { version, stored } => {
                let stores = held.is_none();
                fits(stored.is_none_or(|s| s == stores), if stores { Some(version) } else { held })
            }
            Deed::Delete { was } => fits(was.is_none_or(|was| was == held.is_some()), None),
            Deed::Read(saw) => fits(saw == held, held),
            Deed::Has { version, found } => fits(found == (held == Some(version)), held),
        }
    }
}

struct Search {
    known: Vec<Op>,
    unknown: Vec<Op>,
    seen: HashSet<Point>,
}

/// How far one order has come.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Point {
    /// All known operations before this one are in.
    base: usize,
    /// And these behind it.
    ahead: Vec<usize>,
    /// Of the unknown ones, these.
    used: Vec<usize>,
    held: Option<u64>,
}

impl Search {
    fn run(mut self) -> Verdict {
        let mut stack = vec![Point { base: 0, ahead: Vec::new(), used: Vec::new(), held: None }];
        let mut furthest = 0;
        while let Some(point) = stack.pop() {
            if point.base == self.known.len() {
                return Verdict::Fine;
            }
            furthest = furthest.max(point.base);
            if !self.seen.insert(point.clone()) {
                continue;
            }
            if self.seen.len() > POINTS_MAX {
                return Verdict::TooHard;
            }
            self.next(&point, &mut stack);
        }
        Verdict::Wrong { stuck_at: self.known[furthest] }
    }

    /// Puts every point that may follow on the stack, the likeliest last.
    fn next(&self, point: &Point, stack: &mut Vec<Point>) {
        let may_be_next = self.candidates(point);
        let before = self.earliest_return(point);
        // An answer that fits what is there now changes nothing: no order is lost by putting it first.
        let observes = |at: &&usize| self.known[**at].deed.step(point.held) == Some(point.held);
        if let Some(at) = may_be_next.iter().find(observes) {
            stack.push(self.with(point, *at, point.held, &[]));
            return;
        }
        let from = stack.len();
        for at in may_be_next {
            let deed = self.known[at].deed;
            if let Some(held) = deed.step(point.held) {
                stack.push(self.with(point, at, held, &[]));
                continue;
            }
            for (helpers, between) in self.helpers(point, before) {
                if let Some(held) = deed.step(between) {
                    stack.push(self.with(point, at, held, &helpers));
                }
            }
        }
        stack[from..].reverse();
    }

    /// Known operations of which none that is left returned before they were called.
    fn candidates(&self, point: &Point) -> Vec<usize> {
        let before = self.earliest_return(point);
        let left = (point.base..self.known.len()).take_while(|at| self.known[*at].called < before);
        left.filter(|at| !point.ahead.contains(at)).collect()
    }

    fn earliest_return(&self, point: &Point) -> u64 {
        let mut earliest = u64::MAX;
        for at in point.base..self.known.len() {
            if self.known[at].called > earliest {
                break;
            }
            if !point.ahead.contains(&at) {
                earliest = earliest.min(self.known[at].returned.unwrap_or(u64::MAX));
            }
        }
        earliest
    }

    /// Unknown operations that may happen now, and what is there after them. Of deletes that may,
    /// one is as good as another.
    fn helpers(&self, point: &Point, before: u64) -> Vec<(Vec<usize>, Option<u64>)> {
        let free = |at: &usize| !point.used.contains(at) && self.unknown[*at].called < before;
        let free: Vec<usize> = (0..self.unknown.len()).filter(free).collect();
        let delete = free.iter().copied().find(|at| matches!(self.unknown[*at].deed, Deed::Delete { .. }));
        let mut out: Vec<(Vec<usize>, Option<u64>)> = delete.iter().map(|at| (vec![*at], None)).collect();
        for at in free {
            match self.unknown[at].deed {
                Deed::Put(version) => out.push((vec![at], Some(version))),
                Deed::PutIfAbsent { version, .. } if point.held.is_none() => out.push((vec![at], Some(version))),
                Deed::PutIfAbsent { version, .. } => out.extend(delete.map(|d| (vec![d, at], Some(version)))),
                _ => {}
            }
        }
        out
    }

    fn with(&self, point: &Point, at: usize, held: Option<u64>, helpers: &[usize]) -> Point {
        let mut next = Point { held, ..point.clone() };
        next.used.extend(helpers);
        next.used.sort_unstable();
        next.ahead.push(at);
        next.ahead.sort_unstable();
        while next.ahead.first() == Some(&next.base) {
            next.ahead.remove(0);
            next.base += 1;
        }
        next
    }
}

/// More points than this are never needed by what the driver does; a few hundred thousand take a second.
const POINTS_MAX: usize = 2_000_000;

#[cfg(test)]
mod tests;
