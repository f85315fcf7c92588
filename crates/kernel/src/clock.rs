//! Time, passed in so that tests control it.

use crate::{Error, Instant, rfc3339};
use std::{
    fmt,
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

/// A point in time in milliseconds since 1970-01-01 UTC. It prints and parses as RFC 3339.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from milliseconds since the epoch.
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Parses an RFC 3339 time with any offset.
    ///
    /// # Errors
    /// `invalid_request` if the text is no RFC 3339 time.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Instant::parse(text)
            .map(|t| Self(t.as_millis()))
            .ok_or_else(|| Error::invalid("time", "must be an RFC 3339 time such as 2026-11-21T10:00:00Z"))
    }

    /// The same time as the [`Instant`] that filters compare.
    pub fn instant(self) -> Instant {
        Instant::from_millis(self.0)
    }

    /// The key of [`Instant::order_key`].
    pub fn order_key(self) -> (u64, u32) {
        self.instant().order_key()
    }

    /// Inverse of [`Timestamp::order_key`].
    pub fn from_order_key(key: (u64, u32)) -> Self {
        Self(Instant::from_order_key(key).as_millis())
    }

    /// The first and the last timestamp that RFC 3339 can represent. A filter on instants matches no others.
    pub const SAYABLE: (Self, Self) = (Self(rfc3339::SAYABLE.0), Self(rfc3339::SAYABLE.1));

    /// The time that is `d` later.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(d.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time that has passed since `earlier`; zero if `earlier` is later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(rfc3339::format(self.0).as_deref().unwrap_or("out-of-range"))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Wall and monotonic time.
pub trait Clock: Send + Sync + 'static {
    /// Wall time, for display and expiry.
    fn now(&self) -> Timestamp;
    /// Time since a fixed start, for rates and deadlines. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Creates the clock; its monotonic time starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that only [`ManualClock::advance`] moves.
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Creates a clock that shows `start`.
    pub fn new(start: Timestamp) -> Self {
        Self(AtomicI64::new(start.0))
    }

    /// Advances the wall and the monotonic time.
    pub fn advance(&self, d: Duration) {
        self.0.fetch_add(i64::try_from(d.as_millis()).unwrap_or(0), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.load(Ordering::SeqCst)).unwrap_or(0))
    }
}
