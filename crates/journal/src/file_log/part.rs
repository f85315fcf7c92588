//! One append file of the log: preallocated, zeroed, doubling; plain blocking file calls.

use crate::{
    disk::{Disk, DiskFile},
    faults::{Faults, Step},
    local::{Local, unfinished},
};
use kernel::limits;
use std::{io, path::Path, sync::Arc};

/// An open log file and where the next group goes.
pub(crate) struct PartFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Faults>,
    /// Bytes the file has, zeroes behind [`PartFile::end`].
    pub(crate) size: u64,
    /// Bytes of the opening.
    first: u64,
    /// First byte behind the last group.
    pub(crate) end: u64,
}

/// A file that could not be started.
pub(crate) struct NotStarted {
    /// It may be visible under its name, so the file before it must take no more.
    pub(crate) visible: bool,
    /// The name is taken, by somebody who writes beside us.
    pub(crate) taken: bool,
    /// The system's answer.
    pub(crate) source: io::Error,
}

impl PartFile {
    /// Makes the file with its first bytes, or nothing that anybody sees.
    ///
    /// 1. folders, flushed upward: a crash leaves empty folders
    /// 2. `<name>.new`, its bytes and zeroes behind them, flushed: a crash leaves a file that nobody reads
    /// 3. a link to the name, which fails if the name is taken: from here on it counts
    /// 4. the other name removed, the folder flushed: only now the caller may rely on it
    pub(crate) fn start(local: &Local, path: &Path, first: &[u8], faults: Arc<Faults>) -> Result<Self, NotStarted> {
        let disk = &**local.disk();
        let hidden = |source: io::Error| NotStarted { visible: false, taken: false, source };
        let seen = |source| NotStarted { visible: true, taken: false, source };
        let folder = path.parent().ok_or_else(|| hidden(io::ErrorKind::InvalidInput.into()))?;
        local.make_folders(folder).map_err(hidden)?;
        let unnamed = unfinished(path);
        let made = write_whole(disk, &unnamed, first, &faults);
        let (file, size) = made.inspect_err(|_| drop(disk.remove_file(&unnamed))).map_err(hidden)?;
        faults.after(Step::PartWritten).map_err(hidden)?;
        disk.link(&unnamed, path).map_err(|source| {
            drop(disk.remove_file(&unnamed));
            NotStarted { taken: source.kind() == io::ErrorKind::AlreadyExists, ..hidden(source) }
        })?;
        faults.after(Step::PartNamed).map_err(seen)?;
        disk.remove_file(&unnamed).map_err(seen)?;
        disk.sync_folder(folder).map_err(seen)?;
        faults.after(Step::PartDurable).map_err(seen)?;
        Ok(Self { file, faults, size, first: first.len() as u64, end: first.len() as u64 })
    }

    /// Makes room for `bytes` more, and unless it is the last for now, for some that will follow. When the disk is full
    /// the file is as before.
    pub(crate) fn reserve(&mut self, bytes: u64, last: bool) -> io::Result<()> {
        let wanted = self.end.saturating_add(bytes);
        if wanted <= self.size {
            return Ok(());
        }
        // As much again as its groups take by now: a checkpoint that stands at its beginning is no
        // reason to expect many, nor is the mark of an end.
        let more = if last { 0 } else { self.end.saturating_sub(self.first).min(limits::LOG_FILE_STEP_MAX) };
        let size = size_for(wanted.max(self.size + more));
        let grown = zeroes(&*self.file, &self.faults, self.size, size).and_then(|()| self.file.sync_all());
        if let Err(error) = grown {
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size = size;
        self.faults.after(Step::Grown)
    }

    /// Bytes behind the opening.
    pub(crate) fn groups_bytes(&self) -> u64 {
        self.end - self.first
    }

    /// Writes at the end. The caller has reserved the room.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.faults.write(&*self.file, bytes, self.end)?;
        self.faults.after(Step::GroupWritten)
    }

    /// Flushes what was written and counts it in.
    pub(crate) fn sync(&mut self, written: u64) -> io::Result<()> {
        self.faults.sync(&*self.file)?;
        self.end += written;
        self.faults.after(Step::GroupDurable)
    }
}

/// Makes what was just read durable: a killed process may have left bytes that are only in memory,
/// and after a failed flush the system may believe them clean. So they are written again.
pub(crate) fn harden(disk: &dyn Disk, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    let file = disk.open(path)?;
    file.write_at(bytes, offset)?;
    file.sync_data()?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

/// The size of a new file whose first bytes are so many: whole blocks.
pub(crate) fn size_for(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(limits::LOG_FILE_BYTES_MIN)
}

fn write_whole(disk: &dyn Disk, path: &Path, first: &[u8], faults: &Faults) -> io::Result<(Box<dyn DiskFile>, u64)> {
    let file = disk.create(path)?;
    let size = size_for(first.len() as u64);
    faults.write(&*file, first, 0)?;
    zeroes(&*file, faults, first.len() as u64, size)?;
    file.sync_all()?;
    Ok((file, size))
}

fn zeroes(file: &dyn DiskFile, faults: &Faults, from: u64, to: u64) -> io::Result<()> {
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
