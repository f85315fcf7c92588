//! Searches for one order of the operations on a document that explains every answer.
//!
//! The search of Wing & Gong (1993) with the memoization of Lowe (2017): operations are ordered one by one; an
//! operation may come next if no remaining one returned before it was called. A document is a register that holds a
//! version or nothing. An operation with an unknown outcome may take effect at any time after its call, or never: it is
//! inserted only right before an operation that its effect explains, which loses no order and keeps the search small.

use std::collections::HashSet;

/// Operation on a document, with its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// This version replaced whatever was there. Every version is written once.
    Put(u64),
    /// Writes the version if nothing was there; `stored` says whether it was.
    PutIfAbsent { version: u64, stored: Option<bool> },
    /// Deletes the document; `was` says whether there was one.
    Delete { was: Option<bool> },
    /// Reads the version that was there.
    Read(Option<u64>),
    /// Searches for this version's own word; `found` says whether the document was found.
    Has { version: u64, found: bool },
}

/// One operation. Times are numbers of events, all different.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) called: u64,
    /// `None` if the outcome is unknown; then it may still take effect.
    pub(crate) returned: Option<u64>,
    pub(crate) action: Action,
}

/// Result of the search.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// There is such an order.
    Consistent,
    /// There is no such order. Contains the operation that no order could include.
    Inconsistent { failed_at: Op },
    /// Too many orders to try all of them; counts as a failure.
    Undecided,
}

impl PartialEq for Op {
    fn eq(&self, other: &Self) -> bool {
        self.called == other.called
    }
}

impl Eq for Op {}

/// Runs the search. Cost: about the number of operations times how many overlap.
pub(crate) fn check(ops: &[Op]) -> Verdict {
    let mut known: Vec<Op> = ops.iter().filter(|op| op.returned.is_some()).copied().collect();
    let mut unknown: Vec<Op> = ops.iter().filter(|op| op.returned.is_none() && op.action.writes()).copied().collect();
    known.sort_by_key(|op| op.called);
    unknown.sort_by_key(|op| op.called);
    Search { known, unknown, visited: HashSet::new() }.run()
}

impl Action {
    fn writes(self) -> bool {
        !matches!(self, Action::Read(_) | Action::Has { .. })
    }

    /// The version afterwards; `None` if the answer contradicts `held`.
    fn step(self, held: Option<u64>) -> Option<Option<u64>> {
        let fits = |holds: bool, then| if holds { Some(then) } else { None };
        match self {
            Action::Put(version) => Some(Some(version)),
            Action::PutIfAbsent { version, stored } => {
                let stores = held.is_none();
                fits(stored.is_none_or(|s| s == stores), if stores { Some(version) } else { held })
            }
            Action::Delete { was } => fits(was.is_none_or(|was| was == held.is_some()), None),
            Action::Read(observed) => fits(observed == held, held),
            Action::Has { version, found } => fits(found == (held == Some(version)), held),
        }
    }
}

struct Search {
    known: Vec<Op>,
    unknown: Vec<Op>,
    visited: HashSet<Point>,
}

/// State of a partial order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Point {
    /// All known operations before this index are included.
    base: usize,
    /// Indexes of later operations that are included.
    ahead: Vec<usize>,
    /// Unknown operations that are included.
    used: Vec<usize>,
    held: Option<u64>,
}

impl Search {
    fn run(mut self) -> Verdict {
        let mut stack = vec![Point { base: 0, ahead: Vec::new(), used: Vec::new(), held: None }];
        let mut furthest = 0;
        while let Some(point) = stack.pop() {
            if point.base == self.known.len() {
                return Verdict::Consistent;
            }
            furthest = furthest.max(point.base);
            if !self.visited.insert(point.clone()) {
                continue;
            }
            if self.visited.len() > POINTS_MAX {
                return Verdict::Undecided;
            }
            self.next(&point, &mut stack);
        }
        Verdict::Inconsistent { failed_at: self.known[furthest] }
    }

    /// Pushes all possible successors on the stack, the likeliest last.
    fn next(&self, point: &Point, stack: &mut Vec<Point>) {
        let may_be_next = self.candidates(point);
        let before = self.earliest_return(point);
        // An operation whose answer fits the current state and does not change it can come first without losing an
        // order.
        let observes = |at: &&usize| self.known[**at].action.step(point.held) == Some(point.held);
        if let Some(at) = may_be_next.iter().find(observes) {
            stack.push(self.with(point, *at, point.held, &[]));
            return;
        }
        let from = stack.len();
        for at in may_be_next {
            let action = self.known[at].action;
            if let Some(held) = action.step(point.held) {
                stack.push(self.with(point, at, held, &[]));
                continue;
            }
            for (helpers, between) in self.helpers(point, before) {
                if let Some(held) = action.step(between) {
                    stack.push(self.with(point, at, held, &helpers));
                }
            }
        }
        stack[from..].reverse();
    }

    /// Known operations that no remaining one preceded: none returned before they were called.
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

    /// Unknown operations that may take effect now, and the state after them. All possible deletes are equivalent.
    fn helpers(&self, point: &Point, before: u64) -> Vec<(Vec<usize>, Option<u64>)> {
        let free = |at: &usize| !point.used.contains(at) && self.unknown[*at].called < before;
        let free: Vec<usize> = (0..self.unknown.len()).filter(free).collect();
        let delete = free.iter().copied().find(|at| matches!(self.unknown[*at].action, Action::Delete { .. }));
        let mut out: Vec<(Vec<usize>, Option<u64>)> = delete.iter().map(|at| (vec![*at], None)).collect();
        for at in free {
            match self.unknown[at].action {
                Action::Put(version) => out.push((vec![at], Some(version))),
                Action::PutIfAbsent { version, .. } if point.held.is_none() => out.push((vec![at], Some(version))),
                Action::PutIfAbsent { version, .. } => out.extend(delete.map(|d| (vec![d, at], Some(version)))),
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

/// Maximum number of states; the workload never needs as many. A few hundred thousand take a second.
const POINTS_MAX: usize = 2_000_000;

#[cfg(test)]
mod tests;
