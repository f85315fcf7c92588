//! Work for many cores: handed to the engine's bounded pool, awaited here.
//!
//! Promises that a panic in the work ends that piece of work only.

use crate::Error;
use kernel::{Incarnation, cost::Inline};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// What is done on the pool, and for whose request: so that tenants take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Opening a namespace, which a search may need.
    Open(Incarnation),
    /// Opening one that no request waits for: where upkeep runs.
    OpenAside,
    /// Planning a write, or indexing what was written.
    Write(Incarnation),
}

/// A bounded pool for synchronous work that takes long: indexing, merging, opening.
pub trait Cpu: Send + Sync + 'static {
    /// Runs `work` soon: a request waits for it. Dropping it unrun is allowed: the asker
    /// gets an error.
    fn run(&self, work: Box<dyn FnOnce() + Send>);

    /// The same, in the turn of whose errand it is.
    fn run_for(&self, errand: Errand, work: Box<dyn FnOnce() + Send>) {
        match errand {
            Errand::OpenAside => self.run_upkeep(work),
            Errand::Open(_) | Errand::Write(_) => self.run(work),
        }
    }

    /// Runs upkeep, which may take seconds, where it does not keep requests waiting.
    fn run_upkeep(&self, work: Box<dyn FnOnce() + Send>) {
        self.run(work);
    }

    /// Runs a large merge, which may take minutes, where it does not keep upkeep waiting.
    fn run_merge(&self, work: Box<dyn FnOnce() + Send>) {
        self.run_upkeep(work);
    }
}

/// Runs `work` on the pool and waits for what it makes.
///
/// # Errors
/// [`Error::Panicked`] when the work panicked or was dropped.
pub(crate) async fn on_cpu<T: Send + 'static>(
    cpu: &dyn Cpu,
    errand: Errand,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (work, made) = wrapped(work);
    cpu.run_for(errand, work);
    made.await.map_err(|_| Error::Panicked)
}

/// The same for upkeep.
///
/// # Errors
/// As [`on_cpu`].
pub(crate) async fn in_upkeep<T: Send + 'static>(
    cpu: &dyn Cpu,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (work, made) = wrapped(work);
    cpu.run_upkeep(work);
    made.await.map_err(|_| Error::Panicked)
}

/// The same for large merges.
///
/// # Errors
/// As [`on_cpu`].
pub(crate) async fn in_merge<T: Send + 'static>(
    cpu: &dyn Cpu,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (work, made) = wrapped(work);
    cpu.run_merge(work);
    made.await.map_err(|_| Error::Panicked)
}

/// Runs work where it is asked for that is proven to be short: a hop to the pool costs more.
///
/// # Errors
/// As [`on_cpu`].
pub(crate) fn here<T>(_short: &Inline, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::Panicked)
}

fn wrapped<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (Box<dyn FnOnce() + Send>, oneshot::Receiver<T>) {
    let (done, made) = oneshot::channel();
    let work = move || {
        // What the work borrowed is dropped with it: nothing half-changed is seen afterwards.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
            let _asker_gone = done.send(value);
        }
    };
    (Box::new(work), made)
}
