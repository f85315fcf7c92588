//! The only module that starts tasks: for work that ends whether or not its caller waits, and for file work on blocking
//! threads.
//!
//! All of it is tracked, so that [`crate::Storage::close`] can wait for it.

use crate::{Blocking, Error};
use futures::future::BoxFuture;
use std::{
    pin::Pin,
    task::{Context, Poll},
};
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

    /// Runs `work` as part of the caller's task. If the caller stops waiting, a task of its own runs it to its end.
    ///
    /// # Errors
    /// Those of `work`.
    pub(crate) fn run_in_caller<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> impl Future<Output = Result<T, Error>> + Send {
        InCaller { work: Some(Box::pin(self.tracker.track_future(work))), runtime: Handle::current() }
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

/// Work in its caller's task; see [`Tasks::run_in_caller`].
struct InCaller<T: Send + 'static> {
    /// `None` once it has ended, and while it is polled: work that panics is not continued.
    work: Option<BoxFuture<'static, Result<T, Error>>>,
    runtime: Handle,
}

impl<T: Send + 'static> Future for InCaller<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(mut work) = self.work.take() else { return Poll::Ready(Err(Error::Closing)) };
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() {
            self.work = Some(work);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for InCaller<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            // The tracker already counts the work.
            drop(self.runtime.spawn(async move { drop(work.await) }));
        }
    }
}
