//! One chain in memory: a bounded queue of drafts, and a task that writes what waits in groups.
//!
//! A read's line is queued, and its request does not wait for the disk; a mutation's, an operator's and a strict
//! read's are waited for. While the disk refuses, reads' lines stay in the queue; when it is full
//! some are dropped and counted, and the first line that can be written again says how many.

use crate::{
    Error, Usage,
    book::Book,
    deed::Draft,
    error::copy,
    line,
    page::{AuditHead, PageReader, Reading},
    rollback::{Rollback, Rollbacks},
    usage::GAP,
};
use journal::Storage;
use kernel::{AuditMark, Clock, CommitNo, Entropy, Incarnation, NamespaceUuid, Timestamp, limits};
use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{Mutex as AsyncMutex, Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::task::TaskTracker;
use vault::{Directory, Home, PlaceKind};

/// What every chain of a server shares.
pub(crate) struct Shared {
    pub(crate) storage: Storage,
    pub(crate) directory: Arc<dyn Directory>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) tracker: TaskTracker,
    /// Chains whose log is open.
    pub(crate) open: AtomicU64,
    /// Places for tenants' open logs: each holds a file.
    pub(crate) places: Arc<Semaphore>,
    /// Closes logs that are not in use, in the background.
    pub(crate) make_room: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// Namespaces that are not what a chain has recorded of them.
    pub(crate) rollbacks: Rollbacks,
    /// Counts uses, to tell which was the last.
    pub(crate) ticks: AtomicU64,
}

impl Shared {
    /// A place for one more open log: others are closed for it, the longest unused first.
    ///
    /// # Errors
    /// `overloaded` when all of them stay in use.
    async fn place(&self) -> Result<OwnedSemaphorePermit, kernel::Error> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        // Places are given in the order in which they were asked for.
        let mut place = std::pin::pin!(Arc::clone(&self.places).acquire_owned());
        for _ in 0..PLACE_TRIES {
            if let Some(make_room) = self.make_room.get() {
                make_room();
            }
            // Lines that wait keep a log in use no longer than that.
            if let Ok(place) = tokio::time::timeout(limits::AUDIT_GROUP_WAIT, &mut place).await {
                return place.map_err(|_| Error::Closed.into());
            }
        }
        Err(kernel::Error::overloaded("as many audit logs are in use as may be open", limits::AUDIT_RETRY_WAIT))
    }
}

/// How often logs are closed for one that waits, each time with [`limits::AUDIT_GROUP_WAIT`] after it.
const PLACE_TRIES: usize = 10;

/// Where a chain lives.
pub(crate) enum Owner {
    /// A tenant, whose home the directory finds.
    Tenant(Incarnation),
    /// The server itself: what operators did.
    Server(Arc<Home>),
}

/// One chain.
pub(crate) struct Chain {
    shared: Arc<Shared>,
    owner: Owner,
    queue: Mutex<Queue>,
    /// Capacity for lines that no request waits for.
    room: Arc<Semaphore>,
    /// Capacity for lines that a request waits for; lines of reads never take it.
    awaited: Arc<Semaphore>,
    /// Ends a leader's wait for more lines.
    hurry: Notify,
    book: AsyncMutex<Option<Book>>,
    /// Held while batches are folded: the task that ends the chain waits for it, so that nothing is written after a
    /// destruction.
    folding: Arc<AsyncMutex<()>>,
    used: AtomicU64,
    /// Whether the log is open, to be asked without the book's lock.
    is_open: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// A task is writing.
    led: bool,
    /// Reads' lines that found no room while nothing could be written.
    lost: u64,
    /// When a read's line may try again.
    retry_at: Option<Duration>,
    closed: bool,
    /// The first commit of a namespace whose line could not be written; later ones wait for it.
    stuck: HashMap<NamespaceUuid, CommitNo>,
    /// What stands in the chain, as far as it was opened.
    written: Usage,
    /// It was opened since the start.
    known: bool,
}

struct Waiting {
    draft: Draft,
    commit: Option<(NamespaceUuid, AuditMark)>,
    reply: Option<oneshot::Sender<Result<(), kernel::Error>>>,
    _room: OwnedSemaphorePermit,
}

impl Chain {
    pub(crate) fn new(shared: Arc<Shared>, owner: Owner) -> Arc<Self> {
        Arc::new(Self {
            shared,
            owner,
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(limits::AUDIT_QUEUE_LINES_MAX)),
            awaited: Arc::new(Semaphore::new(limits::AUDIT_QUEUE_LINES_MAX)),
            hurry: Notify::new(),
            book: AsyncMutex::new(None),
            folding: Arc::default(),
            used: AtomicU64::new(0),
            is_open: AtomicBool::new(false),
        })
    }

    /// Queues a line; waits for room in the queue, never for the disk.
    pub(crate) async fn queue(self: &Arc<Self>, draft: Draft) {
        let retry_at = self.lock().retry_at;
        let room = match retry_at {
            None => room_in(&self.room).await,
            Some(_) => Arc::clone(&self.room).try_acquire_owned().ok(),
        };
        let Some(room) = room else {
            self.lock().lost += 1;
            return self.lead(false);
        };
        self.hand_over(Waiting { draft, commit: None, reply: None, _room: room });
        self.lead(false);
    }

    /// Writes a line and waits until it is durable.
    ///
    /// # Errors
    /// As the journal or the directory says; the line is not in the chain then, unless the outcome
    /// is unknown.
    pub(crate) async fn write(
        self: &Arc<Self>,
        draft: Draft,
        commit: Option<(NamespaceUuid, AuditMark)>,
    ) -> Result<(), kernel::Error> {
        let room = room_in(&self.awaited).await.ok_or(Error::Closed)?;
        let (reply, answer) = oneshot::channel();
        self.hand_over(Waiting { draft, commit, reply: Some(reply), _room: room });
        self.lead(true);
        answer.await.map_err(|_| kernel::Error::from(Error::Closed))?
    }

    /// One page of the lines as they are now, those that wait included.
    pub(crate) async fn read(self: &Arc<Self>, reading: Reading) -> Result<PageReader, kernel::Error> {
        self.flush().await?;
        let mut book = self.book.lock().await;
        let since = reading.since.map_or(i64::MIN, Timestamp::as_millis);
        let until = reading.until.map_or(i64::MAX, Timestamp::as_millis);
        let opened = self.opened(&mut book).await?;
        let pages = opened.pages(reading.after.unwrap_or(0), since..until);
        let (lines, head) = opened.head();
        let head = AuditHead { chain: opened.home.uuid().to_string(), lines, head: line::hex(&head) };
        drop(book);
        Ok(PageReader::new(pages, head, reading))
    }

    /// How far a namespace is recorded.
    pub(crate) async fn recorded(&self, namespace: NamespaceUuid) -> Result<Option<AuditMark>, kernel::Error> {
        let mut book = self.book.lock().await;
        Ok(self.opened(&mut book).await?.recorded(namespace))
    }

    /// The same of several.
    pub(crate) async fn recorded_all(
        &self,
        namespaces: &[NamespaceUuid],
    ) -> Result<Vec<Option<AuditMark>>, kernel::Error> {
        let mut book = self.book.lock().await;
        let book = self.opened(&mut book).await?;
        Ok(namespaces.iter().map(|namespace| book.recorded(*namespace)).collect())
    }

    /// Writes what waits. In a task of its own: a group that is on its way to the disk is ended, and noted as written,
    /// whether or not the caller still waits.
    pub(crate) async fn flush(self: &Arc<Self>) -> Result<(), kernel::Error> {
        let chain = Arc::clone(self);
        let all = async move {
            while let Some(written) = chain.commit_next(true).await {
                written?;
            }
            Ok(())
        };
        self.shared.tracker.spawn(all).await.map_err(|_| kernel::Error::from(Error::Closed))?
    }

    /// Writes what waits and marks the log's clean end, so that the next opening is quick. The chain itself stays open.
    pub(crate) async fn rest(self: &Arc<Self>) -> Result<(), kernel::Error> {
        self.flush().await?;
        match &*self.book.lock().await {
            Some(book) => Ok(book.journal.close().await?),
            None => Ok(()),
        }
    }

    /// A request needs it now.
    pub(crate) fn touch(&self) {
        self.used.store(self.shared.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// When it was needed last, if its log is open.
    pub(crate) fn idle_since(&self) -> Option<u64> {
        self.is_open.load(Ordering::Relaxed).then(|| self.used.load(Ordering::Relaxed))
    }

    /// Closes the log, with the mark of a clean end, if no task uses it. The next line opens it again. What was used
    /// stays known.
    pub(crate) async fn let_go(&self) {
        // A task that writes or opens holds this.
        let Ok(mut slot) = self.book.try_lock() else { return };
        let Some(book) = &*slot else { return };
        // A reader has it, or lines wait: two journals of one chain must not be.
        if Arc::strong_count(&book.journal) > 1 || !self.lock().waiting.is_empty() {
            return;
        }
        if let Err(error) = book.journal.close().await {
            tracing::warn!(%error, "an audit log has no mark of a clean end");
        }
        self.shut(&mut slot);
    }

    /// Re-encrypts everything under the newest key of this home.
    pub(crate) async fn renew(&self, home: &Arc<Home>) -> Result<(), kernel::Error> {
        // Nothing is folded meanwhile.
        let _folding = self.folding.lock().await;
        let mut slot = self.book.lock().await;
        if slot.as_ref().is_some_and(|book| !Arc::ptr_eq(&book.home, home)) {
            // It was opened with another hold of the same keys, and would not learn of the new one.
            let book = slot.as_ref().ok_or(Error::Closed)?;
            if Arc::strong_count(&book.journal) > 1 {
                // A reader has it: two journals of one chain must not be.
                return Err(Error::Unrenewed.into());
            }
            book.journal.close().await?;
            self.shut(&mut slot);
        }
        let book = self.opened(&mut slot).await?;
        if !Arc::ptr_eq(&book.home, home) {
            return Err(Error::Misplaced.into());
        }
        book.renew().await
    }

    /// Writes what waits and closes the log, with the keys that it holds. The chain itself stays, so that a request
    /// that comes meanwhile opens no second log beside this one. Says whether the log is closed.
    pub(crate) async fn release(self: &Arc<Self>) -> bool {
        if let Err(error) = self.flush().await {
            tracing::warn!(code = error.code.as_str(), "audit lines wait for their tenant's key");
        }
        self.let_go().await;
        !self.is_open.load(Ordering::Relaxed)
    }

    /// Opens the chain, so that its counters are known.
    pub(crate) async fn warm(&self) -> Result<(), kernel::Error> {
        let mut book = self.book.lock().await;
        self.opened(&mut book).await.map(drop)
    }

    /// What was used, lines that wait included.
    pub(crate) fn usage(&self) -> Usage {
        let queue = self.lock();
        let mut waiting = Usage::default();
        for line in queue.waiting.iter().filter(|line| line.commit.is_none() && line.draft.is_request()) {
            waiting.add(&line.draft.operation, counts(&line.draft));
        }
        queue.written.plus(waiting)
    }

    /// The same, if the chain was opened since the start: else it is not known.
    pub(crate) fn known_usage(&self) -> Option<Usage> {
        // The lock is given back first: counting takes it again.
        let known = self.lock().known;
        known.then(|| self.usage())
    }

    /// Takes no more lines and drops those that wait: the tenant is gone, and its keys with it.
    pub(crate) async fn abandon(&self) {
        {
            let mut queue = self.lock();
            queue.closed = true;
            queue.waiting.clear();
        }
        self.shut(&mut *self.book.lock().await);
        drop(self.folding.lock().await);
    }

    fn shut(&self, slot: &mut Option<Book>) {
        if slot.take().is_some() {
            self.is_open.store(false, Ordering::Relaxed);
            self.shared.open.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn hand_over(&self, line: Waiting) {
        let mut queue = self.lock();
        // The one who waits is told by the sender that is dropped here.
        if queue.closed {
            return;
        }
        let hurry = line.reply.is_some();
        queue.waiting.push_back(line);
        if hurry || queue.waiting.len() == limits::AUDIT_GROUP_LINES_MAX {
            self.hurry.notify_one();
        }
    }

    /// Waits for further lines if no request waits for the queued ones: one flush of the disk for many reads.
    async fn gather(&self) {
        let early = {
            let waiting = &self.lock().waiting;
            let awaited = || waiting.iter().any(|line| line.reply.is_some());
            // Nothing at all: the leader ends, and the next task leads.
            waiting.is_empty() || waiting.len() >= limits::AUDIT_GROUP_LINES_MAX || awaited()
        };
        if !early {
            let _ = tokio::time::timeout(limits::AUDIT_GROUP_WAIT, self.hurry.notified()).await;
        }
    }

    /// Starts the writing task if none runs, unless the last attempt failed a moment ago.
    fn lead(self: &Arc<Self>, at_once: bool) {
        let now = self.shared.clock.monotonic();
        {
            let mut queue = self.lock();
            let early = queue.retry_at.is_some_and(|at| now < at);
            if queue.led || queue.waiting.is_empty() || (early && !at_once) {
                return;
            }
            queue.led = true;
        }
        self.shared.tracker.spawn(lead(Leader { chain: Arc::clone(self), begun: false, ended: false }));
    }

    /// What waits, up to a group; the one who takes nothing ends the leadership in the same moment.
    fn next_group(&self, guest: bool) -> Option<Vec<Waiting>> {
        let mut queue = self.lock();
        let size = queue.waiting.len().min(limits::AUDIT_GROUP_LINES_MAX);
        let group: Vec<_> = queue.waiting.drain(..size).collect();
        if group.is_empty() && !guest {
            queue.led = false;
        }
        (!group.is_empty()).then_some(group)
    }

    /// Writes the next group; `None` when nothing waits. Groups are taken under the book's lock, so
    /// that they are written in the order in which they were queued.
    async fn commit_next(&self, guest: bool) -> Option<Result<(), kernel::Error>> {
        let mut book = self.book.lock().await;
        let group = self.next_group(guest)?;
        Some(self.commit(&mut book, group).await)
    }

    async fn commit(&self, book: &mut Option<Book>, group: Vec<Waiting>) -> Result<(), kernel::Error> {
        let mut group = self.hold_back(group);
        let lost = self.lock().lost;
        let gap = (lost > 0).then(|| self.gap(lost));
        let outcome = match self.opened(book).await {
            Ok(book) => {
                group = self.without_clashes(book, group);
                let lines = group.iter().map(|line| (&line.draft, line.commit));
                let items: Vec<_> = gap.iter().map(|gap| (gap, None)).chain(lines).collect();
                book.write(&items).await
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => {
                if let Some(book) = book {
                    if let Err(error) = book.roll().await {
                        tracing::warn!(error = %error, "audit chunks stay in the log for now");
                    }
                    // One at a time. What is not begun now is due again with the next batch.
                    let free = Arc::clone(&self.folding).try_lock_owned().ok();
                    if let Some((free, fold)) = free.and_then(|free| Some((free, book.fold()?))) {
                        self.shared.tracker.spawn(async move {
                            let _folding = free;
                            if let Err(error) = fold.await {
                                tracing::warn!(%error, "audit lines stay in the log for now");
                            }
                        });
                    }
                    self.lock().written = book.usage();
                }
                self.done(group, lost);
                Ok(())
            }
            Err(error) => {
                if book.as_ref().is_some_and(|book| book.journal.failed().is_some()) {
                    self.shut(book);
                }
                self.failed(group, &error);
                Err(error)
            }
        }
    }

    /// Refuses lines of commits after one that could not be written: the chain keeps the number of
    /// the last commit only, so writing them would make the missing one look written.
    fn hold_back(&self, group: Vec<Waiting>) -> Vec<Waiting> {
        let mut queue = self.lock();
        let mut kept = Vec::with_capacity(group.len());
        for line in group {
            let stuck = line.commit.and_then(|(namespace, _)| queue.stuck.get(&namespace).copied());
            if let (Some(stuck), Some((namespace, number))) = (stuck, line.commit) {
                if number.commit > stuck {
                    line.reply.map(|reply| reply.send(Err(Error::Held.into())));
                    continue;
                }
                queue.stuck.remove(&namespace);
            }
            kept.push(line);
        }
        kept
    }

    /// Refuses lines of commits that stand in the chain with other content, and tells of their namespaces.
    fn without_clashes(&self, book: &Book, group: Vec<Waiting>) -> Vec<Waiting> {
        let items: Vec<_> = group.iter().map(|line| (&line.draft, line.commit)).collect();
        let clashes = book.clashes(&items);
        if !clashes.contains(&true) {
            return group;
        }
        let mut kept = Vec::with_capacity(group.len());
        for (line, clash) in group.into_iter().zip(clashes) {
            let (true, Some((namespace, mark))) = (clash, line.commit) else {
                kept.push(line);
                continue;
            };
            if let Owner::Tenant(incarnation) = self.owner {
                let recorded = book.recorded(namespace).map_or(mark.commit, |recorded| recorded.commit);
                let rollback = Rollback { incarnation, namespace, recorded, found: mark.commit };
                self.shared.rollbacks.note(rollback);
            }
            line.reply.map(|reply| reply.send(Err(Error::Clash(mark.commit).into())));
        }
        kept
    }

    fn done(&self, group: Vec<Waiting>, lost: u64) {
        {
            let mut queue = self.lock();
            queue.lost -= lost;
            queue.retry_at = None;
        }
        for line in group {
            if let Some(reply) = line.reply {
                drop(reply.send(Ok(())));
            }
        }
    }

    /// All waiting tasks are told, those further back in the queue too: none may try again for
    /// a while. Reads' lines stay, or are counted as lost when the queue is full, so that requests
    /// go on.
    fn failed(&self, group: Vec<Waiting>, error: &kernel::Error) {
        tracing::error!(code = error.code.as_str(), error = %error, "audit lines could not be written");
        let now = self.shared.clock.monotonic();
        let full = self.room.available_permits() == 0;
        let mut queue = self.lock();
        queue.retry_at = Some(now + limits::AUDIT_RETRY_WAIT);
        let drop_reads = full || queue.closed;
        let behind = std::mem::take(&mut queue.waiting);
        let tried = group.len();
        for (i, mut line) in group.into_iter().chain(behind).enumerate() {
            if let Some((namespace, number)) = line.commit {
                let stuck = queue.stuck.entry(namespace).or_insert(number.commit);
                *stuck = number.commit.min(*stuck);
            }
            match line.reply.take() {
                Some(reply) => drop(reply.send(Err(copy(error)))),
                None if i < tried && drop_reads => queue.lost += 1,
                None => queue.waiting.push_back(line),
            }
        }
    }

    fn gap(&self, lost: u64) -> Draft {
        let mut draft = Draft::bare("server", "ringfence".to_owned(), GAP, self.shared.clock.now());
        draft.counts = vec![("lines".to_owned(), lost)];
        draft
    }

    async fn opened<'a>(&self, slot: &'a mut Option<Book>) -> Result<&'a mut Book, kernel::Error> {
        if slot.is_none() {
            if self.lock().closed {
                return Err(Error::Closed.into());
            }
            let shared = &self.shared;
            let (clock, entropy) = (Arc::clone(&shared.clock), Arc::clone(&shared.entropy));
            let home = self.home().await?;
            // The operators' log has a file of its own, which no tenant's takes.
            let place = match &self.owner {
                Owner::Server(_) => None,
                Owner::Tenant(_) => Some(shared.place().await?),
            };
            let mut book = Book::open(&shared.storage, home, clock, entropy).await?;
            book.place = place;
            {
                let mut queue = self.lock();
                (queue.written, queue.known) = (book.usage(), true);
            }
            *slot = Some(book);
            self.is_open.store(true, Ordering::Relaxed);
            self.shared.open.fetch_add(1, Ordering::Relaxed);
        }
        slot.as_mut().ok_or_else(|| Error::Closed.into())
    }

    /// The directory's answer is checked, not trusted.
    async fn home(&self) -> Result<Arc<Home>, kernel::Error> {
        match &self.owner {
            Owner::Server(home) => Ok(Arc::clone(home)),
            Owner::Tenant(incarnation) => {
                let home = self.shared.directory.audit(*incarnation).await?;
                let right = home.incarnation() == Some(*incarnation) && home.kind() == PlaceKind::Audit;
                if right { Ok(home) } else { Err(Error::Misplaced.into()) }
            }
        }
    }

    /// Nothing panics while holding this lock in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        self.shared.open.fetch_sub(u64::from(*self.is_open.get_mut()), Ordering::Relaxed);
    }
}

async fn lead(mut leader: Leader) {
    leader.begun = true;
    loop {
        leader.chain.gather().await;
        match leader.chain.commit_next(false).await {
            Some(Ok(())) => {}
            Some(Err(_)) => return,
            None => break,
        }
    }
    leader.ended = true;
}

/// A place in a queue. Taken at once if there is one, so that lines stand in the order in which
/// their callers came, whatever the runtime does with those who must wait.
async fn room_in(room: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
    match Arc::clone(room).try_acquire_owned() {
        Ok(room) => Some(room),
        Err(_) => Arc::clone(room).acquire_owned().await.ok(),
    }
}

/// Gives the leadership up, also when the task failed or is lost.
struct Leader {
    chain: Arc<Chain>,
    /// Whether its task ever ran. One that is dropped before is dropped by a runtime that ends, as would be the next.
    begun: bool,
    /// Given up already, when nothing waited; another task may lead by now.
    ended: bool,
}

impl Drop for Leader {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // A task that queued since the failure found a leader and waits for one: check once more.
        let awaited = {
            let mut queue = self.chain.lock();
            queue.led = false;
            queue.waiting.iter().any(|line| line.reply.is_some())
        };
        if self.begun {
            self.chain.lead(awaited);
        }
    }
}

fn counts(draft: &Draft) -> impl Iterator<Item = (&str, u64)> {
    draft.counts.iter().map(|(name, count)| (name.as_str(), *count))
}
