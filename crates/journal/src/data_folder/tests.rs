//! Folders on a disk whose flushes fail.

use super::*;
use crate::disk::RealDisk;

/// The real disk, except that folder flushes can be made to fail; records the successful ones.
#[derive(Default)]
struct FlakyDisk {
    failures: Mutex<usize>,
    flushed: Mutex<Vec<PathBuf>>,
}

impl Disk for FlakyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.create(path)
    }
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_file(path)
    }
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.make_folder(path)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_folder(path)
    }
    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(folder)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut failures = self.failures.lock();
        if *failures > 0 {
            *failures -= 1;
            return Err(io::Error::other("a flush that fails"));
        }
        self.flushed.lock().push(folder.to_path_buf());
        RealDisk.sync_folder(folder)
    }
    fn is_folder(&self, path: &Path) -> bool {
        RealDisk.is_folder(path)
    }
    fn lock(&self, path: &Path, holder: &str) -> io::Result<Result<Box<dyn Send + Sync>, String>> {
        RealDisk.lock(path, holder)
    }
    fn free(&self, path: &Path) -> io::Result<u64> {
        RealDisk.free(path)
    }
}

/// Found by the simulation: a keyspace in a folder that an earlier process had created and not flushed was lost at a
/// power cut, with everything that was acknowledged in it.
#[test]
fn a_folder_that_was_created_but_not_flushed_is_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let disk = Arc::new(FlakyDisk::default());
    let name = "ns/3f/00000000-0000-4000-8000-000000000000/seg/0000000001-x";
    let data_folder = DataFolder::open(disk.clone(), &root).unwrap();
    *disk.failures.lock() = 1;
    data_folder.create(name, b"one").unwrap_err();
    drop(data_folder);
    for _ in 0..2 {
        let data_folder = DataFolder::open(disk.clone(), &root).unwrap();
        disk.flushed.lock().clear();
        data_folder.delete(name).unwrap();
        assert!(data_folder.create(name, b"two").unwrap());
        let flushed = std::mem::take(&mut *disk.flushed.lock());
        let parents = [root.clone(), root.join("ns"), root.join("ns/3f")];
        assert!(parents.iter().all(|folder| flushed.contains(folder)), "{flushed:?}");
        data_folder.delete(name).unwrap();
        data_folder.create(name, b"three").unwrap();
        assert_eq!(disk.flushed.lock().len(), 1, "this process flushes its own folders once");
    }
}
