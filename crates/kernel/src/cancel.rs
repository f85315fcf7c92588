//! The cancellation flag of a request: whether its client has disconnected.

use crate::Error;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Belongs to a request and is set when its client disconnects, so that the work ends early. Clones share the flag.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

/// Sets the [`CancelFlag`] when it is dropped, unless [`DropGuard::disarm`] was called. It is held where a
/// disconnection drops the state of the request.
#[derive(Debug)]
pub struct DropGuard(Option<CancelFlag>);

impl CancelFlag {
    /// Creates a guard that sets the flag when it is dropped.
    pub fn drop_guard(&self) -> DropGuard {
        DropGuard(Some(self.clone()))
    }

    /// Whether the client has disconnected.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Stops work whose client has disconnected.
    ///
    /// # Errors
    /// `overloaded`. Only the audit shows it.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_set() {
            return Err(Error::overloaded(
                "the client disconnected before the answer was ready",
                Duration::from_secs(1),
            ));
        }
        Ok(())
    }
}

impl DropGuard {
    /// Drops the guard without setting the flag: the answer is ready.
    pub fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        if let Some(flag) = &self.0 {
            flag.0.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn the_flag_is_set_by_a_guard_that_was_not_disarmed() {
        let (disconnected, connected) = (CancelFlag::default(), CancelFlag::default());
        drop(disconnected.drop_guard());
        connected.drop_guard().disarm();
        assert_eq!(disconnected.check().unwrap_err().code, Code::Overloaded);
        connected.check().unwrap();
    }
}
