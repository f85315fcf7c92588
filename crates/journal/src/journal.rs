//! The only writer of a keyspace, as the crates above see it.
//!
//! Each append is one write with one flush, and appends are written in the order of the calls. A caller with many
//! entries to write together puts them into one: the crates above group the writes of their own callers.

mod fetched;
mod writer_session;

use crate::{
    Error, ObjectRef, Seq, Stopped, Storage,
    faults::Step,
    file_log::FileLog,
    log::{Checkpoint, CommitLog, JournalEnv, LogStatus, OpenedLog, Truncation},
    names::{LogFileId, Name},
    object_log::ObjectLog,
    sources::from_io_error,
    storage::StorageBackend,
};
use futures::{StreamExt as _, stream};
use kernel::{Clock, Entropy, KeyEpoch, LogEpoch, ObjectUuid, Plaintext, ReadAt as _, limits};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashSet},
    io,
    sync::Arc,
};
use tokio::sync::Mutex as AsyncMutex;
use vault::{Keyspace, ObjectKind, PagedReader, WrappedKey};

pub use fetched::Fetched;
pub use writer_session::WriterSession;

/// The only writer of one keyspace. The crate's page states its guarantees.
pub struct Journal(Arc<JournalInner>);

/// What a keyspace held when it was opened.
pub struct Recovered {
    /// Body of the newest checkpoint.
    pub checkpoint: Option<Plaintext>,
    /// Entries after the checkpoint, in order.
    pub entries: Vec<(Seq, Plaintext)>,
    /// Whether a destruction of the keyspace had begun; call [`Journal::destroy`] again.
    pub dropped: bool,
}

struct JournalInner {
    env: Arc<JournalEnv>,
    log: AsyncMutex<Box<dyn CommitLog>>,
    /// Allows one checkpoint at a time.
    checkpointing: AsyncMutex<()>,
    /// Allows one sweep at a time, and none that continues after the keyspace is closed: a process that reopens it in
    /// the same epoch writes objects that an earlier sweep does not know.
    sweeping: AsyncMutex<()>,
    status: Mutex<LogStatus>,
    /// Objects that this process put and that no durable checkpoint or entry needs to name yet.
    uncommitted: Mutex<HashSet<ObjectUuid>>,
    /// Log files that a checkpoint covers and that could not be deleted yet.
    undeleted: Mutex<Vec<LogFileId>>,
}

impl Journal {
    /// Opens a keyspace without claiming it. Cost: reads the log since the last checkpoint, with one flush in a folder,
    /// or one listing and one request for each object of the log in a bucket.
    ///
    /// # Errors
    /// `Corrupt` with file, offset and epoch when the bytes are not what this keyspace wrote.
    pub async fn recover(
        storage: &Storage,
        keyspace: Arc<Keyspace>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<(Self, Recovered), Error> {
        Self::resume(storage, keyspace, clock, entropy, None).await
    }

    /// Opens a keyspace that this process detached from earlier. The journal stays the writer, in its epoch and without
    /// a new claim, if the keyspace is unchanged since [`Journal::detach`]. Otherwise the session is ignored.
    ///
    /// # Errors
    /// As [`Journal::recover`].
    pub async fn resume(
        storage: &Storage,
        keyspace: Arc<Keyspace>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        session: Option<WriterSession>,
    ) -> Result<(Self, Recovered), Error> {
        let prefix = keyspace.prefix();
        let env = Arc::new(JournalEnv { storage: storage.clone(), keyspace, clock, entropy, prefix });
        let OpenedLog { log, checkpoint, entries, dropped } = match storage.backend() {
            StorageBackend::Folder(folder) => FileLog::open(Arc::clone(&env), Arc::clone(folder)).await?,
            StorageBackend::Bucket(bucket) => ObjectLog::open(Arc::clone(&env), Arc::clone(bucket), session).await?,
        };
        let status = Mutex::new(log.status());
        let inner = JournalInner {
            env,
            log: AsyncMutex::new(log),
            checkpointing: AsyncMutex::default(),
            sweeping: AsyncMutex::default(),
            status,
            uncommitted: Mutex::default(),
            undeleted: Mutex::default(),
        };
        let entries = entries.into_iter().map(|(seq, body)| (Seq(seq), body)).collect();
        Ok((Self(Arc::new(inner)), Recovered { checkpoint, entries, dropped }))
    }

    /// Makes an entry durable and returns its number. The first append after a recovery claims an epoch. If the caller
    /// stops waiting, an entry whose future was polled is still written, and one whose future was not is never written.
    ///
    /// # Errors
    /// `Full`: nothing was stored, and the caller may retry. `Stopped`: open the keyspace again.
    pub async fn append(&self, body: impl Into<Plaintext>) -> Result<Seq, Error> {
        let (inner, body) = (Arc::clone(&self.0), body.into());
        if body.len() > limits::LOG_ENTRY_BYTES_MAX {
            return Err(Error::TooLarge { bytes: body.len(), max: limits::LOG_ENTRY_BYTES_MAX });
        }
        // A write is not handed to another task unless its caller goes away: each switch of tasks adds to its latency.
        self.0.env.storage.tasks().run_in_caller(async move { inner.commit(body).await }).await
    }

    /// Replaces the log up to `covers` by `body`. Entries after `covers` stay in the log.
    ///
    /// 1. Unless the body is small, put its sealed object durably. A crash leaves an object that nothing names; the
    ///    next checkpoint deletes it.
    /// 2. Name or include the checkpoint in the log. From then on the new checkpoint counts and the log before it is
    ///    obsolete. A crash before this step leaves what step 1 leaves.
    /// 3. Delete the log files whose entries are all covered, oldest first, then the older checkpoints. A crash leaves
    ///    obsolete files that the next checkpoint deletes.
    ///
    /// # Errors
    /// As [`Journal::append`]; the old checkpoint remains in force. `CoversAhead` when `covers` is after the
    /// last entry or before what the old checkpoint covers.
    pub async fn checkpoint(&self, body: &[u8], covers: Seq) -> Result<(), Error> {
        let body = Plaintext::from(body);
        self.run_to_completion(move |inner| async move { inner.checkpoint(body, covers).await }).await
    }

    /// Seals `plain` into an object of its own and makes it durable. Until a checkpoint names the object, only the
    /// caller knows it; see [`Journal::sweep`]. Claims an epoch, as the first append does.
    ///
    /// # Errors
    /// `Full`, `Io` or `Store`; nothing is visible then. Otherwise as [`Journal::append`].
    pub async fn put(&self, kind: ObjectKind, plain: &[u8]) -> Result<ObjectRef, Error> {
        let plain = Plaintext::from(plain);
        let seal = move |env: &JournalEnv, uuid| Ok((env.keyspace.seal(kind, uuid, &plain, &*env.entropy)?, ()));
        Ok(self.put_sealed(kind, seal).await?.0)
    }

    /// Like [`Journal::put`], but in two regions for [`Journal::open_object`]: the bytes up to `split` are opened as a
    /// whole, the rest in pages. Returns the plain bytes as well.
    ///
    /// # Errors
    /// As [`Journal::put`]; `Vault` when `split` lies after the end.
    pub async fn put_split(
        &self,
        kind: ObjectKind,
        plain: Plaintext,
        split: usize,
    ) -> Result<(ObjectRef, Plaintext), Error> {
        let seal = move |env: &JournalEnv, uuid| {
            let sealed = env.keyspace.seal_split(kind, uuid, &plain, split, &*env.entropy)?;
            Ok((sealed, plain))
        };
        self.put_sealed(kind, seal).await
    }

    /// Seals on a thread that may be busy: a gigabyte takes half a second, for which no thread of the runtime may be
    /// held.
    async fn put_sealed<T: Send + 'static>(
        &self,
        kind: ObjectKind,
        seal: impl FnOnce(&JournalEnv, ObjectUuid) -> Result<((Vec<u8>, WrappedKey), T), vault::Error> + Send + 'static,
    ) -> Result<(ObjectRef, T), Error> {
        let env = &self.0.env;
        let claimed = self.0.status.lock().epoch;
        let writer = match claimed {
            Some(epoch) => epoch,
            None => self.run_to_completion(|inner| async move { inner.claim().await }).await?,
        };
        let uuid = ObjectUuid::random(&*env.entropy);
        let sealing_env = Arc::clone(env);
        let ((sealed, key), rest) = env.storage.tasks().run_blocking(move || seal(&sealing_env, uuid)).await??;
        let object = ObjectRef { kind, uuid, writer, key, bytes: sealed.len() as u64 };
        self.0.uncommitted.lock().insert(uuid);
        let name = env.name(object.name());
        let put = move |inner: Arc<JournalInner>| async move {
            inner.env.storage.create(&name, sealed, "writing an object").await
        };
        if !self.run_to_completion(put).await? {
            return Err(self.0.corrupt_object(&object, "a fresh random name is taken"));
        }
        Ok((object, rest))
    }

    /// Opens an object with two regions ([`Journal::put_split`]): returns the plain bytes of the first region and a
    /// reader of the second. In a folder the reader holds the file open, so a deletion does not affect it. In a bucket
    /// the reader fetches what it is asked for, so it fails once the object is deleted. The reader blocks: use it in a
    /// thread pool.
    ///
    /// # Errors
    /// `Corrupt` when the object is missing, has another size or does not open; `Io`, `Store`.
    pub async fn open_object(&self, object: &ObjectRef) -> Result<(Plaintext, PagedReader), Error> {
        let (env, what) = (Arc::clone(&self.0.env), "opening an object");
        let source = env.storage.range_source(&env.name(object.name()), object.bytes, what).await?;
        let Some(source) = source else { return Err(self.missing_object(object).await) };
        if source.size() != object.bytes {
            return Err(self.0.corrupt_object(object, "the object has another size"));
        }
        let requested = object.clone();
        let opening_env = Arc::clone(&env);
        let open = move || opening_env.keyspace.open_split(requested.kind, requested.uuid, &requested.key, source);
        match env.storage.tasks().run_blocking(open).await? {
            Err(vault::Error::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(self.missing_object(object).await)
            }
            Err(vault::Error::Unreadable { source, .. }) => Err(from_io_error(what, source)),
            Err(_) => Err(self.0.corrupt_object(object, "the object does not open")),
            Ok(opened) => Ok(opened),
        }
    }

    /// All plain bytes of an object with two regions, to be sealed again.
    ///
    /// # Errors
    /// As [`Journal::open_object`].
    pub async fn read_whole_object(&self, object: &ObjectRef) -> Result<Plaintext, Error> {
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
        let read: io::Result<_> = self.0.env.storage.tasks().run_blocking(read).await?;
        match read {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Err(self.missing_object(object).await),
            Err(source) => Err(from_io_error(what, source)),
            Ok(bytes) => Ok(bytes),
        }
    }

    /// Number of objects of this keyspace under each of its key epochs. Logs and checkpoints state their epoch in their
    /// prologues; the epochs of other objects come from their references in `named`. Objects whose epoch is unknown are
    /// counted under 0.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn count_by_key_epoch(&self, named: &[ObjectRef]) -> Result<BTreeMap<KeyEpoch, u64>, Error> {
        let (env, mut counts) = (&self.0.env, BTreeMap::new());
        let epoch = |name| async move {
            match name {
                Name::Claim(_) | Name::TruncationMarker | Name::Tombstone => Ok(None),
                Name::Object(_, uuid) => {
                    let known = named.iter().find(|object| object.uuid == uuid);
                    Ok(Some(known.map_or(KeyEpoch(0), |object| object.key.epoch)))
                }
                Name::Log(_) | Name::Checkpoint(_) => {
                    let bytes = env.storage.read(&env.name(name), "reading a prologue").await?;
                    // An object that was deleted in the meantime is under no epoch.
                    Ok::<_, Error>(bytes.map(|bytes| vault::epoch_of(&bytes).unwrap_or(KeyEpoch(0))))
                }
            }
        };
        let names = env.storage.list(&env.prefix).await?;
        let mut epochs = stream::iter(names).map(epoch).buffer_unordered(PROLOGUE_READS_MAX);
        while let Some(epoch) = epochs.next().await {
            if let Some(epoch) = epoch? {
                *counts.entry(epoch).or_default() += 1;
            }
        }
        Ok(counts)
    }

    /// The error for an object that is missing. In a bucket its owner may have deleted it after we read the reference:
    /// then our state is outdated, and nothing is damaged.
    async fn missing_object(&self, object: &ObjectRef) -> Error {
        match self.check().await {
            Err(error) => error,
            Ok(()) => self.0.corrupt_object(object, "the object is missing"),
        }
    }

    /// Plain bytes of an object.
    ///
    /// # Errors
    /// `Corrupt` when the object is missing or does not open; `Stopped` when another process has written to the
    /// keyspace since it was read.
    pub async fn get(&self, object: &ObjectRef) -> Result<Plaintext, Error> {
        let (env, what) = (Arc::clone(&self.0.env), "reading an object");
        let source = env.storage.full_source(&env.name(object.name()), what).await?;
        let Some(source) = source else { return Err(self.missing_object(object).await) };
        let (requested, opening_env) = (object.clone(), Arc::clone(&env));
        let open = move || opening_env.keyspace.open_from(requested.kind, requested.uuid, &requested.key, &source);
        match env.storage.tasks().run_blocking(open).await? {
            Err(vault::Error::Unreadable { source, .. }) => Err(from_io_error(what, source)),
            opened => opened.map_err(|_| self.0.corrupt_object(object, "the object does not open")),
        }
    }

    /// Deletes an object that no durable checkpoint names. Succeeds if the object is already gone.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn delete(&self, object: &ObjectRef) -> Result<(), Error> {
        let env = &self.0.env;
        env.storage.delete(&env.name(object.name())).await?;
        self.0.uncommitted.lock().remove(&object.uuid);
        Ok(())
    }

    /// Deletes the objects that earlier writers left and that `keep` does not name; keeps the objects that this journal
    /// put. Returns the number of deleted objects. In a bucket only the owner of an epoch sweeps: before the claim, an
    /// object that nothing names may be about to be named.
    ///
    /// # Errors
    /// `Io`, `Store`; `Stopped` when this journal has detached, since its next writer may be this process.
    pub async fn sweep(&self, keep: &[ObjectRef]) -> Result<usize, Error> {
        let env = &self.0.env;
        let _no_detach = self.0.sweeping.lock().await;
        let LogStatus { epoch: ours, stopped, .. } = *self.0.status.lock();
        if let Some(why @ Stopped::Detached) = stopped {
            return Err(Error::Stopped { why, source: None });
        }
        if ours.is_none() && env.storage.is_shared() {
            return Ok(0);
        }
        let keep: HashSet<ObjectUuid> = keep.iter().map(|object| object.uuid).collect();
        let mut swept = 0;
        for name in env.storage.list(&env.prefix).await? {
            let Name::Object(writer, uuid) = name else { continue };
            // A successor's object may be about to be named, even if we do not know of the successor yet.
            let successors = ours.is_some_and(|ours| writer > ours);
            if successors || keep.contains(&uuid) || self.0.uncommitted.lock().contains(&uuid) {
                continue;
            }
            env.storage.delete(&env.name(name)).await?;
            swept += 1;
        }
        Ok(swept)
    }

    /// Declares that no checkpoint will name the objects that this process put and that `keep` does not name, for
    /// example because a checkpoint of the caller failed. From then on they are orphans, which a sweep deletes. The
    /// caller must not put objects during the call.
    pub fn release_uncommitted(&self, keep: &[ObjectRef]) {
        self.0.uncommitted.lock().retain(|uuid| keep.iter().any(|object| object.uuid == *uuid));
    }

    /// Number of orphans in this keyspace: objects that `named` does not name and that this process did not put, and
    /// log files and checkpoints that no recovery needs. The next checkpoint and [`Journal::sweep`] delete them. Costs
    /// one listing.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn count_orphans(&self, named: &[ObjectRef]) -> Result<usize, Error> {
        let env = &self.0.env;
        // No checkpoint may make files obsolete during the count; appends continue.
        let _exclusive = self.0.checkpointing.lock().await;
        let names = env.storage.list(&env.prefix).await?;
        let known = |uuid| named.iter().any(|object| object.uuid == uuid) || self.0.uncommitted.lock().contains(&uuid);
        let unnamed = names.iter().filter(|name| matches!(name, Name::Object(_, uuid) if !known(*uuid))).count();
        Ok(unnamed + self.0.log.lock().await.count_obsolete(&names))
    }

    /// Destroys the keyspace. The caller repeats the call after a crash or an error, until it succeeds.
    ///
    /// 1. Make a Drop entry durable: from here on a recovery reports `dropped`.
    /// 2. Make the tombstone durable: from here on a recovery reads nothing else.
    /// 3. Remove everything.
    ///
    /// # Errors
    /// As [`Journal::append`], `Io`.
    pub async fn destroy(&self) -> Result<(), Error> {
        self.run_to_completion(|inner| async move { inner.destroy().await }).await
    }

    /// Marks a clean shutdown with one empty group, if this process wrote anything to files. After the mark no damage
    /// to an entry can pass for a write that a crash tore.
    ///
    /// # Errors
    /// As [`Journal::append`]; then only the mark is missing, no entry.
    pub async fn close(&self) -> Result<(), Error> {
        self.run_to_completion(|inner| async move {
            let mut log = inner.log.lock().await;
            let marked = log.mark_clean().await;
            *inner.status.lock() = log.status();
            marked
        })
        .await
    }

    /// Becomes the writer of the keyspace now instead of at the first write. Returns the epoch.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn claim(&self) -> Result<LogEpoch, Error> {
        self.run_to_completion(|inner| async move { inner.claim().await }).await
    }

    /// The newest epoch of any writer when this journal read or claimed the keyspace.
    pub fn newest_epoch(&self) -> LogEpoch {
        self.0.status.lock().newest
    }

    /// Checks that what this journal read is still the whole keyspace: in a bucket another process may have taken it
    /// over. Costs one request in a bucket, and nothing in a folder, which is locked.
    ///
    /// # Errors
    /// `Stopped` when another process has written or may write; open the keyspace again. `Store`.
    pub async fn check(&self) -> Result<(), Error> {
        if !self.0.env.storage.is_shared() {
            return Ok(());
        }
        self.run_to_completion(|inner| async move {
            let mut log = inner.log.lock().await;
            let checked = log.check().await;
            *inner.status.lock() = log.status();
            checked
        })
        .await
    }

    /// Runs work to its end, whether or not the caller still waits.
    async fn run_to_completion<T: Send + 'static, F: Future<Output = Result<T, Error>> + Send + 'static>(
        &self,
        work: impl FnOnce(Arc<JournalInner>) -> F,
    ) -> Result<T, Error> {
        self.0.env.storage.tasks().run_to_completion(work(Arc::clone(&self.0))).await
    }

    /// Number of the last durable entry.
    pub fn last(&self) -> Seq {
        Seq(self.0.status.lock().last)
    }

    /// Bytes of log that a recovery would read.
    pub fn log_bytes(&self) -> u64 {
        self.0.status.lock().log_bytes
    }

    /// Why this journal accepts no more writes; `None` while it does. Reading remains possible.
    pub fn failed(&self) -> Option<Stopped> {
        self.0.status.lock().stopped
    }
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keyspace = &self.0.env.keyspace;
        write!(f, "Journal({:?} {}, last {})", keyspace.kind(), keyspace.uuid(), self.last())
    }
}

impl JournalInner {
    async fn claim(&self) -> Result<LogEpoch, Error> {
        let mut log = self.log.lock().await;
        let claimed = log.claim().await;
        *self.status.lock() = log.status();
        claimed
    }

    async fn commit(&self, body: Plaintext) -> Result<Seq, Error> {
        // The lock is fair, so entries have the order of the calls.
        let mut log = self.log.lock().await;
        let committed = match log.claim().await {
            Ok(_) => log.commit(body).await,
            Err(error) => Err(error),
        };
        *self.status.lock() = log.status();
        committed.map(Seq)
    }

    async fn checkpoint(&self, body: Plaintext, covers: Seq) -> Result<(), Error> {
        let _exclusive = self.checkpointing.lock().await;
        self.claim().await?;
        let LogStatus { last, covers: before, .. } = *self.status.lock();
        if covers.0 > last || covers.0 < before {
            return Err(Error::CoversAhead { covers: covers.0, last });
        }
        // A small body goes into the log itself; a larger one becomes an object that the log names.
        let checkpoint = if body.len() <= limits::CHECKPOINT_INLINE_BYTES_MAX {
            Checkpoint::Inline(body)
        } else {
            self.put_checkpoint(body).await?
        };
        let truncation = {
            let mut log = self.log.lock().await;
            let truncation = log.install_checkpoint(checkpoint, covers.0).await;
            *self.status.lock() = log.status();
            truncation?
        };
        self.delete_obsolete(truncation).await;
        Ok(())
    }

    async fn put_checkpoint(&self, body: Plaintext) -> Result<Checkpoint, Error> {
        let env = &self.env;
        let id = self.log.lock().await.reserve_checkpoint_id().await?;
        let uuid = ObjectUuid::random(&*env.entropy);
        let sealing_env = Arc::clone(env);
        let sealed =
            move || sealing_env.keyspace.seal_whole(ObjectKind::Checkpoint, uuid, &body, &*sealing_env.entropy);
        let sealed = env.storage.tasks().run_blocking(sealed).await??;
        let name = Name::Checkpoint(id);
        if !env.storage.create(&env.name(name), sealed, "writing a checkpoint").await? {
            // The object under this name is not this checkpoint, so nothing may name it.
            return Err(crate::log::corrupt(env, name, id.epoch, 0, "a checkpoint's name is taken"));
        }
        env.storage.step(Step::CheckpointPut)?;
        Ok(Checkpoint::Object(id, uuid))
    }

    /// Deletes obsolete log files and checkpoints. Failures are ignored: the next checkpoint finds the files again.
    async fn delete_obsolete(&self, truncation: Truncation) {
        let env = &self.env;
        // Delete oldest first, and each file before the next: the protocol of the log requires it. Files that could not
        // be deleted earlier are older than the new ones.
        let mut covered = std::mem::take(&mut *self.undeleted.lock());
        covered.extend(truncation.covered);
        for (i, id) in covered.iter().enumerate() {
            let deleted = env.storage.delete(&env.name(Name::Log(*id))).await;
            if deleted.and_then(|()| env.storage.step(Step::OldLogDeleted)).is_err() {
                *self.undeleted.lock() = covered.split_off(i);
                return;
            }
        }
        for name in env.storage.list(&env.prefix).await.unwrap_or_default() {
            // A newer checkpoint may be a successor's.
            if !matches!(name, Name::Checkpoint(id) if id < truncation.checkpoint) {
                continue;
            }
            let deleted = env.storage.delete(&env.name(name)).await;
            if deleted.and_then(|()| env.storage.step(Step::OldCheckpointDeleted)).is_err() {
                return;
            }
        }
    }

    async fn destroy(&self) -> Result<(), Error> {
        let _exclusive = self.checkpointing.lock().await;
        let mut log = self.log.lock().await;
        // In a repeated call the Drop entry is in the log already.
        if log.status().stopped != Some(Stopped::Dropped) {
            let dropped = match log.claim().await {
                Ok(_) => log.drop_keyspace().await,
                Err(error) => Err(error),
            };
            *self.status.lock() = log.status();
            dropped?;
        }
        let env = &self.env;
        let tombstone = b"ringfence tombstone 0\n".to_vec();
        env.storage.create(&env.name(Name::Tombstone), tombstone, "writing the tombstone").await?;
        env.storage.step(Step::Tombstone)?;
        env.storage.remove_keyspace(&env.prefix).await?;
        env.storage.step(Step::Removed)?;
        tracing::info!(keyspace = ?env.keyspace.kind(), uuid = %env.keyspace.uuid(), "keyspace destroyed");
        Ok(())
    }

    fn corrupt_object(&self, object: &ObjectRef, why: &'static str) -> Error {
        crate::log::corrupt(&self.env, object.name(), object.writer, 0, why)
    }
}

/// Number of prologues read concurrently.
const PROLOGUE_READS_MAX: usize = 16;

#[cfg(test)]
mod tests;
