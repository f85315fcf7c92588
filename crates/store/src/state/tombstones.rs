//! Records since when deleted documents are still stored, and by when they must be erased.
//!
//! A document that was deleted, overwritten or patched, or that expired, is in no answer any more, but its bytes stay
//! where they are until something is rewritten. Each segment records its earliest deletion; the log records deletions
//! that happened while its files may hold the deleted documents. [`StoresConfig::erase_within`](crate::StoresConfig)
//! bounds how long such copies may stay.

use kernel::{Timestamp, limits};
use std::time::Duration;

/// The earlier of two optional times.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Earliest deletions of documents that the log's files may hold. A log file is deleted when all of its entries are
/// covered, so entries that arrive while a checkpoint is written keep the previous file until the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogTombstones {
    /// In entries after the last freeze.
    pub(crate) active: Option<Timestamp>,
    /// In entries that a flush has frozen and that no checkpoint covers yet.
    pub(crate) frozen: Option<Timestamp>,
    /// In entries that the newest checkpoint covers but whose file may still exist.
    pub(crate) covered: Option<Timestamp>,
}

impl LogTombstones {
    /// Records a deletion.
    pub(crate) fn record_deletion(&mut self, at: Option<Timestamp>) {
        self.active = earlier(self.active, at);
    }

    /// Begins a flush. `expired` is the earliest expiry among the documents that it flushes, if one has expired.
    pub(crate) fn freeze(&mut self, expired: Option<Timestamp>) {
        self.frozen = earlier(earlier(self.frozen, self.active.take()), expired);
    }

    /// Records that a checkpoint covers the frozen entries. Their file still holds a copy of what was flushed, which
    /// may expire there (`expires`).
    pub(crate) fn cover(&mut self, expires: Option<Timestamp>) {
        self.covered = earlier(self.frozen.take(), expires);
    }

    /// The earliest deletion in any of the log's files.
    pub(crate) fn earliest(self) -> Option<Timestamp> {
        earlier(self.active, earlier(self.frozen, self.covered))
    }
}

/// Age at which a deleted copy is due for its rewrite; `None` if there is no bound. The rest of the bound is for the
/// sweep that finds the copy, and for the rewrite.
pub(crate) fn rewrite_due_after(erase_within: Duration) -> Option<Duration> {
    (!erase_within.is_zero()).then(|| erase_within * limits::ERASE_DUE_QUARTERS / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Option<Timestamp> {
        Some(Timestamp::from_millis(ms))
    }

    #[test]
    fn a_file_outlives_one_checkpoint_and_not_two() {
        let mut log = LogTombstones::default();
        log.record_deletion(at(7));
        log.record_deletion(at(9));
        log.freeze(None);
        log.record_deletion(at(12));
        assert_eq!(log.earliest(), at(7));
        log.cover(None);
        assert_eq!(log, LogTombstones { active: at(12), frozen: None, covered: at(7) });
        log.freeze(at(11));
        // That flush failed; the next one includes its deletions.
        log.freeze(None);
        assert_eq!(log.earliest(), at(7));
        log.cover(at(40));
        assert_eq!(log, LogTombstones { active: None, frozen: None, covered: at(11) });
        log.freeze(None);
        log.cover(at(40));
        assert_eq!(log.earliest(), at(40), "what it wrote may expire while the file is there");
    }

    #[test]
    fn a_rewrite_is_due_before_the_bound() {
        assert_eq!(rewrite_due_after(Duration::ZERO), None);
        let day = Duration::from_secs(86_400);
        let due = rewrite_due_after(day).unwrap();
        assert!(
            due + 2 * (day / limits::ERASE_SWEEPS) <= day,
            "a sweep that finds it, and as long again for the rewrite"
        );
    }
}
