//! Pauses between attempts.

use std::time::Duration;

/// Pauses that double with each failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// Pause after the first failure.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl Backoff {
    /// Returns the pause that follows `previous`, which is `None` after a success.
    pub fn next(self, previous: Option<Duration>) -> Duration {
        previous.map_or(self.first, |previous| previous.saturating_mul(2)).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let second = Duration::from_secs(1);
        let backoff = Backoff { first: second, longest: second * 60 };
        let pauses = std::iter::successors(Some(backoff.next(None)), |pause| Some(backoff.next(Some(*pause))));
        let seconds: Vec<_> = pauses.take(8).map(|pause| pause.as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 32, 60, 60]);
        let forever = Backoff { first: Duration::MAX, longest: Duration::MAX };
        assert_eq!(forever.next(Some(Duration::MAX)), Duration::MAX);
    }
}
