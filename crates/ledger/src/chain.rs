//! One chain in memory: a bounded queue of drafts, and a leader task that writes queued records in groups (group
//! commit).
//!
//! The record of a read is queued, and its request does not wait for the disk. The records of mutations, operators'
//! acts and strict reads are awaited. While writing fails, records of reads stay in the queue; when it is full, some
//! are dropped and counted, and the first record that can be written again is preceded by their number. Records of
//! operators' acts on the tenant have a capacity of their own.

use crate::{
    Error, Usage,
    audit_log_file::AuditLogFile,
    error::copy,
    event::PendingRecord,
    open_log::{LockedLog, OpenLog, OpenLogs},
    page::{AuditHead, PageReader, RecordQuery},
    record,
    rollback::{Rollback, Rollbacks},
    usage::GAP,
};
use journal::Storage;
use kernel::{AuditPosition, Clock, CommitNo, Entropy, Incarnation, NamespaceUuid, Timestamp, limits};
use lifecycle::{Guard, Opening, Refused};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use vault::{Directory, Keyspace, KeyspaceKind};

/// What all chains of a server share.
pub(crate) struct ChainEnv {
    pub(crate) storage: Storage,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tracker: TaskTracker,
    /// Tenants' open logs.
    pub(crate) tenant_logs: OpenLogs,
    /// The operators' open log. It has a file of its own, which no tenant's log takes.
    pub(crate) operators_log: OpenLogs,
    /// Permits for tenants' open logs, each of which holds a file.
    pub(crate) open_log_permits: Arc<Semaphore>,
    /// Namespaces that differ from what a chain recorded of them.
    pub(crate) rollbacks: Rollbacks,
}

impl ChainEnv {
    /// Acquires a permit for one more open log. If none is free, idle logs are closed, least recently used first.
    ///
    /// # Errors
    /// `overloaded` when all logs stay in use.
    async fn open_log_permit(&self) -> Result<OwnedSemaphorePermit, kernel::Error> {
        if let Ok(permit) = Arc::clone(&self.open_log_permits).try_acquire_owned() {
            return Ok(permit);
        }
        // One pinned future across all attempts keeps this chain's position in the semaphore's queue.
        let mut permit = std::pin::pin!(Arc::clone(&self.open_log_permits).acquire_owned());
        for _ in 0..PERMIT_TRIES {
            self.tenant_logs.evict_if_over();
            // Queued records keep a log in use for no longer than this wait.
            if let Ok(permit) = tokio::time::timeout(limits::AUDIT_GROUP_WAIT, &mut permit).await {
                return permit.map_err(|_| Error::Closed.into());
            }
        }
        Err(kernel::Error::overloaded("too many audit logs are in use", limits::AUDIT_RETRY_WAIT))
    }
}

/// Attempts to get a permit by closing idle logs, each followed by a wait of [`limits::AUDIT_GROUP_WAIT`].
const PERMIT_TRIES: usize = 10;

/// Owner of a chain.
pub(crate) enum ChainOwner {
    /// A tenant, whose keyspace the directory looks up.
    Tenant(Incarnation),
    /// The server itself, for operators' acts.
    Server(Arc<Keyspace>),
}

/// One audit chain. Order of its locks: `compaction` (a commit only tries it), its open log, `queue`.
pub(crate) struct HashChain {
    shared: Arc<ChainEnv>,
    owner: ChainOwner,
    queue: Arc<Mutex<RecordQueue>>,
    /// Queue slots for records that no request awaits.
    capacity: Arc<Semaphore>,
    /// Queue slots for records that a request awaits; records of reads never take them.
    awaited_capacity: Arc<Semaphore>,
    /// Queue slots for records of operators' acts that must not wait for the disk; the tenant's own records never take
    /// them.
    operator_capacity: Arc<Semaphore>,
    /// Ends the leader's wait for a larger batch.
    wake: Notify,
    /// Held while batches are compacted. The task that ends the chain waits for it, so that nothing is written after
    /// the tenant's keys are destroyed.
    compaction: Arc<AsyncMutex<()>>,
}

/// Records that wait to be written, and what is known of those that were.
#[derive(Default)]
pub(crate) struct RecordQueue {
    pub(crate) waiting: VecDeque<QueuedRecord>,
    /// Whether a leader task is running.
    has_leader: bool,
    /// Number of records that were dropped because the queue was full while nothing could be written.
    dropped: u64,
    /// After a failure, the monotonic time before which no read's record starts another attempt.
    retry_at: Option<Duration>,
    closed: bool,
    /// For each namespace, the first commit whose record could not be written; later commits are refused until it is.
    first_failed_commit: HashMap<NamespaceUuid, CommitNo>,
    /// Usage that the written records amount to, as of the last time the log was opened or written.
    written: Usage,
    /// Whether the log was opened since the start of the process.
    was_opened: bool,
}

pub(crate) struct QueuedRecord {
    draft: PendingRecord,
    commit: Option<(NamespaceUuid, AuditPosition)>,
    reply: Option<oneshot::Sender<Result<(), kernel::Error>>>,
    /// Whether this is an operator's act on the tenant. It is not dropped when the tenant's own records fill the queue.
    is_operator_act: bool,
    _slot: OwnedSemaphorePermit,
}

impl HashChain {
    pub(crate) fn new(shared: Arc<ChainEnv>, owner: ChainOwner) -> Arc<Self> {
        Arc::new(Self {
            shared,
            owner,
            queue: Arc::default(),
            capacity: Arc::new(Semaphore::new(limits::AUDIT_QUEUE_RECORDS_MAX)),
            awaited_capacity: Arc::new(Semaphore::new(limits::AUDIT_QUEUE_RECORDS_MAX)),
            operator_capacity: Arc::new(Semaphore::new(limits::AUDIT_QUEUE_OPERATOR_RECORDS_MAX)),
            wake: Notify::new(),
            compaction: Arc::default(),
        })
    }

    /// Queues a record. Waits for a slot in the queue, never for the disk; while writing fails it does not wait for a
    /// slot either, and the record may be dropped.
    pub(crate) async fn queue(self: &Arc<Self>, draft: PendingRecord) {
        let retry_at = self.lock().retry_at;
        let slot = match retry_at {
            None => acquire_slot(&self.capacity).await,
            Some(_) => Arc::clone(&self.capacity).try_acquire_owned().ok(),
        };
        self.enqueue_unawaited(slot, draft, false);
    }

    /// Queues the record of an operator's act without waiting: a tenant that fills its queue must not delay the
    /// operator who suspends it. Records beyond their own capacity are counted as dropped; the operators' audit log has
    /// each of them.
    pub(crate) fn queue_operator_act(self: &Arc<Self>, draft: PendingRecord) {
        self.enqueue_unawaited(Arc::clone(&self.operator_capacity).try_acquire_owned().ok(), draft, true);
    }

    fn enqueue_unawaited(
        self: &Arc<Self>,
        slot: Option<OwnedSemaphorePermit>,
        draft: PendingRecord,
        is_operator_act: bool,
    ) {
        let Some(slot) = slot else {
            self.lock().dropped += 1;
            return self.start_leader(false);
        };
        self.enqueue(QueuedRecord { draft, commit: None, reply: None, is_operator_act, _slot: slot });
        self.start_leader(false);
    }

    /// Writes a record and waits until it is durable.
    ///
    /// # Errors
    /// Errors of the journal or the directory. The record is then not in the chain, unless the outcome is unknown.
    pub(crate) async fn write(
        self: &Arc<Self>,
        draft: PendingRecord,
        commit: Option<(NamespaceUuid, AuditPosition)>,
    ) -> Result<(), kernel::Error> {
        let slot = acquire_slot(&self.awaited_capacity).await.ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.enqueue(QueuedRecord { draft, commit, reply: Some(reply), is_operator_act: false, _slot: slot });
        self.start_leader(true);
        answer.await.map_err(|_| kernel::Error::from(Error::Closed))?
    }

    /// Starts reading a page of the records as of now, including those that were queued.
    pub(crate) async fn read(self: &Arc<Self>, reading: RecordQuery) -> Result<PageReader, kernel::Error> {
        self.flush().await?;
        let open_log = self.open_log().await?;
        let since = reading.since.map_or(i64::MIN, Timestamp::as_millis);
        let until = reading.until.map_or(i64::MAX, Timestamp::as_millis);
        let pages = open_log.pages(reading.after.unwrap_or(0), since..until);
        let (lines, head) = open_log.head();
        let head = AuditHead { chain: open_log.keyspace.uuid().to_string(), lines, head: record::hex(&head) };
        drop(open_log);
        Ok(PageReader::new(pages, head, reading))
    }

    /// The newest recorded commit of a namespace.
    pub(crate) async fn recorded(
        self: &Arc<Self>,
        namespace: NamespaceUuid,
    ) -> Result<Option<AuditPosition>, kernel::Error> {
        Ok(self.open_log().await?.recorded(namespace))
    }

    /// The newest recorded commit of each of several namespaces.
    pub(crate) async fn recorded_all(
        self: &Arc<Self>,
        namespaces: &[NamespaceUuid],
    ) -> Result<Vec<Option<AuditPosition>>, kernel::Error> {
        let log_file = self.open_log().await?;
        Ok(namespaces.iter().map(|namespace| log_file.recorded(*namespace)).collect())
    }

    /// Writes all queued records. This runs in a task of its own, so that a group in flight is completed, and its
    /// result applied to the state, even if the caller is cancelled.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), kernel::Error> {
        let chain = Arc::clone(self);
        let all = async move {
            while let Some(written) = chain.commit_next(false).await {
                written?;
            }
            Ok(())
        };
        self.shared.tracker.spawn(all).await.map_err(|_| kernel::Error::from(Error::Closed))?
    }

    /// Writes all queued records and marks the log's clean end, so that the next opening is quick. The chain itself
    /// stays open.
    pub(crate) async fn mark_clean(self: &Arc<Self>) -> Result<(), kernel::Error> {
        self.flush().await?;
        match self.logs().get(&self.owner.key()) {
            Some(open) => Ok(open.file.lock().await.journal.close().await?),
            None => Ok(()),
        }
    }

    /// Re-encrypts the whole chain under the newest key of this keyspace.
    pub(crate) async fn reencrypt(self: &Arc<Self>, keyspace: &Arc<Keyspace>) -> Result<(), kernel::Error> {
        // No compaction may run at the same time.
        let _compaction = self.compaction.lock().await;
        let mut log_file = self.open_log().await?;
        if !Arc::ptr_eq(&log_file.keyspace, keyspace) {
            // The log holds another instance of the same keyspace, which would not learn of the new key: reopen it.
            if Arc::strong_count(&log_file.journal) > 1 {
                // A reader or a compaction holds the journal: a chain must never have two journals.
                return Err(Error::NotReencrypted.into());
            }
            log_file.journal.close().await?;
            log_file.retire();
            drop(log_file);
            log_file = self.open_log().await?;
        }
        if !Arc::ptr_eq(&log_file.keyspace, keyspace) {
            return Err(Error::WrongKeyspace.into());
        }
        log_file.reencrypt().await
    }

    /// Writes all queued records and closes the log, which releases its keys. The chain itself stays, with its usage
    /// counters. Returns whether the log is closed.
    pub(crate) async fn release(self: &Arc<Self>) -> bool {
        if let Err(error) = self.flush().await {
            tracing::warn!(code = error.code.as_str(), "audit records wait for their tenant's key");
        }
        let (logs, key) = (self.logs(), self.owner.key());
        logs.close_unused(&key).await || logs.get(&key).is_none()
    }

    /// Opens the log, so that the usage counters are known.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<(), kernel::Error> {
        self.open_log().await.map(drop)
    }

    /// Usage counters, including queued records.
    pub(crate) fn usage(&self) -> Usage {
        let queue = self.lock();
        let mut waiting = Usage::default();
        for record in queue.waiting.iter().filter(|record| record.commit.is_none() && record.draft.is_request()) {
            waiting.add(&record.draft.operation, counts(&record.draft));
        }
        queue.written.plus(waiting)
    }

    /// Usage counters, if the log was opened since the start of the process; otherwise they are unknown.
    pub(crate) fn known_usage(&self) -> Option<Usage> {
        // The lock is released first, because `usage` takes it again.
        let was_opened = self.lock().was_opened;
        was_opened.then(|| self.usage())
    }

    /// Refuses further records and drops queued ones: the tenant and its keys are gone.
    pub(crate) async fn abandon(&self) {
        {
            let mut queue = self.lock();
            queue.closed = true;
            queue.waiting.clear();
        }
        self.logs().close(&self.owner.key()).await;
        drop(self.compaction.lock().await);
    }

    fn enqueue(&self, record: QueuedRecord) {
        let mut queue = self.lock();
        // Dropping the sender tells the waiting task that the chain is closed.
        if queue.closed {
            return;
        }
        let wake = record.reply.is_some();
        queue.waiting.push_back(record);
        if wake || queue.waiting.len() == limits::AUDIT_GROUP_RECORDS_MAX {
            self.wake.notify_one();
        }
    }

    /// Waits for further records if no request awaits the queued ones, so that one flush serves many reads.
    async fn wait_for_batch(&self) {
        let ready = {
            let waiting = &self.lock().waiting;
            let is_awaited = || waiting.iter().any(|record| record.reply.is_some());
            // An empty queue ends this leader; the next queued record starts another.
            waiting.is_empty() || waiting.len() >= limits::AUDIT_GROUP_RECORDS_MAX || is_awaited()
        };
        if !ready {
            let _ = tokio::time::timeout(limits::AUDIT_GROUP_WAIT, self.wake.notified()).await;
        }
    }

    /// Starts a leader task unless one is running. After a recent failure it starts one only if `at_once`.
    fn start_leader(self: &Arc<Self>, at_once: bool) {
        let now = self.shared.clock.monotonic();
        {
            let mut queue = self.lock();
            let backing_off = queue.retry_at.is_some_and(|at| now < at);
            if queue.has_leader || queue.waiting.is_empty() || (backing_off && !at_once) {
                return;
            }
            queue.has_leader = true;
        }
        self.shared.tracker.spawn(run_leader(ChainLeader { chain: Arc::clone(self), started: false, finished: false }));
    }

    /// Writes the next group; `None` when the queue is empty. Groups are taken under the lock of the log, so that they
    /// are written in the order in which they were queued.
    async fn commit_next(self: &Arc<Self>, is_leader: bool) -> Option<Result<(), kernel::Error>> {
        // Nothing opens the log when no record waits for it.
        if self.lock().is_drained(is_leader) {
            return None;
        }
        match self.open_log().await {
            Ok(mut log_file) => {
                let group = self.lock().take_group(is_leader)?;
                Some(self.commit(&mut log_file, group).await)
            }
            Err(error) => {
                // Taken and failed under one lock: a later commit that another task writes must find this failure.
                let mut queue = self.lock();
                let group = queue.take_group(is_leader)?;
                self.fail_group(queue, group, &error);
                Some(Err(error))
            }
        }
    }

    async fn commit(&self, log_file: &mut AuditLogFile, group: Vec<QueuedRecord>) -> Result<(), kernel::Error> {
        let group = self.reject_conflicts(log_file, self.reject_out_of_order(group));
        let dropped = self.lock().dropped;
        // The gap record goes first, because its dropped records precede this group.
        let gap = (dropped > 0).then(|| self.gap_record(dropped));
        let records = group.iter().map(|record| (&record.draft, record.commit));
        let items: Vec<_> = gap.iter().map(|gap| (gap, None)).chain(records).collect();
        if let Err(error) = log_file.write(&items).await {
            self.fail_group(self.lock(), group, &error);
            return Err(error);
        }
        if let Err(error) = log_file.move_full_chunks().await {
            tracing::warn!(error = %error, "audit chunks stay in the log for now");
        }
        // Only one compaction runs at a time. One that is skipped now is due again with the next batch.
        let guard = Arc::clone(&self.compaction).try_lock_owned().ok();
        if let Some((guard, compaction_task)) = guard.and_then(|guard| Some((guard, log_file.compact()?))) {
            self.shared.tracker.spawn(async move {
                let _compaction = guard;
                if let Err(error) = compaction_task.await {
                    tracing::warn!(%error, "audit records stay in the log for now");
                }
            });
        }
        self.lock().written = log_file.usage();
        self.acknowledge(group, dropped);
        Ok(())
    }

    /// Refuses records of commits that follow one whose record could not be written. The chain keeps only the number of
    /// the last commit, so writing them would make the missing record look written.
    fn reject_out_of_order(&self, group: Vec<QueuedRecord>) -> Vec<QueuedRecord> {
        let mut queue = self.lock();
        let mut kept = Vec::with_capacity(group.len());
        for record in group {
            let first_failed_commit =
                record.commit.and_then(|(namespace, _)| queue.first_failed_commit.get(&namespace).copied());
            if let (Some(first_failed_commit), Some((namespace, number))) = (first_failed_commit, record.commit) {
                if number.commit > first_failed_commit {
                    record.reply.map(|reply| reply.send(Err(Error::OutOfOrder.into())));
                    continue;
                }
                queue.first_failed_commit.remove(&namespace);
            }
            kept.push(record);
        }
        kept
    }

    /// Refuses records of commits that the chain contains with different content, and lists their namespaces as rolled
    /// back.
    fn reject_conflicts(&self, log_file: &AuditLogFile, group: Vec<QueuedRecord>) -> Vec<QueuedRecord> {
        let items: Vec<_> = group.iter().map(|record| (&record.draft, record.commit)).collect();
        let conflicts = log_file.conflicts(&items);
        if !conflicts.contains(&true) {
            return group;
        }
        let mut kept = Vec::with_capacity(group.len());
        for (record, conflict) in group.into_iter().zip(conflicts) {
            let (true, Some((namespace, mark))) = (conflict, record.commit) else {
                kept.push(record);
                continue;
            };
            if let ChainOwner::Tenant(incarnation) = self.owner {
                let recorded = log_file.recorded(namespace).map_or(mark.commit, |recorded| recorded.commit);
                let rollback = Rollback { incarnation, namespace, recorded, found: mark.commit };
                self.shared.rollbacks.note(rollback);
            }
            record.reply.map(|reply| reply.send(Err(Error::CommitConflict(mark.commit).into())));
        }
        kept
    }

    fn acknowledge(&self, group: Vec<QueuedRecord>, dropped: u64) {
        {
            let mut queue = self.lock();
            queue.dropped -= dropped;
            queue.retry_at = None;
        }
        for record in group {
            if let Some(reply) = record.reply {
                drop(reply.send(Ok(())));
            }
        }
    }

    /// Fails all waiting tasks, including those of later groups: none may try again for a while. Records of reads stay
    /// queued, or are counted as dropped when the queue is full, so that requests continue.
    fn fail_group(&self, mut queue: MutexGuard<'_, RecordQueue>, group: Vec<QueuedRecord>, error: &kernel::Error) {
        tracing::error!(code = error.code.as_str(), error = %error, "audit records could not be written");
        let now = self.shared.clock.monotonic();
        // A full queue must not stay full of records that cannot be written: the tried ones are dropped and counted.
        let full = self.capacity.available_permits() == 0;
        queue.retry_at = Some(now + limits::AUDIT_RETRY_WAIT);
        let closed = queue.closed;
        let later = std::mem::take(&mut queue.waiting);
        let tried = group.len();
        for (i, mut record) in group.into_iter().chain(later).enumerate() {
            if let Some((namespace, number)) = record.commit {
                let first_failed_commit = queue.first_failed_commit.entry(namespace).or_insert(number.commit);
                *first_failed_commit = number.commit.min(*first_failed_commit);
            }
            match record.reply.take() {
                Some(reply) => drop(reply.send(Err(copy(error)))),
                None if i < tried && (closed || full && !record.is_operator_act) => queue.dropped += 1,
                None => queue.waiting.push_back(record),
            }
        }
    }

    fn gap_record(&self, dropped: u64) -> PendingRecord {
        let mut draft = PendingRecord::without_grant("server", "ringfence".to_owned(), GAP, self.shared.clock.now());
        draft.counts = vec![("lines".to_owned(), dropped)];
        draft
    }

    /// Locks the log, and opens it if necessary.
    async fn open_log(self: &Arc<Self>) -> Result<LockedLog, kernel::Error> {
        loop {
            if self.lock().closed {
                return Err(Error::Closed.into());
            }
            let chain = Arc::clone(self);
            let open = |opening| async move { chain.publish_log(opening).await.map_err(Arc::new) };
            let open = self.logs().enter(&self.owner.key(), open).await.map_err(|refused| match refused {
                Refused::Failed(error) => Arc::try_unwrap(error).unwrap_or_else(|error| copy(&error)),
                Refused::InUse | Refused::Lost => Error::Closed.into(),
            })?;
            if let Some(log) = LockedLog::lock(open).await {
                return Ok(log);
            }
        }
    }

    /// Opens the log from storage. Runs once at a time.
    async fn publish_log(&self, opening: Opening<OpenLog>) -> Result<Guard<OpenLog>, kernel::Error> {
        let shared = &self.shared;
        let (clock, entropy) = (Arc::clone(&shared.clock), Arc::clone(&shared.entropy));
        let keyspace = self.keyspace().await?;
        let permit = match &self.owner {
            ChainOwner::Server(_) => None,
            ChainOwner::Tenant(_) => Some(shared.open_log_permit().await?),
        };
        let log_file = AuditLogFile::open(&shared.storage, keyspace, clock, entropy).await?;
        {
            let mut queue = self.lock();
            (queue.written, queue.was_opened) = (log_file.usage(), true);
        }
        let file = Arc::new(AsyncMutex::new(log_file));
        Ok(opening.publish(OpenLog { file, queue: Arc::clone(&self.queue), _permit: permit }))
    }

    fn logs(&self) -> &OpenLogs {
        match &self.owner {
            ChainOwner::Server(_) => &self.shared.operators_log,
            ChainOwner::Tenant(_) => &self.shared.tenant_logs,
        }
    }

    /// The directory's answer is checked, not trusted.
    async fn keyspace(&self) -> Result<Arc<Keyspace>, kernel::Error> {
        match &self.owner {
            ChainOwner::Server(keyspace) => Ok(Arc::clone(keyspace)),
            ChainOwner::Tenant(incarnation) => {
                let keyspace = self.shared.directory.audit(*incarnation).await?;
                let right = keyspace.incarnation() == Some(*incarnation) && keyspace.kind() == KeyspaceKind::Audit;
                if right { Ok(keyspace) } else { Err(Error::WrongKeyspace.into()) }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, RecordQueue> {
        lock(&self.queue)
    }
}

pub(crate) fn lock(queue: &Mutex<RecordQueue>) -> MutexGuard<'_, RecordQueue> {
    queue.lock()
}

impl ChainOwner {
    /// Key of the owner's log in its table.
    fn key(&self) -> Option<Incarnation> {
        match self {
            ChainOwner::Server(_) => None,
            ChainOwner::Tenant(incarnation) => Some(*incarnation),
        }
    }
}

impl RecordQueue {
    /// Whether nothing is queued. A leader that finds nothing gives up its leadership under the same lock.
    fn is_drained(&mut self, is_leader: bool) -> bool {
        let is_drained = self.waiting.is_empty();
        if is_drained && is_leader {
            self.has_leader = false;
        }
        is_drained
    }

    /// Takes the queued records, up to a group.
    fn take_group(&mut self, is_leader: bool) -> Option<Vec<QueuedRecord>> {
        if self.is_drained(is_leader) {
            return None;
        }
        let size = self.waiting.len().min(limits::AUDIT_GROUP_RECORDS_MAX);
        Some(self.waiting.drain(..size).collect())
    }
}

async fn run_leader(mut leader: ChainLeader) {
    leader.started = true;
    loop {
        leader.chain.wait_for_batch().await;
        match leader.chain.commit_next(true).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return,
            None => break,
        }
    }
    leader.finished = true;
}

/// Acquires a slot of a queue. It is taken synchronously if one is free, so that records are queued in the order in
/// which their callers arrived, however the runtime schedules those that must wait.
async fn acquire_slot(capacity: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    match Arc::clone(capacity).try_acquire_owned() {
        Ok(slot) => Some(slot),
        Err(_) => Arc::clone(capacity).acquire_owned().await.ok(),
    }
}

/// Gives up the leadership when dropped, also if the task failed or was cancelled.
struct ChainLeader {
    chain: Arc<HashChain>,
    /// Whether the task ever ran. A runtime that shuts down drops tasks before they run, and would drop the next leader
    /// too.
    started: bool,
    /// Whether the leadership was already given up because the queue was empty; another task may lead by now.
    finished: bool,
}

impl Drop for ChainLeader {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        // A task that queued a record since the failure found a leader and relies on it: check once more.
        let is_awaited = {
            let mut queue = self.chain.lock();
            queue.has_leader = false;
            queue.waiting.iter().any(|record| record.reply.is_some())
        };
        if self.started {
            self.chain.start_leader(is_awaited);
        }
    }
}

fn counts(draft: &PendingRecord) -> impl Iterator<Item = (&str, u64)> {
    draft.counts.iter().map(|(name, count)| (name.as_str(), *count))
}
