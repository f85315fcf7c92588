//! The data folder on a local file system: locked for this process, its format checked, its objects
//! durable when put. Plain blocking calls.
//!
//! One folder a place. The slash behind a name's kind is a dash on disk, so that a small place is
//! one folder with one file in it.

use crate::{
    Error,
    disk::{Disk, DiskFile},
    error::io_error,
    names::Name,
    sources::FileSource,
};
use kernel::ReadAt;
use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The folder. The lock goes with it.
pub(crate) struct Local {
    root: PathBuf,
    disk: Arc<dyn Disk>,
    /// Folders that this process knows to be durable, with all above them.
    durable: Mutex<HashSet<PathBuf>>,
    _lock: Box<dyn Send + Sync>,
}

/// What stands in a place's folder.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// In order.
    pub(crate) names: Vec<Name>,
    /// Files that never got their name, relative to the place.
    pub(crate) unfinished: Vec<String>,
}

impl Local {
    /// Makes the folder (0700) when there is none, locks it, checks its format.
    pub(crate) fn open(disk: Arc<dyn Disk>, root: &Path) -> Result<Self, Error> {
        let io = |source| io_error("opening the data folder", source);
        make_root(&*disk, root).map_err(io)?;
        let taken = disk.lock(&root.join("lock"), &std::process::id().to_string()).map_err(io)?;
        let lock = taken.map_err(|holder| Error::InUse { holder: process_id(holder) })?;
        let local = Self { root: root.to_path_buf(), disk, durable: Mutex::default(), _lock: lock };
        local.check_format()?;
        Ok(local)
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// `<kind>/<shard>/<uuid>/<folder>/<rest>` lies in the folder of the place as `<folder>-<rest>`.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        let mut parts = name.splitn(4, '/');
        let mut path = self.root.clone();
        path.extend(parts.by_ref().take(3));
        if let Some(inside) = parts.next().filter(|inside| !inside.is_empty()) {
            path.push(inside.replace('/', "-"));
        }
        path
    }

    /// Puts an object that must not be there yet. `false`: it was there.
    ///
    /// 1. folders, flushed upward: a crash leaves empty folders
    /// 2. `<name>.new`, flushed: a crash leaves a file that nobody reads, removed when the place opens
    /// 3. a link to the name, which fails if it is taken
    /// 4. the other name removed, the folder flushed: only now the caller may rely on it
    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let path = self.path(name);
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.make_folders(folder)?;
        let unfinished = unfinished(&path);
        let written = write_whole(&*self.disk, &unfinished, bytes);
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

    /// Makes a folder and those above it, up to the root, each flushed into the one above. A folder
    /// that is there already may have been made by a process that died before it flushed: so what
    /// this process has not flushed itself is flushed again.
    pub(crate) fn make_folders(&self, folder: &Path) -> io::Result<()> {
        if folder == self.root || self.durable().contains(folder) {
            return Ok(());
        }
        let parent = folder.parent().ok_or(io::ErrorKind::InvalidInput)?;
        self.make_folders(parent)?;
        make_folder(&*self.disk, folder)?;
        self.disk.sync_folder(parent)?;
        self.durable().insert(folder.to_path_buf());
        Ok(())
    }

    fn durable(&self) -> MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        absent(self.disk.read(&self.path(name)))
    }

    /// Opens a file, to be read in pieces.
    pub(crate) fn open_file(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        absent(self.disk.open(&self.path(name)))
    }

    /// The same as a source of bytes.
    pub(crate) fn open_source(&self, name: &str) -> io::Result<Option<Arc<dyn ReadAt>>> {
        let opened = self.open_file(name)?.map(FileSource::new).transpose()?;
        Ok(opened.map(|source| Arc::new(source) as Arc<dyn ReadAt>))
    }

    /// Removes a file; one that is gone is fine.
    pub(crate) fn delete(&self, name: &str) -> io::Result<()> {
        absent(self.disk.remove_file(&self.path(name))).map(drop)
    }

    /// The same, durable when this returns.
    pub(crate) fn delete_synced(&self, name: &str) -> io::Result<()> {
        let path = self.path(name);
        if absent(self.disk.remove_file(&path))?.is_none() {
            return Ok(());
        }
        path.parent().map_or(Ok(()), |folder| self.disk.sync_folder(folder))
    }

    /// Whole files in a folder that is no place's.
    pub(crate) fn names_in(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut names = absent(self.disk.list(&self.path(folder)))?.unwrap_or_default();
        names.retain(|name| !name.ends_with(UNFINISHED));
        names.sort_unstable();
        Ok(names)
    }

    /// What a place holds. Empty when it has no folder.
    pub(crate) fn list(&self, prefix: &str) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for file in absent(self.disk.list(&self.path(prefix)))?.unwrap_or_default() {
            if file.ends_with(UNFINISHED) {
                listing.unfinished.push(file);
            } else {
                listing.names.extend(Name::parse(&file.replacen('-', "/", 1)));
            }
        }
        listing.names.sort_unstable();
        Ok(listing)
    }

    /// Removes a place's folder with all in it; one that is gone is fine. The tombstone goes last, so
    /// that a crash never leaves a part of the place without it.
    pub(crate) fn remove_place(&self, prefix: &str) -> io::Result<()> {
        let path = self.path(prefix);
        let Some(files) = absent(self.disk.list(&path))? else { return Ok(()) };
        let tombstone = Name::Tombstone.to_string();
        for file in files.into_iter().filter(|file| *file != tombstone) {
            match self.disk.remove_file(&path.join(file)) {
                // Not one of ours; it goes with the folder.
                Err(error) if error.kind() == io::ErrorKind::IsADirectory => {}
                removed => drop(absent(removed)?),
            }
        }
        self.disk.sync_folder(&path)?;
        self.durable().remove(&path);
        self.disk.remove_folder(&path)?;
        path.parent().map_or(Ok(()), |parent| self.disk.sync_folder(parent))
    }

    /// What stands two folders below this one: `ns/3f/<number>`.
    pub(crate) fn folders_below(&self, folder: &str) -> io::Result<Vec<String>> {
        let mut found = Vec::new();
        for shard in absent(self.disk.list(&self.path(folder)))?.unwrap_or_default() {
            let shard = format!("{folder}/{shard}");
            // A shard that is a file, or went meanwhile, holds no place.
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

    /// The marker is written before anything else, so a folder without one holds nothing of ours.
    fn check_format(&self) -> Result<(), Error> {
        let io = |source| io_error("reading the format marker", source);
        match self.read(FORMAT_NAME).map_err(io)? {
            Some(found) => format_is_ours(&found),
            None => self.create(FORMAT_NAME, FORMAT.as_bytes()).map_err(io).map(drop),
        }
    }
}

/// Refuses what another version wrote.
pub(crate) fn format_is_ours(found: &[u8]) -> Result<(), Error> {
    if found == FORMAT.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8_lossy(&found[..found.len().min(40)]).trim_end().to_owned();
    Err(Error::Format { found, expected: FORMAT.trim_end() })
}

/// Makes the data folder and those above it, each flushed into its parent.
fn make_root(disk: &dyn Disk, root: &Path) -> io::Result<()> {
    let parent = root.parent().filter(|parent| !parent.as_os_str().is_empty());
    if disk.is_folder(root) {
        // Who made it may have died before it flushed. A folder above that may not be read is the
        // system's own, and was there before.
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

/// Where a file stands until it gets its name.
pub(crate) fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

fn write_whole(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file: Box<dyn DiskFile> = disk.create(path)?;
    file.write_at(bytes, 0)?;
    file.sync_all()
}

fn absent<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn process_id(said: String) -> String {
    let number = !said.is_empty() && said.bytes().all(|b| b.is_ascii_digit());
    if number { said } else { "unknown".to_owned() }
}

const UNFINISHED: &str = ".new";
/// Marks a folder or bucket as ours.
pub(crate) const FORMAT_NAME: &str = "FORMAT";
/// What it says.
pub(crate) const FORMAT: &str = "ringfence data, format 0\n";

#[cfg(test)]
mod tests;
