//! A tantivy `Directory` that never touches the disk. Files grow in memory while an index is written, and are parts of
//! the segment's sections once it is opened.

use crate::{
    Error,
    bytes::{Slice, put_size, put_str},
    container::{ContainerWriter, PagedKind, SectionKind},
    pages::Section,
};
use kernel::ByteReader;
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};
use tantivy::{
    Directory, HasLen,
    directory::{
        AntiCallToken, FileHandle, OwnedBytes, TerminatingWrite, WatchCallback, WatchHandle, WritePtr,
        error::{DeleteError, OpenReadError, OpenWriteError},
    },
};
use zeroize::Zeroizing;

/// The files of one index. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Files(Arc<Mutex<BTreeMap<PathBuf, Section>>>);

impl Files {
    /// Writes every file. Their count and, for each, name, size and whether it is inline go into the list. The bytes of
    /// a small file follow in the list; those of others go into the paged section.
    pub(crate) fn write(&self, out: &mut ContainerWriter) -> Result<(), Error> {
        self.with(|files| {
            put_size(out.part(SectionKind::TextFiles), files.len());
            for (path, section) in files.iter() {
                let bytes = section.whole()?;
                let inline = bytes.len() <= SMALL;
                let list = out.part(SectionKind::TextFiles);
                put_str(list, &path.to_string_lossy());
                put_size(list, bytes.len());
                list.push(inline.into());
                let to = if inline { list } else { out.paged(PagedKind::TextIndex) };
                to.extend_from_slice(&bytes);
            }
            Ok(())
        })
    }

    /// Opens the files that [`Files::write`] wrote.
    pub(crate) fn open(list: &Slice, section: &Section) -> Result<Self, Error> {
        let mut r = ByteReader::new(list.bytes(), "text files");
        let (mut files, mut next) = (BTreeMap::new(), 0u64);
        for _ in 0..r.count(3)? {
            let name = PathBuf::from(r.str()?);
            let size = r.size()?;
            let file = match r.u8()? {
                1 => list.sub(r.span(size)?).map(Section::Memory),
                0 => {
                    let start = next;
                    next = start.checked_add(size as u64).ok_or_else(|| r.malformed())?;
                    section.sub(start..next)
                }
                _ => None,
            };
            files.insert(name, file.ok_or_else(|| r.malformed())?);
        }
        r.end()?;
        if next != section.len() {
            return Err(r.malformed().into());
        }
        Ok(Self(Arc::new(Mutex::new(files))))
    }

    /// Announces the bytes that a reader needs at once: the whole dictionary and the ends of the other files. Returns
    /// the number of bytes that the reader will keep.
    pub(crate) fn will_open(&self) -> u64 {
        self.with(|files| {
            let mut kept = 0;
            for (path, section) in files.iter() {
                let size = section.len();
                if path.extension().is_some_and(|e| e == "term") {
                    section.will_read(std::iter::once(0..size));
                    kept += size;
                } else {
                    section.will_read([0..size.min(8), size.saturating_sub(SMALL as u64)..size].into_iter());
                }
            }
            kept
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<PathBuf, Section>) -> T) -> T {
        // The map is consistent between any two steps, so a panic elsewhere does not spoil it.
        act(&mut self.0.lock())
    }

    fn get(&self, path: &Path) -> Result<Section, OpenReadError> {
        self.with(|files| files.get(path).cloned()).ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }

    fn put(&self, path: PathBuf, bytes: Zeroizing<Vec<u8>>) {
        self.with(|files| files.insert(path, Section::Memory(Slice::whole(bytes))));
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Files(in memory)")
    }
}

impl Directory for Files {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(Arc::new(FileReader(self.get(path)?)))
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
        let file = FileWriter { files: self.clone(), path: path.to_owned(), bytes: Zeroizing::default() };
        Ok(BufWriter::new(Box::new(file)))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let failed = |error: Error| OpenReadError::wrap_io_error(io_error(error), path.to_owned());
        Ok(self.get(path)?.whole().map_err(failed)?.to_vec())
    }

    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        self.put(path.to_owned(), Zeroizing::new(data.to_vec()));
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    fn watch(&self, _: WatchCallback) -> tantivy::Result<WatchHandle> {
        // Files never change under a reader.
        Ok(WatchHandle::empty())
    }
}

/// A file that is being written.
struct FileWriter {
    files: Files,
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
}

impl Write for FileWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TerminatingWrite for FileWriter {
    fn terminate_ref(&mut self, _: AntiCallToken) -> io::Result<()> {
        self.files.put(std::mem::take(&mut self.path), std::mem::take(&mut self.bytes));
        Ok(())
    }
}

/// A file that can be read.
struct FileReader(Section);

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle({} bytes)", self.0.len())
    }
}

impl HasLen for FileReader {
    fn len(&self) -> usize {
        usize::try_from(self.0.len()).unwrap_or(usize::MAX)
    }
}

impl FileHandle for FileReader {
    /// Copies the bytes: tantivy wants to own what it reads, and lending our buffer would take `unsafe`. It reads its
    /// dictionary once, and then the posting lists of a query's terms.
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        let part = self.0.read(range.start as u64..range.end as u64).map_err(io_error)?;
        Ok(OwnedBytes::new(part.to_vec()))
    }
}

/// The error as tantivy passes it through; it becomes [`Error::Unreadable`] again when tantivy returns it.
fn io_error(error: Error) -> io::Error {
    match error {
        Error::Unreadable(source) => source,
        other => io::Error::new(io::ErrorKind::InvalidData, other),
    }
}

/// Size up to which a file is stored inline in the list, bytes.
const SMALL: usize = 4 << 10;
