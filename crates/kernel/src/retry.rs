//! When to try again after a failure that may pass.
//!
//! It only says how long to wait. Which errors may pass, what ends the wait early, and a deadline are the caller's.

use std::time::Duration;

/// How often to try, and how long to wait in between: each pause is twice the previous one, up to a maximum.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// First pause.
    pub pause_min: Duration,
    /// Longest pause.
    pub pause_max: Duration,
    /// Number of attempts, the first one included; `None` for no limit.
    pub attempts_max: Option<u32>,
}

impl RetryPolicy {
    /// The pauses between the attempts; they end when no attempt is left.
    pub fn pauses(self) -> Pauses {
        Pauses {
            next: self.pause_min.min(self.pause_max),
            max: self.pause_max,
            left: self.attempts_max.map(|attempts| attempts.saturating_sub(1)),
        }
    }
}

/// Pauses between attempts; see [`RetryPolicy::pauses`].
#[derive(Clone, Debug)]
pub struct Pauses {
    next: Duration,
    max: Duration,
    left: Option<u32>,
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1)?;
        }
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.max);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_maximum_and_end_with_the_attempts() {
        let seconds = |min, max, attempts_max| {
            let (pause_min, pause_max) = (Duration::from_secs(min), Duration::from_secs(max));
            let pauses = RetryPolicy { pause_min, pause_max, attempts_max }.pauses();
            pauses.take(100).map(|pause| pause.as_secs()).collect::<Vec<_>>()
        };
        assert_eq!(seconds(1, 5, Some(6)), [1, 2, 4, 5, 5]);
        assert_eq!(seconds(2, 2, Some(3)), [2, 2]);
        assert_eq!(seconds(9, 5, Some(2)), [5]);
        assert!(seconds(1, 5, Some(1)).is_empty());
        assert!(seconds(1, 5, Some(0)).is_empty());
        let unlimited = seconds(1, u64::MAX, None);
        assert_eq!((unlimited.len(), unlimited[99]), (100, u64::MAX), "no pause overflows");
    }
}
