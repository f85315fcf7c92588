//! Folders on a disk whose flushes fail.

use super::*;
use crate::disk::RealDisk;

/// The real disk, but folder flushes may be made to fail, and those that went well are noted.
#[derive(Default)]
struct Watched {
    fails: Mutex<usize>,
    flushed: Mutex<Vec<PathBuf>>,
}

impl Disk for Watched {
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
        let mut fails = self.fails.lock().unwrap();
        if *fails > 0 {
            *fails -= 1;
            return Err(io::Error::other("a flush that fails"));
        }
        self.flushed.lock().unwrap().push(folder.to_path_buf());
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

/// Found by the simulation: a place in a folder that an earlier process had made and not flushed
/// was gone with all that was acknowledged in it when the power went.
#[test]
fn a_folder_that_somebody_made_and_did_not_flush_is_flushed() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("data");
    let disk = Arc::new(Watched::default());
    let name = "ns/3f/00000000-0000-4000-8000-000000000000/seg/0000000001-x";
    let local = Local::open(disk.clone(), &root).unwrap();
    *disk.fails.lock().unwrap() = 1;
    local.create(name, b"one").unwrap_err();
    drop(local);
    for _ in 0..2 {
        let local = Local::open(disk.clone(), &root).unwrap();
        disk.flushed.lock().unwrap().clear();
        local.delete(name).unwrap();
        assert!(local.create(name, b"two").unwrap());
        let flushed = std::mem::take(&mut *disk.flushed.lock().unwrap());
        let above = [root.clone(), root.join("ns"), root.join("ns/3f")];
        assert!(above.iter().all(|folder| flushed.contains(folder)), "{flushed:?}");
        local.delete(name).unwrap();
        local.create(name, b"three").unwrap();
        assert_eq!(disk.flushed.lock().unwrap().len(), 1, "what this process has flushed it does not flush again");
    }
}
