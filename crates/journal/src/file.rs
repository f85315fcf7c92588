//! One append file of the log: preallocated, zeroed, doubling; plain blocking file calls.

use crate::{
    faults::{Faults, Step},
    storage::list_folder,
};
use kernel::limits;
use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// An open log file and where the next group goes.
pub(crate) struct PartFile {
    file: File,
    faults: Arc<Faults>,
    /// Bytes the file has, zeroes behind [`PartFile::end`].
    pub(crate) size: u64,
    /// First byte behind the last group.
    pub(crate) end: u64,
}

/// A file that could not be started.
pub(crate) struct NotStarted {
    /// It may be visible under its name, so the file before it must take no more.
    pub(crate) visible: bool,
    /// The system's answer.
    pub(crate) source: io::Error,
}

impl PartFile {
    /// Makes the file with its first bytes, or nothing that anybody sees.
    ///
    /// 1. folders, flushed upward: a crash leaves empty folders
    /// 2. `<name>.new`, its bytes and zeroes behind them, flushed: a crash leaves a file that nobody reads
    /// 3. a hard link to the name, which fails if the name is taken: from here on it counts
    /// 4. the temporary name removed, the folder flushed: only now the caller may rely on it
    pub(crate) fn start(path: &Path, first: &[u8], faults: Arc<Faults>) -> Result<Self, NotStarted> {
        let hidden = |source| NotStarted { visible: false, source };
        let seen = |source| NotStarted { visible: true, source };
        let folder = path.parent().ok_or_else(|| hidden(io::Error::from(io::ErrorKind::InvalidInput)))?;
        make_folders(folder).map_err(hidden)?;
        let temporary = temporary_name(path);
        let made = write_whole(&temporary, first, &faults);
        let (file, size) = made.inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(hidden)?;
        faults.after(Step::PartWritten).map_err(hidden)?;
        fs::hard_link(&temporary, path).inspect_err(|_| drop(fs::remove_file(&temporary))).map_err(hidden)?;
        faults.after(Step::PartNamed).map_err(seen)?;
        fs::remove_file(&temporary).map_err(seen)?;
        sync_folder(folder).map_err(seen)?;
        faults.after(Step::PartDurable).map_err(seen)?;
        Ok(Self { file, faults, size, end: first.len() as u64 })
    }

    /// Makes room for `bytes` more. When the disk is full the file is as before.
    pub(crate) fn reserve(&mut self, bytes: u64) -> io::Result<()> {
        let wanted = self.end.saturating_add(bytes);
        if wanted <= self.size {
            return Ok(());
        }
        let mut size = self.size;
        while size < wanted {
            size += size.min(limits::LOG_FILE_STEP_MAX);
        }
        let grown = zeroes(&self.file, &self.faults, self.size, size).and_then(|()| self.file.sync_all());
        if let Err(error) = grown {
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size = size;
        self.faults.after(Step::Grown)
    }

    /// Writes at the end. The caller has reserved the room.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.faults.write(&self.file, bytes, self.end)?;
        self.faults.after(Step::GroupWritten)
    }

    /// Flushes what was written and counts it in.
    pub(crate) fn sync(&mut self, written: u64) -> io::Result<()> {
        self.faults.sync(&self.file)?;
        self.end += written;
        self.faults.after(Step::GroupDurable)
    }
}

/// Makes what was just read durable: a killed process may have left bytes that are only in memory,
/// and after a failed flush the system may believe them clean. So they are written again.
pub(crate) fn harden(path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    std::os::unix::fs::FileExt::write_all_at(&file, bytes, offset)?;
    file.sync_data()?;
    path.parent().map_or(Ok(()), sync_folder)
}

/// Removes what earlier epochs left in the log's folder: files that never got their name, and
/// folders in which no file is left. Those of `living` are being written and stay.
pub(crate) fn sweep_log(log: &Path, living: &str) -> io::Result<()> {
    for epoch in list_folder(log)?.into_iter().filter(|epoch| epoch.as_str() < living) {
        let folder = log.join(epoch);
        let names = list_folder(&folder)?;
        for name in names.iter().filter(|name| Path::new(name).extension().is_some_and(|e| e == UNFINISHED)) {
            fs::remove_file(folder.join(name))?;
        }
        match fs::remove_dir(&folder) {
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Flushes a folder's list of names.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes `folder` and those above it, each flushed into its parent.
pub(crate) fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent() {
        make_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    folder.parent().map_or(Ok(()), sync_folder)
}

/// The size of a new file whose first bytes are so many.
pub(crate) fn size_for(bytes: u64) -> u64 {
    let mut size = limits::LOG_FILE_BYTES_MIN;
    while size < bytes {
        size *= 2;
    }
    size
}

fn write_whole(path: &Path, first: &[u8], faults: &Faults) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).write(true).truncate(true).open(path)?;
    let size = size_for(first.len() as u64);
    faults.write(&file, first, 0)?;
    zeroes(&file, faults, first.len() as u64, size)?;
    file.sync_all()?;
    Ok((file, size))
}

fn zeroes(file: &File, faults: &Faults, from: u64, to: u64) -> io::Result<()> {
    let block = vec![0; usize::try_from((to - from).min(1 << 20)).unwrap_or(1 << 20)];
    let mut at = from;
    while at < to {
        let length = (to - at).min(block.len() as u64);
        let piece = usize::try_from(length).map_or(&block[..], |length| &block[..length]);
        faults.write(file, piece, at)?;
        at += length;
    }
    Ok(())
}

fn temporary_name(path: &Path) -> PathBuf {
    path.with_extension(UNFINISHED)
}

const UNFINISHED: &str = "new";
