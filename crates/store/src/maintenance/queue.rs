//! Queue of a namespace's maintenance task: the jobs that can be asked of it, and what others see of it.

use crate::{
    Error, WriteOutcome,
    job_scheduler::JobPermit,
    maintenance::{erase::DocumentErasureResult, picker, reencrypt::NamespaceReencryption, state::NewSegment},
    state::core::{HeldCore, NamespaceCore, task_ended},
};
use kernel::{Audience, DocumentId};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};
use zeroize::Zeroizing;

/// Queue of a namespace's maintenance task. The task ends when all its queues are dropped.
#[derive(Clone)]
pub(crate) struct MaintenanceQueue {
    messages: mpsc::UnboundedSender<JobMessage>,
    status: Arc<MaintenanceStatus>,
}

/// What others see of the task.
#[derive(Default)]
pub(super) struct MaintenanceStatus {
    /// Whether a message waits that starts what is due.
    pub(super) is_started: AtomicBool,
    /// Whether a job runs.
    pub(super) is_running: AtomicBool,
    /// Time before which maintenance is not retried after a failure, in monotonic milliseconds.
    pub(super) not_before: AtomicU64,
    /// See [`MaintenanceState::orphan_free`].
    pub(super) orphan_free: AtomicBool,
    /// Number of objects that wait for their deletion.
    pub(super) obsolete: AtomicUsize,
}

/// A job, with the namespace that it is for.
pub(super) struct JobMessage {
    pub(super) core: HeldCore,
    /// Boxed, because an idle namespace has room for some messages.
    pub(super) job: Box<Job>,
}

pub(super) type JobReply<T> = oneshot::Sender<T>;

pub(super) enum Job {
    /// Runs what is due, unless a failure was a moment ago. A caller may wait for it.
    RunDue(Option<JobReply<()>>),
    /// Runs what is due and reports how it went.
    Run(JobReply<Result<(), Error>>),
    /// Flushes the memtable whatever its size, then runs what is due.
    Flush(JobReply<Result<(), Error>>),
    /// Deletes orphans. Returns whether none is left.
    CollectOrphans(JobReply<Result<bool, Error>>),
    /// Seals some objects again under the newest key. Returns what was sealed; nothing if no object is left.
    ReencryptObjects(JobReply<Result<NamespaceReencryption, Error>>),
    /// Covers the log under the newest key, and counts what every key seals.
    ReencryptLog(JobReply<Result<NamespaceReencryption, Error>>),
    /// Erases the bytes of deleted documents.
    Erase(Vec<DocumentId>, Audience, JobReply<Result<DocumentErasureResult, Error>>),
    /// Answers once no merge runs.
    WaitForMerge(JobReply<()>),
    /// The running merge got to its next step.
    Merge(MergeStep),
    /// Answers once no job uses the journal, and runs no more.
    Close(JobReply<()>),
}

/// What a merge's own task has done.
pub(super) enum MergeStep {
    /// Built the segment. `None` if the merge was stopped.
    Built(Result<Option<BuiltMerge>, Error>),
    /// Made its object durable.
    Put(Result<NewSegment, Error>, JobPermit),
}

/// A merged segment in memory; without bytes if no document of the inputs is live.
pub(super) struct BuiltMerge {
    pub(super) bytes: Option<Zeroizing<Vec<u8>>>,
    pub(super) permit: JobPermit,
}

/// An erasure in progress; it continues whether or not a caller waits for it.
#[derive(Debug)]
pub struct DocumentErasure {
    /// Outcome of the delete, which is durable.
    pub outcome: WriteOutcome,
    result: oneshot::Receiver<Result<DocumentErasureResult, Error>>,
}

impl Job {
    /// Whether a merge that has written its object must name it first. A merge that is still building finds its inputs
    /// gone and ends.
    pub(super) fn excludes_put(&self) -> bool {
        matches!(
            self,
            Job::CollectOrphans(_) | Job::ReencryptObjects(_) | Job::ReencryptLog(_) | Job::Erase(..) | Job::Close(_)
        )
    }
}

impl MaintenanceQueue {
    /// Creates a queue, with what its task receives and shows.
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<JobMessage>, Arc<MaintenanceStatus>) {
        let (messages, received) = mpsc::unbounded_channel();
        let status = Arc::<MaintenanceStatus>::default();
        (Self { messages, status: status.clone() }, received, status)
    }

    /// For merges, which send their steps. Weak, so that the task ends when its queues are dropped.
    pub(super) fn downgrade(&self) -> mpsc::WeakUnboundedSender<JobMessage> {
        self.messages.downgrade()
    }

    /// Starts what is due in the background, unless that was requested already or a failure was a moment ago.
    pub(crate) fn start_if_due(&self, core: &Arc<NamespaceCore>) {
        let is_paused = is_paused(core, &self.status);
        if is_paused || !core.is_open() || !picker::may_be_due(core) || self.status.is_started.load(Ordering::Acquire) {
            return;
        }
        if !self.status.is_started.swap(true, Ordering::AcqRel) {
            self.send(core, Job::RunDue(None));
        }
    }

    /// Whether a job runs or is about to.
    pub(crate) fn is_busy(&self) -> bool {
        self.status.is_started.load(Ordering::Acquire) || self.status.is_running.load(Ordering::Acquire)
    }

    /// Runs what is due and waits for it, unless a failure was a moment ago.
    pub(crate) async fn run_due(&self, core: &Arc<NamespaceCore>) {
        let _task_has_ended = self.ask(core, |reply| Job::RunDue(Some(reply))).await;
    }

    /// Flushes the memtable whatever its size.
    ///
    /// # Errors
    /// The error that stopped it. What was published and logged remains; the log is not truncated.
    pub(crate) async fn flush(&self, core: &Arc<NamespaceCore>) -> Result<(), Error> {
        self.ask(core, Job::Flush).await?
    }

    /// Runs every job that is due.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    pub(super) async fn run(&self, core: &Arc<NamespaceCore>) -> Result<(), Error> {
        self.ask(core, Job::Run).await?
    }

    pub(super) async fn wait_for_merge(&self, core: &Arc<NamespaceCore>) -> Result<(), Error> {
        self.ask(core, Job::WaitForMerge).await
    }

    pub(super) async fn collect_orphans(&self, core: &Arc<NamespaceCore>) -> Result<bool, Error> {
        self.ask(core, Job::CollectOrphans).await?
    }

    /// Re-encrypts everything that is not under the keyspace's newest key.
    ///
    /// # Errors
    /// The error that stopped it, such as a full disk; [`Error::NotReencrypted`] if something is still under an older
    /// key.
    pub(crate) async fn reencrypt(&self, core: &Arc<NamespaceCore>) -> Result<NamespaceReencryption, Error> {
        let mut report = NamespaceReencryption::default();
        // Other jobs may run between two rounds.
        loop {
            let round = self.ask(core, Job::ReencryptObjects).await??;
            if round.objects == 0 {
                break;
            }
            report.objects += round.objects;
            report.bytes += round.bytes;
        }
        let NamespaceReencryption { under, .. } = self.ask(core, Job::ReencryptLog).await??;
        Ok(NamespaceReencryption { under, ..report })
    }

    /// Begins to erase the bytes of deleted documents; the answer comes through the receiver.
    pub(super) fn erase(
        &self,
        core: &Arc<NamespaceCore>,
        ids: Vec<DocumentId>,
        audience: Audience,
    ) -> oneshot::Receiver<Result<DocumentErasureResult, Error>> {
        let (reply, answer) = oneshot::channel();
        self.send(core, Job::Erase(ids, audience, reply));
        answer
    }

    /// Waits until no job uses the journal any more. Jobs that still wait get [`Error::Closing`].
    pub(crate) async fn close(&self, core: &Arc<NamespaceCore>) {
        let _task_has_ended = self.ask(core, Job::Close).await;
    }

    /// Whether neither an orphan nor an obsolete object is left, as far as is known.
    pub(crate) fn is_clean(&self) -> bool {
        self.status.orphan_free.load(Ordering::Acquire) && self.obsolete_count() == 0
    }

    /// Number of objects that wait for their deletion.
    pub(crate) fn obsolete_count(&self) -> usize {
        self.status.obsolete.load(Ordering::Acquire)
    }

    async fn ask<T>(&self, core: &Arc<NamespaceCore>, job: impl FnOnce(JobReply<T>) -> Job) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(core, job(reply));
        answer.await.map_err(task_ended)
    }

    fn send(&self, core: &Arc<NamespaceCore>, job: Job) {
        // If the task has ended, the reply is dropped with the message, and its caller learns of it.
        let _task_has_ended = self.messages.send(JobMessage { core: HeldCore::new(core), job: Box::new(job) });
    }
}

impl DocumentErasure {
    /// Starts the work that follows the delete.
    pub(crate) fn start(
        core: &Arc<NamespaceCore>,
        maintenance: &MaintenanceQueue,
        ids: Vec<DocumentId>,
        audience: Audience,
        outcome: WriteOutcome,
    ) -> Self {
        Self { outcome, result: maintenance.erase(core, ids, audience) }
    }

    /// Waits until the bytes are erased.
    ///
    /// # Errors
    /// The error that stopped it, such as a full disk; then the same ids can be erased again.
    pub async fn erased(self) -> Result<DocumentErasureResult, Error> {
        self.result.await.map_err(task_ended)?
    }
}

pub(super) fn is_paused(core: &NamespaceCore, status: &MaintenanceStatus) -> bool {
    millis(core.shared.config.clock.monotonic()) < status.not_before.load(Ordering::Relaxed)
}

pub(super) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}
