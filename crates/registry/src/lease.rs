//! How long a tenant's keys may be used without its provider being asked again.
//!
//! A provider that confirms a key gives a lease. While it keeps confirming, the lease is renewed in the background.
//! From the first no on, nothing more is unwrapped, and what is unwrapped serves until the lease ends. A provider that
//! does not answer at all is ridden out for longer, up to a stated limit, unless it had said no before. Then the tenant
//! is sealed: its keys, graphs and texts leave memory. There is no fallback key.
//!
//! Keys of the local provider have no leases: they cannot be taken away from a running process.

use crate::keys::KeyConfig;
use kernel::Timestamp;
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use vault::KeyTrouble;

/// Whether a tenant's keys can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyState {
    /// They can.
    Active,
    /// Not any more: what is unwrapped serves until the lease ends.
    Unavailable {
        /// Why.
        why: KeyTrouble,
        /// Since when.
        since: Timestamp,
        /// How long requests are served yet.
        serves_for: Duration,
    },
    /// They cannot, and nothing of the tenant is in memory. Asked for again with growing pauses.
    Sealed(KeyTrouble),
    /// Destroyed.
    Shredded,
}

impl KeyState {
    /// The word for it in replies and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            KeyState::Active => "active",
            KeyState::Unavailable { .. } => "unavailable",
            KeyState::Sealed(_) => "sealed",
            KeyState::Shredded => "shredded",
        }
    }
}

/// One tenant's.
pub(crate) struct Lease {
    remote: AtomicBool,
    /// Monotonic ms at which the question was asked that was last answered with yes.
    proven: AtomicU64,
    /// Monotonic ms of its last use.
    used: AtomicU64,
    /// Monotonic ms before which it is not asked for again.
    ask_at: AtomicU64,
    asking: AtomicBool,
    trouble: Mutex<Option<(KeyTrouble, Timestamp)>>,
    /// Number of the question that was answered last.
    question: AtomicU64,
}

impl Lease {
    pub(crate) fn new(remote: bool, now: u64) -> Self {
        Self {
            remote: AtomicBool::new(remote),
            proven: AtomicU64::new(now),
            used: AtomicU64::new(now),
            ask_at: AtomicU64::new(0),
            asking: AtomicBool::new(false),
            trouble: Mutex::default(),
            question: AtomicU64::new(0),
        }
    }

    /// Another ring, unwrapped at `now`.
    pub(crate) fn renew(&self, remote: bool, now: u64) {
        self.remote.store(remote, Ordering::Relaxed);
        self.proven.fetch_max(now, Ordering::AcqRel);
    }

    pub(crate) fn is_remote(&self) -> bool {
        self.remote.load(Ordering::Relaxed)
    }

    pub(crate) fn touch(&self, now: u64) {
        self.used.store(now, Ordering::Relaxed);
    }

    /// What stands between the tenant and its keys.
    pub(crate) fn trouble(&self) -> Option<(KeyTrouble, Timestamp)> {
        *self.lock()
    }

    /// Monotonic ms from which nothing is served.
    pub(crate) fn ends(&self, config: &KeyConfig) -> u64 {
        if !self.is_remote() {
            return u64::MAX;
        }
        let outage = matches!(*self.lock(), Some((KeyTrouble::Outage, _)));
        let length = if outage { config.outage_max.max(config.lease) } else { config.lease };
        self.proven.load(Ordering::Acquire).saturating_add(ms(length))
    }

    pub(crate) fn lives(&self, config: &KeyConfig, now: u64) -> bool {
        now < self.ends(config)
    }

    /// Whether more keys may be unwrapped with those in memory.
    pub(crate) fn may_unwrap(&self) -> bool {
        !matches!(*self.lock(), Some((KeyTrouble::Denied(_), _)))
    }

    /// Whether to ask now. A caller that gets a yes asks, and reports the outcome.
    pub(crate) fn due(&self, config: &KeyConfig, now: u64, held: bool) -> bool {
        if !self.is_remote() || now < self.ask_at.load(Ordering::Relaxed) {
            return false;
        }
        let age = now.saturating_sub(self.proven.load(Ordering::Acquire));
        let idle = now.saturating_sub(self.used.load(Ordering::Relaxed)) > ms(config.lease);
        // The lease of an unused key lapses: asking for it would cost its owner money.
        let wanted = held || !idle;
        wanted && age >= ms(config.lease) / 3 && !self.asking.swap(true, Ordering::AcqRel)
    }

    /// What stands between the tenant and its keys, and the number of the question to which that was said.
    pub(crate) fn said(&self) -> Option<(KeyTrouble, u64)> {
        let known = self.lock();
        known.map(|(why, _)| (why, self.question.load(Ordering::Relaxed)))
    }

    /// What the provider said to the question of this number, asked at `asked`.
    pub(crate) fn answered(&self, (question, asked): (u64, u64), trouble: Option<KeyTrouble>, now: u64, at: Timestamp) {
        let mut known = self.lock();
        self.question.store(question, Ordering::Relaxed);
        let before = known.map(|(why, _)| why);
        match trouble {
            None => {
                self.proven.fetch_max(asked, Ordering::AcqRel);
                *known = None;
            }
            Some(why) => {
                // Who said no and then falls silent has said no.
                let stays = matches!((before, why), (Some(KeyTrouble::Denied(_)), KeyTrouble::Outage));
                let why = if stays { before.unwrap_or(why) } else { why };
                let since = known.filter(|(known, _)| *known == why).map_or(at, |(_, since)| since);
                *known = Some((why, since));
            }
        }
        drop(known);
        if trouble.is_some() {
            self.ask_at.store(now + ASK_AGAIN_MS, Ordering::Relaxed);
        }
        self.asking.store(false, Ordering::Release);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(KeyTrouble, Timestamp)>> {
        // One assignment under it.
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Pause before an open tenant's lease is asked for again while its provider refuses or does not answer.
const ASK_AGAIN_MS: u64 = 2_000;

pub(crate) fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
