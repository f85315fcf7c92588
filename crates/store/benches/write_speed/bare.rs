//! Baseline: threads that only make bytes durable, in the simplest way that the system allows.

use kernel::{Clock, SystemClock};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// Bytes of a document of 1 KiB and its 384 values.
const RECORD: usize = 1024 + 384 * 4;

fn preallocated(path: &Path, bytes: usize) -> File {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("a file");
    file.write_all_at(&vec![0; bytes], 0).expect("room");
    file.sync_all().expect("durable");
    file
}

/// Each thread writes to its own file, with one `fdatasync` per record.
pub(crate) fn many_files(folder: &Path, threads: usize, each: usize) {
    let files: Vec<File> =
        (0..threads).map(|n| preallocated(&folder.join(format!("bare-{n}")), each * RECORD)).collect();
    std::thread::scope(|scope| {
        for file in &files {
            scope.spawn(move || {
                let record = vec![7; RECORD];
                for n in 0..each {
                    file.write_all_at(&record, (n * RECORD) as u64).expect("written");
                    file.sync_data().expect("durable");
                }
            });
        }
    });
}

#[derive(Default)]
struct GroupCommit {
    waiting: Vec<u8>,
    records: u64,
    submitted: u64,
    durable: u64,
    has_leader: bool,
}

/// One file with group commit: a thread that finds no leader writes the records of all, with one `fdatasync`.
pub(crate) fn one_file(folder: &Path, threads: usize, each: usize) {
    let file = Arc::new(preallocated(&folder.join("bare"), threads * each * RECORD));
    let shared = (Mutex::new(GroupCommit::default()), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let record = vec![7; RECORD];
                for _ in 0..each {
                    submit_and_wait(&shared, &file, &record);
                }
            });
        }
    });
}

fn submit_and_wait((group, woken): &(Mutex<GroupCommit>, Condvar), file: &File, record: &[u8]) {
    let mut held = group.lock().expect("no thread panics");
    held.waiting.extend_from_slice(record);
    held.submitted += 1;
    let number = held.submitted;
    loop {
        if held.durable >= number {
            return;
        }
        if held.has_leader {
            held = woken.wait(held).expect("no thread panics");
            continue;
        }
        held.has_leader = true;
        let bytes = std::mem::take(&mut held.waiting);
        let (at, through) = (held.records * RECORD as u64, held.submitted);
        drop(held);
        file.write_all_at(&bytes, at).expect("written");
        file.sync_data().expect("durable");
        held = group.lock().expect("no thread panics");
        (held.has_leader, held.durable, held.records) = (false, through, through);
        woken.notify_all();
    }
}

/// One thread and one file: the time of each record.
pub(crate) fn single(folder: &Path, writes: usize, clock: &SystemClock) -> Vec<Duration> {
    let file = preallocated(&folder.join("bare"), writes * RECORD);
    let record = vec![7; RECORD];
    let one = |n: usize| {
        let began = clock.monotonic();
        file.write_all_at(&record, (n * RECORD) as u64).expect("written");
        file.sync_data().expect("durable");
        clock.monotonic() - began
    };
    (0..writes).map(one).collect()
}
