//! The data folder: locked for this process, its format checked, its objects durable when put.

use crate::{
    Error,
    error::{io_error, store_error},
    faults::{Faults, Step},
    file,
    tasks::Tasks,
};
use fs4::fs_std::FileExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem, path::Path as Name};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The data folder. Clones are the same folder; the lock goes with the last one.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    root: PathBuf,
    objects: LocalFileSystem,
    tasks: Tasks,
    faults: Arc<Faults>,
    _lock: File,
}

impl Storage {
    /// Opens the folder, makes it (0700) when there is none, and locks it for this process.
    ///
    /// # Errors
    /// `InUse` when another process holds it, `Format` when another version wrote it, `Full`, `Io`.
    pub async fn open(data: &Path) -> Result<Self, Error> {
        let tasks = Tasks::default();
        let root = data.to_path_buf();
        let (root, lock) = tasks.disk(move || lock_folder(&root).map(|lock| (root, lock))).await??;
        let objects = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| store_error("opening the data folder", source))?
            .with_fsync(true);
        Ok(Self(Arc::new(Inner { root, objects, tasks, faults: Arc::default(), _lock: lock })))
    }

    /// Bytes that the disk below has left.
    ///
    /// # Errors
    /// `Io` when the system does not say.
    pub fn disk_free(&self) -> Result<u64, Error> {
        fs4::available_space(&self.0.root).map_err(|source| io_error("asking for free space", source))
    }

    /// Waits until everything that was handed over is written or has failed.
    pub async fn close(&self) {
        self.0.tasks.drain().await;
    }

    /// The path of a name, for the log's own files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.root.join(name)
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(crate) fn faults(&self) -> &Arc<Faults> {
        &self.0.faults
    }

    /// Puts an object that must not be there yet; durable when this returns. `false`: it was there.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>, what: &'static str) -> Result<bool, Error> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.0.objects.put_opts(&Name::from(name), bytes.into(), options).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(source) => Err(store_error(what, source)),
        }
    }

    /// An object's bytes, `None` when there is none.
    pub(crate) async fn read(&self, name: &str, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let got = match self.0.objects.get(&Name::from(name)).await {
            Ok(got) => got,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(source) => return Err(store_error(what, source)),
        };
        let bytes = got.bytes().await.map_err(|source| store_error(what, source))?;
        Ok(Some(bytes.into()))
    }

    /// Deletes an object; one that is gone already is fine.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), Error> {
        match self.0.objects.delete(&Name::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(source) => Err(store_error("deleting an object", source)),
        }
    }

    /// Deletes a file by its name, also one that the object store does not list.
    pub(crate) async fn remove_file(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match self.0.tasks.disk(move || fs::remove_file(path)).await? {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(io_error("deleting a file", source)),
            _ => Ok(()),
        }
    }

    /// Says that a step is done.
    pub(crate) fn step(&self, step: Step) -> Result<(), Error> {
        self.0.faults.after(step).map_err(|source| io_error("going on", source))
    }

    /// Last parts of the names right under a folder, sorted. None when there is no such folder.
    pub(crate) async fn list(&self, folder: &str) -> Result<Vec<String>, Error> {
        let path = self.path(folder);
        self.0.tasks.disk(move || list_folder(&path)).await?.map_err(|source| io_error("listing a folder", source))
    }
}

/// Names in a folder, sorted; none when there is no folder.
pub(crate) fn list_folder(path: &Path) -> std::io::Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn lock_folder(root: &Path) -> Result<File, Error> {
    let io = |source| io_error("opening the data folder", source);
    if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        file::make_folders(parent).map_err(io)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(error)),
        _ => {}
    }
    let mut lock =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(root.join("lock")).map_err(io)?;
    if !FileExt::try_lock_exclusive(&lock).map_err(io)? {
        return Err(Error::InUse { holder: holder(&mut lock) });
    }
    lock.set_len(0).map_err(io)?;
    lock.write_all(std::process::id().to_string().as_bytes()).map_err(io)?;
    check_format(root)?;
    Ok(lock)
}

fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    let said = lock.take(20).read_to_string(&mut text).is_ok() && !text.is_empty();
    if said && text.bytes().all(|b| b.is_ascii_digit()) { text } else { "unknown".to_owned() }
}

/// The marker is written before anything else, so a folder without one holds nothing of ours.
fn check_format(root: &Path) -> Result<(), Error> {
    let io = |source| io_error("reading the format marker", source);
    let path = root.join("FORMAT");
    match fs::read(&path) {
        Ok(found) if found == FORMAT.as_bytes() => Ok(()),
        Ok(found) => Err(Error::Format {
            found: String::from_utf8_lossy(&found[..found.len().min(40)]).trim_end().to_owned(),
            expected: FORMAT.trim_end(),
        }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let temporary = root.join("FORMAT.new");
            let mut file = File::create(&temporary).map_err(io)?;
            file.write_all(FORMAT.as_bytes()).and_then(|()| file.sync_all()).map_err(io)?;
            fs::rename(&temporary, &path).and_then(|()| file::sync_folder(root)).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

const FORMAT: &str = "ringfence data, format 0\n";
