//! The maintenance task of a namespace: it owns what maintenance has to remember, and runs one job after another.
//!
//! [`MaintenanceQueue`] is the way in. A job that was begun is finished, whether or not its caller still waits. A large
//! merge is built beside the task and comes back as a message ([`MergeStep`]); while it writes its object, jobs that
//! must not run at the same time are put off.

use crate::{
    Error,
    maintenance::{
        erase, flush, merge, orphans, picker,
        queue::{Job, JobMessage, JobReply, MaintenanceQueue, MaintenanceStatus, MergeStep, is_paused, millis},
        reencrypt,
        state::MaintenanceState,
    },
    state::core::{FailOnPanic, HeldCore, NamespaceCore, spawn_receiver},
};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::sync::mpsc;

/// Starts the task of a namespace whose newest checkpoint is known.
pub(crate) fn start(state: MaintenanceState) -> MaintenanceQueue {
    let (queue, received, status) = MaintenanceQueue::new();
    let messages = queue.downgrade();
    let task = MaintenanceTask { received, messages, put_off: VecDeque::new(), status, state, is_closed: false };
    spawn_receiver(task.run());
    queue
}

/// The task; see the module documentation.
struct MaintenanceTask {
    received: mpsc::UnboundedReceiver<JobMessage>,
    /// For merges, which send their steps. Weak, so that the task ends when its queues are dropped.
    messages: mpsc::WeakUnboundedSender<JobMessage>,
    /// Jobs that wait until the running merge has written its object.
    put_off: VecDeque<JobMessage>,
    status: Arc<MaintenanceStatus>,
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

    async fn next(&mut self) -> Option<JobMessage> {
        let is_putting = self.state.merge.as_ref().is_some_and(|merge| merge.is_putting);
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

    async fn handle(&mut self, message: JobMessage) {
        let JobMessage { core, job } = message;
        let answer = {
            let _fail_on_panic = FailOnPanic(&core);
            self.status.is_running.store(true, Ordering::Release);
            let answer = self.run_job(&core, *job).await;
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
                // A namespace that closes is swept another time.
                let outcome = if core.is_open() { orphans::collect(core, state).await } else { Ok(false) };
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
                    let _task_has_ended =
                        queue.send(JobMessage { core: HeldCore::new(core), job: Box::new(Job::RunDue(None)) });
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
        reply: JobReply<Result<T, Error>>,
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

fn answer<T: Send + 'static>(reply: JobReply<T>, value: T) -> Answer {
    Box::new(move || {
        let _caller_has_gone = reply.send(value);
    })
}

fn no_answer() -> Answer {
    Box::new(|| {})
}

/// Pause after a failure, such as a full disk.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
