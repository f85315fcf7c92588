//! How long a tenant's keys may be used without confirmation by the key provider.
//!
//! A provider that confirms a key grants a lease, which is renewed in the background while the provider keeps
//! confirming. From the first refusal on, nothing more is unwrapped, and what is unwrapped serves until the lease ends.
//! A provider that does not answer at all is tolerated for longer, up to a stated limit, unless it had refused before.
//! Then the tenant is sealed: its keys, graphs and texts leave memory. There is no fallback key.
//!
//! Keys of the local provider have no leases: they cannot be withdrawn from a running process.

use crate::keys::KeyConfig;
use kernel::Timestamp;
use parking_lot::Mutex;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};
use vault::KeyFailure;

/// Whether a tenant's keys are available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// They are available.
    Active,
    /// They are unavailable; what is unwrapped serves until the lease ends.
    Unavailable {
        /// Reason.
        why: KeyFailure,
        /// When this was first observed.
        since: Timestamp,
        /// How long requests will still be served.
        serves_for: Duration,
    },
    /// They are unavailable, and nothing of the tenant is in memory. Openings are retried with growing pauses.
    Sealed(KeyFailure),
    /// They are destroyed.
    Shredded,
}

impl KeyState {
    /// Returns the name of the state in responses and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::Unavailable { .. } => "unavailable",
            KeyState::Sealed(_) => "sealed",
            KeyState::Shredded => "shredded",
        }
    }
}

/// Lease of one tenant.
pub(crate) struct Lease {
    remote: AtomicBool,
    /// Time at which the last request was sent that the provider confirmed, in monotonic ms.
    confirmed_at: AtomicU64,
    /// Time of the last use, in monotonic ms.
    last_used: AtomicU64,
    /// Time before which the provider is not asked again, in monotonic ms.
    retry_at: AtomicU64,
    request_in_flight: AtomicBool,
    trouble: Mutex<Option<(KeyFailure, Timestamp)>>,
    /// Number of the last request that was answered.
    request_no: AtomicU64,
}

impl Lease {
    pub(crate) fn new(remote: bool, now: u64) -> Self {
        Self {
            remote: AtomicBool::new(remote),
            confirmed_at: AtomicU64::new(now),
            last_used: AtomicU64::new(now),
            retry_at: AtomicU64::new(0),
            request_in_flight: AtomicBool::new(false),
            trouble: Mutex::default(),
            request_no: AtomicU64::new(0),
        }
    }

    /// Records that another keyring was unwrapped at `now`.
    pub(crate) fn renew(&self, remote: bool, now: u64) {
        self.remote.store(remote, Ordering::Relaxed);
        self.confirmed_at.fetch_max(now, Ordering::AcqRel);
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.load(Ordering::Relaxed)
    }

    pub(crate) fn touch(&self, now: u64) {
        self.last_used.store(now, Ordering::Relaxed);
    }

    /// Why the keys are unavailable, and since when.
    pub(crate) fn trouble(&self) -> Option<(KeyFailure, Timestamp)> {
        *self.trouble.lock()
    }

    /// Returns the time at which service ends, in monotonic ms.
    pub(crate) fn ends_at(&self, config: &KeyConfig) -> u64 {
        if !self.is_remote() {
            return u64::MAX;
        }
        let outage = matches!(*self.trouble.lock(), Some((KeyFailure::Outage, _)));
        let length = if outage { config.outage_max.max(config.lease) } else { config.lease };
        self.confirmed_at.load(Ordering::Acquire).saturating_add(ms(length))
    }

    pub(crate) fn is_valid(&self, config: &KeyConfig, now: u64) -> bool {
        now < self.ends_at(config)
    }

    /// Whether more keys may be unwrapped with those in memory.
    pub(crate) fn may_unwrap(&self) -> bool {
        !matches!(*self.trouble.lock(), Some((KeyFailure::Denied(_), _)))
    }

    /// Whether to ask the provider now. A caller that gets `true` asks, and reports the answer.
    pub(crate) fn due(&self, config: &KeyConfig, now: u64, held: bool) -> bool {
        if !self.is_remote() || now < self.retry_at.load(Ordering::Relaxed) {
            return false;
        }
        let age = now.saturating_sub(self.confirmed_at.load(Ordering::Acquire));
        let idle = now.saturating_sub(self.last_used.load(Ordering::Relaxed)) > ms(config.lease);
        // The lease of an unused key lapses: renewing it would cost its owner money.
        let in_use = held || !idle;
        in_use && age >= ms(config.lease) / 3 && !self.request_in_flight.swap(true, Ordering::AcqRel)
    }

    /// Why the keys are unavailable, and the number of the request that was answered so.
    pub(crate) fn last_trouble(&self) -> Option<(KeyFailure, u64)> {
        let known = self.trouble.lock();
        known.map(|(why, _)| (why, self.request_no.load(Ordering::Relaxed)))
    }

    /// Records the provider's answer to the request with this number, which was sent at `asked`.
    pub(crate) fn record_answer(
        &self,
        (request_no, asked): (u64, u64),
        trouble: Option<KeyFailure>,
        now: u64,
        at: Timestamp,
    ) {
        let mut known = self.trouble.lock();
        self.request_no.store(request_no, Ordering::Relaxed);
        let before = known.map(|(why, _)| why);
        match trouble {
            None => {
                self.confirmed_at.fetch_max(asked, Ordering::AcqRel);
                *known = None;
            }
            Some(why) => {
                // A refusal stays in force while the provider is silent.
                let stays = matches!((before, why), (Some(KeyFailure::Denied(_)), KeyFailure::Outage));
                let why = if stays { before.unwrap_or(why) } else { why };
                let since = known.filter(|(known, _)| *known == why).map_or(at, |(_, since)| since);
                *known = Some((why, since));
            }
        }
        drop(known);
        if trouble.is_some() {
            self.retry_at.store(now + RETRY_MS, Ordering::Relaxed);
        }
        self.request_in_flight.store(false, Ordering::Release);
    }
}

/// Pause before an open tenant's lease is renewed again while its provider refuses or does not answer, in ms.
const RETRY_MS: u64 = 2_000;

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
