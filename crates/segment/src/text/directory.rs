//! A tantivy `Directory` that never touches the disk: files grow in memory while an index is
//! written, and are slices of the segment's buffer once it is opened.

use crate::{
    Error,
    bytes::{Reader, Slice, put_size, put_str},
};
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};
use tantivy::{
    Directory, HasLen,
    directory::{
        AntiCallToken, FileHandle, OwnedBytes, TerminatingWrite, WatchCallback, WatchHandle, WritePtr,
        error::{DeleteError, OpenReadError, OpenWriteError},
    },
};
use zeroize::Zeroizing;

/// The files of one index. A clone sees the same files.
#[derive(Clone, Default)]
pub(crate) struct Files(Arc<Mutex<BTreeMap<PathBuf, Slice>>>);

impl Files {
    /// Appends every file: count, then name and bytes of each.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.with(|files| {
            put_size(out, files.len());
            for (path, slice) in files.iter() {
                put_str(out, &path.to_string_lossy());
                put_size(out, slice.len());
                out.extend_from_slice(slice.bytes());
            }
        });
    }

    /// Files as slices of the section that [`Files::write`] made.
    pub(crate) fn open(section: &Slice) -> Result<Self, Error> {
        let mut r = Reader::new(section.bytes(), "text files");
        let mut files = BTreeMap::new();
        for _ in 0..r.count(2)? {
            let name = PathBuf::from(r.str()?);
            let length = r.size()?;
            let slice = section.sub(r.span(length)?).ok_or_else(|| r.bad())?;
            files.insert(name, slice);
        }
        r.end()?;
        Ok(Self(Arc::new(Mutex::new(files))))
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<PathBuf, Slice>) -> T) -> T {
        // The map is whole between any two steps, so a panic elsewhere does not spoil it.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn get(&self, path: &Path) -> Result<Slice, OpenReadError> {
        self.with(|files| files.get(path).cloned()).ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }

    fn put(&self, path: PathBuf, bytes: Zeroizing<Vec<u8>>) {
        self.with(|files| files.insert(path, Slice::whole(bytes)));
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files(in memory)")
    }
}

impl Directory for Files {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(Handle(self.get(path)?)))
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        match self.with(|files| files.remove(path)) {
            Some(_) => Ok(()),
            None => Err(DeleteError::FileDoesNotExist(path.to_owned())),
        }
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.with(|files| files.contains_key(path)))
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        if self.with(|files| files.contains_key(path)) {
            return Err(OpenWriteError::FileAlreadyExists(path.to_owned()));
        }
        let file = Growing { files: self.clone(), path: path.to_owned(), bytes: Zeroizing::default() };
        Ok(BufWriter::new(Box::new(file)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        Ok(self.get(path)?.bytes().to_vec())
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.put(path.to_owned(), Zeroizing::new(data.to_vec()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        // Nothing ever changes under a reader.
        Ok(WatchHandle::empty())
    }
}

/// A file that is being written.
struct Growing {
    files: Files,
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for Growing {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.files.put(std::mem::take(&mut self.path), std::mem::take(&mut self.bytes));
        Ok(())
    }
}

/// A file that can be read.
struct Handle(Slice);

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} bytes)", self.0.len())
    }
}

impl HasLen for Handle {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl FileHandle for Handle {
    /// Copies: tantivy wants to own what it reads, and lending it our buffer would take `unsafe`.
    /// It reads its dictionary once and then the posting lists of a query's terms.
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let part = self.0.bytes().get(range).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(OwnedBytes::new(part.to_vec()))
    }
}
