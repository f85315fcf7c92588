//! One append-only file of the log: preallocated with zeroes, doubling its size; plain blocking file calls.

use crate::{
    data_folder::{DataFolder, unfinished_path},
    disk::{Disk, DiskFile},
    faults::{Faults, Step},
};
use kernel::limits;
use std::{io, path::Path, sync::Arc};

/// An open log file and the position of the next group.
pub(crate) struct LogFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Faults>,
    /// Size of the file in bytes; zeroes follow [`LogFile::end`].
    pub(crate) size: u64,
    /// Offset of the first byte after the header.
    header_end: u64,
    /// Offset of the first byte after the last group.
    pub(crate) end: u64,
}

/// How much space to reserve for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// Also for later groups, as much as the existing ones take.
    Doubling,
    /// For this group only, since none follows for now.
    Exact,
}

/// Why a file could not be started.
pub(crate) struct StartError {
    /// Whether the file may be visible under its name, in which case the previous file must take no more groups.
    pub(crate) visible: bool,
    /// Whether the name is taken, by another process that writes at the same time.
    pub(crate) taken: bool,
    /// Error of the system.
    pub(crate) source: io::Error,
}

impl LogFile {
    /// Creates the file with its first bytes. Nothing is visible until step 3 succeeds.
    ///
    /// 1. Create the folders and flush them upward. A crash leaves empty folders.
    /// 2. Write `<name>.new` with its bytes and zeroes after them, and flush it. A crash leaves a file that is never
    ///    read.
    /// 3. Link it to the name, which fails if the name is taken. From here on the file counts.
    /// 4. Remove the temporary name and flush the folder. Only now may the caller rely on the file.
    pub(crate) fn start(
        data_folder: &DataFolder,
        path: &Path,
        first: &[u8],
        faults: Arc<Faults>,
    ) -> Result<Self, StartError> {
        let disk = &**data_folder.disk();
        let invisible = |source: io::Error| StartError { visible: false, taken: false, source };
        let visible = |source| StartError { visible: true, taken: false, source };
        let folder = path.parent().ok_or_else(|| invisible(io::ErrorKind::InvalidInput.into()))?;
        data_folder.make_folders(folder).map_err(invisible)?;
        let temporary = unfinished_path(path);
        let written = write_new(disk, &temporary, first, &faults);
        let (file, size) = written.inspect_err(|_| drop(disk.remove_file(&temporary))).map_err(invisible)?;
        faults.after(Step::FileWritten).map_err(invisible)?;
        disk.link(&temporary, path).map_err(|source| {
            drop(disk.remove_file(&temporary));
            StartError { taken: source.kind() == io::ErrorKind::AlreadyExists, ..invisible(source) }
        })?;
        faults.after(Step::FileNamed).map_err(visible)?;
        disk.remove_file(&temporary).map_err(visible)?;
        disk.sync_folder(folder).map_err(visible)?;
        faults.after(Step::FileDurable).map_err(visible)?;
        Ok(Self { file, faults, size, header_end: first.len() as u64, end: first.len() as u64 })
    }

    /// Makes space for `bytes` more, and with [`Growth::Doubling`] for groups that follow. When the disk is full the
    /// file stays as it was.
    pub(crate) fn reserve(&mut self, bytes: u64, growth: Growth) -> io::Result<()> {
        let needed = self.end.saturating_add(bytes);
        if needed <= self.size {
            return Ok(());
        }
        // Reserve as much again as the groups take by now. A checkpoint in the header is no reason to expect many
        // groups.
        let extra = match growth {
            Growth::Exact => 0,
            Growth::Doubling => self.end.saturating_sub(self.header_end).min(limits::LOG_FILE_STEP_MAX),
        };
        let size = size_for(needed.max(self.size + extra));
        let grown = write_zeroes(&*self.file, &self.faults, self.size, size).and_then(|()| self.file.sync_all());
        if let Err(error) = grown {
            // Restore the old size, so that later groups still find zeroes up to the end of the file.
            self.file.set_len(self.size)?;
            return Err(error);
        }
        self.size = size;
        self.faults.after(Step::Grown)
    }

    /// Bytes of the groups after the header.
    pub(crate) fn groups_bytes(&self) -> u64 {
        self.end - self.header_end
    }

    /// Writes at the end of the groups. The caller has reserved the space.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.faults.write(&*self.file, bytes, self.end)?;
        self.faults.after(Step::GroupWritten)
    }

    /// Flushes `written` bytes and advances the end past them.
    pub(crate) fn sync(&mut self, written: u64) -> io::Result<()> {
        self.faults.sync(&*self.file)?;
        self.end += written;
        self.faults.after(Step::GroupDurable)
    }
}

/// Makes bytes durable that were just read. A killed process may have left them in memory only, and after a failed
/// flush the system may consider them clean, so they are written again.
pub(crate) fn rewrite_and_flush(disk: &dyn Disk, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
    let file = disk.open(path)?;
    file.write_at(bytes, offset)?;
    file.sync_data()?;
    path.parent().map_or(Ok(()), |folder| disk.sync_folder(folder))
}

/// Size of a file that must hold `bytes` bytes: whole blocks.
pub(crate) fn size_for(bytes: u64) -> u64 {
    bytes.max(1).next_multiple_of(limits::LOG_FILE_BYTES_MIN)
}

fn write_new(disk: &dyn Disk, path: &Path, first: &[u8], faults: &Faults) -> io::Result<(Box<dyn DiskFile>, u64)> {
    let file = disk.create(path)?;
    let size = size_for(first.len() as u64);
    faults.write(&*file, first, 0)?;
    write_zeroes(&*file, faults, first.len() as u64, size)?;
    file.sync_all()?;
    Ok((file, size))
}

fn write_zeroes(file: &dyn DiskFile, faults: &Faults, from: u64, to: u64) -> io::Result<()> {
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
