//! The one place that starts tasks: the leader of a group commit, and file work on blocking threads.
//!
//! All of them are counted, so that [`crate::Storage::close`] can wait for what was handed over.

use crate::{Blocking, Error};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio_util::task::TaskTracker;

/// Counts what runs.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    blocking: Blocking,
}

impl Tasks {
    pub(crate) fn new(blocking: Blocking) -> Self {
        Self { tracker: TaskTracker::new(), blocking }
    }

    /// Runs to its end, whether or not the caller still waits.
    ///
    /// # Errors
    /// `Closing` when the runtime went away under it.
    pub(crate) async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.tracker.spawn(work).await.map_err(|_| Error::Closing)?
    }

    /// Starts `work` and does not wait.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(work);
    }

    /// File work: on a thread that may block, to its end even if the caller goes.
    ///
    /// # Errors
    /// `Closing` when the runtime went away, or the work panicked.
    pub(crate) async fn disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        match self.blocking {
            Blocking::Threads => self.tracker.spawn_blocking(work).await.map_err(|_| Error::Closing),
            Blocking::Inline => Ok(work()),
        }
    }

    /// The runtime that requests of blocking threads run on; `None` where blocking calls have no thread of their own.
    pub(crate) fn runtime(&self) -> Option<Handle> {
        let runtime = Handle::try_current().ok()?;
        let threads = self.blocking == Blocking::Threads && runtime.runtime_flavor() == RuntimeFlavor::MultiThread;
        threads.then_some(runtime)
    }

    /// Waits until nothing runs.
    pub(crate) async fn drain(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tracker.reopen();
    }
}
