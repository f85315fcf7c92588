//! The maintenance task of a namespace: it owns what maintenance has to remember, and runs one job after another.
//!
//! [`MaintenanceQueue`] is the way in. A job that was begun is finished, whether or not its caller still waits. A large
//! merge is built beside the task and comes back as a message ([`MergeStep`]); while it writes its object, jobs that
//! must not run at the same time are put off.

use crate::{
    Error,
    maintenance::{
        erase::{self, DocumentErasureResult},
        flush::{self, ObsoleteObject},
        merge::{self, MergeStep, RunningMerge},
        picker,
        reencrypt::{self, NamespaceReencryption},
        sweep,
    },
    state::core::{FailOnPanic, HeldCore, NamespaceCore, spawn_receiver, task_ended},
};
use journal::{ObjectRef, Seq};
use kernel::{Audience, CommitNo, DocumentId};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, oneshot};

/// What maintenance remembers between jobs: what the newest checkpoint covers, which objects are obsolete, and the
/// running merge.
pub(crate) struct MaintenanceState {
    /// Objects that the newest checkpoint names.
    pub(crate) named: Vec<ObjectRef>,
    pub(crate) covers: Seq,
    pub(crate) commit: CommitNo,
    /// Objects that the checkpoint no longer names and that may still exist.
    pub(crate) obsolete: Vec<ObsoleteObject>,
    /// Whether objects that earlier writers left behind were swept since this process became the writer. On bucket
    /// storage a sweep while opening is too early: another task may be about to name an object that nothing names yet.
    pub(crate) swept: bool,
    /// Whether a check found no orphaned object in the keyspace, and nothing has been written since then.
    pub(crate) orphan_free: bool,
    /// The large merge that runs, if any.
    pub(crate) merge: Option<RunningMerge>,
}

impl MaintenanceState {
    /// State after opening a namespace whose newest checkpoint names these objects.
    pub(crate) fn new(named: Vec<ObjectRef>, covers: Seq, commit: CommitNo, swept: bool) -> Self {
        Self { named, covers, commit, obsolete: Vec::new(), swept, orphan_free: false, merge: None }
    }

    /// Objects that must not be swept.
    pub(super) fn kept_objects(&self) -> Vec<ObjectRef> {
        let obsolete = self.obsolete.iter().map(|obsolete| obsolete.object.clone());
        self.named.iter().cloned().chain(obsolete).collect()
    }
}

/// Queue of a namespace's maintenance task. The task ends when all its queues are dropped.
#[derive(Clone)]
pub(crate) struct MaintenanceQueue {
    messages: mpsc::UnboundedSender<Message>,
    status: Arc<Status>,
}

/// What others see of the task.
#[derive(Default)]
struct Status {
    /// Whether a message waits that starts what is due.
    is_started: AtomicBool,
    /// Whether a job runs.
    is_running: AtomicBool,
    /// Time before which maintenance is not retried after a failure, in monotonic milliseconds.
    not_before: AtomicU64,
    /// See [`MaintenanceState::orphan_free`].
    orphan_free: AtomicBool,
    /// Number of objects that wait for their deletion.
    obsolete: AtomicUsize,
}

/// A job, with the namespace that it is for.
pub(super) struct Message {
    pub(super) core: HeldCore,
    pub(super) job: Job,
}

type Reply<T> = oneshot::Sender<T>;

pub(super) enum Job {
    /// Runs what is due, unless a failure was a moment ago. Nobody has to wait for it.
    RunDue(Option<Reply<()>>),
    /// Runs what is due and reports how it went.
    Run(Reply<Result<(), Error>>),
    /// Flushes the memtable whatever its size, then runs what is due.
    Flush(Reply<Result<(), Error>>),
    /// Deletes orphans. Returns whether none is left.
    CollectOrphans(Reply<Result<bool, Error>>),
    /// Seals some objects again under the newest key. Returns what was sealed; nothing if no object is left.
    ReencryptObjects(Reply<Result<NamespaceReencryption, Error>>),
    /// Covers the log under the newest key, and counts what every key seals.
    ReencryptLog(Reply<Result<NamespaceReencryption, Error>>),
    /// Erases the bytes of deleted documents.
    Erase(Vec<DocumentId>, Audience, Reply<Result<DocumentErasureResult, Error>>),
    /// Answers once no merge runs.
    WaitForMerge(Reply<()>),
    /// The running merge got to its next step.
    Merge(MergeStep),
    /// Answers once no job uses the journal, and runs no more.
    Close(Reply<()>),
}

impl Job {
    /// Whether a merge that has written its object must name it first. A merge that is still building finds its inputs
    /// gone and ends.
    fn excludes_put(&self) -> bool {
        matches!(
            self,
            Job::CollectOrphans(_) | Job::ReencryptObjects(_) | Job::ReencryptLog(_) | Job::Erase(..) | Job::Close(_)
        )
    }
}

impl MaintenanceQueue {
    /// Starts the task.
    pub(crate) fn start(state: MaintenanceState) -> Self {
        let (messages, received) = mpsc::unbounded_channel();
        let status = Arc::<Status>::default();
        let task = MaintenanceTask {
            received,
            messages: messages.downgrade(),
            put_off: VecDeque::new(),
            status: status.clone(),
            state,
            is_closed: false,
        };
        spawn_receiver(task.run());
        Self { messages, status }
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

    async fn ask<T>(&self, core: &Arc<NamespaceCore>, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(core, job(reply));
        answer.await.map_err(task_ended)
    }

    fn send(&self, core: &Arc<NamespaceCore>, job: Job) {
        // If the task has ended, the reply is dropped with the message, and its caller learns of it.
        let _task_has_ended = self.messages.send(Message { core: HeldCore::new(core), job });
    }
}

/// The task; see the module documentation.
struct MaintenanceTask {
    received: mpsc::UnboundedReceiver<Message>,
    /// For merges, which send their steps. Weak, so that the task ends when nobody else can send.
    messages: mpsc::WeakUnboundedSender<Message>,
    /// Jobs that wait until the running merge has written its object.
    put_off: VecDeque<Message>,
    status: Arc<Status>,
    state: MaintenanceState,
    is_closed: bool,
}

impl MaintenanceTask {
    async fn run(mut self) {
        while let Some(message) = self.next().await {
            // In an allocation of its own, so that the task of an idle namespace is small.
            Box::pin(self.handle(message)).await;
        }
    }

    async fn next(&mut self) -> Option<Message> {
        let is_putting = self.state.merge.as_ref().is_some_and(RunningMerge::is_putting);
        if !is_putting && let Some(message) = self.put_off.pop_front() {
            return Some(message);
        }
        loop {
            let message = self.received.recv().await?;
            if is_putting && message.job.excludes_put() {
                self.put_off.push_back(message);
            } else {
                return Some(message);
            }
        }
    }

    async fn handle(&mut self, message: Message) {
        let Message { core, job } = message;
        let answer = {
            let _fail_on_panic = FailOnPanic(&core);
            self.status.is_running.store(true, Ordering::Release);
            let answer = self.run_job(&core, job).await;
            self.status.orphan_free.store(self.state.orphan_free, Ordering::Release);
            self.status.obsolete.store(self.state.obsolete.len(), Ordering::Release);
            self.status.is_running.store(false, Ordering::Release);
            answer
        };
        // Answered only now, because the caller may be what evicts the namespace.
        core.release(answer);
    }

    /// Runs a job and returns what answers its caller.
    async fn run_job(&mut self, core: &Arc<NamespaceCore>, job: Job) -> Answer {
        if self.is_closed {
            // Other replies are dropped, so that their callers learn that the namespace is closing.
            return if let Job::Close(reply) = job { answer(reply, ()) } else { no_answer() };
        }
        let state = &mut self.state;
        match job {
            Job::RunDue(reply) => {
                self.status.is_started.store(false, Ordering::Release);
                self.run_due(core).await;
                reply.map_or_else(no_answer, |reply| answer(reply, ()))
            }
            Job::Run(reply) => {
                let outcome = self.run_all(core, false).await;
                self.outcome(core, reply, outcome)
            }
            Job::Flush(reply) => {
                let outcome = self.run_all(core, true).await;
                self.outcome(core, reply, outcome)
            }
            Job::CollectOrphans(reply) => {
                let outcome = sweep::collect_orphans(core, state).await;
                self.outcome(core, reply, outcome)
            }
            Job::ReencryptObjects(reply) => {
                let outcome = reencrypt::objects(core, state).await;
                self.outcome(core, reply, outcome)
            }
            Job::ReencryptLog(reply) => {
                let outcome = reencrypt::log(core, state).await;
                self.outcome(core, reply, outcome)
            }
            Job::Erase(ids, audience, reply) => {
                let outcome = erase::erase(core, state, &ids, &audience).await;
                // Rewritten segments may need a new graph.
                if let Some(queue) = self.messages.upgrade().filter(|_| picker::is_due(core, self.state.merge.as_ref()))
                {
                    let _task_has_ended = queue.send(Message { core: HeldCore::new(core), job: Job::RunDue(None) });
                }
                self.outcome(core, reply, outcome)
            }
            Job::WaitForMerge(reply) => match &mut state.merge {
                Some(merge) => {
                    merge.waiting.push(reply);
                    no_answer()
                }
                None => answer(reply, ()),
            },
            Job::Merge(step) => {
                self.continue_merge(core, step).await;
                no_answer()
            }
            Job::Close(reply) => {
                self.is_closed = true;
                // It is not writing its object, or this would have been put off. Who waits for it need not.
                self.state.merge = None;
                answer(reply, ())
            }
        }
    }

    async fn continue_merge(&mut self, core: &Arc<NamespaceCore>, step: MergeStep) {
        let Some(messages) = self.messages.upgrade() else { return };
        match merge::next_step(core, &mut self.state, step, messages).await {
            Ok(()) if self.state.merge.is_some() => {}
            Ok(()) => self.run_due(core).await,
            Err(error) => self.failed(core, &error),
        }
    }

    async fn run_due(&mut self, core: &Arc<NamespaceCore>) {
        if is_paused(core, &self.status) || !core.is_open() || !picker::is_due(core, self.state.merge.as_ref()) {
            return;
        }
        if let Err(error) = self.run_all(core, false).await {
            self.failed(core, &error);
        }
    }

    /// Runs every job that is due; with `flush`, first flushes the memtable whatever its size.
    async fn run_all(&mut self, core: &Arc<NamespaceCore>, flush: bool) -> Result<(), Error> {
        let Some(messages) = self.messages.upgrade() else { return Err(Error::Closing) };
        flush::run(core, &mut self.state, flush, |state, segments, as_of| {
            merge::start(core, state, segments, as_of, messages.clone());
        })
        .await
    }

    fn outcome<T: Send + 'static>(
        &self,
        core: &NamespaceCore,
        reply: Reply<Result<T, Error>>,
        outcome: Result<T, Error>,
    ) -> Answer {
        if let Err(error) = &outcome {
            self.failed(core, error);
        }
        answer(reply, outcome)
    }

    /// Records a failure, and when maintenance is retried.
    fn failed(&self, core: &NamespaceCore, error: &Error) {
        core.shared.counters.maintenance_failures.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(namespace = %core.keyspace.uuid(), %error, "maintenance is postponed");
        let again = core.shared.config.clock.monotonic() + AGAIN_AFTER;
        self.status.not_before.store(millis(again), Ordering::Relaxed);
        if core.journal.failed().is_some() {
            core.fail();
        }
    }
}

/// Answers the caller of a job.
type Answer = Box<dyn FnOnce() + Send>;

fn answer<T: Send + 'static>(reply: Reply<T>, value: T) -> Answer {
    Box::new(move || {
        let _caller_has_gone = reply.send(value);
    })
}

fn no_answer() -> Answer {
    Box::new(|| {})
}

fn is_paused(core: &NamespaceCore, status: &Status) -> bool {
    millis(core.shared.config.clock.monotonic()) < status.not_before.load(Ordering::Relaxed)
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// Pause after a failure, such as a full disk.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
