//! The storage of all keyspaces: a folder on a local disk, or a bucket, with the same calls for both.

use crate::{
    Error,
    block_cache::BlockCache,
    bucket::{Bucket, CreateOutcome},
    data_folder::{DataFolder, FORMAT, FORMAT_NAME, check_format_marker},
    disk::{Disk, RealDisk},
    error::io_error,
    faults::{Faults, Step},
    names::Name,
    sources::BucketSource,
    tasks::Tasks,
};
use kernel::{ReadAt, limits};
use object_store::ObjectStore;
use std::{io, path::Path, sync::Arc};

/// A data folder, locked for this process, or a bucket. Clones share the same storage.
#[derive(Clone)]
pub struct Storage(Arc<StorageInner>);

struct StorageInner {
    backend: StorageBackend,
    tasks: Tasks,
    faults: Arc<Faults>,
    /// Cached blocks of a bucket's objects.
    block_cache: Arc<BlockCache>,
}

/// The two kinds of storage.
#[derive(Clone)]
pub(crate) enum StorageBackend {
    /// A data folder.
    Folder(Arc<DataFolder>),
    /// An object store.
    Bucket(Arc<Bucket>),
}

/// Where blocking file calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On blocking threads.
    Threads,
    /// On the calling thread: for simulations, which have a single thread and simulated time.
    Inline,
}

impl Storage {
    /// Opens a folder, creates it (0700) if it is missing, and locks it for this process.
    ///
    /// # Errors
    /// `InUse` when another process holds it, `Format` when another version wrote it, `Full`, `Io`.
    pub async fn open(root: &Path) -> Result<Self, Error> {
        Self::on_disk(Arc::new(RealDisk), root, Blocking::Threads).await
    }

    /// Like [`Storage::open`], on the given file system.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub async fn on_disk(disk: Arc<dyn Disk>, root: &Path, blocking: Blocking) -> Result<Self, Error> {
        let tasks = Tasks::new(blocking);
        let root = root.to_path_buf();
        let data_folder = tasks.run_blocking(move || DataFolder::open(disk, &root)).await??;
        Ok(Self::new(StorageBackend::Folder(Arc::new(data_folder)), tasks))
    }

    /// Uses a bucket, or a prefix of one. The store must support create-if-absent, which [`crate::probe`] checks.
    /// Nothing locks the bucket: each keyspace decides on its own which process writes. `once` is the same bucket
    /// through a client that never repeats a request by itself.
    ///
    /// # Errors
    /// `Format` when another version wrote it, `Store`.
    pub async fn remote(
        store: Arc<dyn ObjectStore>,
        once: Arc<dyn ObjectStore>,
        blocking: Blocking,
    ) -> Result<Self, Error> {
        let bucket = Bucket::new(store, once);
        let what = "reading the format marker";
        let created = match bucket.read(FORMAT_NAME, what).await? {
            Some(found) => return check_format_marker(&found).map(|()| Self::on_bucket(bucket, blocking)),
            None => bucket.create(FORMAT_NAME, FORMAT.into(), what).await?,
        };
        if created == CreateOutcome::Taken {
            // Another process wrote the marker at the same time.
            check_format_marker(&bucket.read(FORMAT_NAME, what).await?.unwrap_or_default())?;
        }
        Ok(Self::on_bucket(bucket, blocking))
    }

    fn on_bucket(bucket: Bucket, blocking: Blocking) -> Self {
        Self::new(StorageBackend::Bucket(Arc::new(bucket)), Tasks::new(blocking))
    }

    fn new(backend: StorageBackend, tasks: Tasks) -> Self {
        let block_cache = Arc::new(BlockCache::new(limits::REMOTE_BLOCKS_BYTES_MAX));
        Self(Arc::new(StorageInner { backend, tasks, faults: Arc::default(), block_cache }))
    }

    /// Free bytes of the disk; `None` for a bucket, which does not report them.
    ///
    /// # Errors
    /// `Io` when the system does not report it.
    pub fn disk_free(&self) -> Result<Option<u64>, Error> {
        match self.backend() {
            StorageBackend::Folder(data_folder) => {
                data_folder.free().map(Some).map_err(|source| io_error("reading the free space of the disk", source))
            }
            StorageBackend::Bucket(_) => Ok(None),
        }
    }

    /// Whether other processes may write here at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self.backend(), StorageBackend::Bucket(_))
    }

    /// Waits until all work that was handed over has finished or failed.
    pub async fn close(&self) {
        self.0.tasks.drain().await;
    }

    pub(crate) fn backend(&self) -> &StorageBackend {
        &self.0.backend
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(crate) fn faults(&self) -> &Arc<Faults> {
        &self.0.faults
    }

    /// Puts an object that must not exist yet; durable when this returns. Returns `false` if another object has the
    /// name.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>, what: &'static str) -> Result<bool, Error> {
        match self.backend() {
            StorageBackend::Bucket(bucket) => Ok(bucket.create(name, bytes, what).await? == CreateOutcome::Ours),
            StorageBackend::Folder(_) => {
                let name = name.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.create(&name, &bytes)).await
            }
        }
    }

    /// Bytes of an object; `None` if there is none.
    pub(crate) async fn read(&self, name: &str, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
        match self.backend() {
            StorageBackend::Bucket(bucket) => bucket.read(name, what).await,
            StorageBackend::Folder(_) => {
                let name = name.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.read(&name)).await
            }
        }
    }

    /// Source of an object that will be read completely; `None` if there is none. From a bucket it is fetched in one
    /// request.
    pub(crate) async fn full_source(&self, name: &str, what: &'static str) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        match self.backend() {
            StorageBackend::Bucket(bucket) => {
                let bytes = bucket.read(name, what).await?;
                Ok(bytes.map(|bytes| Arc::new(bytes) as Arc<dyn ReadAt>))
            }
            StorageBackend::Folder(_) => {
                let name = name.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.open_source(&name)).await
            }
        }
    }

    /// Source of an object of `bytes` bytes that will be read in pieces; `None` if there is none, which in a bucket
    /// only the first read finds out. A simulation gets the whole object, since it has no thread that may wait.
    pub(crate) async fn range_source(
        &self,
        name: &str,
        bytes: u64,
        what: &'static str,
    ) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        let StorageBackend::Bucket(bucket) = self.backend() else {
            let name = name.to_owned();
            return self.on_data_folder(what, move |data_folder| data_folder.open_source(&name)).await;
        };
        let Some(runtime) = self.0.tasks.runtime() else {
            return self.full_source(name, what).await;
        };
        let block_cache = Arc::clone(&self.0.block_cache);
        Ok(Some(Arc::new(BucketSource::new(Arc::clone(bucket), name.to_owned(), bytes, runtime, block_cache))))
    }

    /// Deletes an object. Succeeds if the object is already gone.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        let what = "deleting an object";
        match self.backend() {
            StorageBackend::Bucket(bucket) => bucket.delete(name, what).await,
            StorageBackend::Folder(_) => {
                let name = name.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.delete(&name)).await
            }
        }
    }

    /// Names in a keyspace, in order.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Name>, Error> {
        let what = "listing a keyspace";
        match self.backend() {
            StorageBackend::Bucket(bucket) => bucket.list(prefix, "", what).await,
            StorageBackend::Folder(_) => {
                let prefix = prefix.to_owned();
                Ok(self.on_data_folder(what, move |data_folder| data_folder.list(&prefix)).await?.names)
            }
        }
    }

    /// Removes a keyspace with everything in it. In a bucket the tombstone is deleted alone and last: a keyspace
    /// without a tombstone must be complete.
    pub(crate) async fn remove_keyspace(&self, prefix: &str) -> Result<(), Error> {
        let what = "removing a keyspace";
        match self.backend() {
            StorageBackend::Bucket(bucket) => {
                let phase = |name| match name {
                    Name::Object(..) | Name::Checkpoint(_) => 0,
                    Name::Claim(_) | Name::Log(_) | Name::TruncationMarker => 1,
                    Name::Tombstone => 2,
                };
                bucket.remove(prefix, phase, what).await
            }
            StorageBackend::Folder(_) => {
                let prefix = prefix.to_owned();
                self.on_data_folder(what, move |data_folder| data_folder.remove_keyspace(&prefix)).await
            }
        }
    }

    /// Reports a completed step to the fault injection of the tests.
    pub(crate) fn step(&self, step: Step) -> Result<(), Error> {
        self.0.faults.after(step).map_err(|source| io_error("continuing", source))
    }

    pub(crate) async fn on_data_folder<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&DataFolder) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let StorageBackend::Folder(data_folder) = self.backend() else { return Err(Error::Closing) };
        let data_folder = Arc::clone(data_folder);
        self.0.tasks.run_blocking(move || work(&data_folder)).await?.map_err(|source| io_error(what, source))
    }
}
