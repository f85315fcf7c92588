//! Proof that what is open is the newest state: another server may have taken a namespace of a bucket
//! over without a word.
//!
//! Who asks while another asks shares the next question's answer; nobody is told by a question that
//! began before it came.

use crate::namespace::Namespace;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// See the module.
#[derive(Default)]
pub(crate) struct Proof {
    /// Questions that began.
    begun: AtomicU64,
    /// The newest of them that was answered well.
    proved: AtomicU64,
    /// When that one began, monotonic microseconds and one more; 0: none was.
    at: AtomicU64,
    asking: tokio::sync::Mutex<()>,
}

impl Namespace {
    /// Finds out whether the namespace is what the storage holds, unless that was found out lately.
    ///
    /// # Errors
    /// Somebody else has written it, and it must be opened again; or the storage does not say.
    pub(crate) async fn prove(&self) -> Result<(), journal::Error> {
        let config = &self.shared.config;
        if !config.storage.is_shared() {
            return Ok(());
        }
        let at = self.proof.at.load(Ordering::Acquire);
        let age = micros(config.clock.monotonic()).saturating_sub(at);
        if at > 0 && u128::from(age) <= config.stale_reads_max.as_micros() && !config.stale_reads_max.is_zero() {
            return Ok(());
        }
        let came = self.proof.begun.load(Ordering::Acquire);
        let _turn = self.proof.asking.lock().await;
        if self.proof.proved.load(Ordering::Acquire) > came {
            return Ok(());
        }
        let mine = self.proof.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let asked = micros(config.clock.monotonic()).saturating_add(1);
        self.journal.check().await?;
        self.proof.proved.store(mine, Ordering::Release);
        self.proof.at.store(asked, Ordering::Release);
        Ok(())
    }
}

fn micros(d: Duration) -> u64 {
    u64::try_from(d.as_micros()).unwrap_or(u64::MAX)
}
