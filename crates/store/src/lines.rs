//! Audit lines on their way from a durable commit to the tenant's chain.
//!
//! Promises order, and that a line leaves here only when the sink has it. Until then the log has
//! it too: maintenance truncates the log only up to absorbed lines, and replay hands the others over again.
//!
//! Each line goes with a digest over all lines of the namespace up to it. The chain keeps the newest, so that a
//! namespace whose files were put back, or that has another history, is distinguished from one whose lines are handed
//! over again.

use crate::{Error, Totals};
use kernel::{Absorbed, AuditMark, AuditSink, CommitNo, Incarnation, Pseudonymiser};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use vault::Home;

/// See the module.
pub(crate) struct Lines {
    incarnation: Incarnation,
    home: Arc<Home>,
    state: Mutex<State>,
    /// One task at a time hands lines over, so that their order holds.
    handing: tokio::sync::Mutex<()>,
    /// Whether the chain was asked how far it has recorded this namespace, and agrees.
    agrees: AtomicBool,
}

struct State {
    /// The mark at the newest checkpoint.
    base: AuditMark,
    /// The commits since then, oldest first.
    marks: VecDeque<AuditMark>,
    /// Lines of the newest of them that the chain does not have yet.
    pending: VecDeque<(AuditMark, Vec<u8>)>,
}

/// How a namespace compares with what the chain has recorded of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// What is recorded is part of its history.
    Agrees,
    /// It is older than what is recorded, or has another history.
    RolledBack,
}

impl Lines {
    /// `base` says what the newest checkpoint covers; lines of later commits are pushed.
    pub(crate) fn new(incarnation: Incarnation, home: Arc<Home>, base: AuditMark) -> Self {
        let state = State { base, marks: VecDeque::new(), pending: VecDeque::new() };
        let (handing, agrees) = (tokio::sync::Mutex::default(), AtomicBool::new(false));
        Self { incarnation, home, state: Mutex::new(state), handing, agrees }
    }

    /// Adds lines of durable commits, in order. `totals` are those after the last of them.
    pub(crate) fn push(&self, lines: Vec<(CommitNo, Vec<u8>)>, totals: Totals) {
        let mut digest = self.newest().digest;
        let mut marked = Vec::with_capacity(lines.len());
        for (commit, line) in lines {
            digest = self.home.pseudonym(&[b"line", &digest, &commit.0.to_le_bytes(), &line]);
            let mark = AuditMark { commit, digest, documents: totals.documents, bytes: totals.bytes };
            marked.push((mark, line));
        }
        let mut state = self.state();
        state.marks.extend(marked.iter().map(|(mark, _)| *mark));
        state.pending.extend(marked);
    }

    /// Number of lines that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().pending.len()
    }

    /// As of the newest commit.
    pub(crate) fn newest(&self) -> AuditMark {
        let state = self.state();
        *state.marks.back().unwrap_or(&state.base)
    }

    /// As of the newest checkpoint.
    pub(crate) fn base(&self) -> AuditMark {
        self.state().base
    }

    /// As of this commit, which the newest checkpoint covers or which came later.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for one that is older: a fault of ours.
    pub(crate) fn at(&self, commit: CommitNo) -> Result<AuditMark, Error> {
        self.state().find(commit).ok_or(Error::Corrupt { what: "digest of a commit", at: 0 })
    }

    /// A checkpoint covers everything up to this commit.
    pub(crate) fn covered(&self, commit: CommitNo) {
        let mut state = self.state();
        if let Some(base) = state.find(commit) {
            state.base = base;
            state.marks.retain(|mark| mark.commit > commit);
        }
    }

    /// Compares with what the chain had recorded before this namespace was read.
    pub(crate) fn compare(&self, recorded: Option<AuditMark>) -> Standing {
        let state = self.state();
        let agrees = recorded.is_none_or(|recorded| {
            // The chain is older than the checkpoint only if the chain itself was put back. That is not the namespace's
            // fault, and its lines since then are handed over again.
            recorded.commit < state.base.commit
                || state.find(recorded.commit).is_some_and(|mark| mark.digest == recorded.digest)
        });
        if agrees { Standing::Agrees } else { Standing::RolledBack }
    }

    /// From here on lines are handed over.
    pub(crate) fn agree(&self) {
        self.agrees.store(true, Ordering::Release);
    }

    /// Makes sure that the chain agrees with this namespace; asked once.
    ///
    /// # Errors
    /// [`Error::RolledBack`]; the sink's.
    pub(crate) async fn ensure_agreed(&self, sink: &dyn AuditSink) -> Result<(), Error> {
        if self.agrees.load(Ordering::Acquire) {
            return Ok(());
        }
        let recorded = sink.recorded(self.incarnation, self.home.uuid()).await.map_err(Error::Passed)?;
        match self.compare(recorded) {
            Standing::Agrees => self.agree(),
            Standing::RolledBack => {
                let recorded = recorded.map_or(CommitNo(0), |mark| mark.commit);
                return Err(Error::RolledBack { recorded, found: self.newest().commit });
            }
        }
        Ok(())
    }

    /// Hands over until none waits.
    ///
    /// # Errors
    /// The sink's; that line and those after it stay.
    pub(crate) async fn absorb(&self, sink: &dyn AuditSink) -> Result<(), Error> {
        self.absorb_through(sink, CommitNo(u64::MAX)).await
    }

    /// The same, up to this commit: a flush does not wait for lines that came after it cut the log.
    ///
    /// # Errors
    /// As [`absorb`](Self::absorb).
    pub(crate) async fn absorb_through(&self, sink: &dyn AuditSink, last: CommitNo) -> Result<(), Error> {
        let _turn = self.handing.lock().await;
        loop {
            let next = self.state().pending.front().filter(|(mark, _)| mark.commit <= last).cloned();
            let Some((mark, line)) = next else { return Ok(()) };
            self.ensure_agreed(sink).await?;
            let from = Absorbed { incarnation: self.incarnation, namespace: self.home.uuid(), mark, line };
            sink.absorb(from).await.map_err(Error::Passed)?;
            self.state().pending.pop_front();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Pushes and pops leave the queues whole wherever they end.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, commit: CommitNo) -> Option<AuditMark> {
        if commit == self.base.commit {
            return Some(self.base);
        }
        // Commits follow each other without a gap.
        let at = commit.0.checked_sub(self.base.commit.0)?.checked_sub(1)?;
        self.marks.get(usize::try_from(at).ok()?).copied().filter(|mark| mark.commit == commit)
    }
}
