//! What the disk keeps, and what it may lose.

use super::{CrashDisk, Door, Mutant};
use crate::rng::Rng;
use journal::disk::Disk;
use std::{
    collections::BTreeSet,
    io::ErrorKind,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const FILE: &str = "/file";

fn disk(seed: u64, mutant: Mutant) -> (Arc<CrashDisk>, Door) {
    let disk = CrashDisk::new(Rng::new(seed, 9), mutant);
    let door = disk.door(|| {});
    (disk, door)
}

fn write(door: &Door, bytes: &[u8], flushed: bool) {
    let file = door.create(Path::new(FILE)).unwrap();
    file.write_at(bytes, 0).unwrap();
    if flushed {
        file.sync_all().unwrap();
        door.sync_folder(Path::new("/")).unwrap();
    }
}

fn read(door: &Door) -> Option<Vec<u8>> {
    door.read(Path::new(FILE)).ok()
}

#[test]
fn what_was_flushed_survives() {
    for seed in 0..50 {
        let (disk, door) = disk(seed, Mutant::None);
        write(&door, b"kept", true);
        disk.cut_power();
        assert_eq!(read(&door).unwrap(), b"kept");
    }
}

#[test]
fn what_was_not_flushed_survives_by_sectors_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (disk, door) = disk(seed, Mutant::None);
        write(&door, &[1; 1024], true);
        let file = door.open(Path::new(FILE)).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        assert_eq!(read(&door).unwrap(), [2; 1024]);
        disk.cut_power();
        let after = read(&door).unwrap();
        assert!(after[..512].iter().all(|b| *b == after[0]) && after[512..].iter().all(|b| *b == after[512]));
        seen.insert((after[0], after[512]));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_name_is_durable_with_its_folder_only() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (disk, door) = disk(seed, Mutant::None);
        let file = door.create(Path::new(FILE)).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap();
        disk.cut_power();
        seen.insert(read(&door).is_some());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_failed_flush_loses_what_can_still_be_read() {
    let (disk, door) = disk(1, Mutant::None);
    write(&door, b"old", true);
    let file = door.open(Path::new(FILE)).unwrap();
    file.write_at(b"new", 0).unwrap();
    disk.fail_sync(Some(0));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(read(&door).unwrap(), b"new");
    disk.cut_power();
    assert_eq!(read(&door).unwrap(), b"old");
}

#[test]
fn mutants_do_what_they_are_named_for() {
    let lost = |mutant, fails: bool| {
        (0..50).any(|seed| {
            let (disk, door) = disk(seed, mutant);
            disk.fail_sync(fails.then_some(0));
            write(&door, b"x", true);
            disk.cut_power();
            read(&door) != Some(b"x".to_vec())
        })
    };
    assert!(!lost(Mutant::None, false));
    assert!(lost(Mutant::FileSyncIgnored, false));
    assert!(lost(Mutant::FolderSyncIgnored, false));
    assert!(lost(Mutant::SyncErrorSwallowed, true));
}

#[test]
fn a_full_disk_takes_what_fits() {
    let (disk, door) = disk(1, Mutant::None);
    write(&door, b"123", true);
    disk.limit(Some(2));
    let file = door.open(Path::new(FILE)).unwrap();
    assert_eq!(file.write_at(b"4567", 3).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(read(&door).unwrap(), b"12345");
    disk.limit(None);
    file.write_at(b"4567", 3).unwrap();
    disk.read_only(true);
    assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert!(door.remove_file(Path::new(FILE)).is_err());
    assert_eq!(read(&door).unwrap(), b"1234567");
}

#[test]
fn a_process_dies_in_the_middle_of_a_write() {
    let mut lengths = BTreeSet::new();
    for seed in 0..50 {
        let disk = CrashDisk::new(Rng::new(seed, 9), Mutant::None);
        let died = Arc::new(AtomicBool::new(false));
        let note = died.clone();
        let door = disk.door(move || note.store(true, Ordering::SeqCst));
        let file = door.create(Path::new(FILE)).unwrap();
        disk.light_fuse(Some(1));
        file.write_at(b"123", 0).unwrap();
        assert!(!died.load(Ordering::SeqCst));
        assert!(file.write_at(b"45678", 3).is_err());
        assert!(died.load(Ordering::SeqCst));
        assert!(file.sync_data().is_err() && read(&door).is_none(), "a dead process does nothing");
        lengths.insert(read(&disk.door(|| {})).unwrap().len());
    }
    assert!(lengths.len() > 3 && lengths.iter().all(|n| (3..=8).contains(n)), "{lengths:?}");
}

#[test]
fn links_folders_and_locks() {
    let (disk, door) = disk(1, Mutant::None);
    door.make_folder(Path::new("/a")).unwrap();
    door.make_folder(Path::new("/a/b")).unwrap();
    write(&door, b"one", false);
    door.link(Path::new(FILE), Path::new("/a/b/two")).unwrap();
    assert_eq!(door.link(Path::new(FILE), Path::new("/a/b/two")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    door.remove_file(Path::new(FILE)).unwrap();
    assert_eq!(door.read(Path::new("/a/b/two")).unwrap(), b"one");
    assert_eq!(door.list(Path::new("/a")).unwrap(), ["b"]);
    assert!(door.is_folder(Path::new("/a/b")) && !door.is_folder(Path::new("/c")));
    door.remove_folder(Path::new("/a")).unwrap();
    assert!(!door.is_folder(Path::new("/a")));
    let held = door.lock(Path::new("/lock"), "1").unwrap().ok().unwrap();
    assert!(disk.door(|| {}).lock(Path::new("/lock"), "2").unwrap().is_err());
    drop(held);
    assert!(disk.door(|| {}).lock(Path::new("/lock"), "2").unwrap().is_ok());
}
