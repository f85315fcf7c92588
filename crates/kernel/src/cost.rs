//! What a piece of work may cost, counted in the bytes that it may read, and where it may run because of that.
//!
//! Only [`Cost::run_on`] creates an [`Inline`], which work on a thread that serves other requests requires. Costs are
//! upper bounds: they are computed from sizes of what is read, never from what is usual.

use crate::limits;

/// An upper bound, in steps of at most a nanosecond or two: a byte of a code that is compared, of text that is copied.
/// What costs more for each byte counts it several times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cost(u64);

/// Where work may run.
#[derive(Debug)]
pub enum RunOn {
    /// On the thread that asks, which serves others too.
    Caller(Inline),
    /// On a thread of the pool, in its tenant's turn and under a deadline.
    Pool,
}

/// The proof that work is short enough for a thread that others wait for. Made by [`Cost::run_on`] alone.
#[derive(Debug)]
pub struct Inline(());

impl Cost {
    /// Work whose length nothing bounds, or that waits for a disk or a network.
    pub const UNBOUNDED: Cost = Cost(u64::MAX);

    /// This number of steps.
    pub const fn steps(steps: u64) -> Self {
        Self(steps)
    }

    /// The cost of both.
    #[must_use]
    pub fn and(self, more: Cost) -> Self {
        Self(self.0.saturating_add(more.0))
    }

    /// The cost of repeating it.
    #[must_use]
    pub fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Where it may run.
    pub fn run_on(self) -> RunOn {
        if self.0 <= limits::INLINE_STEPS_MAX { RunOn::Caller(Inline(())) } else { RunOn::Pool }
    }
}

/// Steps for each byte of an attribute that a filter looks at: it is cut into words, lower-cased and hashed.
pub const FILTERED_BYTE: u64 = 32;
/// Steps for each byte of a head that is decoded.
pub const DECODED_BYTE: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_short_runs_on_the_thread_that_asks() {
        let most = Cost::steps(limits::INLINE_STEPS_MAX);
        assert!(matches!(most.run_on(), RunOn::Caller(_)));
        assert!(matches!(most.and(Cost::steps(1)).run_on(), RunOn::Pool));
        assert!(matches!(Cost::UNBOUNDED.and(Cost::steps(1)).run_on(), RunOn::Pool), "no overflow");
        assert!(matches!(Cost::steps(u64::MAX / 2).times(3).run_on(), RunOn::Pool));
    }
}
