//! The one writer of a place, as the floors above see it.
//!
//! Appenders put their entry into a bounded queue; an appender that finds no leader starts one. The leader
//! takes what waits, writes it as one group with one flush, tells all, and goes when nothing
//! waits. An entry in the queue is written whether or not its caller still waits for the answer.

mod fetched;
mod tenancy;

use crate::{
    Error, ObjectRef, Seq, Stopped, Storage,
    faults::Step,
    file_log::FileLog,
    log::{Checkpoint, CommitLog, Found, Place, Standing, Turned},
    names::{Name, PartId},
    object_log::ObjectLog,
    sources::error_of,
    storage::Backend,
};
use futures::{StreamExt as _, stream};
use kernel::{Clock, Entropy, KeyEpoch, LogEpoch, ObjectUuid, Plaintext, ReadAt as _, limits};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedSemaphorePermit, Semaphore, oneshot};
use vault::{Home, ObjectKind, PagedReader, WrappedKey};

pub use fetched::Fetched;
pub use tenancy::Tenancy;

/// The one writer of one place. See the crate's page for what it promises.
pub struct Journal(Arc<Inner>);

/// What a place held when it was opened.
pub struct Recovered {
    /// Body of the newest checkpoint.
    pub checkpoint: Option<Plaintext>,
    /// Entries that it does not cover, in order.
    pub entries: Vec<(Seq, Plaintext)>,
    /// The place was being destroyed; call [`Journal::destroy`] again.
    pub dropped: bool,
}

struct Inner {
    place: Arc<Place>,
    log: AsyncMutex<Box<dyn CommitLog>>,
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
    /// One checkpoint at a time.
    checkpointing: AsyncMutex<()>,
    /// One sweep at a time, and none that continues after the place is closed: a process that reopens it in the same
    /// epoch writes objects that an earlier sweep does not know.
    sweeping: AsyncMutex<()>,
    view: Mutex<Standing>,
    /// Objects that this process put: nothing durable need name them yet.
    fresh: Mutex<HashSet<ObjectUuid>>,
    /// Parts of the log that are covered and still there.
    undeleted: Mutex<Vec<PartId>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    led: bool,
}

struct Waiting {
    body: Plaintext,
    reply: oneshot::Sender<Result<Seq, Error>>,
    _room: OwnedSemaphorePermit,
}

impl Journal {
    /// Opens a place and claims nothing. Cost: reads the log since the last checkpoint; in a folder
    /// one flush, in a bucket one listing and a request for each object of the log.
    ///
    /// # Errors
    /// `Corrupt` with file, offset and epoch when the bytes are not what this place wrote.
    pub async fn recover(
        storage: &Storage,
        home: Arc<Home>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Recovered), Error> {
        Self::resume(storage, home, clock, entropy, None).await
    }

    /// The same for a place that this process has left: it stays the writer, in its epoch and without
    /// a claim, if the place is as [`Journal::leave`] left it. Otherwise what was left counts for nothing.
    ///
    /// # Errors
    /// As [`Journal::recover`].
    pub async fn resume(
        storage: &Storage,
        home: Arc<Home>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        left: Option<Tenancy>,
    ) -> Result<(Self, Recovered), Error> {
        let prefix = home.prefix();
        let place = Arc::new(Place { storage: storage.clone(), home, clock, entropy, prefix });
        let Found { log, checkpoint, entries, dropped } = match storage.backend() {
            Backend::Local(local) => FileLog::open(Arc::clone(&place), Arc::clone(local)).await?,
            Backend::Bucket(bucket) => ObjectLog::open(Arc::clone(&place), Arc::clone(bucket), left).await?,
        };
        let view = Mutex::new(log.standing());
        let inner = Inner {
            place,
            log: AsyncMutex::new(log),
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(limits::LOG_QUEUE_BYTES_MAX >> 10)),
            checkpointing: AsyncMutex::default(),
            sweeping: AsyncMutex::default(),
            view,
            fresh: Mutex::default(),
            undeleted: Mutex::default(),
        };
        let entries = entries.into_iter().map(|(seq, body)| (Seq(seq), body)).collect();
        Ok((Self(Arc::new(inner)), Recovered { checkpoint, entries, dropped }))
    }

    /// Makes an entry durable and gives its number. The first one of a recovered place claims an
    /// epoch. Waits while the queue is full. When the caller goes, an entry that was handed over is
    /// written all the same, and one that was not never began.
    ///
    /// # Errors
    /// `Full`: nothing was stored, and it may be tried again. `Stopped`: open the place again.
    pub async fn append(&self, body: impl Into<Plaintext>) -> Result<Seq, Error> {
        self.append_plain(body.into()).await
    }

    async fn append_plain(&self, body: Plaintext) -> Result<Seq, Error> {
        if body.len() > limits::LOG_ENTRY_BYTES_MAX {
            return Err(Error::TooLarge { bytes: body.len(), max: limits::LOG_ENTRY_BYTES_MAX });
        }
        let weight = (body.len() >> 10).clamp(1, limits::LOG_QUEUE_BYTES_MAX >> 10);
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        // Taken at once if there is room, so that entries stand in the order in which callers came.
        let room = match Arc::clone(&self.0.room).try_acquire_many_owned(weight) {
            Ok(room) => room,
            Err(_) => Arc::clone(&self.0.room).acquire_many_owned(weight).await.map_err(|_| Error::Closing)?,
        };
        let (reply, answer) = oneshot::channel();
        let leads = {
            let mut queue = lock(&self.0.queue);
            queue.waiting.push_back(Waiting { body, reply, _room: room });
            !std::mem::replace(&mut queue.led, true)
        };
        if leads {
            self.0.place.storage.tasks().start(lead(Leader { inner: Arc::clone(&self.0), ended: false }));
        }
        answer.await.map_err(|_| Error::Closing)?
    }

    /// Replaces the log up to `covers` by `body`. Entries after `covers` stay in the log.
    ///
    /// 1. unless the body is small, the sealed object durable: a crash leaves an object that nothing
    ///    names, deleted with the next checkpoint
    /// 2. the log names it, or holds it: from then on the new checkpoint counts and the old parts are
    ///    litter; a crash before leaves step 1
    /// 3. parts of the log whose entries are all covered deleted, oldest first, then older
    ///    checkpoints: a crash leaves litter that the next checkpoint deletes
    ///
    /// # Errors
    /// As [`Journal::append`]; the old checkpoint counts then. `CoversAhead` for a mistake above.
    pub async fn checkpoint(&self, body: &[u8], covers: Seq) -> Result<(), Error> {
        let body = Plaintext::from(body);
        self.whole(move |inner| async move { inner.checkpoint(body, covers).await }).await
    }

    /// Seals `plain` into an object of its own and makes it durable. Until a checkpoint names it,
    /// only the caller knows it; see [`Journal::sweep`]. Claims an epoch, as the first write does.
    ///
    /// # Errors
    /// `Full`, `Io` or `Store`; nothing is visible then. As [`Journal::append`].
    pub async fn put(&self, kind: ObjectKind, plain: &[u8]) -> Result<ObjectRef, Error> {
        let plain = Plaintext::from(plain);
        let seal = move |place: &Place, uuid| Ok((place.home.seal(kind, uuid, &plain, &*place.entropy)?, ()));
        Ok(self.put_sealed(kind, seal).await?.0)
    }

    /// The same in two parts, for [`Journal::open_object`]: up to `split` opened whole, what follows in pages. The plain
    /// bytes come back.
    ///
    /// # Errors
    /// As [`Journal::put`]; `Vault` when `split` lies after the end.
    pub async fn put_split(
        &self,
        kind: ObjectKind,
        plain: Plaintext,
        split: usize,
    ) -> Result<(ObjectRef, Plaintext), Error> {
        let seal = move |place: &Place, uuid| {
            let sealed = place.home.seal_split(kind, uuid, &plain, split, &*place.entropy)?;
            Ok((sealed, plain))
        };
        self.put_sealed(kind, seal).await
    }

    /// Seals where a thread may be busy: a gigabyte takes half a second, for which no runtime's thread may be held.
    async fn put_sealed<T: Send + 'static>(
        &self,
        kind: ObjectKind,
        seal: impl FnOnce(&Place, ObjectUuid) -> Result<((Vec<u8>, WrappedKey), T), vault::Error> + Send + 'static,
    ) -> Result<(ObjectRef, T), Error> {
        let place = &self.0.place;
        let claimed = lock(&self.0.view).epoch;
        let writer = match claimed {
            Some(epoch) => epoch,
            None => self.whole(|inner| async move { inner.claim().await }).await?,
        };
        let uuid = ObjectUuid::random(&*place.entropy);
        let sealing = Arc::clone(place);
        let ((sealed, key), rest) = place.storage.tasks().disk(move || seal(&sealing, uuid)).await??;
        let object = ObjectRef { kind, uuid, writer, key, bytes: sealed.len() as u64 };
        lock(&self.0.fresh).insert(uuid);
        let name = place.name(object.name());
        let put = move |inner: Arc<Inner>| async move {
            inner.place.storage.create(&name, sealed, "writing an object").await
        };
        if !self.whole(put).await? {
            return Err(self.0.corrupt_object(&object, "a fresh random name is taken"));
        }
        Ok((object, rest))
    }

    /// Opens an object of two parts ([`Journal::put_split`]): the plain bytes of the first, and a reader of the
    /// second. The reader holds the file open, so that a deletion takes nothing from it; in a bucket it fetches what
    /// it is asked for, and an object that was deleted is gone for it too. It blocks: use it in a pool.
    ///
    /// # Errors
    /// `Corrupt` when it is not there, has another size or does not open; `Io`, `Store`.
    pub async fn open_object(&self, object: &ObjectRef) -> Result<(Plaintext, PagedReader), Error> {
        let (place, what) = (Arc::clone(&self.0.place), "opening an object");
        let source = place.storage.source(&place.name(object.name()), object.bytes, what).await?;
        let Some(source) = source else { return Err(self.gone(object).await) };
        if source.size() != object.bytes {
            return Err(self.0.corrupt_object(object, "the object has another size"));
        }
        let asked = object.clone();
        let opening = Arc::clone(&place);
        let open = move || opening.home.open_split(asked.kind, asked.uuid, &asked.key, source);
        match place.storage.tasks().disk(open).await? {
            Err(vault::Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(self.gone(object).await)
            }
            Err(vault::Error::Unreadable { source, .. }) => Err(error_of(what, source)),
            Err(_) => Err(self.0.corrupt_object(object, "the object does not open")),
            Ok(opened) => Ok(opened),
        }
    }

    /// All plain bytes of an object of two parts, to be sealed again.
    ///
    /// # Errors
    /// As [`Journal::open_object`].
    pub async fn whole_object(&self, object: &ObjectRef) -> Result<Plaintext, Error> {
        let (whole, paged) = self.open_object(object).await?;
        let what = "reading an object";
        let read = move || {
            let length = usize::try_from(paged.size()).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
            let mut bytes = Plaintext::zeroed(whole.len() + length);
            let (first, second) = bytes.split_at_mut(whole.len());
            first.copy_from_slice(&whole);
            paged.read_at(0, second)?;
            Ok(bytes)
        };
        let read: io::Result<_> = self.0.place.storage.tasks().disk(read).await?;
        match read {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(self.gone(object).await),
            Err(source) => Err(error_of(what, source)),
            Ok(bytes) => Ok(bytes),
        }
    }

    /// How many objects of this place stand under each epoch of its keys: the logs and checkpoints that lie there, as
    /// their prologues say, and these, as their names say. What lies there and none of them tells is counted under 0.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn under_epochs(&self, named: &[ObjectRef]) -> Result<BTreeMap<KeyEpoch, u64>, Error> {
        let (place, mut counts) = (&self.0.place, BTreeMap::new());
        let epoch = |name| async move {
            match name {
                Name::Claim(_) | Name::Cut | Name::Tombstone => Ok(None),
                Name::Object(_, uuid) => {
                    let known = named.iter().find(|object| object.uuid == uuid);
                    Ok(Some(known.map_or(KeyEpoch(0), |object| object.key.epoch)))
                }
                Name::Log(_) | Name::Checkpoint(_) => {
                    let bytes = place.storage.read(&place.name(name), "looking at a prologue").await?;
                    // One that is deleted meanwhile is under nothing.
                    Ok::<_, Error>(bytes.map(|bytes| vault::epoch_of(&bytes).unwrap_or(KeyEpoch(0))))
                }
            }
        };
        let names = place.storage.list(&place.prefix).await?;
        let mut looks = stream::iter(names).map(epoch).buffer_unordered(LOOKS_AT_ONCE);
        while let Some(look) = looks.next().await {
            if let Some(epoch) = look? {
                *counts.entry(epoch).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// An object is not there. In a bucket its owner may have deleted it since we read who names it:
    /// then we are behind, and nothing is damaged.
    async fn gone(&self, object: &ObjectRef) -> Error {
        match self.check().await {
            Err(error) => error,
            Ok(()) => self.0.corrupt_object(object, "the object is not there"),
        }
    }

    /// An object's plain bytes.
    ///
    /// # Errors
    /// `Corrupt` when it is not there or does not open; `Stopped` when another process has written here since.
    pub async fn get(&self, object: &ObjectRef) -> Result<Plaintext, Error> {
        let (place, what) = (Arc::clone(&self.0.place), "reading an object");
        let source = place.storage.whole(&place.name(object.name()), what).await?;
        let Some(source) = source else { return Err(self.gone(object).await) };
        let (asked, opening) = (object.clone(), Arc::clone(&place));
        let open = move || opening.home.open_from(asked.kind, asked.uuid, &asked.key, &source);
        match place.storage.tasks().disk(open).await? {
            Err(vault::Error::Unreadable { source, .. }) => Err(error_of(what, source)),
            opened => opened.map_err(|_| self.0.corrupt_object(object, "the object does not open")),
        }
    }

    /// Deletes an object that no durable checkpoint names. One that is gone already is fine.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), Error> {
        let place = &self.0.place;
        place.storage.delete(&place.name(object.name())).await?;
        lock(&self.0.fresh).remove(&object.uuid);
        Ok(())
    }

    /// Deletes the objects that earlier writers left behind and that `keep` does not name; those that
    /// this one put are left alone. Gives their number. In a bucket that is done by who has claimed
    /// the place only: before that, an object that nothing names may be about to be named.
    ///
    /// # Errors
    /// `Io`, `Store`; `Stopped` when the place was left: its next writer may be us.
    pub async fn sweep(&self, keep: &[ObjectRef]) -> Result<usize, Error> {
        let place = &self.0.place;
        let _nobody_leaves = self.0.sweeping.lock().await;
        let Standing { epoch: ours, stopped, .. } = *lock(&self.0.view);
        if let Some(why @ Stopped::Left) = stopped {
            return Err(Error::Stopped { why, source: None });
        }
        if ours.is_none() && place.storage.is_shared() {
            return Ok(0);
        }
        let keep: HashSet<ObjectUuid> = keep.iter().map(|object| object.uuid).collect();
        let mut swept = 0;
        for name in place.storage.list(&place.prefix).await? {
            let Name::Object(writer, uuid) = name else { continue };
            // A successor's may be about to be named, also if we do not know of the successor yet.
            let successors = ours.is_some_and(|ours| writer > ours);
            if successors || keep.contains(&uuid) || lock(&self.0.fresh).contains(&uuid) {
                continue;
            }
            place.storage.delete(&place.name(name)).await?;
            swept += 1;
        }
        Ok(swept)
    }

    /// What this process has put and `keep` does not name will not be named any more: a checkpoint of theirs failed, say.
    /// From here on it is litter, and a sweep takes it. The caller puts nothing meanwhile.
    pub fn disown(&self, keep: &[ObjectRef]) {
        lock(&self.0.fresh).retain(|uuid| keep.iter().any(|object| object.uuid == *uuid));
    }

    /// How many things lie in this place that nothing needs any more: objects that `named` does not name and that this
    /// process did not put, parts of the log and checkpoints that no recovery needs. The next checkpoint and
    /// [`Journal::sweep`] take them away. Costs a listing.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn litter(&self, named: &[ObjectRef]) -> Result<usize, Error> {
        let place = &self.0.place;
        // No checkpoint makes litter while this looks; entries go on.
        let _one = self.0.checkpointing.lock().await;
        let names = place.storage.list(&place.prefix).await?;
        let known = |uuid| named.iter().any(|object| object.uuid == uuid) || lock(&self.0.fresh).contains(&uuid);
        let unnamed = names.iter().filter(|name| matches!(name, Name::Object(_, uuid) if !known(*uuid))).count();
        Ok(unnamed + self.0.log.lock().await.needless(&names))
    }

    /// Destroys the place. May be called again after a crash or an error, until it says yes.
    ///
    /// 1. a Drop entry durable: from here on a recovery says `dropped`
    /// 2. the tombstone durable: from here on a recovery reads nothing else
    /// 3. everything removed
    ///
    /// # Errors
    /// As [`Journal::append`], `Io`.
    pub async fn destroy(&self) -> Result<(), Error> {
        self.whole(|inner| async move { inner.destroy().await }).await
    }

    /// Marks a clean end: one empty group, if this process wrote anything to files. After it no
    /// damage to an entry can pass for a write that a crash tore.
    ///
    /// # Errors
    /// As [`Journal::append`]; nothing is lost then, only the mark.
    pub async fn close(&self) -> Result<(), Error> {
        self.whole(|inner| async move {
            let mut log = inner.log.lock().await;
            let ended = log.end().await;
            *lock(&inner.view) = log.standing();
            ended
        })
        .await
    }

    /// Becomes the writer of the place now and not at the first write. Gives the epoch.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn claim(&self) -> Result<LogEpoch, Error> {
        self.whole(|inner| async move { inner.claim().await }).await
    }

    /// The newest epoch that any writer had claimed when this was read or claimed.
    pub fn newest_epoch(&self) -> LogEpoch {
        lock(&self.0.view).newest
    }

    /// Finds out whether what was read here is still all there is: in a bucket another process may
    /// have taken the place over. One request; nothing in a folder, which is locked.
    ///
    /// # Errors
    /// `Stopped` when another process has written or may write; open the place again. `Store`.
    pub async fn check(&self) -> Result<(), Error> {
        if !self.0.place.storage.is_shared() {
            return Ok(());
        }
        self.whole(|inner| async move {
            let mut log = inner.log.lock().await;
            let checked = log.check().await;
            *lock(&inner.view) = log.standing();
            checked
        })
        .await
    }

    /// Work that is done to its end, whether or not the caller still waits.
    async fn whole<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<Inner>) -> F,
    ) -> Result<T, Error> {
        self.0.place.storage.tasks().whole(work(Arc::clone(&self.0))).await
    }

    /// Number of the last durable entry.
    pub fn last(&self) -> Seq {
        Seq(lock(&self.0.view).last)
    }

    /// Bytes of log that a recovery would read.
    pub fn log_bytes(&self) -> u64 {
        lock(&self.0.view).log_bytes
    }

    /// Why this journal takes no more writes; `None` while it does. Reading continues.
    pub fn failed(&self) -> Option<Stopped> {
        lock(&self.0.view).stopped
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let home = &self.0.place.home;
        write!(f, "Journal({:?} {}, last {})", home.kind(), home.uuid(), self.last())
    }
}

impl Inner {
    async fn claim(&self) -> Result<LogEpoch, Error> {
        let mut log = self.log.lock().await;
        let claimed = log.claim().await;
        *lock(&self.view) = log.standing();
        claimed
    }

    async fn commit(&self, bodies: Vec<Plaintext>) -> Result<u64, Error> {
        let mut log = self.log.lock().await;
        let committed = match log.claim().await {
            Ok(_) => log.commit(bodies).await,
            Err(error) => Err(error),
        };
        *lock(&self.view) = log.standing();
        committed
    }

    async fn checkpoint(&self, body: Plaintext, covers: Seq) -> Result<(), Error> {
        let _one = self.checkpointing.lock().await;
        self.claim().await?;
        let Standing { last, covers: before, .. } = *lock(&self.view);
        if covers.0 > last || covers.0 < before {
            return Err(Error::CoversAhead { covers: covers.0, last });
        }
        let checkpoint = if body.len() <= limits::CHECKPOINT_INLINE_BYTES_MAX {
            Checkpoint::Inline(body)
        } else {
            self.put_checkpoint(body).await?
        };
        let turned = {
            let mut log = self.log.lock().await;
            let turned = log.point(checkpoint, covers.0).await;
            *lock(&self.view) = log.standing();
            turned?
        };
        self.delete_old(turned).await;
        Ok(())
    }

    async fn put_checkpoint(&self, body: Plaintext) -> Result<Checkpoint, Error> {
        let place = &self.place;
        let id = self.log.lock().await.number().await?;
        let uuid = ObjectUuid::random(&*place.entropy);
        let sealing = Arc::clone(place);
        let sealed = move || sealing.home.seal_whole(ObjectKind::Checkpoint, uuid, &body, &*sealing.entropy);
        let sealed = place.storage.tasks().disk(sealed).await??;
        let name = Name::Checkpoint(id);
        if !place.storage.create(&place.name(name), sealed, "writing a checkpoint").await? {
            // What stands there is not this checkpoint: nothing may name it.
            return Err(crate::log::corrupt(place, name, id.epoch, 0, "a checkpoint's name is taken"));
        }
        place.storage.step(Step::CheckpointPut)?;
        Ok(Checkpoint::Object(id, uuid))
    }

    /// Litter is not worth an error: the next checkpoint finds it again.
    async fn delete_old(&self, turned: Turned) {
        let place = &self.place;
        // Oldest first, each gone before the next: see the log's rules. What could not be deleted is
        // older than what comes next time.
        let mut covered = std::mem::take(&mut *lock(&self.undeleted));
        covered.extend(turned.covered);
        for (i, id) in covered.iter().enumerate() {
            let deleted = place.storage.delete(&place.name(Name::Log(*id))).await;
            if deleted.and_then(|()| place.storage.step(Step::OldLogDeleted)).is_err() {
                *lock(&self.undeleted) = covered.split_off(i);
                return;
            }
        }
        for name in place.storage.list(&place.prefix).await.unwrap_or_default() {
            // Later ones can be a successor's.
            if !matches!(name, Name::Checkpoint(id) if id < turned.checkpoint) {
                continue;
            }
            let deleted = place.storage.delete(&place.name(name)).await;
            if deleted.and_then(|()| place.storage.step(Step::OldCheckpointDeleted)).is_err() {
                return;
            }
        }
    }

    async fn destroy(&self) -> Result<(), Error> {
        let _one = self.checkpointing.lock().await;
        let mut log = self.log.lock().await;
        if log.standing().stopped != Some(Stopped::Dropped) {
            let dropped = match log.claim().await {
                Ok(_) => log.drop_place().await,
                Err(error) => Err(error),
            };
            *lock(&self.view) = log.standing();
            dropped?;
        }
        let place = &self.place;
        let tombstone = b"ringfence tombstone 0\n".to_vec();
        place.storage.create(&place.name(Name::Tombstone), tombstone, "writing the tombstone").await?;
        place.storage.step(Step::Tombstone)?;
        place.storage.remove_place(&place.prefix).await?;
        place.storage.step(Step::Removed)?;
        tracing::info!(place = ?place.home.kind(), uuid = %place.home.uuid(), "place destroyed");
        Ok(())
    }

    fn corrupt_object(&self, object: &ObjectRef, why: &'static str) -> Error {
        crate::log::corrupt(&self.place, object.name(), object.writer, 0, why)
    }
}

/// Leads until nothing waits. If it is lost (shutdown, a bug), those who wait are told.
struct Leader {
    inner: Arc<Inner>,
    /// Given up already, when nothing waited; another task may lead by now.
    ended: bool,
}

impl Drop for Leader {
    fn drop(&mut self) {
        if !self.ended {
            let mut queue = lock(&self.inner.queue);
            queue.led = false;
            queue.waiting.clear();
        }
    }
}

async fn lead(mut leader: Leader) {
    while let Some(group) = next_group(&leader.inner) {
        let (bodies, waiters): (Vec<_>, Vec<_>) =
            group.into_iter().map(|waiting| (waiting.body, (waiting.reply, waiting._room))).unzip();
        let outcome = leader.inner.commit(bodies).await;
        answer(waiters, outcome);
    }
    leader.ended = true;
}

/// What waits, up to the size of a group; `None` ends the leader, in the same locked moment.
fn next_group(inner: &Inner) -> Option<Vec<Waiting>> {
    let mut queue = lock(&inner.queue);
    let mut group = Vec::new();
    let mut bytes = 0;
    while let Some(next) = queue.waiting.front() {
        bytes += next.body.len();
        if !group.is_empty() && bytes > limits::LOG_GROUP_BYTES_MAX {
            break;
        }
        group.extend(queue.waiting.pop_front());
    }
    queue.led = !group.is_empty();
    queue.led.then_some(group)
}

fn answer(waiters: Vec<(oneshot::Sender<Result<Seq, Error>>, OwnedSemaphorePermit)>, outcome: Result<u64, Error>) {
    let outcome = outcome.map_err(Arc::new);
    for (i, (reply, _room)) in waiters.into_iter().enumerate() {
        let mine = match &outcome {
            Ok(first) => Ok(Seq(first + i as u64)),
            Err(error) => Err(Error::of_group(error)),
        };
        // A caller that went away does not hear it; the entry stands all the same.
        drop(reply.send(mine));
    }
}

/// Objects that are looked at together.
const LOOKS_AT_ONCE: usize = 16;

/// Nothing panics while holding one of these locks in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
