//! The one place that starts tasks: the leader of a group commit, and file work on blocking threads.
//!
//! All of them are counted, so that [`crate::Storage::close`] can wait for what was handed over.

use crate::Error;
use tokio_util::task::TaskTracker;

/// Counts what runs.
#[derive(Clone, Default)]
pub(crate) struct Tasks(TaskTracker);

impl Tasks {
    /// Runs to its end, whether or not the caller still waits.
    ///
    /// # Errors
    /// `Closing` when the runtime went away under it.
    pub(crate) async fn whole<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.0.spawn(work).await.map_err(|_| Error::Closing)?
    }

    /// Starts `work` and does not wait.
    pub(crate) fn start(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.spawn(work);
    }

    /// File work: on a thread that may block, to its end even if the caller goes.
    ///
    /// # Errors
    /// `Closing` when the runtime went away, or the work panicked.
    pub(crate) async fn disk<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        self.0.spawn_blocking(work).await.map_err(|_| Error::Closing)
    }

    /// Waits until nothing runs.
    pub(crate) async fn drain(&self) {
        self.0.close();
        self.0.wait().await;
        self.0.reopen();
    }
}
