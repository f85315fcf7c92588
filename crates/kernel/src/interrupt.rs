//! Ends the work for a request early: its client has disconnected, or its deadline has passed.
//!
//! A pool sets the [`Interrupt`] of a request for the thread that works for it ([`Interrupt::scope`]), and loops whose
//! length a caller chooses call [`checkpoint`] with the steps of each round. Without a scope nothing is interrupted.

use crate::{Clock, Code, Error, Presence};
use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::Duration,
};

/// Ends the work for one request. Cheap to clone.
#[derive(Clone)]
pub struct Interrupt {
    presence: Presence,
    clock: Arc<dyn Clock>,
    /// By the monotonic clock.
    deadline: Duration,
}

/// Why work ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Interrupted {
    /// The client no longer waits for the answer.
    #[error("the caller went before the answer was ready")]
    Gone,
    /// The server's deadline for such work has passed.
    #[error(
        "the request took longer than the server works for one; ask for less at once: a narrower filter, fewer words"
    )]
    TimedOut,
}

impl Interrupt {
    /// Ends work when the client disconnects, and `wait` from now.
    pub fn new(presence: Presence, clock: Arc<dyn Clock>, wait: Duration) -> Self {
        let deadline = clock.monotonic().saturating_add(wait);
        Self { presence, clock, deadline }
    }

    /// Whether the work may continue.
    ///
    /// # Errors
    /// Why it must end.
    pub fn check(&self) -> Result<(), Interrupted> {
        if self.presence.is_gone() {
            return Err(Interrupted::Gone);
        }
        if self.clock.monotonic() >= self.deadline {
            return Err(Interrupted::TimedOut);
        }
        Ok(())
    }

    /// Runs `work` on this thread with every [`checkpoint`] in it looking at this interrupt.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        let _restored = Restored(CURRENT.replace(Some(self.clone())));
        LEFT.set(STEPS_BETWEEN_CHECKS);
        work()
    }

    /// The interrupt of this thread's scope.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }
}

/// Checks the interrupt of this thread's scope once in [`STEPS_BETWEEN_CHECKS`]; `steps` is the work since the last call,
/// in bytes or units as cheap.
///
/// # Errors
/// The work must end with this error.
#[inline]
pub fn checkpoint(steps: u64) -> Result<(), Interrupted> {
    let left = LEFT.get();
    if left > steps {
        LEFT.set(left - steps);
        return Ok(());
    }
    LEFT.set(STEPS_BETWEEN_CHECKS);
    CURRENT.with_borrow(|current| current.as_ref().map_or(Ok(()), Interrupt::check))
}

/// Steps between two checks: some tenths of a millisecond in the most expensive loops.
pub const STEPS_BETWEEN_CHECKS: u64 = 64 << 10;

thread_local! {
    static CURRENT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
    static LEFT: Cell<u64> = const { Cell::new(STEPS_BETWEEN_CHECKS) };
}

/// Restores the interrupt of the enclosing scope, also when the work panics.
struct Restored(Option<Interrupt>);

impl Drop for Restored {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
        LEFT.set(STEPS_BETWEEN_CHECKS);
    }
}

impl From<Interrupted> for Error {
    fn from(interrupted: Interrupted) -> Self {
        let message = interrupted.to_string();
        match interrupted {
            Interrupted::Gone => Error::overloaded(message, Duration::from_secs(1)),
            Interrupted::TimedOut => Error::new(Code::TimedOut, message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, Timestamp};

    fn many() -> Result<(), Interrupted> {
        (0..=STEPS_BETWEEN_CHECKS).try_for_each(|_| checkpoint(1))
    }

    #[test]
    fn loops_end_when_the_caller_goes_and_when_the_time_is_up() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let (presence, wait) = (Presence::default(), Duration::from_secs(1));
        let interrupt = Interrupt::new(presence.clone(), clock.clone(), wait);
        interrupt.scope(|| {
            assert_eq!(many(), Ok(()));
            clock.advance(wait);
            assert_eq!(many(), Err(Interrupted::TimedOut));
            drop(presence.watch());
            assert_eq!(many(), Err(Interrupted::Gone));
        });
        assert_eq!(many(), Ok(()), "no scope, no interrupt");
        assert_eq!(Error::from(Interrupted::TimedOut).code, Code::TimedOut);
    }

    #[test]
    fn a_scope_in_a_scope_gives_way_to_it_again() {
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(0)));
        let (outer, inner) = (Presence::default(), Presence::default());
        let of = |presence: &Presence| Interrupt::new(presence.clone(), clock.clone(), Duration::from_secs(1));
        drop(inner.watch());
        of(&outer).scope(|| {
            let caught = std::panic::catch_unwind(|| {
                of(&inner).scope(|| {
                    assert_eq!(many(), Err(Interrupted::Gone));
                    panic!("on purpose");
                })
            });
            assert!(caught.is_err());
            assert_eq!(many(), Ok(()));
        });
    }
}
