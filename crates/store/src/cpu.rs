//! Runs computation on the engine's bounded pool and awaits its result.
//!
//! Guarantees that a panic ends only the piece of work in which it happens.

use crate::Error;
use kernel::{Incarnation, cost::Inline};
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// Purpose of a piece of work, and the tenant that it is for, so that tenants take turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskClass {
    /// Opens a namespace, which a search may wait for.
    Open(Incarnation),
    /// Opens a namespace that no request waits for, on the threads of maintenance.
    OpenInBackground,
    /// Plans a write, or indexes what was written.
    Write(Incarnation),
}

/// Bounded pool for long synchronous work: indexing, merging, opening.
pub trait CpuPool: Send + Sync + 'static {
    /// Runs `work` soon, because a request waits for it. If the pool drops it instead, the caller gets an error.
    fn run(&self, work: Box<dyn FnOnce() + Send>);

    /// Runs `work` when it is the turn of the class's tenant.
    fn run_for(&self, class: TaskClass, work: Box<dyn FnOnce() + Send>) {
        match class {
            TaskClass::OpenInBackground => self.run_maintenance(work),
            TaskClass::Open(_) | TaskClass::Write(_) => self.run(work),
        }
    }

    /// Runs maintenance, which may take seconds, where it does not delay requests.
    fn run_maintenance(&self, work: Box<dyn FnOnce() + Send>) {
        self.run(work);
    }

    /// Runs a large merge, which may take minutes, where it does not delay other maintenance.
    fn run_merge(&self, work: Box<dyn FnOnce() + Send>) {
        self.run_maintenance(work);
    }
}

/// Runs `work` on the pool and waits for its result.
///
/// # Errors
/// [`Error::Panicked`] when the work panicked or was dropped.
pub(crate) async fn on_cpu<T: Send + 'static>(
    cpu: &dyn CpuPool,
    class: TaskClass,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (work, made) = wrapped(work);
    cpu.run_for(class, work);
    made.await.map_err(|_| Error::Panicked)
}

/// Runs maintenance work on the pool and waits for its result.
///
/// # Errors
/// As [`on_cpu`].
pub(crate) async fn on_maintenance_pool<T: Send + 'static>(
    cpu: &dyn CpuPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (work, made) = wrapped(work);
    cpu.run_maintenance(work);
    made.await.map_err(|_| Error::Panicked)
}

/// Runs a large merge on the pool and waits for its result.
///
/// # Errors
/// As [`on_cpu`].
pub(crate) async fn on_merge_pool<T: Send + 'static>(
    cpu: &dyn CpuPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    let (work, made) = wrapped(work);
    cpu.run_merge(work);
    made.await.map_err(|_| Error::Panicked)
}

/// Runs work on the calling thread. The work is proven to be short, and a hop to the pool would cost more.
///
/// # Errors
/// As [`on_cpu`].
pub(crate) fn run_inline<T>(_short: &Inline, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| Error::Panicked)
}

fn wrapped<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> (Box<dyn FnOnce() + Send>, oneshot::Receiver<T>) {
    let (done, made) = oneshot::channel();
    let work = move || {
        // Everything that the work captured is dropped with it, so no half-changed state is visible afterwards.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
            let _caller_has_gone = done.send(value);
        }
    };
    (Box::new(work), made)
}
