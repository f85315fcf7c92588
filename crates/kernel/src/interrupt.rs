//! Ends the work for a request early: its client has disconnected, or its deadline has passed.
//!
//! A pool sets the [`Interrupt`] of a request for the thread that works for it ([`Interrupt::scope`]), and loops whose
//! length a caller chooses call [`checkpoint`] with the steps of each round. Without a scope nothing is interrupted.

use crate::{CancelFlag, Clock, Code, Error};
use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

/// Tells the work for one request when to end. It is cheap to clone.
#[derive(Clone)]
pub struct Interrupt {
    cancel: CancelFlag,
    clock: Arc<dyn Clock>,
    /// Deadline by the monotonic clock.
    deadline: Duration,
}

/// Why work ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The client no longer waits for the answer.
    #[error("the client disconnected before the answer was ready")]
    Disconnected,
    /// The server's deadline for such work has passed.
    #[error("the request took longer than the server allows; ask for less at once: a narrower filter or fewer words")]
    TimedOut,
}

impl Interrupt {
    /// Creates an interrupt that ends work when the client disconnects, or after `wait` from now.
    pub fn new(cancel: CancelFlag, clock: Arc<dyn Clock>, wait: Duration) -> Self {
        let deadline = clock.monotonic().saturating_add(wait);
        Self { cancel, clock, deadline }
    }

    /// Whether the work may continue.
    ///
    /// # Errors
    /// The reason why the work must end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.cancel.is_set() {
            return Err(Interrupted::Disconnected);
        }
        if self.clock.monotonic() >= self.deadline {
            return Err(Interrupted::TimedOut);
        }
        Ok(())
    }

    /// Runs `work` on this thread; every [`checkpoint`] in it checks this interrupt.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _guard = ScopeGuard(CURRENT.replace(Some(self.clone())));
        REMAINING.set(STEPS_BETWEEN_CHECKS);
        work()
    }

    /// The interrupt of this thread's scope.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }
}

/// Checks the interrupt of this thread's scope once in [`STEPS_BETWEEN_CHECKS`] steps; `steps` is the work since the
/// last call, in bytes or equally cheap units.
///
/// # Errors
/// The work must end with this error.
#[inline]
pub fn checkpoint(steps: u64) -> Result<(), Interrupted> {
    let remaining = REMAINING.get();
    if remaining > steps {
        REMAINING.set(remaining - steps);
        return Ok(());
    }
    REMAINING.set(STEPS_BETWEEN_CHECKS);
    CURRENT.with_borrow(|current| current.as_ref().map_or(Ok(()), Interrupt::check))
}

/// Steps between two checks: some tenths of a millisecond in the most expensive loops.
pub const STEPS_BETWEEN_CHECKS: u64 = 64 << 10;

thread_local! {
    /// Interrupt of the innermost scope.
    static CURRENT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
    /// Steps until the next check.
    static REMAINING: Cell<u64> = const { Cell::new(STEPS_BETWEEN_CHECKS) };
}

/// Restores the interrupt of the enclosing scope when it is dropped, also if the work panics.
struct ScopeGuard(Option<Interrupt>);

impl Drop for ScopeGuard {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
        REMAINING.set(STEPS_BETWEEN_CHECKS);
    }
}

impl From<Interrupted> for Error {
    fn from(interrupted: Interrupted) -> Self {
        let message = interrupted.to_string();
        match interrupted {
            Interrupted::Disconnected => Error::overloaded(message, Duration::from_secs(1)),
            Interrupted::TimedOut => Error::new(Code::TimedOut, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, Timestamp};

    fn run_loop() -> Result<(), Interrupted> {
        (0..=STEPS_BETWEEN_CHECKS).try_for_each(|_| checkpoint(1))
    }

    #[test]
    fn loops_end_when_the_client_disconnects_and_at_the_deadline() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let (cancel, wait) = (CancelFlag::default(), Duration::from_secs(1));
        let interrupt = Interrupt::new(cancel.clone(), clock.clone(), wait);
        interrupt.scope(|| {
            assert_eq!(run_loop(), Ok(()));
            clock.advance(wait);
            assert_eq!(run_loop(), Err(Interrupted::TimedOut));
            drop(cancel.drop_guard());
            assert_eq!(run_loop(), Err(Interrupted::Disconnected));
        });
        assert_eq!(run_loop(), Ok(()), "no scope, no interrupt");
        assert_eq!(Error::from(Interrupted::TimedOut).code, Code::TimedOut);
    }

    #[test]
    fn an_inner_scope_restores_the_outer_one() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let (outer, inner) = (CancelFlag::default(), CancelFlag::default());
        let of = |cancel: &CancelFlag| Interrupt::new(cancel.clone(), clock.clone(), Duration::from_secs(1));
        drop(inner.drop_guard());
        of(&outer).scope(|| {
            let caught = std::panic::catch_unwind(|| {
                of(&inner).scope(|| {
                    assert_eq!(run_loop(), Err(Interrupted::Disconnected));
                    panic!("on purpose");
                })
            });
            assert!(caught.is_err());
            assert_eq!(run_loop(), Ok(()));
        });
    }
}
