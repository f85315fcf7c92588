//! Since when dead copies stand where they stand, and by when they must go.
//!
//! A document that was deleted, overwritten or patched, or that expired, is in no answer any more; its bytes stay where
//! they were until something is rewritten. Each part notes the earliest of its deaths, the log those that happened while
//! it holds what died. [`StoresConfig::erase_within`](crate::StoresConfig) bounds how long that may last.

use crate::{part::Part, view::View};
use kernel::{Timestamp, limits};
use std::time::Duration;

/// The earlier of two moments, where either may be none.
pub(crate) fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// The earliest deaths of documents that the log's files may hold. A file goes when all its entries are covered, so
/// those that came while a checkpoint was written keep the file before it until the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogDeaths {
    /// In entries behind the last cut.
    pub(crate) uncut: Option<Timestamp>,
    /// In entries that a flush has cut and no checkpoint covers yet.
    pub(crate) cut: Option<Timestamp>,
    /// In entries that the newest checkpoint covers, and whose file may be there.
    pub(crate) covered: Option<Timestamp>,
}

impl LogDeaths {
    /// Something died.
    pub(crate) fn died(&mut self, at: Option<Timestamp>) {
        self.uncut = earlier(self.uncut, at);
    }

    /// A flush begins; with it goes what has expired among what it takes.
    pub(crate) fn cut(&mut self, expired: Option<Timestamp>) {
        self.cut = earlier(earlier(self.cut, self.uncut.take()), expired);
    }

    /// A checkpoint covers what was cut. Of what it wrote elsewhere the file holds a copy, which may expire in it.
    pub(crate) fn cover(&mut self, expires: Option<Timestamp>) {
        self.covered = earlier(self.cut.take(), expires);
    }

    /// The earliest of all.
    pub(crate) fn first(self) -> Option<Timestamp> {
        earlier(self.uncut, earlier(self.cut, self.covered))
    }
}

impl Part {
    /// Since when, or from when on, it holds a document that is dead or expired.
    pub(crate) fn dead_from(&self) -> Option<Timestamp> {
        earlier(self.since, self.expires)
    }
}

impl View {
    /// The same of the log, checkpoints in it included.
    pub(crate) fn log_dead_from(&self) -> Option<Timestamp> {
        let inline = self.parts.iter().filter(|part| !part.in_log() && part.object().is_none());
        let written = self.parts.iter().filter(|part| part.in_log()).filter_map(|part| part.expires);
        inline.filter_map(Part::dead_from).chain(written).chain(self.log.first()).min()
    }

    /// The same of everything that the namespace stands on.
    pub(crate) fn dead_from(&self) -> Option<Timestamp> {
        let objects = self.parts.iter().filter(|part| part.object().is_some());
        objects.filter_map(Part::dead_from).chain(self.log_dead_from()).min()
    }
}

/// How old a dead copy is when its rewrite is due; `None` when there is no bound. What is left of the bound is for the
/// walk that finds it, and for the rewrite.
pub(crate) fn due_after(erase_within: Duration) -> Option<Duration> {
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
        let mut log = LogDeaths::default();
        log.died(at(7));
        log.died(at(9));
        log.cut(None);
        log.died(at(12));
        assert_eq!(log.first(), at(7));
        log.cover(None);
        assert_eq!(log, LogDeaths { uncut: at(12), cut: None, covered: at(7) });
        log.cut(at(11));
        // That flush failed; the next one takes its deaths along.
        log.cut(None);
        assert_eq!(log.first(), at(7));
        log.cover(at(40));
        assert_eq!(log, LogDeaths { uncut: None, cut: None, covered: at(11) });
        log.cut(None);
        log.cover(at(40));
        assert_eq!(log.first(), at(40), "what it wrote may expire while the file is there");
    }

    #[test]
    fn a_rewrite_is_due_before_the_bound() {
        assert_eq!(due_after(Duration::ZERO), None);
        let day = Duration::from_secs(86_400);
        let due = due_after(day).unwrap();
        assert!(
            due + 2 * (day / limits::ERASE_WALKS) <= day,
            "a walk that finds it, and as long again for the rewrite"
        );
    }
}
