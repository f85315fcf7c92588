//! What sealing costs beside the cipher alone: whole objects in segments of 1 MiB, and the paged part of an object in
//! pages of 16 KiB, against bare AES-256-GCM of `aws-lc-rs` and of `aes-gcm` on the same bytes in the same segments.
//!
//! `cargo bench --workspace --bench sealing`. All sides in turn, medians over `ROUNDS` (15) rounds: GB (10^9 bytes) of
//! plaintext a second of CPU. "Bare" is `aws-lc-rs` and what nobody is spared around it: a new buffer for each object,
//! which is dropped, or a page read from where it lies into one buffer, and opened into another. "Cipher alone" goes
//! from memory to memory that was used before. The ratios are ours to bare, of CPU and of the clock; the goal is 0.85.
//! Where ours reads from a source ("first part", "read and open"), the rows "read and …" have a bare side that reads as
//! well: each segment into one buffer, and opened into another, which is new. The row before has one that is spared it.
//! `aes-gcm` is what the feature `portable` seals with, alone as well.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]

use aes_gcm::{
    Aes256Gcm, KeyInit,
    aead::{AeadInOut, inout::InOutBuf},
};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use kernel::{
    Clock, Incarnation, NamespaceUuid, ObjectUuid, OsEntropy, ReadAt, SeededEntropy, SystemClock, limits::PAGE_BYTES,
};
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, sync::Arc};
use vault::{Home, LocalProvider, ObjectKind, PlaceKind, TenantKeys};

const SEGMENT: usize = 1 << 20;
const KIND: ObjectKind = ObjectKind::Segment;
const OBJECT: ObjectUuid = ObjectUuid::from_bytes([2; 16]);
const AAD: [u8; 9] = [0; 9];
const NONCE: [u8; 12] = [0; 12];
const TAG: usize = 16;

fn main() {
    // Cargo's test runs start benchmarks too.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let home = home();
    let (quick, slow) = (Quick::new(), Slow::new());
    println!("| work | MiB | ours | bare | cipher alone | `aes-gcm` alone | ratio, CPU | ratio, clock |");
    println!("|---|---|---|---|---|---|---|---|");
    for (mebibytes, times) in [(1, 32), (16, 3), (64, 1)] {
        let plain: Vec<u8> = (0..mebibytes << 20).map(|n: usize| (n / 3) as u8).collect();
        let row = |work: &str, sides: [&mut dyn FnMut(); 4]| compare(work, plain.len(), times, sides);
        // What each side writes to.
        let [mut warm, mut warm_slow] = [(); 2].map(|()| vec![1; sealed_len(plain.len(), PAGE_BYTES)]);

        for (work, segment) in [("seal", SEGMENT), ("seal in pages", PAGE_BYTES)] {
            let length = sealed_len(plain.len(), segment);
            row(
                work,
                [
                    &mut || match segment {
                        SEGMENT => drop(black_box(home.seal(KIND, OBJECT, &plain, &OsEntropy).unwrap())),
                        _ => drop(black_box(home.seal_split(KIND, OBJECT, &plain, 0, &OsEntropy).unwrap())),
                    },
                    &mut || {
                        let mut sealed = vec![0; length];
                        quick.seal(&plain, segment, &mut sealed);
                        black_box(sealed);
                    },
                    &mut || quick.seal(&plain, segment, &mut warm[..length]),
                    &mut || slow.seal(&plain, segment, &mut warm_slow[..length]),
                ],
            );
        }

        let (sealed, key) = home.seal(KIND, OBJECT, &plain, &OsEntropy).unwrap();
        let bare = quick.sealed(&plain, SEGMENT);
        row(
            "open",
            [
                &mut || drop(black_box(home.open(KIND, OBJECT, &key, &sealed).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    quick.open(&bare, SEGMENT, &mut opened);
                    black_box(opened);
                },
                &mut || quick.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || slow.open(&bare, SEGMENT, &mut warm_slow[..plain.len()]),
            ],
        );

        // What a side reads with: one segment.
        let mut buffer = vec![0; SEGMENT + TAG];
        let source: Arc<dyn ReadAt> = Arc::new(sealed);
        row(
            "read and open",
            [
                &mut || drop(black_box(home.open_from(KIND, OBJECT, &key, &source).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    quick.read_and_open(&bare, &mut buffer, &mut opened);
                    black_box(opened);
                },
                &mut || quick.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || slow.open(&bare, SEGMENT, &mut warm_slow[..plain.len()]),
            ],
        );

        let (sealed, key) = home.seal_split(KIND, OBJECT, &plain, plain.len(), &OsEntropy).unwrap();
        let sealed: Arc<dyn ReadAt> = Arc::new(sealed);
        row(
            "read and open as a first part",
            [
                &mut || drop(black_box(home.open_split(KIND, OBJECT, &key, sealed.clone()).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    quick.read_and_open(&bare, &mut buffer, &mut opened);
                    black_box(opened);
                },
                &mut || quick.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || slow.open(&bare, SEGMENT, &mut warm_slow[..plain.len()]),
            ],
        );
        row(
            "open as a first part",
            [
                &mut || drop(black_box(home.open_split(KIND, OBJECT, &key, sealed.clone()).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    quick.open(&bare, SEGMENT, &mut opened);
                    black_box(opened);
                },
                &mut || quick.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || slow.open(&bare, SEGMENT, &mut warm_slow[..plain.len()]),
            ],
        );

        let (sealed, key) = home.seal_split(KIND, OBJECT, &plain, 0, &OsEntropy).unwrap();
        let reader = home.open_split(KIND, OBJECT, &key, Arc::new(sealed)).unwrap().1;
        let bare = quick.sealed(&plain, PAGE_BYTES);
        let mut ours = plain.clone();
        for (work, step) in [("read pages, all at once", plain.len()), ("read pages, one by one", PAGE_BYTES)] {
            let (mut again, mut page) = (vec![1; plain.len()], vec![0; PAGE_BYTES + TAG]);
            row(
                work,
                [
                    &mut || {
                        for (part, n) in ours.chunks_mut(step).zip(0..) {
                            reader.read_at(n * step as u64, part).unwrap();
                        }
                    },
                    &mut || {
                        for (out, n) in again.chunks_mut(PAGE_BYTES).zip(0..) {
                            bare.read_at(n * (PAGE_BYTES + TAG) as u64, &mut page).unwrap();
                            quick.open(&page, PAGE_BYTES, out);
                        }
                    },
                    &mut || quick.open(&bare, PAGE_BYTES, &mut warm[..plain.len()]),
                    &mut || slow.open(&bare, PAGE_BYTES, &mut warm_slow[..plain.len()]),
                ],
            );
        }
        assert!(ours == plain && warm[..plain.len()] == plain && warm_slow[..plain.len()] == plain);
    }
}

fn home() -> Home {
    let entropy = SeededEntropy::new(1);
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(SeededEntropy::new(2))).unwrap();
    let keys = TenantKeys::create(&provider, Incarnation::from_bytes([1; 16]), &entropy).unwrap().0;
    Home::create_place(&keys, PlaceKind::Namespace, NamespaceUuid::from_bytes([1; 16]), &entropy).unwrap().0
}

/// Every side in turn, the first round for nothing.
fn compare(work: &str, bytes: usize, times: usize, mut sides: [&mut dyn FnMut(); 4]) {
    let rounds = std::env::var("ROUNDS").map_or(15, |n| n.parse().unwrap());
    let clock = SystemClock::new();
    let mut took: [[Vec<f64>; 2]; 4] = Default::default();
    for round in 0..=rounds {
        for (act, took) in sides.iter_mut().zip(&mut took) {
            let (began, cpu_began) = (clock.monotonic(), cpu());
            (0..times).for_each(|_| act());
            if round > 0 {
                took[0].push(cpu() - cpu_began);
                took[1].push((clock.monotonic() - began).as_secs_f64());
            }
        }
    }
    let rates = took.map(|of| {
        of.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            (bytes * times) as f64 / 1e9 / seconds[rounds / 2]
        })
    });
    let [ours, bare, warm, slow] = rates.map(|[cpu, _]| format!("{cpu:.2}"));
    let [cpu, clock] = [0, 1].map(|of| rates[0][of] / rates[1][of]);
    println!("| {work} | {} | {ours} | {bare} | {warm} | {slow} | **{cpu:.2}** | {clock:.2} |", bytes >> 20);
}

/// This process's seconds on cores.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Each segment with its tag behind it.
fn sealed_len(plain: usize, segment: usize) -> usize {
    plain + plain.div_ceil(segment) * TAG
}

/// `aws-lc-rs` and nothing else.
struct Quick(LessSafeKey);

impl Quick {
    fn new() -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).unwrap()))
    }

    fn sealed(&self, plain: &[u8], segment: usize) -> Vec<u8> {
        let mut out = vec![0; sealed_len(plain.len(), segment)];
        self.seal(plain, segment, &mut out);
        out
    }

    fn seal(&self, plain: &[u8], segment: usize, out: &mut [u8]) {
        for (piece, out) in plain.chunks(segment).zip(out.chunks_mut(segment + TAG)) {
            let nonce = Nonce::assume_unique_for_key(NONCE);
            self.0.seal_in_place_scatter(nonce, Aad::from(&AAD), &mut [], piece, out).unwrap();
        }
    }

    fn open(&self, sealed: &[u8], segment: usize, out: &mut [u8]) {
        for (sealed, out) in sealed.chunks(segment + TAG).zip(out.chunks_mut(segment)) {
            let (piece, tag) = sealed.split_last_chunk::<TAG>().unwrap();
            let nonce = Nonce::assume_unique_for_key(NONCE);
            self.0.open_separate_gather(nonce, Aad::from(&AAD), piece, tag, out).unwrap();
        }
    }
}

impl Quick {
    /// From where it lies, a segment at a time.
    fn read_and_open(&self, sealed: &Vec<u8>, buffer: &mut [u8], out: &mut [u8]) {
        for (out, n) in out.chunks_mut(SEGMENT).zip(0..) {
            let buffer = &mut buffer[..out.len() + TAG];
            sealed.read_at(n * (SEGMENT + TAG) as u64, buffer).unwrap();
            self.open(buffer, SEGMENT, out);
        }
    }
}

/// `aes-gcm` and nothing else, with the same bytes.
struct Slow(Aes256Gcm);

impl Slow {
    fn new() -> Self {
        Self(Aes256Gcm::new(&[7; 32].into()))
    }

    fn seal(&self, plain: &[u8], segment: usize, out: &mut [u8]) {
        for (piece, out) in plain.chunks(segment).zip(out.chunks_mut(segment + TAG)) {
            let (body, tag) = out.split_last_chunk_mut::<TAG>().unwrap();
            let both = InOutBuf::new(piece, body).unwrap();
            *tag = self.0.encrypt_inout_detached(&NONCE.into(), &AAD, both).unwrap().into();
        }
    }

    fn open(&self, sealed: &[u8], segment: usize, out: &mut [u8]) {
        for (sealed, out) in sealed.chunks(segment + TAG).zip(out.chunks_mut(segment)) {
            let (piece, tag) = sealed.split_last_chunk::<TAG>().unwrap();
            let both = InOutBuf::new(piece, out).unwrap();
            self.0.decrypt_inout_detached(&NONCE.into(), &AAD, both, &(*tag).into()).unwrap();
        }
    }
}
