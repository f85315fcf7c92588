//! The file system, as far as durability depends on it: every call whose order or failure matters.
//!
//! The production implementation is [`RealDisk`]. Tests run the same code on one that forgets unflushed writes at a
//! simulated power cut.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A file system. All calls block and return the errors of the system.
pub trait Disk: Send + Sync + 'static {
    /// Creates a file, or truncates an existing one; only the owner may read it.
    ///
    /// # Errors
    /// The errors of the system.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Reads all bytes of a file.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file a second name. The name is durable once the folder is flushed.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; other errors of the system.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. The removal is durable once the folder is flushed.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Creates a folder in an existing parent. The folder is durable once the parent is flushed.
    ///
    /// # Errors
    /// `AlreadyExists`; other errors of the system.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with everything in it.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Names in a folder, in any order.
    ///
    /// # Errors
    /// `NotFound`; other errors of the system.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes the names in a folder durable.
    ///
    /// # Errors
    /// The errors of the system.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Whether a folder exists at `path`.
    fn is_folder(&self, path: &Path) -> bool;

    /// Takes the exclusive lock on a file, which is created if missing, and writes `holder` into it. Dropping the
    /// returned guard releases the lock. The inner `Err(text)` means that another process holds the lock and wrote
    /// `text`.
    ///
    /// # Errors
    /// The errors of the system.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Send + Sync>, String>>;

    /// Free bytes of the file system that holds `path`.
    ///
    /// # Errors
    /// The errors of the system.
    fn free(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The errors of the system; some of the bytes may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends earlier; other errors of the system.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Length of the file in bytes.
    ///
    /// # Errors
    /// The errors of the system.
    fn size(&self) -> io::Result<u64>;

    /// Truncates the file, or extends it with zeroes.
    ///
    /// # Errors
    /// The errors of the system.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes the bytes of the file durable, and its length where the bytes need it.
    ///
    /// # Errors
    /// The errors of the system. The call must not be repeated after an error: the bytes may be gone from memory.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes the bytes and all metadata of the file durable.
    ///
    /// # Errors
    /// As [`DiskFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}

/// The file system of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(true).mode(0o600).open(path)?;
        Ok(Box::new(Counted::new(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(Counted::new(OpenOptions::new().read(true).write(true).open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            // Our names are all valid UTF-8.
            names.extend(entry?.file_name().into_string().ok());
        }
        Ok(names)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn is_folder(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Send + Sync>, String>> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        if !fs4::fs_std::FileExt::try_lock_exclusive(&file)? {
            let mut text = vec![0; 20];
            let length = FileExt::read_at(&file, &mut text, 0)?;
            text.truncate(length);
            return Ok(Err(String::from_utf8_lossy(&text).into_owned()));
        }
        file.set_len(0)?;
        file.write_all_at(holder.as_bytes(), 0)?;
        Ok(Ok(Box::new(file)))
    }

    fn free(&self, path: &Path) -> io::Result<u64> {
        fs4::available_space(path)
    }
}

/// Bytes per system call. Many kernels do not yield the core before a call ends, and copying megabytes takes
/// milliseconds.
const PIECE_BYTES: usize = 128 << 10;

/// Number of files of the real disk that this process has open.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// Number of log files and objects that this process has open now.
pub fn open_files() -> u64 {
    OPEN.load(Ordering::Relaxed)
}

/// A file that is counted in `OPEN` while it is open.
struct Counted(File);

impl Counted {
    fn new(file: File) -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(file)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        OPEN.fetch_sub(1, Ordering::Relaxed);
    }
}

impl DiskFile for Counted {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        DiskFile::write_at(&self.0, bytes, offset)
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        DiskFile::read_at(&self.0, bytes, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        DiskFile::set_len(&self.0, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        DiskFile::sync_data(&self.0)
    }

    fn sync_all(&self) -> io::Result<()> {
        DiskFile::sync_all(&self.0)
    }
}

impl DiskFile for File {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks(PIECE_BYTES) {
            self.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }

    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for piece in bytes.chunks_mut(PIECE_BYTES) {
            let length = piece.len() as u64;
            self.read_exact_at(piece, at)?;
            at += length;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        File::set_len(self, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        File::sync_data(self)
    }

    fn sync_all(&self) -> io::Result<()> {
        File::sync_all(self)
    }
}
