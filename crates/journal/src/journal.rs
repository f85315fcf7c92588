//! The one writer of a place, as the floors above see it.
//!
//! Appenders put their entry into a bounded queue; whoever finds no leader starts one. The leader
//! takes what waits, writes it as one group with one flush, tells all, and goes when nothing
//! waits. An entry in the queue is written whether or not its caller still waits for the answer.

use crate::{
    Error, ObjectRef, Seq, Stopped, Storage,
    error::io_error,
    faults::Step,
    file, names,
    opening::Pointer,
    recover,
    writer::{Place, Writer},
};
use kernel::{Clock, Entropy, ObjectUuid, limits};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore, oneshot};
use vault::{Home, ObjectKind};
use zeroize::Zeroizing;

/// The one writer of one place. See the crate's page for what it promises.
pub struct Journal(Arc<Inner>);

/// What a place held when it was opened.
pub struct Recovered {
    /// Body of the newest checkpoint.
    pub checkpoint: Option<Zeroizing<Vec<u8>>>,
    /// Entries that it does not cover, in order.
    pub entries: Vec<(Seq, Zeroizing<Vec<u8>>)>,
    /// The place was being destroyed; call [`Journal::destroy`] again.
    pub dropped: bool,
}

struct Inner {
    place: Arc<Place>,
    writer: Arc<AsyncMutex<Writer>>,
    queue: Mutex<Queue>,
    room: Arc<Semaphore>,
    /// One checkpoint at a time.
    checkpointing: Arc<AsyncMutex<()>>,
    view: Mutex<View>,
    /// Objects that this process put: nothing durable need name them yet.
    fresh: Mutex<HashSet<ObjectUuid>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    led: bool,
}

struct Waiting {
    body: Zeroizing<Vec<u8>>,
    reply: oneshot::Sender<Result<Seq, Error>>,
    _room: OwnedSemaphorePermit,
}

#[derive(Clone, Copy, Default)]
struct View {
    last: u64,
    log_bytes: u64,
    stopped: Option<Stopped>,
}

impl Journal {
    /// Opens a place and claims nothing. Cost: reads the log since the last checkpoint, one flush.
    ///
    /// # Errors
    /// `Corrupt` with file, offset and epoch when the bytes are not what this place wrote.
    pub async fn recover(
        storage: &Storage,
        home: Arc<Home>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Recovered), Error> {
        let prefix = home.prefix();
        let place = Arc::new(Place { storage: storage.clone(), home, clock, entropy, prefix });
        let found = recover::recover(Arc::clone(&place)).await?;
        let view = View::of(&found.writer);
        let inner = Inner {
            place,
            writer: Arc::new(AsyncMutex::new(found.writer)),
            queue: Mutex::default(),
            room: Arc::new(Semaphore::new(limits::LOG_QUEUE_BYTES_MAX >> 10)),
            checkpointing: Arc::default(),
            view: Mutex::new(view),
            fresh: Mutex::default(),
        };
        let entries = found.entries.into_iter().map(|(seq, body)| (Seq(seq), body)).collect();
        let recovered = Recovered { checkpoint: found.checkpoint, entries, dropped: found.dropped };
        Ok((Self(Arc::new(inner)), recovered))
    }

    /// Makes an entry durable and gives its number. The first one of a recovered place claims an
    /// epoch. Waits while the queue is full. When the caller goes, an entry that was handed over is
    /// written all the same, and one that was not never began.
    ///
    /// # Errors
    /// `Full`: nothing was stored, and it may be tried again. `Stopped`: open the place again.
    pub async fn append(&self, body: Zeroizing<Vec<u8>>) -> Result<Seq, Error> {
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
    /// 1. the sealed object durable: a crash leaves an object that nothing names, deleted with the
    ///    next checkpoint
    /// 2. a new log file whose opening names it: a crash before its name exists leaves step 1; after
    ///    it, the new checkpoint counts and the old files are litter
    /// 3. log files whose entries are all covered deleted, oldest first, then older checkpoints: a
    ///    crash leaves litter that the next checkpoint deletes
    ///
    /// # Errors
    /// As [`Journal::append`]; the old checkpoint counts then. `CoversAhead` for a mistake above.
    pub async fn checkpoint(&self, body: &[u8], covers: Seq) -> Result<(), Error> {
        let inner = Arc::clone(&self.0);
        let body = Zeroizing::new(body.to_vec());
        self.0.place.storage.tasks().whole(async move { inner.checkpoint(body, covers).await }).await
    }

    /// Seals `plain` into an object of its own and makes it durable. Until a checkpoint names it,
    /// only the caller knows it; see [`Journal::sweep`].
    ///
    /// # Errors
    /// `Full` or `Store`; nothing is visible then.
    pub async fn put(&self, kind: ObjectKind, plain: &[u8]) -> Result<ObjectRef, Error> {
        let place = &self.0.place;
        let uuid = ObjectUuid::random(&*place.entropy);
        let (sealed, key) = place.home.seal(kind, uuid, plain, &*place.entropy)?;
        let object = ObjectRef { kind, uuid, key, bytes: sealed.len() as u64 };
        lock(&self.0.fresh).insert(uuid);
        let name = place.name(&names::object(uuid));
        let inner = Arc::clone(&self.0);
        let storage = place.storage.clone();
        let put = async move { storage.create(&name, sealed, "writing an object").await };
        if !inner.place.storage.tasks().whole(put).await? {
            return Err(inner.corrupt_object(uuid, "a fresh random name is taken"));
        }
        Ok(object)
    }

    /// An object's plain bytes.
    ///
    /// # Errors
    /// `Corrupt` when it is not there or does not open.
    pub async fn get(&self, object: &ObjectRef) -> Result<Zeroizing<Vec<u8>>, Error> {
        let place = &self.0.place;
        let sealed = place.storage.read(&place.name(&names::object(object.uuid)), "reading an object").await?;
        let sealed = sealed.ok_or_else(|| self.0.corrupt_object(object.uuid, "the object is not there"))?;
        let opened = place.home.open(object.kind, object.uuid, &object.key, &sealed);
        opened.map_err(|_| self.0.corrupt_object(object.uuid, "the object does not open"))
    }

    /// Deletes an object that no durable checkpoint names. One that is gone already is fine.
    ///
    /// # Errors
    /// `Store`.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), Error> {
        let place = &self.0.place;
        place.storage.delete(&place.name(&names::object(object.uuid))).await?;
        lock(&self.0.fresh).remove(&object.uuid);
        Ok(())
    }

    /// Deletes the objects that an earlier process left behind and that `keep` does not name;
    /// those that this one put are left alone. Gives their number.
    ///
    /// # Errors
    /// `Store`, `Io`.
    pub async fn sweep(&self, keep: &[ObjectRef]) -> Result<usize, Error> {
        let place = &self.0.place;
        let keep: HashSet<ObjectUuid> = keep.iter().map(|object| object.uuid).collect();
        let mut swept = 0;
        for name in place.storage.list(&place.name("seg")).await? {
            // A `#` marks the object store's own unfinished writes, which a crash can leave.
            let (stem, unfinished) = name.split_once('#').map_or((&*name, false), |(stem, _)| (stem, true));
            let Ok(uuid) = ObjectUuid::parse(stem) else { continue };
            if lock(&self.0.fresh).contains(&uuid) || (keep.contains(&uuid) && !unfinished) {
                continue;
            }
            place.storage.remove_file(&place.name(&format!("seg/{name}"))).await?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Destroys the place. May be called again after a crash or an error, until it says yes.
    ///
    /// 1. a Drop entry durable: from here on a recovery says `dropped`
    /// 2. the tombstone durable: from here on a recovery reads nothing else
    /// 3. objects, checkpoints, log, claims, then the tombstone and the folder
    ///
    /// # Errors
    /// As [`Journal::append`], `Io`.
    pub async fn destroy(&self) -> Result<(), Error> {
        let inner = Arc::clone(&self.0);
        self.0.place.storage.tasks().whole(async move { inner.destroy().await }).await
    }

    /// Marks a clean end: one empty group, if this process wrote anything. Behind it no damage to
    /// an entry can pass for a write that a crash tore.
    ///
    /// # Errors
    /// As [`Journal::append`]; nothing is lost then, only the mark.
    pub async fn close(&self) -> Result<(), Error> {
        let writer = Arc::clone(&self.0.writer).lock_owned().await;
        if writer.open.is_none() || writer.stopped.is_some() {
            return Ok(());
        }
        let (writer, marked) = self.0.disk(writer, |writer| writer.commit(&[])).await?;
        lock(&self.0.view).follow(&writer);
        marked.map(|_| ())
    }

    /// Number of the last durable entry.
    pub fn last(&self) -> Seq {
        Seq(lock(&self.0.view).last)
    }

    /// Bytes of log that a recovery would read.
    pub fn log_bytes(&self) -> u64 {
        lock(&self.0.view).log_bytes
    }

    /// Why this journal takes no more writes; `None` while it does. Reading goes on.
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
    async fn checkpoint(&self, body: Zeroizing<Vec<u8>>, covers: Seq) -> Result<(), Error> {
        let _one = self.checkpointing.lock().await;
        let place = &self.place;
        let id = {
            let mut writer = self.writer.lock().await;
            let before = writer.checkpoint.map_or(0, |pointer| pointer.covers);
            if covers.0 > writer.last || covers.0 < before {
                return Err(Error::CoversAhead { covers: covers.0, last: writer.last });
            }
            let epoch = writer.claim().await?;
            if writer.parts.is_empty() {
                // A checkpoint without any log would look like a log that was lost.
                let id = writer.number(epoch);
                writer.start_part(id, None)?;
            }
            writer.number(epoch)
        };
        let uuid = ObjectUuid::random(&*place.entropy);
        let sealing = Arc::clone(place);
        let sealed = place
            .storage
            .tasks()
            .disk(move || sealing.home.seal_whole(ObjectKind::Checkpoint, uuid, &body, &*sealing.entropy));
        let sealed = sealed.await??;
        place.storage.create(&place.name(&id.checkpoint_name()), sealed, "writing a checkpoint").await?;
        place.storage.step(Step::CheckpointPut)?;

        let pointer = Pointer { id, uuid, covers: covers.0 };
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        // A number of its own, taken now: a group that was committed meanwhile may have started a
        // file behind `id`, and the newest file must be the one that names this checkpoint.
        let part = writer.number(id.epoch);
        let (mut writer, started) = self.disk(writer, move |writer| writer.start_part(part, Some(pointer))).await?;
        lock(&self.view).follow(&writer);
        started?;
        let covered = writer.take_covered();
        lock(&self.view).follow(&writer);
        drop(writer);
        self.delete_old(pointer, covered).await;
        Ok(())
    }

    /// Litter is not worth an error: the next checkpoint finds it again.
    async fn delete_old(&self, current: Pointer, covered: Vec<names::PartId>) {
        let (place, epoch, current) = (&self.place, current.id.epoch, current.id.checkpoint_name());
        for id in covered {
            let deleted = place.storage.remove_file(&place.name(&id.log_name())).await;
            if deleted.and_then(|()| place.storage.step(Step::OldLogDeleted)).is_err() {
                return;
            }
        }
        let log = place.storage.path(&place.name("log"));
        let swept = place.storage.tasks().disk(move || file::sweep_log(&log, &names::epoch(epoch))).await;
        if !matches!(swept, Ok(Ok(()))) {
            return;
        }
        for name in place.storage.list(&place.name("ckpt")).await.unwrap_or_default() {
            let name = format!("ckpt/{name}");
            if name == current {
                continue;
            }
            let deleted = place.storage.remove_file(&place.name(&name)).await;
            if deleted.and_then(|()| place.storage.step(Step::OldCheckpointDeleted)).is_err() {
                return;
            }
        }
    }

    async fn destroy(&self) -> Result<(), Error> {
        let _one = self.checkpointing.lock().await;
        let mut writer = Arc::clone(&self.writer).lock_owned().await;
        let dropped = writer.stopped.as_ref().is_some_and(|(why, _)| *why == Stopped::Dropped);
        if !dropped {
            let claimed = writer.claim().await;
            lock(&self.view).follow(&writer);
            claimed?;
            let (back, written) = self.disk(writer, Writer::drop_place).await?;
            lock(&self.view).follow(&back);
            writer = back;
            written?;
        }
        writer.open = None;
        let place = &self.place;
        place
            .storage
            .create(&place.name(names::DELETED), b"ringfence tombstone 0\n".to_vec(), "writing the tombstone")
            .await?;
        place.storage.step(Step::Tombstone)?;
        for folder in ["seg", "ckpt", "log", "claim", ""] {
            let path = place.storage.path(&place.name(folder));
            let removed = place.storage.tasks().disk(move || remove_folder(&path)).await?;
            removed.map_err(|source| io_error("deleting a place", source))?;
            place.storage.step(Step::PrefixPart)?;
        }
        tracing::info!(place = ?place.home.kind(), uuid = %place.home.uuid(), "place destroyed");
        Ok(())
    }

    /// Runs blocking work on the writer; the guard travels with it, so nobody sees it half done.
    async fn disk<T: Send + 'static>(
        &self,
        mut writer: OwnedMutexGuard<Writer>,
        work: impl FnOnce(&mut Writer) -> T + Send + 'static,
    ) -> Result<(OwnedMutexGuard<Writer>, T), Error> {
        let run = move || {
            let out = work(&mut writer);
            (writer, out)
        };
        self.place.storage.tasks().disk(run).await
    }

    fn corrupt_object(&self, uuid: ObjectUuid, why: &'static str) -> Error {
        let home = &self.place.home;
        tracing::error!(place = ?home.kind(), uuid = %home.uuid(), object = %uuid, why, "corrupt");
        Error::Corrupt { file: self.place.name(&names::object(uuid)), epoch: kernel::LogEpoch(0), offset: 0, why }
    }
}

/// Leads until nothing waits. If it is lost (shutdown, a bug), those who wait are told.
struct Leader {
    inner: Arc<Inner>,
    /// Given up already, when nothing waited; somebody else may lead by now.
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
        let outcome = commit(&leader.inner, bodies).await;
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

async fn commit(inner: &Arc<Inner>, bodies: Vec<Zeroizing<Vec<u8>>>) -> Result<u64, Error> {
    let mut writer = Arc::clone(&inner.writer).lock_owned().await;
    let claimed = writer.claim().await;
    lock(&inner.view).follow(&writer);
    claimed?;
    let (writer, committed) = inner.disk(writer, move |writer| writer.commit(&bodies)).await?;
    lock(&inner.view).follow(&writer);
    committed
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

impl View {
    fn of(writer: &Writer) -> Self {
        let stopped = writer.stopped.as_ref().map(|(why, _)| *why);
        Self { last: writer.last, log_bytes: writer.log_bytes(), stopped }
    }

    fn follow(&mut self, writer: &Writer) {
        *self = Self::of(writer);
    }
}

fn remove_folder(path: &std::path::Path) -> std::io::Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match path.parent() {
        Some(parent) if parent.is_dir() => file::sync_folder(parent),
        _ => Ok(()),
    }
}

/// Nothing panics while holding one of these locks in the middle of a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
