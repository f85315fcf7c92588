//! Whether this server still owns its bucket. The server that was started last on a bucket owns it; the previous owner
//! detects that here within a second, logs it and stops.
//!
//! No write depends on this check, because a keyspace that was taken over rejects its old writer by itself. It bounds
//! how long this server may answer reads, and accept old credentials, after another one has started.

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

/// Ownership of the storage; see the module.
pub(crate) struct Ownership {
    /// `None` for a folder, whose lock proves ownership.
    watch: Option<Arc<OwnershipWatch>>,
}

struct OwnershipWatch {
    clock: Arc<dyn Clock>,
    /// When ownership was last confirmed, in monotonic milliseconds.
    confirmed_at: AtomicU64,
    taken_over: CancellationToken,
    stop: CancellationToken,
}

impl Ownership {
    /// Starts the checks, if the storage is shared.
    pub(crate) fn watch(
        storage: &journal::Storage,
        registry: &Registry,
        clock: &Arc<dyn Clock>,
        tracker: &TaskTracker,
    ) -> Self {
        if !storage.is_shared() {
            return Self { watch: None };
        }
        let watch = Arc::new(OwnershipWatch {
            clock: clock.clone(),
            confirmed_at: AtomicU64::new(millis(clock.monotonic())),
            taken_over: CancellationToken::new(),
            stop: CancellationToken::new(),
        });
        tracker.spawn(run(watch.clone(), registry.clone()));
        Self { watch: Some(watch) }
    }

    /// Stops the checks.
    pub(crate) fn stop(&self) {
        if let Some(watch) = &self.watch {
            watch.stop.cancel();
        }
    }

    /// Resolves when another server owns the bucket.
    pub(crate) async fn taken_over(&self) {
        match &self.watch {
            Some(watch) => watch.taken_over.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Checks that this server may serve requests.
    ///
    /// # Errors
    /// `overloaded` when another server owns the bucket, or when it has not answered for [`limits::OWNERSHIP_TIMEOUT`].
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Some(watch) = &self.watch else { return Ok(()) };
        if watch.taken_over.is_cancelled() {
            return Err(Error::new(Code::Overloaded, "another server has taken over; ask that one"));
        }
        let age = millis(watch.clock.monotonic()).saturating_sub(watch.confirmed_at.load(Ordering::Relaxed));
        if u128::from(age) > limits::OWNERSHIP_TIMEOUT.as_millis() {
            let why = "the object store does not answer, so another server may have taken over; try again";
            return Err(Error::new(Code::Overloaded, why));
        }
        Ok(())
    }
}

async fn run(watch: Arc<OwnershipWatch>, registry: Registry) {
    loop {
        // Ownership is confirmed for the moment before the request, because the answer does not cover what happens
        // during it.
        let asked_at = millis(watch.clock.monotonic());
        let answer = tokio::select! {
            answer = registry.owns_storage() => answer,
            () = watch.stop.cancelled() => return,
        };
        match answer {
            Ok(true) => watch.confirmed_at.store(asked_at, Ordering::Relaxed),
            Ok(false) => {
                tracing::error!("another server has taken this bucket over; this one stops");
                watch.taken_over.cancel();
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
