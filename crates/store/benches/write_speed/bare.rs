//! The floor: threads that only make bytes durable, as plainly as the system allows.

use kernel::{Clock, SystemClock};
use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

/// A document of 1 KiB and its 384 values.
const RECORD: usize = 1024 + 384 * 4;

fn preallocated(path: &Path, bytes: usize) -> File {
    let file = OpenOptions::new().create(true).truncate(true).write(true).open(path).expect("a file");
    file.write_all_at(&vec![0; bytes], 0).expect("room");
    file.sync_all().expect("durable");
    file
}

/// Every thread its own file, write and `fdatasync` for each record.
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
struct Group {
    waiting: Vec<u8>,
    records: u64,
    handed: u64,
    durable: u64,
    led: bool,
}

/// One file: whoever finds no leader writes what all have handed over, with one `fdatasync`.
pub(crate) fn one_file(folder: &Path, threads: usize, each: usize) {
    let file = Arc::new(preallocated(&folder.join("bare"), threads * each * RECORD));
    let shared = (Mutex::new(Group::default()), Condvar::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let record = vec![7; RECORD];
                for _ in 0..each {
                    hand_over(&shared, &file, &record);
                }
            });
        }
    });
}

fn hand_over((group, woken): &(Mutex<Group>, Condvar), file: &File, record: &[u8]) {
    let mut held = group.lock().expect("no thread panics");
    held.waiting.extend_from_slice(record);
    held.handed += 1;
    let mine = held.handed;
    loop {
        if held.durable >= mine {
            return;
        }
        if held.led {
            held = woken.wait(held).expect("no thread panics");
            continue;
        }
        held.led = true;
        let bytes = std::mem::take(&mut held.waiting);
        let (at, upto) = (held.records * RECORD as u64, held.handed);
        drop(held);
        file.write_all_at(&bytes, at).expect("written");
        file.sync_data().expect("durable");
        held = group.lock().expect("no thread panics");
        (held.led, held.durable, held.records) = (false, upto, upto);
        woken.notify_all();
    }
}

/// One thread, one file: how long each record takes.
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
