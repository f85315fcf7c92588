//! The file system, as far as durability needs one: every call whose order or failure matters.
//!
//! The real one is [`RealDisk`]. Tests put another under the same code: one that forgets what was
//! not flushed when the power goes.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt},
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

/// A file system. Blocking calls; errors are the system's.
pub trait Disk: Send + Sync + 'static {
    /// Makes a file, or empties the one that is there; only the owner may read it.
    ///
    /// # Errors
    /// The system's.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that is there, to read and write.
    ///
    /// # Errors
    /// `NotFound`; the system's.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// A file's bytes.
    ///
    /// # Errors
    /// `NotFound`; the system's.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Gives a file a second name. Durable once the folder is flushed.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken; the system's.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a name. Durable once the folder is flushed.
    ///
    /// # Errors
    /// `NotFound`; the system's.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Makes a folder; its parent is there. Durable once the parent is flushed.
    ///
    /// # Errors
    /// `AlreadyExists`; the system's.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with everything in it.
    ///
    /// # Errors
    /// `NotFound`; the system's.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;

    /// Names in a folder, in any order.
    ///
    /// # Errors
    /// `NotFound`; the system's.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder's names durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Whether a folder is there.
    fn is_folder(&self, path: &Path) -> bool;

    /// Takes the exclusive lock on a file, made if need be, and writes `holder` into it. The lock
    /// goes with what is returned. `Err(text)` inside: another process holds it, and this is what it wrote.
    ///
    /// # Errors
    /// The system's.
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Send + Sync>, String>>;

    /// Bytes that are left.
    ///
    /// # Errors
    /// The system's.
    fn free(&self, path: &Path) -> io::Result<u64>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's; a part may be written then.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; the system's.
    fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()>;

    /// Its length in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> io::Result<u64>;

    /// Cuts the file, or lengthens it with zeroes.
    ///
    /// # Errors
    /// The system's.
    fn set_len(&self, bytes: u64) -> io::Result<()>;

    /// Makes its bytes durable, and its length where they need it.
    ///
    /// # Errors
    /// The system's. It must not be tried again: the bytes may be gone from memory.
    fn sync_data(&self) -> io::Result<()>;

    /// Makes everything of it durable.
    ///
    /// # Errors
    /// As [`DiskFile::sync_data`].
    fn sync_all(&self) -> io::Result<()>;
}

/// The operating system's.
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
            // A name that is no text is none of ours.
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

/// Bytes of one system call. Many kernels do not yield the core before a call ends, and copying megabytes takes
/// milliseconds.
const PIECE_BYTES: usize = 128 << 10;

/// Files of the real disk that this process has open.
static OPEN: AtomicU64 = AtomicU64::new(0);

/// How many log files and objects this process has open now.
pub fn open_files() -> u64 {
    OPEN.load(Ordering::Relaxed)
}

/// A file that counts while it is open.
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
