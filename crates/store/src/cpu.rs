//! Work for many cores: handed to the engine's bounded pool, awaited here.
//!
//! Promises that a panic in the work ends that piece of work only.

use crate::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A bounded pool for synchronous work that takes long: indexing, merging, opening.
pub trait Cpu: Send + Sync + 'static {
    /// Runs `work` some time soon. Dropping it unrun is allowed: the asker gets an error.
    fn run(&self, work: Box<dyn FnOnce() + Send>);
}

/// Runs `work` on the pool and waits for what it makes.
///
/// # Errors
/// [`Error::Panicked`] when the work panicked or was dropped.
pub(crate) async fn on_cpu<T: Send + 'static>(
    cpu: &dyn Cpu,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (done, made) = tokio::sync::oneshot::channel();
    cpu.run(Box::new(move || {
        // What the work borrowed is dropped with it: nothing half-changed is seen afterwards.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
            let _asker_gone = done.send(value);
        }
    }));
    made.await.map_err(|_| Error::Panicked)
}
