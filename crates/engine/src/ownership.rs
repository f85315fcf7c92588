//! Whether a bucket is still this server's. Whoever starts last on a bucket has it; the one before
//! finds that out here, within a second, says so and stops.
//!
//! No write depends on this: a place that was taken over refuses its old writer by itself. It bounds
//! how long this server may answer reads, and keep old credentials, after another one has begun.

use kernel::{Clock, Code, Error, limits};
use registry::Registry;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// See the module.
pub(crate) struct Ownership {
    /// `None` for a folder: its lock is proof enough.
    watch: Option<Arc<Watch>>,
}

struct Watch {
    clock: Arc<dyn Clock>,
    /// When it was sure last, monotonic milliseconds.
    sure: AtomicU64,
    lost: CancellationToken,
    stop: CancellationToken,
}

impl Ownership {
    /// Starts to watch, if there is anything to.
    pub(crate) fn watch(
        storage: &journal::Storage,
        registry: &Registry,
        clock: &Arc<dyn Clock>,
        tracker: &TaskTracker,
    ) -> Self {
        if !storage.is_shared() {
            return Self { watch: None };
        }
        let watch = Arc::new(Watch {
            clock: clock.clone(),
            sure: AtomicU64::new(millis(clock.monotonic())),
            lost: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        tracker.spawn(run(watch.clone(), registry.clone()));
        Self { watch: Some(watch) }
    }

    /// Ends the watch.
    pub(crate) fn stop(&self) {
        if let Some(watch) = &self.watch {
            watch.stop.cancel();
        }
    }

    /// Comes when the bucket is another server's.
    pub(crate) async fn lost(&self) {
        match &self.watch {
            Some(watch) => watch.lost.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether anybody may be served.
    ///
    /// # Errors
    /// `overloaded` when the bucket was lost, or has not answered for [`limits::OWNERSHIP_DOUBT`].
    pub(crate) fn sure(&self) -> Result<(), Error> {
        let Some(watch) = &self.watch else { return Ok(()) };
        if watch.lost.is_cancelled() {
            return Err(Error::new(Code::Overloaded, "another server has taken over; ask that one"));
        }
        let age = millis(watch.clock.monotonic()).saturating_sub(watch.sure.load(Ordering::Relaxed));
        if u128::from(age) > limits::OWNERSHIP_DOUBT.as_millis() {
            let why = "the object store does not answer, so another server may have taken over; try again";
            return Err(Error::new(Code::Overloaded, why));
        }
        Ok(())
    }
}

async fn run(watch: Arc<Watch>, registry: Registry) {
    loop {
        // Noted as of before the question: what happens while it is under way is not in its answer.
        let asked = millis(watch.clock.monotonic());
        let answer = tokio::select! {
            answer = registry.is_ours() => answer,
            () = watch.stop.cancelled() => return,
        };
        match answer {
            Ok(true) => watch.sure.store(asked, Ordering::Relaxed),
            Ok(false) => {
                tracing::error!("another server has taken this bucket over; this one stops");
                watch.lost.cancel();
                return;
            }
            Err(error) => tracing::warn!(%error, "the object store does not say whether the bucket is still ours"),
        }
        tokio::select! {
            () = tokio::time::sleep(limits::OWNERSHIP_CHECK) => {}
            () = watch.stop.cancelled() => return,
        }
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
