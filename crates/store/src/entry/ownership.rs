//! Checks that no other server has written an open namespace since it was read: in a bucket another server may take it
//! over without notice.
//!
//! Requests that arrive during a check share the next one if it succeeds; after a failure each of them checks again. No
//! request relies on a check that began before it arrived, unless `stale_reads_max` allows it. A check whose request is dropped still runs to its end.

use crate::StoresConfig;
use journal::Journal;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// State of the ownership checks; see the module documentation.
#[derive(Default)]
pub(crate) struct OwnershipCheck {
    /// Number of checks that have begun.
    started: AtomicU64,
    /// Number of the newest check that succeeded.
    confirmed: AtomicU64,
    /// Time at which that check began, in monotonic microseconds plus one; 0 if none has succeeded.
    confirmed_at: AtomicU64,
    /// Held during a check, and so while the journal's log lock is held.
    checking: tokio::sync::Mutex<()>,
}

impl OwnershipCheck {
    /// Checks that the namespace is the state that the storage holds, unless a recent check has shown that.
    ///
    /// # Errors
    /// Fails if another server has written the namespace, or if the storage does not answer.
    pub(crate) async fn ensure_current(&self, config: &StoresConfig, journal: &Journal) -> Result<(), journal::Error> {
        if !config.storage.is_shared() {
            return Ok(());
        }
        let confirmed_at = self.confirmed_at.load(Ordering::Acquire);
        let age = micros(config.clock.monotonic()).saturating_sub(confirmed_at);
        if confirmed_at > 0
            && u128::from(age) <= config.stale_reads_max.as_micros()
            && !config.stale_reads_max.is_zero()
        {
            return Ok(());
        }
        // A check that starts after this point is recent enough for this request.
        let started_before = self.started.load(Ordering::Acquire);
        let _checking = self.checking.lock().await;
        if self.confirmed.load(Ordering::Acquire) > started_before {
            return Ok(());
        }
        let number = self.started.fetch_add(1, Ordering::AcqRel) + 1;
        let asked_at = micros(config.clock.monotonic()).saturating_add(1);
        journal.check().await?;
        self.confirmed.store(number, Ordering::Release);
        self.confirmed_at.store(asked_at, Ordering::Release);
        Ok(())
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
