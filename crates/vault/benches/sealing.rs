//! Cost of sealing compared to the cipher alone: whole objects in segments of 1 MiB, and the paged part of an object in
//! pages of 16 KiB, against bare AES-256-GCM of `aws-lc-rs` and of `aes-gcm` on the same bytes in the same segments.
//!
//! `cargo bench --workspace --bench sealing`. All variants alternate; the result is the median over `ROUNDS` (15)
//! rounds, in GB (10^9 bytes) of plaintext per second of CPU time. "Bare" is `aws-lc-rs` with the work that every
//! caller has around it: a new buffer for each object, which is dropped, or a page that is read into one buffer and
//! opened into another. "Cipher alone" works from memory to memory that was used before. The ratios are ours to bare,
//! of CPU and of wall-clock time; the goal is 0.85. Where ours reads from a source ("first part", "read and open"), the
//! rows "read and …" have a bare variant that reads as well: each segment into one buffer, and opened into another,
//! which is new. The bare variant of the previous row does not read. `aes-gcm` is the cipher of the feature `portable`,
//! measured alone as well.
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
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, TenantKeys};

const SEGMENT: usize = 1 << 20;
const KIND: ObjectKind = ObjectKind::Segment;
const OBJECT: ObjectUuid = ObjectUuid::from_bytes([2; 16]);
const AAD: [u8; 9] = [0; 9];
const NONCE: [u8; 12] = [0; 12];
const TAG: usize = 16;

fn main() {
    // Test runs of Cargo start benchmarks too; they do nothing there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let keyspace = keyspace();
    let (aws_lc, aes_gcm) = (AwsLcCipher::new(), AesGcmCipher::new());
    println!("| work | MiB | ours | bare | cipher alone | `aes-gcm` alone | ratio, CPU | ratio, clock |");
    println!("|---|---|---|---|---|---|---|---|");
    for (mebibytes, times) in [(1, 32), (16, 3), (64, 1)] {
        let plain: Vec<u8> = (0..mebibytes << 20).map(|n: usize| (n / 3) as u8).collect();
        let row = |work: &str, variants: [&mut dyn FnMut(); 4]| compare(work, plain.len(), times, variants);
        // Output buffers of the variants.
        let [mut warm, mut warm_aes_gcm] = [(); 2].map(|()| vec![1; sealed_len(plain.len(), PAGE_BYTES)]);

        for (work, segment) in [("seal", SEGMENT), ("seal in pages", PAGE_BYTES)] {
            let length = sealed_len(plain.len(), segment);
            row(
                work,
                [
                    &mut || match segment {
                        SEGMENT => drop(black_box(keyspace.seal(KIND, OBJECT, &plain, &OsEntropy).unwrap())),
                        _ => drop(black_box(keyspace.seal_split(KIND, OBJECT, &plain, 0, &OsEntropy).unwrap())),
                    },
                    &mut || {
                        let mut sealed = vec![0; length];
                        aws_lc.seal(&plain, segment, &mut sealed);
                        black_box(sealed);
                    },
                    &mut || aws_lc.seal(&plain, segment, &mut warm[..length]),
                    &mut || aes_gcm.seal(&plain, segment, &mut warm_aes_gcm[..length]),
                ],
            );
        }

        let (sealed, key) = keyspace.seal(KIND, OBJECT, &plain, &OsEntropy).unwrap();
        let bare = aws_lc.sealed(&plain, SEGMENT);
        row(
            "open",
            [
                &mut || drop(black_box(keyspace.open(KIND, OBJECT, &key, &sealed).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    aws_lc.open(&bare, SEGMENT, &mut opened);
                    black_box(opened);
                },
                &mut || aws_lc.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || aes_gcm.open(&bare, SEGMENT, &mut warm_aes_gcm[..plain.len()]),
            ],
        );

        // Read buffer of one segment.
        let mut buffer = vec![0; SEGMENT + TAG];
        let source: Arc<dyn ReadAt> = Arc::new(sealed);
        row(
            "read and open",
            [
                &mut || drop(black_box(keyspace.open_from(KIND, OBJECT, &key, &source).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    aws_lc.read_and_open(&bare, &mut buffer, &mut opened);
                    black_box(opened);
                },
                &mut || aws_lc.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || aes_gcm.open(&bare, SEGMENT, &mut warm_aes_gcm[..plain.len()]),
            ],
        );

        let (sealed, key) = keyspace.seal_split(KIND, OBJECT, &plain, plain.len(), &OsEntropy).unwrap();
        let sealed: Arc<dyn ReadAt> = Arc::new(sealed);
        row(
            "read and open as a first part",
            [
                &mut || drop(black_box(keyspace.open_split(KIND, OBJECT, &key, sealed.clone()).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    aws_lc.read_and_open(&bare, &mut buffer, &mut opened);
                    black_box(opened);
                },
                &mut || aws_lc.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || aes_gcm.open(&bare, SEGMENT, &mut warm_aes_gcm[..plain.len()]),
            ],
        );
        row(
            "open as a first part",
            [
                &mut || drop(black_box(keyspace.open_split(KIND, OBJECT, &key, sealed.clone()).unwrap())),
                &mut || {
                    let mut opened = vec![0; plain.len()];
                    aws_lc.open(&bare, SEGMENT, &mut opened);
                    black_box(opened);
                },
                &mut || aws_lc.open(&bare, SEGMENT, &mut warm[..plain.len()]),
                &mut || aes_gcm.open(&bare, SEGMENT, &mut warm_aes_gcm[..plain.len()]),
            ],
        );

        let (sealed, key) = keyspace.seal_split(KIND, OBJECT, &plain, 0, &OsEntropy).unwrap();
        let reader = keyspace.open_split(KIND, OBJECT, &key, Arc::new(sealed)).unwrap().1;
        let bare = aws_lc.sealed(&plain, PAGE_BYTES);
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
                            aws_lc.open(&page, PAGE_BYTES, out);
                        }
                    },
                    &mut || aws_lc.open(&bare, PAGE_BYTES, &mut warm[..plain.len()]),
                    &mut || aes_gcm.open(&bare, PAGE_BYTES, &mut warm_aes_gcm[..plain.len()]),
                ],
            );
        }
        assert!(ours == plain && warm[..plain.len()] == plain && warm_aes_gcm[..plain.len()] == plain);
    }
}

fn keyspace() -> Keyspace {
    let entropy = SeededEntropy::new(1);
    let provider = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(SeededEntropy::new(2))).unwrap();
    let keys = TenantKeys::create(&provider, Incarnation::from_bytes([1; 16]), &entropy).unwrap().0;
    Keyspace::create(&keys, KeyspaceKind::Namespace, NamespaceUuid::from_bytes([1; 16]), &entropy).unwrap().0
}

/// Measures all variants alternately; the first round is a warm-up.
fn compare(work: &str, bytes: usize, times: usize, mut variants: [&mut dyn FnMut(); 4]) {
    let rounds = std::env::var("ROUNDS").map_or(15, |n| n.parse().unwrap());
    let clock = SystemClock::new();
    let mut times_taken: [[Vec<f64>; 2]; 4] = Default::default();
    for round in 0..=rounds {
        for (run, times_taken) in variants.iter_mut().zip(&mut times_taken) {
            let (began, cpu_began) = (clock.monotonic(), cpu());
            (0..times).for_each(|_| run());
            if round > 0 {
                times_taken[0].push(cpu() - cpu_began);
                times_taken[1].push((clock.monotonic() - began).as_secs_f64());
            }
        }
    }
    let rates = times_taken.map(|of| {
        of.map(|mut seconds| {
            seconds.sort_by(f64::total_cmp);
            (bytes * times) as f64 / 1e9 / seconds[rounds / 2]
        })
    });
    let [ours, bare, warm, aes_gcm] = rates.map(|[cpu, _]| format!("{cpu:.2}"));
    let [cpu, clock] = [0, 1].map(|of| rates[0][of] / rates[1][of]);
    println!("| {work} | {} | {ours} | {bare} | {warm} | {aes_gcm} | **{cpu:.2}** | {clock:.2} |", bytes >> 20);
}

/// CPU time of this process in seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Size of all segments, each followed by its tag.
fn sealed_len(plain: usize, segment: usize) -> usize {
    plain + plain.div_ceil(segment) * TAG
}

/// AES-256-GCM of `aws-lc-rs` alone.
struct AwsLcCipher(LessSafeKey);

impl AwsLcCipher {
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

impl AwsLcCipher {
    /// Reads from the source and opens, a segment at a time.
    fn read_and_open(&self, sealed: &Vec<u8>, buffer: &mut [u8], out: &mut [u8]) {
        for (out, n) in out.chunks_mut(SEGMENT).zip(0..) {
            let buffer = &mut buffer[..out.len() + TAG];
            sealed.read_at(n * (SEGMENT + TAG) as u64, buffer).unwrap();
            self.open(buffer, SEGMENT, out);
        }
    }
}

/// AES-256-GCM of `aes-gcm` alone, with the same bytes.
struct AesGcmCipher(Aes256Gcm);

impl AesGcmCipher {
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
