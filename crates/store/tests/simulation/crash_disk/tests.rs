//! Tests of what the disk keeps and what it may lose.

use super::{CrashDisk, DiskClient, Mutant};
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

fn disk(seed: u64, mutant: Mutant) -> (Arc<CrashDisk>, DiskClient) {
    let disk = CrashDisk::new(Rng::new(seed, 9), mutant);
    let disk_client = disk.disk_client(|| {});
    (disk, disk_client)
}

fn write(disk_client: &DiskClient, bytes: &[u8], flushed: bool) {
    let file = disk_client.create(Path::new(FILE)).unwrap();
    file.write_at(bytes, 0).unwrap();
    if flushed {
        file.sync_all().unwrap();
        disk_client.sync_folder(Path::new("/")).unwrap();
    }
}

fn read(disk_client: &DiskClient) -> Option<Vec<u8>> {
    disk_client.read(Path::new(FILE)).ok()
}

#[test]
fn what_was_flushed_survives() {
    for seed in 0..50 {
        let (disk, disk_client) = disk(seed, Mutant::None);
        write(&disk_client, b"kept", true);
        disk.cut_power();
        assert_eq!(read(&disk_client).unwrap(), b"kept");
    }
}

#[test]
fn what_was_not_flushed_survives_by_sectors_or_not_at_all() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (disk, disk_client) = disk(seed, Mutant::None);
        write(&disk_client, &[1; 1024], true);
        let file = disk_client.open(Path::new(FILE)).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        assert_eq!(read(&disk_client).unwrap(), [2; 1024]);
        disk.cut_power();
        let after = read(&disk_client).unwrap();
        assert!(after[..512].iter().all(|b| *b == after[0]) && after[512..].iter().all(|b| *b == after[512]));
        seen.insert((after[0], after[512]));
    }
    assert_eq!(seen.len(), 4);
}

#[test]
fn a_name_is_durable_with_its_folder_only() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        let (disk, disk_client) = disk(seed, Mutant::None);
        let file = disk_client.create(Path::new(FILE)).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap();
        disk.cut_power();
        seen.insert(read(&disk_client).is_some());
    }
    assert_eq!(seen.len(), 2);
}

#[test]
fn a_failed_flush_loses_what_can_still_be_read() {
    let (disk, disk_client) = disk(1, Mutant::None);
    write(&disk_client, b"old", true);
    let file = disk_client.open(Path::new(FILE)).unwrap();
    file.write_at(b"new", 0).unwrap();
    disk.fail_sync(Some(0));
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    assert_eq!(read(&disk_client).unwrap(), b"new");
    disk.cut_power();
    assert_eq!(read(&disk_client).unwrap(), b"old");
}

#[test]
fn mutants_break_what_they_are_named_for() {
    let loses_data = |mutant, fails: bool| {
        (0..50).any(|seed| {
            let (disk, disk_client) = disk(seed, mutant);
            disk.fail_sync(fails.then_some(0));
            write(&disk_client, b"x", true);
            disk.cut_power();
            read(&disk_client) != Some(b"x".to_vec())
        })
    };
    assert!(!loses_data(Mutant::None, false));
    assert!(loses_data(Mutant::FileSyncIgnored, false));
    assert!(loses_data(Mutant::FolderSyncIgnored, false));
    assert!(loses_data(Mutant::SyncErrorSwallowed, true));
}

#[test]
fn a_full_disk_writes_what_fits() {
    let (disk, disk_client) = disk(1, Mutant::None);
    write(&disk_client, b"123", true);
    disk.limit(Some(2));
    let file = disk_client.open(Path::new(FILE)).unwrap();
    assert_eq!(file.write_at(b"4567", 3).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(read(&disk_client).unwrap(), b"12345");
    disk.limit(None);
    file.write_at(b"4567", 3).unwrap();
    disk.read_only(true);
    assert_eq!(file.write_at(b"x", 0).unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem);
    assert!(disk_client.remove_file(Path::new(FILE)).is_err());
    assert_eq!(read(&disk_client).unwrap(), b"1234567");
}

#[test]
fn a_process_is_killed_in_the_middle_of_a_write() {
    let mut lengths = BTreeSet::new();
    for seed in 0..50 {
        let disk = CrashDisk::new(Rng::new(seed, 9), Mutant::None);
        let on_kill = Arc::new(AtomicBool::new(false));
        let note = on_kill.clone();
        let disk_client = disk.disk_client(move || note.store(true, Ordering::SeqCst));
        let file = disk_client.create(Path::new(FILE)).unwrap();
        disk.kill_after_changes(Some(1));
        file.write_at(b"123", 0).unwrap();
        assert!(!on_kill.load(Ordering::SeqCst));
        assert!(file.write_at(b"45678", 3).is_err());
        assert!(on_kill.load(Ordering::SeqCst));
        assert!(file.sync_data().is_err() && read(&disk_client).is_none(), "a killed process does nothing");
        lengths.insert(read(&disk.disk_client(|| {})).unwrap().len());
    }
    assert!(lengths.len() > 3 && lengths.iter().all(|n| (3..=8).contains(n)), "{lengths:?}");
}

#[test]
fn links_folders_and_locks() {
    let (disk, disk_client) = disk(1, Mutant::None);
    disk_client.make_folder(Path::new("/a")).unwrap();
    disk_client.make_folder(Path::new("/a/b")).unwrap();
    write(&disk_client, b"one", false);
    disk_client.link(Path::new(FILE), Path::new("/a/b/two")).unwrap();
    assert_eq!(disk_client.link(Path::new(FILE), Path::new("/a/b/two")).unwrap_err().kind(), ErrorKind::AlreadyExists);
    disk_client.remove_file(Path::new(FILE)).unwrap();
    assert_eq!(disk_client.read(Path::new("/a/b/two")).unwrap(), b"one");
    assert_eq!(disk_client.list(Path::new("/a")).unwrap(), ["b"]);
    assert!(disk_client.is_folder(Path::new("/a/b")) && !disk_client.is_folder(Path::new("/c")));
    disk_client.remove_folder(Path::new("/a")).unwrap();
    assert!(!disk_client.is_folder(Path::new("/a")));
    let held = disk_client.lock(Path::new("/lock"), "1").unwrap().ok().unwrap();
    assert!(disk.disk_client(|| {}).lock(Path::new("/lock"), "2").unwrap().is_err());
    drop(held);
    assert!(disk.disk_client(|| {}).lock(Path::new("/lock"), "2").unwrap().is_ok());
}
