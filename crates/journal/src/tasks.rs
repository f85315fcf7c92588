//! The only module that starts tasks: group-commit leaders, and file work on blocking threads.
//!
//! All tasks are tracked, so that [`crate::Storage::close`] can wait for the work that was handed over.

use crate::{Blocking, Error};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::task::TaskTracker;

/// Tracks running tasks.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    blocking: Blocking,
}

impl Tasks {
    pub(crate) fn new(blocking: Blocking) -> Self {
        Self { tracker: TaskTracker::new(), blocking }
    }

    /// Runs `work` to its end, whether or not the caller still waits.
    ///
    /// # Errors
    /// `Closing` when the runtime shut down before the end.
    pub(crate) async fn run_to_completion<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.tracker.spawn(work).await.map_err(|_| Error::Closing)?
    }

    /// Starts `work` and does not wait for it.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// Runs file work on a blocking thread, to its end even if the caller stops waiting.
    ///
    /// # Errors
    /// `Closing` when the runtime shut down, or the work panicked.
    pub(crate) async fn run_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Error> {
        match self.blocking {
            Blocking::Threads => self.tracker.spawn_blocking(work).await.map_err(|_| Error::Closing),
            Blocking::Inline => Ok(work()),
        }
    }

    /// The runtime on which blocking threads run their requests; `None` where blocking calls have no thread of their
    /// own.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        let runtime = Handle::try_current().ok()?;
        let has_blocking_threads =
            self.blocking == Blocking::Threads && runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        has_blocking_threads.then_some(runtime)
    }

    /// Waits until no task runs.
    pub(crate) async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }
}
