//! An open namespace: its journal, what is published, who waits to write.
//!
//! Who changes the published view holds the turn: the writer for a whole batch, upkeep for the
//! moment of a swap. Readers take the view without waiting.

use crate::{
    Error, Outcome, Totals, cost,
    cpu::{Errand, here, on_cpu},
    lines::Lines,
    merge::Merging,
    stage::Write,
    stores::Shared,
    tenant_counter::{Reservation, TenantCounter},
    view::View,
};
use journal::{Journal, Seq};
use kernel::{Audience, CommitNo, Incarnation, Presence, Retention, cost::RunOn, limits};
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use vault::Home;

/// See the module.
pub(crate) struct Namespace {
    pub(crate) shared: Arc<Shared>,
    pub(crate) home: Arc<Home>,
    /// Whose it is: upkeep is fair between tenants.
    pub(crate) incarnation: Incarnation,
    /// What its tenant stores, over all its namespaces.
    pub(crate) counter: Arc<TenantCounter>,
    /// Whether what is published is what counts: not after a failure, when another opening has taken its place.
    counts: AtomicBool,
    pub(crate) journal: Journal,
    pub(crate) proof: crate::proof::Proof,
    pub(crate) lines: Lines,
    /// The right to change the view. Holds the last log entry that the view has.
    pub(crate) turn: tokio::sync::Mutex<Seq>,
    /// One upkeep at a time.
    pub(crate) upkeep: tokio::sync::Mutex<crate::upkeep::Upkeep>,
    pub(crate) upkeep_runs: AtomicBool,
    /// It was seen that nothing lies in the place that nothing needs, and no checkpoint has come since.
    pub(crate) tidy: AtomicBool,
    /// What a large merge reads.
    pub(crate) merging: Merging,
    /// Held by a large merge while it uses the journal. Taken before the upkeep.
    pub(crate) merge_puts: tokio::sync::Mutex<()>,
    /// Told when it closes or fails.
    ends: CancellationToken,
    /// After a failure: monotonic milliseconds before which it is not tried again.
    pub(crate) upkeep_after: AtomicU64,
    pub(crate) used: AtomicU64,
    /// One batch of the memtable is indexed at a time; a flush notes its parts while none is.
    pub(crate) indexing: tokio::sync::Mutex<()>,
    pub(crate) indexing_runs: AtomicBool,
    absorbing: tokio::sync::Mutex<()>,
    absorb_waits: AtomicBool,
    view: Mutex<(Arc<View>, Weight)>,
    commits: watch::Sender<CommitNo>,
    queue: Mutex<Queue>,
    state: AtomicU8,
    /// Days of the retention; 0 without one.
    retention_days: AtomicU32,
}

/// What a view adds to the sums over all namespaces.
#[derive(Clone, Copy, Default)]
pub(crate) struct Weight {
    pub(crate) bytes: u64,
    pub(crate) documents: u64,
    pub(crate) dead: u64,
    pub(crate) graphless: u64,
}

impl Weight {
    fn of(view: &View) -> Self {
        let (dead, documents) = view.tombstones();
        Self { bytes: view.bytes(), documents, dead, graphless: view.graphless_rows() }
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Write>,
    writer_runs: bool,
}

/// Takes reads and writes.
const OPEN: u8 = 0;
/// Ends what was accepted, takes nothing more.
const CLOSING: u8 = 1;
/// A write or an index failed: what is published stays readable for who holds it, the next
/// request opens the namespace again.
const FAILED: u8 = 2;

impl Namespace {
    pub(crate) fn new(
        shared: Arc<Shared>,
        home: Arc<Home>,
        incarnation: Incarnation,
        journal: Journal,
        view: View,
        lines: Lines,
        upkeep: crate::upkeep::Upkeep,
    ) -> Self {
        let weight = Weight::of(&view);
        let counter = shared.tenants.of(incarnation);
        counter.publish(home.uuid(), view.totals(), None);
        shared.counters.weigh(Weight::default(), weight);
        shared.counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            proof: crate::proof::Proof::default(),
            lines,
            turn: tokio::sync::Mutex::new(journal.last()),
            upkeep: tokio::sync::Mutex::new(upkeep),
            upkeep_runs: AtomicBool::new(false),
            tidy: AtomicBool::new(false),
            merging: Merging::default(),
            merge_puts: tokio::sync::Mutex::default(),
            ends: CancellationToken::new(),
            upkeep_after: AtomicU64::new(0),
            used: AtomicU64::new(0),
            absorbing: tokio::sync::Mutex::default(),
            absorb_waits: AtomicBool::new(false),
            indexing: tokio::sync::Mutex::default(),
            indexing_runs: AtomicBool::new(false),
            commits: watch::Sender::new(view.commit),
            view: Mutex::new((Arc::new(view), weight)),
            queue: Mutex::default(),
            state: AtomicU8::new(OPEN),
            retention_days: AtomicU32::new(0),
            shared,
            home,
            incarnation,
            counter,
            counts: AtomicBool::new(true),
            journal,
        }
    }

    /// How long documents live: what the writer goes by.
    pub(crate) fn retention(&self) -> Retention {
        let days = self.retention_days.load(Ordering::Acquire);
        Retention { days: (days > 0).then_some(days) }
    }

    /// From the next batch on.
    pub(crate) fn set_retention(&self, retention: Retention) {
        self.retention_days.store(retention.days.unwrap_or(0), Ordering::Release);
    }

    /// What is published now.
    pub(crate) fn view(&self) -> Arc<View> {
        self.published().0.clone()
    }

    fn published(&self) -> MutexGuard<'_, (Arc<View>, Weight)> {
        // One assignment under it.
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes. The caller holds the turn.
    pub(crate) fn publish(&self, view: View) {
        self.publish_write(view, None);
    }

    /// The same of a write, with what it has reserved.
    pub(crate) fn publish_write(&self, view: View, reserved: Option<Reservation>) {
        if self.counts.load(Ordering::Acquire) {
            self.counter.publish(self.home.uuid(), view.totals(), reserved);
        } else if let Some(reserved) = reserved {
            reserved.assume_stored(self.home.uuid());
        }
        let (commit, weight) = (view.commit, Weight::of(&view));
        self.merging.heed(&view);
        let (_, before) = std::mem::replace(&mut *self.published(), (Arc::new(view), weight));
        self.shared.counters.weigh(before, weight);
        self.commits.send_replace(commit);
    }

    /// What is published weighs something else than when it was: an index was built, pages were read.
    pub(crate) fn reweigh(&self) {
        let mut published = self.published();
        let now = Weight::of(&published.0);
        let before = std::mem::replace(&mut published.1, now);
        drop(published);
        self.shared.counters.weigh(before, now);
        if now.bytes > before.bytes {
            self.shared.make_room();
        }
    }

    /// It is destroyed: nothing of it counts any more.
    pub(crate) fn count_no_more(&self) {
        self.counts.store(false, Ordering::Release);
        self.counter.remove(self.home.uuid());
    }

    /// Exact totals of what is published.
    pub(crate) fn totals(&self) -> Totals {
        self.view().totals()
    }

    /// Exact totals of what an audience sees of it now.
    ///
    /// # Errors
    /// When an index does not read; [`Error::Panicked`] when the pool goes away.
    pub(crate) async fn totals_for(&self, audience: &Audience) -> Result<Totals, Error> {
        let (view, config) = (self.view(), &self.shared.config);
        let now = config.clock.now();
        if let RunOn::Caller(short) = cost::of_totals(&view, audience).run_on() {
            return here(&short, || view.totals_for(audience, now))?;
        }
        let audience = audience.clone();
        on_cpu(&*config.cpu, Errand::Open(self.incarnation), move || view.totals_for(&audience, now)).await?
    }

    /// Waits until `wanted` is published.
    ///
    /// # Errors
    /// [`Error::NotYet`] after [`limits::MIN_COMMIT_WAIT`].
    pub(crate) async fn reached(&self, wanted: CommitNo) -> Result<(), Error> {
        let mut commits = self.commits.subscribe();
        let arrived = tokio::time::timeout(limits::MIN_COMMIT_WAIT, commits.wait_for(|now| *now >= wanted)).await;
        match arrived {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::NotYet { wanted, newest: self.view().commit }),
        }
    }

    /// Hands a request to the writer and waits. Once handed over it is done whole, whether or not
    /// the caller still waits when its turn has come; only the search for what is selected ends with its caller.
    ///
    /// # Errors
    /// What the writer says; [`Error::QueueFull`], [`Error::Behind`] before that.
    pub(crate) async fn write(
        self: &Arc<Self>,
        deed: crate::plan::Deed,
        line: crate::Line,
        presence: Presence,
    ) -> Result<Outcome, Error> {
        if let Err(error) = self.lines.ensure_agreed(&*self.shared.config.sink).await {
            if matches!(error, Error::RolledBack { .. }) {
                // The next opening reads it again, and says so to everybody.
                self.fail();
            }
            return Err(error);
        }
        let (reply, answer) = oneshot::channel();
        // What an append brings was counted when it came.
        let memory = self.shared.write_memory.as_ref().filter(|_| !matches!(deed.act, crate::plan::Act::Append(..)));
        let permit = memory.map(|memory| memory.enter(self.incarnation));
        self.enqueue(Write { deed, line, reply, presence, permit })?;
        answer.await.unwrap_or_else(|_| {
            let message = "the writer ended early".to_owned();
            Err(Error::Append { code: kernel::Code::Internal, message, outcome_unknown: true })
        })
    }

    fn enqueue(self: &Arc<Self>, write: Write) -> Result<(), Error> {
        let (_, unflushed) = self.view().memtable_size();
        if unflushed > self.shared.config.flush_bytes_max.saturating_mul(BEHIND_FACTOR) {
            return Err(Error::Behind(unflushed));
        }
        if self.lines.waiting() > LINES_WAITING_MAX {
            return Err(Error::Unaudited(self.lines.waiting()));
        }
        let mut queue = self.queue();
        // Checked under the queue's lock: who closes takes what is queued under it too.
        if self.state.load(Ordering::Acquire) != OPEN {
            return Err(Error::Closing);
        }
        if queue.waiting.len() >= limits::WRITES_QUEUED_MAX {
            return Err(Error::QueueFull(queue.waiting.len()));
        }
        queue.waiting.push_back(write);
        self.shared.counters.queued.fetch_add(1, Ordering::Relaxed);
        if !queue.writer_runs {
            queue.writer_runs = true;
            self.shared.config.tracker.spawn(crate::writer::run(self.clone()));
        }
        Ok(())
    }

    /// What goes into the next entry. Empty: the writer's task ends, and the next request starts one.
    pub(crate) fn next_batch(&self) -> VecDeque<Write> {
        let mut queue = self.queue();
        let n = queue.waiting.len().min(limits::WRITES_PER_ENTRY_MAX);
        let batch: VecDeque<Write> = queue.waiting.drain(..n).collect();
        self.shared.counters.queued.fetch_sub(n as u64, Ordering::Relaxed);
        if batch.is_empty() {
            queue.writer_runs = false;
        }
        batch
    }

    /// Puts back what did not fit, in front.
    pub(crate) fn put_back(&self, rest: VecDeque<Write>) {
        let mut queue = self.queue();
        self.shared.counters.queued.fetch_add(rest.len() as u64, Ordering::Relaxed);
        for write in rest.into_iter().rev() {
            queue.waiting.push_front(write);
        }
    }

    /// Takes no more writes; the next `enter` opens it again.
    pub(crate) fn fail(&self) {
        self.state.store(FAILED, Ordering::Release);
        self.counts.store(false, Ordering::Release);
        self.ends.cancel();
        let waiting = std::mem::take(&mut self.queue().waiting);
        self.shared.counters.queued.fetch_sub(waiting.len() as u64, Ordering::Relaxed);
        for write in waiting {
            let _asker_gone = write.reply.send(Err(Error::Closing));
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        self.state.load(Ordering::Acquire) == OPEN
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.state.load(Ordering::Acquire) == FAILED
    }

    /// Ends what was accepted and takes nothing more. When this returns, the journal is unused.
    pub(crate) async fn shut(self: &Arc<Self>) {
        {
            let _queue = self.queue();
            let _was = self.state.compare_exchange(OPEN, CLOSING, Ordering::AcqRel, Ordering::Acquire);
        }
        self.ends.cancel();
        while crate::writer::step(self).await {}
        // Tasks that use the journal end first.
        drop(self.merge_puts.lock().await);
        drop(self.upkeep.lock().await);
        if let Err(error) = self.lines.absorb(&*self.shared.config.sink).await {
            tracing::warn!(namespace = %self.home.uuid(), %error, "audit lines stay in the log until the next open");
        }
        if let Err(error) = self.journal.close().await {
            tracing::warn!(namespace = %self.home.uuid(), %error, "the log has no mark of a clean end");
        }
    }

    /// What `work` gives, unless the namespace closes or fails before.
    pub(crate) async fn unless_it_ends<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.ends.run_until_cancelled(work).await
    }

    /// Holds the writer back while the tenant's chain is far behind.
    pub(crate) async fn lines_keep_up(&self) {
        if self.lines.waiting() > LINES_WAITING_SOFT {
            // A failure is told when the hard limit is reached; until then writes are durable here.
            let _put_off = self.lines.absorb(&*self.shared.config.sink).await;
        }
    }

    /// Hands waiting audit lines over in the background; at most one task waits for the one that runs.
    pub(crate) fn absorb_soon(self: &Arc<Self>) {
        if self.absorb_waits.swap(true, Ordering::AcqRel) {
            return;
        }
        let namespace = self.clone();
        self.shared.config.tracker.spawn(async move {
            let _turn = namespace.absorbing.lock().await;
            // Before the queue is looked at: lines that come later start the next task.
            namespace.absorb_waits.store(false, Ordering::Release);
            if let Err(error) = namespace.lines.absorb(&*namespace.shared.config.sink).await {
                let waiting = namespace.lines.waiting();
                tracing::warn!(namespace = %namespace.home.uuid(), waiting, %error, "audit lines wait");
            }
        });
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A push or a drain that panicked left a queue that is still one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.shared.counters.weigh(self.published().1, Weight::default());
        self.shared.counters.open.fetch_sub(1, Ordering::Relaxed);
        self.shared.counters.queued.fetch_sub(self.queue().waiting.len() as u64, Ordering::Relaxed);
    }
}

/// How many times over what a flush takes may be in memory before writes are refused.
const BEHIND_FACTOR: u64 = 4;
/// Audit lines that may wait for the tenant's chain before the writer waits for it.
const LINES_WAITING_SOFT: usize = 1_024;
/// And before writes are refused.
const LINES_WAITING_MAX: usize = 16_384;
