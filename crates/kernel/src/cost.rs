//! Upper bounds of the cost of work, counted in the bytes that it may read, and the decision where it may run.
//!
//! Only [`Cost::run_on`] creates an [`Inline`], which work on a thread that serves other requests requires. Costs are
//! upper bounds: they are computed from the sizes of what is read, never from typical values.

use crate::limits;

/// An upper bound, in steps of a nanosecond or two at most: a byte of a vector code that is compared, or of text that
/// is copied. Work that costs more for each byte counts the byte several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u64);

/// Thread on which work may run.
#[derive(Debug)]
pub enum RunOn {
    /// The caller's thread, which serves other requests too.
    Caller(Inline),
    /// A thread of the pool, in its tenant's turn and under a deadline.
    Pool,
}

/// Proof that work is short enough for a thread that other requests wait for. Only [`Cost::run_on`] creates it.
#[derive(Debug)]
pub struct Inline(());

impl Cost {
    /// Cost of work that nothing bounds, or that waits for a disk or a network.
    pub const UNBOUNDED: Cost = Cost(u64::MAX);

    /// Cost of a number of steps.
    pub const fn steps(steps: u64) -> Self {
        Self(steps)
    }

    /// Cost of doing both.
    #[must_use]
    pub fn and(self, more: Cost) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// Cost of doing it `count` times.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Thread on which work of this cost may run.
    pub fn run_on(self) -> RunOn {
        if self.0 <= limits::INLINE_STEPS_MAX { RunOn::Caller(Inline(())) } else { RunOn::Pool }
    }
}

/// Steps for each byte of an attribute that a filter evaluates: it is split into words, lower-cased and hashed.
pub const FILTERED_BYTE: u64 = 32;
/// Steps for each byte of a document's head that is decoded.
pub const DECODED_BYTE: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_work_runs_on_the_callers_thread() {
        let most = Cost::steps(limits::INLINE_STEPS_MAX);
        assert!(matches!(most.run_on(), RunOn::Caller(_)));
        assert!(matches!(most.and(Cost::steps(1)).run_on(), RunOn::Pool));
        assert!(matches!(Cost::UNBOUNDED.and(Cost::steps(1)).run_on(), RunOn::Pool), "no overflow");
        assert!(matches!(Cost::steps(u64::MAX / 2).times(3).run_on(), RunOn::Pool));
    }
}
