//! The data folder on a local file system: locked for this process, its format checked, its objects durable when put.
//! Plain blocking calls.
//!
//! Every keyspace is one folder. The slash after a name's kind is a dash on disk, so that a small keyspace is one
//! folder with one file in it.

use crate::{
    Error,
    disk::{Disk, DiskFile},
    error::io_error,
    names::Name,
    sources::FileSource,
};
use kernel::ReadAt;
use parking_lot::Mutex;
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The data folder. Dropping it releases the lock.
pub(crate) struct DataFolder {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Folders that this process knows to be durable, including all of their parents.
    durable: Mutex<HashSet<PathBuf>>,
    _lock: Box<dyn Send + Sync>,
}

/// Contents of a keyspace's folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Names of the files, in order.
    pub(crate) names: Vec<Name>,
    /// Files that never got their final name, relative to the keyspace.
    pub(crate) unfinished: Vec<String>,
}

impl DataFolder {
    /// Creates the folder (0700) if it is missing, locks it, and checks its format.
    pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, Error> {
        let io = |source| io_error("opening the data folder", source);
        make_root(&*disk, root).map_err(io)?;
        let lock = disk.lock(&root.join("lock"), &std::process::id().to_string()).map_err(io)?;
        let lock = lock.map_err(|holder| Error::InUse { holder: parse_process_id(holder) })?;
        let folder = Self { root: root.to_path_buf(), disk, durable: Mutex::default(), _lock: lock };
        folder.check_format()?;
        Ok(folder)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Path of a name: `<kind>/<shard>/<uuid>/<folder>/<rest>` is stored in the folder of the keyspace as
    /// `<folder>-<rest>`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let mut components = name.splitn(4, '/');
        let mut path = self.root.clone();
        path.extend(components.by_ref().take(3));
        if let Some(file_name) = components.next().filter(|file_name| !file_name.is_empty()) {
            path.push(file_name.replace('/', "-"));
        }
        path
    }

    /// Puts an object that must not exist yet. Returns `false` if it already exists.
    ///
    /// 1. Create the folders and flush them upward. A crash leaves empty folders.
    /// 2. Write and flush `<name>.new`. A crash leaves a file that is never read and is removed when the keyspace
    ///    opens.
    /// 3. Link it to the name, which fails if the name is taken.
    /// 4. Remove the temporary name and flush the folder. Only now may the caller rely on the object.
    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let path = self.path(name);
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.make_folders(folder)?;
        let unfinished = unfinished_path(&path);
        let written = write_new(&*self.disk, &unfinished, bytes);
        let linked = written.and_then(|()| self.disk.link(&unfinished, &path));
        let removed = self.disk.remove_file(&unfinished);
        match linked {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            other => other?,
        }
        removed?;
        self.disk.sync_folder(folder)?;
        Ok(true)
    }

    /// Creates a folder and its parents up to the root, each flushed into its parent. An existing folder may have been
    /// created by a process that died before it flushed, so whatever this process has not flushed itself is flushed
    /// again.
    pub(crate) fn make_folders(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.durable.lock().contains(folder) {
            return Ok(());
        }
        let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.make_folders(parent)?;
        make_folder(&*self.disk, folder)?;
        self.disk.sync_folder(parent)?;
        self.durable.lock().insert(folder.to_path_buf());
        Ok(())
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        none_if_missing(self.disk.read(&self.path(name)))
    }

    /// Opens a file, to be read in pieces.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        none_if_missing(self.disk.open(&self.path(name)))
    }

    /// Opens a file as a [`ReadAt`] source.
    pub(crate) fn open_source(&self, name: &str) -> io::Result<Option<Arc<dyn ReadAt>>> {
        let opened = self.open_file(name)?.map(FileSource::new).transpose()?;
        Ok(opened.map(|source| Arc::new(source) as Arc<dyn ReadAt>))
    }

    /// Removes a file. Succeeds if the file is already gone.
    pub(crate) fn delete(&self, name: &str) -> io::Result<()> {
        none_if_missing(self.disk.remove_file(&self.path(name))).map(drop)
    }

    /// Like `delete`, but durable when it returns.
    pub(crate) fn delete_synced(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        if none_if_missing(self.disk.remove_file(&path))?.is_none() {
            return Ok(());
        }
        path.parent().map_or(Ok(()), |folder| self.disk.sync_folder(folder))
    }

    /// Completely written files in a folder that belongs to no keyspace.
    pub(crate) fn names_in(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = none_if_missing(self.disk.list(&self.path(folder)))?.unwrap_or_default();
        names.retain(|name| !name.ends_with(UNFINISHED));
        names.sort_unstable();
        Ok(names)
    }

    /// Contents of a keyspace. Empty when it has no folder.
    pub(crate) fn list(&self, prefix: &str) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for file in none_if_missing(self.disk.list(&self.path(prefix)))?.unwrap_or_default() {
            if file.ends_with(UNFINISHED) {
                listing.unfinished.push(file);
            } else {
                listing.names.extend(Name::parse(&file.replacen('-', "/", 1)));
            }
        }
        listing.names.sort_unstable();
        Ok(listing)
    }

    /// Removes a keyspace's folder with all of its files. Succeeds if the folder is already gone. The tombstone goes
    /// last, so that a crash never leaves some files of the keyspace without it.
    pub(crate) fn remove_keyspace(&self, prefix: &str) -> io::Result<()> {
        let path = self.path(prefix);
        let Some(files) = none_if_missing(self.disk.list(&path))? else { return Ok(()) };
        let tombstone = Name::Tombstone.to_string();
        for file in files.into_iter().filter(|file| *file != tombstone) {
            match self.disk.remove_file(&path.join(file)) {
                // A folder is not ours; it is removed together with the keyspace's folder.
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
                removed => drop(none_if_missing(removed)?),
            }
        }
        self.disk.sync_folder(&path)?;
        self.durable.lock().remove(&path);
        self.disk.remove_folder(&path)?;
        path.parent().map_or(Ok(()), |parent| self.disk.sync_folder(parent))
    }

    /// Entries two levels below this folder: `ns/3f/<uuid>`.
    pub(crate) fn folders_below(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for shard in none_if_missing(self.disk.list(&self.path(folder)))?.unwrap_or_default() {
            let shard = format!("{folder}/{shard}");
            // A shard that is a file, or that vanished in the meantime, holds no keyspace.
            let names = match self.disk.list(&self.root.join(&shard)) {
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                names => names?,
            };
            found.extend(names.into_iter().map(|name| format!("{shard}/{name}")));
        }
        Ok(found)
    }

    pub(crate) fn free(&self) -> io::Result<u64> {
        self.disk.free(&self.root)
    }

    /// Checks or writes the format marker. The marker is written before anything else, so a folder without one holds
    /// none of our data.
    fn check_format(&self) -> Result<(), Error> {
        let io = |source| io_error("reading the format marker", source);
        match self.read(FORMAT_NAME).map_err(io)? {
            Some(found) => check_format_marker(&found),
            None => self.create(FORMAT_NAME, FORMAT.as_bytes()).map_err(io).map(drop),
        }
    }
}

/// Refuses data that another version wrote.
pub(crate) fn check_format_marker(found: &[u8]) -> Result<(), Error> {
    if found == FORMAT.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&found[..found.len().min(40)]).trim_end().to_owned();
    Err(Error::Format { found, expected: FORMAT.trim_end() })
}

/// Creates the data folder and its parents, each flushed into its own parent.
fn make_root(disk: &dyn Disk, root: &Path) -> io::Result<()> {
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
    if disk.is_folder(root) {
        // The process that created the folder may have died before it flushed. A parent that we may not read belongs to
        // the system and was there before.
        if let Some(Err(error)) = parent.map(|parent| disk.sync_folder(parent))
            && error.kind() != io::ErrorKind::PermissionDenied
        {
            return Err(error);
        }
        return Ok(());
    }
    if let Some(parent) = parent.filter(|parent| !disk.is_folder(parent)) {
        make_root(disk, parent)?;
    }
    make_folder(disk, root)?;
    parent.map_or(Ok(()), |parent| disk.sync_folder(parent))
}

fn make_folder(disk: &dyn Disk, folder: &Path) -> io::Result<()> {
    match disk.make_folder(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Temporary path of a file until it gets its final name.
pub(crate) fn unfinished_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

fn write_new(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file: Box<dyn DiskFile> = disk.create(path)?;
    file.write_at(bytes, 0)?;
    file.sync_all()
}

fn none_if_missing<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn parse_process_id(text: String) -> String {
    let number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if number { text } else { "unknown".to_owned() }
}

const UNFINISHED: &str = ".new";
/// Name of the file or object that marks a folder or bucket as ours.
pub(crate) const FORMAT_NAME: &str = "FORMAT";
/// Content of the format marker.
pub(crate) const FORMAT: &str = "ringfence data, format 0\n";

#[cfg(test)]
mod tests;
