//! The single writer of a namespace: takes the waiting writes, logs them as one entry, publishes, answers.
//!
//! The writer is a task that owns its queue; [`WriteQueue`] is the way in. A crash before the append is durable leaves
//! nothing of the entry; a crash after it leaves all of it, answered or not. While one entry is being written to disk,
//! the next requests queue up: this is group commit.

use crate::{
    Error, MakeAuditRecord, WriteOutcome,
    cpu::{TaskClass, on_cpu, run_inline},
    maintenance::MaintenanceQueue,
    state::{
        core::{FailOnPanic, HeldCore, NamespaceCore, spawn_receiver},
        published::Publishing,
    },
    write::{
        cost,
        indexing::{self, IndexingTask},
        plan::{WriteAction, WriteOp},
        prepare::{PreparedBatch, QueuedWrite, prepare},
    },
};
use kernel::{CancelFlag, cost::RunOn, limits};
use std::{
    collections::VecDeque,
    sync::{Arc, atomic::Ordering},
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Queue of a namespace's writer. The writer ends when the queue is closed or dropped.
pub(crate) struct WriteQueue {
    messages: mpsc::Sender<WriteMessage>,
    /// Cancelled once the writer has ended.
    ended: CancellationToken,
}

enum WriteMessage {
    Write(HeldCore, Box<QueuedWrite>),
    /// Looks whether something is due, as after a write.
    Wake(HeldCore),
    /// Completes the writes before this message and accepts no more.
    Close(HeldCore),
}

impl WriteQueue {
    /// Starts the writer.
    pub(crate) fn start(maintenance: MaintenanceQueue) -> Self {
        let (messages, received) = mpsc::channel(limits::WRITES_QUEUED_MAX);
        let ended = CancellationToken::new();
        let writer = Writer {
            received,
            waiting: VecDeque::new(),
            maintenance,
            indexing: IndexingTask::default(),
            _ended: ended.clone().drop_guard(),
        };
        spawn_receiver(writer.run());
        Self { messages, ended }
    }

    /// Hands a request to the writer and waits. Once queued, the request is carried out in full even if the caller
    /// disconnects; only the evaluation of a selection stops with its caller.
    ///
    /// # Errors
    /// The writer's error; before that [`Error::QueueFull`], [`Error::MemtableFull`], [`Error::AuditBacklog`],
    /// [`Error::Closing`].
    pub(crate) async fn write(
        &self,
        core: &Arc<NamespaceCore>,
        op: WriteOp,
        record: MakeAuditRecord,
        cancel: CancelFlag,
    ) -> Result<WriteOutcome, Error> {
        let (reply, answer) = oneshot::channel();
        // The memory of an append was already counted when the request arrived.
        let memory = core.shared.write_memory.as_ref().filter(|_| !matches!(op.action, WriteAction::Append(..)));
        let permit = memory.map(|memory| memory.enter(core.incarnation));
        self.enqueue(core, QueuedWrite { op, record, reply, cancel, permit })?;
        answer.await.unwrap_or_else(|_| {
            let message = "the writer ended early".to_owned();
            Err(Error::Append { code: kernel::Code::Internal, message, outcome_unknown: true })
        })
    }

    fn enqueue(&self, core: &Arc<NamespaceCore>, write: QueuedWrite) -> Result<(), Error> {
        let (_, unflushed) = core.version().memtable_size();
        if unflushed > core.shared.config.flush_bytes_max.saturating_mul(MEMTABLE_REFUSE_FACTOR) {
            return Err(Error::MemtableFull(unflushed));
        }
        if core.outbox.waiting() > AUDIT_RECORDS_WAITING_MAX {
            return Err(Error::AuditBacklog(core.outbox.waiting()));
        }
        if !core.is_open() {
            return Err(Error::Closing);
        }
        core.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
        self.messages.try_send(WriteMessage::Write(HeldCore::new(core), Box::new(write))).map_err(|refused| {
            core.shared.counters.queued.fetch_sub(1, Ordering::Relaxed);
            match refused {
                TrySendError::Full(_) => Error::QueueFull(limits::WRITES_QUEUED_MAX),
                TrySendError::Closed(_) => Error::Closing,
            }
        })
    }

    /// Starts indexing if enough rows wait after the log was replayed.
    pub(crate) fn start_indexing_if_due(&self, core: &Arc<NamespaceCore>) {
        if indexing::is_due(core) {
            // A full queue starts it as well, and a writer that has ended has nothing to do.
            let _refused = self.messages.try_send(WriteMessage::Wake(HeldCore::new(core)));
        }
    }

    /// Waits until the writer has completed what it accepted and has ended.
    pub(crate) async fn close(&self, core: &Arc<NamespaceCore>) {
        let _ended_already = self.messages.send(WriteMessage::Close(HeldCore::new(core))).await;
        self.ended.cancelled().await;
    }
}

/// The writer's task.
struct Writer {
    received: mpsc::Receiver<WriteMessage>,
    /// Writes for the next entry, oldest first.
    waiting: VecDeque<QueuedWrite>,
    maintenance: MaintenanceQueue,
    indexing: IndexingTask,
    _ended: DropGuard,
}

impl Writer {
    async fn run(mut self) {
        while let Some(message) = self.received.recv().await {
            // In an allocation of its own, so that the task of an idle namespace is small.
            Box::pin(self.handle(message)).await;
        }
    }

    async fn handle(&mut self, message: WriteMessage) {
        let core = match message {
            WriteMessage::Write(core, write) => {
                self.waiting.push_back(*write);
                core
            }
            WriteMessage::Wake(core) => {
                self.start_what_is_due(&core);
                return;
            }
            WriteMessage::Close(core) => {
                self.close(&core);
                return;
            }
        };
        {
            let _fail_on_panic = FailOnPanic(&core);
            let mut close = false;
            while !self.waiting.is_empty() {
                close |= self.write_entry(&core).await;
            }
            if close {
                self.close(&core);
            }
        }
        core.release(|| {});
    }

    /// Writes one entry. Returns whether the queue is to be closed once nothing waits.
    async fn write_entry(&mut self, core: &Arc<NamespaceCore>) -> bool {
        throttle_on_audit(core).await;
        indexing::throttle(core).await;
        throttle_on_memtable(core, &self.maintenance).await;
        let mut publishing = core.published.lock().await;
        let close = self.receive_waiting();
        if core.has_failed() {
            self.refuse_waiting(core);
            return close;
        }
        if let Err(error) = self.commit(core, &mut publishing).await {
            tracing::error!(namespace = %core.keyspace.uuid(), %error, "the namespace is closed and opened again");
            core.fail();
            self.refuse_waiting(core);
            return close;
        }
        drop(publishing);
        self.start_what_is_due(core);
        core.shared.evict_if_over_budget();
        close
    }

    /// Takes further writes from the queue, as many as an entry may have.
    fn receive_waiting(&mut self) -> bool {
        while self.waiting.len() < limits::WRITES_PER_ENTRY_MAX {
            match self.received.try_recv() {
                Ok(WriteMessage::Write(_, write)) => self.waiting.push_back(*write),
                Ok(WriteMessage::Wake(_)) => {}
                Ok(WriteMessage::Close(_)) => return true,
                Err(_) => break,
            }
        }
        false
    }

    fn start_what_is_due(&mut self, core: &Arc<NamespaceCore>) {
        self.maintenance.start_if_due(core);
        self.indexing.start_if_due(core, &self.maintenance);
    }

    /// Accepts no more writes, and refuses those that arrived too late.
    fn close(&mut self, core: &NamespaceCore) {
        self.received.close();
        while let Ok(message) = self.received.try_recv() {
            if let WriteMessage::Write(_, write) = message {
                self.waiting.push_back(*write);
            }
        }
        self.refuse_waiting(core);
    }

    fn refuse_waiting(&mut self, core: &NamespaceCore) {
        core.shared.counters.queued.fetch_sub(self.waiting.len() as u64, Ordering::Relaxed);
        for write in self.waiting.drain(..) {
            let _caller_has_gone = write.reply.send(Err(Error::Closing));
        }
    }

    /// Prepares, appends, publishes and answers, in this order.
    ///
    /// # Errors
    /// An error that ends this opening of the namespace. All callers in the batch have been answered.
    async fn commit(&mut self, core: &Arc<NamespaceCore>, publishing: &mut Publishing<'_>) -> Result<(), Error> {
        let batch = std::mem::take(&mut self.waiting);
        let counters = &core.shared.counters;
        counters.queued.fetch_sub(batch.len() as u64, Ordering::Relaxed);
        let (version, clock) = (publishing.version(), core.shared.config.clock.clone());
        // Work that may wait for a page or take long must not block a thread that other tasks need.
        let (counter, retention) = (core.published.counter().clone(), core.retention());
        let prepared = match cost::of_batch(&version, &batch).run_on() {
            RunOn::Caller(short) => run_inline(&short, || prepare(&version, batch, &clock, &counter, retention))?,
            RunOn::Pool => {
                let prepared = move || prepare(&version, batch, &clock, &counter, retention);
                on_cpu(&*core.shared.config.cpu, TaskClass::Write(core.incarnation), prepared).await?
            }
        };
        let PreparedBatch { entry, version, to_answer, records, remaining, accepted, reserved, permits } =
            match prepared {
                Ok(prepared) => prepared,
                // All callers have been answered and nothing was written; a retry may be able to read it.
                Err(error) if error.is_transient() => return Ok(()),
                Err(error) => return Err(error),
            };
        counters.queued.fetch_add(remaining.len() as u64, Ordering::Relaxed);
        self.waiting = remaining;
        let Some(entry) = entry else { return Ok(()) };
        let logged = entry.len() as u64;
        let seq = match core.journal.append(entry).await {
            Ok(seq) => seq,
            Err(error) => {
                let error = kernel::Error::from(error);
                if let Some(reserved) = reserved.filter(|_| error.outcome_unknown) {
                    reserved.assume_stored(core.keyspace.uuid());
                }
                for (reply, _) in to_answer {
                    let _caller_has_gone = reply.send(Err(append_failed(&error)));
                }
                // Refused before a byte was written, so log and namespace remain usable.
                let refused = matches!(error.code, kernel::Code::TooLarge | kernel::Code::StorageFull);
                return if refused && core.journal.failed().is_none() { Ok(()) } else { Err(append_failed(&error)) };
            }
        };
        counters.accepted(accepted, logged);
        // The entry is durable: publish first, so that an answered caller finds its write.
        let totals = version.totals();
        publishing.publish_write(version, reserved, seq);
        core.outbox.push(records, totals);
        core.deliver_audit_soon();
        // The prepared batch is written and now counts towards the namespace's own memory.
        drop(permits);
        for (reply, outcome) in to_answer {
            let _caller_has_gone = reply.send(Ok(outcome));
        }
        Ok(())
    }
}

/// Waits while many audit records have not reached the tenant's audit log.
async fn throttle_on_audit(core: &NamespaceCore) {
    if core.outbox.waiting() > AUDIT_RECORDS_WAITING_SOFT {
        // A failure is reported once the hard limit is reached; until then writes are durable in this log.
        let _retried_later = core.outbox.deliver(&*core.shared.config.sink).await;
    }
}

/// Slows writers to the speed of flushing while the memtable is much larger than the flush threshold; they are refused
/// only if that does not suffice.
async fn throttle_on_memtable(core: &Arc<NamespaceCore>, maintenance: &MaintenanceQueue) {
    let (_, bytes) = core.version().memtable_size();
    if bytes > core.shared.config.flush_bytes_max.saturating_mul(MEMTABLE_THROTTLE_FACTOR) {
        maintenance.run_due(core).await;
    }
}

fn append_failed(error: &kernel::Error) -> Error {
    Error::Append { code: error.code, message: error.message.clone(), outcome_unknown: error.outcome_unknown }
}

/// Writers wait for a flush when the memtable exceeds the flush threshold by this factor.
const MEMTABLE_THROTTLE_FACTOR: u64 = 2;
/// Writes are refused when the memtable exceeds the flush threshold by this factor.
const MEMTABLE_REFUSE_FACTOR: u64 = 4;
/// Audit records that may wait for the tenant's audit log before the writer waits for them.
const AUDIT_RECORDS_WAITING_SOFT: usize = 1_024;
/// Audit records that may wait before writes are refused.
const AUDIT_RECORDS_WAITING_MAX: usize = 16_384;
