//! Rate limits of one tenant: token buckets that the monotonic clock refills.
//!
//! A bucket starts full and holds one minute's worth. Stored amounts (documents, bytes, namespaces) are no rates; they
//! are counted where they are stored.

use kernel::{Clock, Code, Error, limits};
use parking_lot::Mutex;
use std::time::Duration;

/// Parts of a unit in a bucket. With 60 000 of them, one millisecond refills exactly `per_minute` parts.
const PARTS: i128 = 60_000;

/// Rate limits of one tenant.
#[derive(Default)]
pub(crate) struct Meter {
    requests: Mutex<Option<TokenBucket>>,
    tokens: Mutex<Option<TokenBucket>>,
    refusals: Mutex<Option<TokenBucket>>,
}

impl Meter {
    pub(crate) fn request(&self, per_minute: Option<u64>, clock: &dyn Clock) -> Result<(), Error> {
        take(&self.requests, per_minute, 1, clock).map_err(|wait| limited("too many requests in this minute", wait))
    }

    pub(crate) fn tokens(&self, per_minute: Option<u64>, tokens: u64, clock: &dyn Clock) -> Result<(), Error> {
        take(&self.tokens, per_minute, tokens, clock).map_err(|wait| limited("too many tokens in this minute", wait))
    }

    /// Whether the tenant's audit may record one more refusal in this minute.
    pub(crate) fn refusal(&self, clock: &dyn Clock) -> bool {
        take(&self.refusals, Some(limits::REFUSALS_AUDITED_PER_MINUTE), 1, clock).is_ok()
    }
}

struct TokenBucket {
    /// Remaining parts. Negative after a charge of more than a minute's worth.
    level: i128,
    /// Time of the last refill, by the monotonic clock.
    at: Duration,
}

fn take(
    bucket: &Mutex<Option<TokenBucket>>,
    per_minute: Option<u64>,
    units: u64,
    clock: &dyn Clock,
) -> Result<(), Duration> {
    let Some(per_minute) = per_minute else { return Ok(()) };
    let rate = i128::from(per_minute);
    let full = rate * PARTS;
    let now = clock.monotonic();
    let mut guard = bucket.lock();
    let bucket = guard.get_or_insert(TokenBucket { level: full, at: now });
    bucket.refill(rate, full, now);

    let cost = i128::from(units) * PARTS;
    // A charge of more than a minute's worth would never fit: it waits for a full bucket and leaves a debt.
    let needed = if rate == 0 { cost } else { cost.min(full) };
    if bucket.level >= needed {
        bucket.level -= cost;
        return Ok(());
    }
    Err(wait(needed - bucket.level, rate))
}

impl TokenBucket {
    fn refill(&mut self, rate: i128, full: i128, now: Duration) {
        let elapsed_ms = now.saturating_sub(self.at).as_millis();
        let refill = i128::try_from(elapsed_ms).unwrap_or(i128::MAX).saturating_mul(rate);
        self.level = self.level.saturating_add(refill).min(full);
        // Only whole milliseconds are credited; the remainder counts next time.
        self.at += Duration::from_millis(u64::try_from(elapsed_ms).unwrap_or(u64::MAX));
    }
}

fn wait(missing: i128, rate: i128) -> Duration {
    if rate == 0 {
        return Duration::from_secs(60);
    }
    Duration::from_millis(u64::try_from((missing + rate - 1) / rate).unwrap_or(u64::MAX))
}

fn limited(message: &str, wait: Duration) -> Error {
    let mut error = Error::new(Code::RateLimited, message);
    error.retry_after = Some(wait);
    error
}

#[cfg(test)]
mod tests;
