//! Where everything is kept: a folder on a local disk, or a bucket. One set of calls for both.

use crate::{
    Error,
    blocks::Blocks,
    bucket::{Bucket, Created},
    disk::{Disk, RealDisk},
    error::io_error,
    faults::{Faults, Step},
    local::{FORMAT, FORMAT_NAME, Local, format_is_ours},
    names::Name,
    sources::BucketSource,
    tasks::Tasks,
};
use kernel::{ReadAt, limits};
use object_store::ObjectStore;
use std::{io, path::Path, sync::Arc};

/// A data folder, locked for this process, or a bucket. Clones are the same one.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    backend: Backend,
    tasks: Tasks,
    faults: Arc<Faults>,
    /// Of a bucket's objects.
    blocks: Arc<Blocks>,
}

/// Which of the two.
#[derive(Clone)]
pub(crate) enum Backend {
    /// A folder.
    Local(Arc<Local>),
    /// An object store.
    Bucket(Arc<Bucket>),
}

/// Where blocking file calls run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// On threads that may block.
    Threads,
    /// Where they are called: for simulations, which have one thread and no time of their own.
    Inline,
}

impl Storage {
    /// Opens a folder, makes it (0700) when there is none, and locks it for this process.
    ///
    /// # Errors
    /// `InUse` when another process holds it, `Format` when another version wrote it, `Full`, `Io`.
    pub async fn open(data: &Path) -> Result<Self, Error> {
        Self::on_disk(Arc::new(RealDisk), data, Blocking::Threads).await
    }

    /// The same on a file system of the caller's.
    ///
    /// # Errors
    /// As [`Storage::open`].
    pub async fn on_disk(disk: Arc<dyn Disk>, data: &Path, blocking: Blocking) -> Result<Self, Error> {
        let tasks = Tasks::new(blocking);
        let root = data.to_path_buf();
        let local = tasks.disk(move || Local::open(disk, &root)).await??;
        Ok(Self::with(Backend::Local(Arc::new(local)), tasks))
    }

    /// Stands on a bucket (with a prefix, if need be). It must keep create-if-absent, which
    /// [`crate::probe`] finds out. Nothing locks it: who writes is settled place by place. `once` is
    /// the same bucket through a client that never sends a request a second time by itself.
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
            Some(found) => return format_is_ours(&found).map(|()| Self::on_bucket(bucket, blocking)),
            None => bucket.create(FORMAT_NAME, FORMAT.into(), what).await?,
        };
        if created == Created::Taken {
            // Somebody wrote another one in this moment.
            format_is_ours(&bucket.read(FORMAT_NAME, what).await?.unwrap_or_default())?;
        }
        Ok(Self::on_bucket(bucket, blocking))
    }

    fn on_bucket(bucket: Bucket, blocking: Blocking) -> Self {
        Self::with(Backend::Bucket(Arc::new(bucket)), Tasks::new(blocking))
    }

    fn with(backend: Backend, tasks: Tasks) -> Self {
        let blocks = Arc::new(Blocks::new(limits::REMOTE_BLOCKS_BYTES_MAX));
        Self(Arc::new(Inner { backend, tasks, faults: Arc::default(), blocks }))
    }

    /// Bytes that the disk below has left; `None` for a bucket, which does not say.
    ///
    /// # Errors
    /// `Io` when the system does not say.
    pub fn disk_free(&self) -> Result<Option<u64>, Error> {
        match self.backend() {
            Backend::Local(local) => local.free().map(Some).map_err(|source| io_error("asking for free space", source)),
            Backend::Bucket(_) => Ok(None),
        }
    }

    /// Whether other processes may write here at the same time.
    pub fn is_shared(&self) -> bool {
        matches!(self.backend(), Backend::Bucket(_))
    }

    /// Waits until everything that was handed over is written or has failed.
    pub async fn close(&self) {
        self.0.tasks.drain().await;
    }

    pub(crate) fn backend(&self) -> &Backend {
        &self.0.backend
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(crate) fn faults(&self) -> &Arc<Faults> {
        &self.0.faults
    }

    /// Puts an object that must not be there yet; durable when this returns. `false`: another was there.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>, what: &'static str) -> Result<bool, Error> {
        match self.backend() {
            Backend::Bucket(bucket) => Ok(bucket.create(name, bytes, what).await? == Created::Ours),
            Backend::Local(_) => {
                let name = name.to_owned();
                self.local(what, move |local| local.create(&name, &bytes)).await
            }
        }
    }

    /// An object's bytes, `None` when there is none.
    pub(crate) async fn read(&self, name: &str, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
        match self.backend() {
            Backend::Bucket(bucket) => bucket.read(name, what).await,
            Backend::Local(_) => {
                let name = name.to_owned();
                self.local(what, move |local| local.read(&name)).await
            }
        }
    }

    /// An object, all of which is read next; `None` when there is none. From a bucket it comes in one request.
    pub(crate) async fn whole(&self, name: &str, what: &'static str) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        match self.backend() {
            Backend::Bucket(bucket) => {
                let bytes = bucket.read(name, what).await?;
                Ok(bytes.map(|bytes| Arc::new(bytes) as Arc<dyn ReadAt>))
            }
            Backend::Local(_) => {
                let name = name.to_owned();
                self.local(what, move |local| local.open_source(&name)).await
            }
        }
    }

    /// An object of this size, to be read in pieces; `None` when there is none. In a bucket that is found out by
    /// the first read. A simulation gets it whole: it has no thread that may wait.
    pub(crate) async fn source(
        &self,
        name: &str,
        bytes: u64,
        what: &'static str,
    ) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        let Backend::Bucket(bucket) = self.backend() else {
            let name = name.to_owned();
            return self.local(what, move |local| local.open_source(&name)).await;
        };
        let Some(runtime) = self.0.tasks.runtime() else {
            return self.whole(name, what).await;
        };
        let blocks = Arc::clone(&self.0.blocks);
        Ok(Some(Arc::new(BucketSource::new(Arc::clone(bucket), name.to_owned(), bytes, runtime, blocks))))
    }

    /// Deletes an object; one that is gone already is fine.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        let what = "deleting an object";
        match self.backend() {
            Backend::Bucket(bucket) => bucket.delete(name, what).await,
            Backend::Local(_) => {
                let name = name.to_owned();
                self.local(what, move |local| local.delete(&name)).await
            }
        }
    }

    /// What stands in a place, in order.
    pub(crate) async fn list(&self, prefix: &str) -> Result<Vec<Name>, Error> {
        let what = "listing a place";
        match self.backend() {
            Backend::Bucket(bucket) => bucket.list(prefix, "", what).await,
            Backend::Local(_) => {
                let prefix = prefix.to_owned();
                Ok(self.local(what, move |local| local.list(&prefix)).await?.names)
            }
        }
    }

    /// Removes a place with all in it. In a bucket the tombstone goes alone and last: whatever stands
    /// without it must be a whole place.
    pub(crate) async fn remove_place(&self, prefix: &str) -> Result<(), Error> {
        let what = "removing a place";
        match self.backend() {
            Backend::Bucket(bucket) => {
                let turn = |name| match name {
                    Name::Object(..) | Name::Checkpoint(_) => 0,
                    Name::Claim(_) | Name::Log(_) | Name::Cut => 1,
                    Name::Tombstone => 2,
                };
                bucket.remove(prefix, turn, what).await
            }
            Backend::Local(_) => {
                let prefix = prefix.to_owned();
                self.local(what, move |local| local.remove_place(&prefix)).await
            }
        }
    }

    /// Says that a step is done.
    pub(crate) fn step(&self, step: Step) -> Result<(), Error> {
        self.0.faults.after(step).map_err(|source| io_error("going on", source))
    }

    pub(crate) async fn local<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&Local) -> io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let Backend::Local(local) = self.backend() else { return Err(Error::Closing) };
        let local = Arc::clone(local);
        self.0.tasks.disk(move || work(&local)).await?.map_err(|source| io_error(what, source))
    }
}
