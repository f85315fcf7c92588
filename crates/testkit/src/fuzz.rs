//! Short fuzzing as a test: valid encodings are mutated with regard to their structure by a seeded generator.
//!
//! The decoders are in the `fuzzing` module of each crate, which a feature opens to other fuzzers. The same seed gives
//! the same cases, and a failing case is named by target and number. `RINGFENCE_FUZZ_CASES` sets the number of cases.

use crate::Rng;
use kernel::FuzzTarget;
use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Largest plausible allocation, bytes. A larger one trusted a length field: no input of a case is a tenth of it.
const ALLOCATION_MAX: usize = 64 << 20;
/// Default number of cases for each target.
const CASES_DEFAULT: u64 = 1_500;

/// Size of the largest allocation since the last reset, bytes.
static LARGEST: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, which also records the largest allocation.
pub struct Largest;

#[expect(unsafe_code, reason = "an allocator needs unsafe code; every call goes to the system's allocator unchanged")]
// SAFETY: each method forwards its arguments to `System` and does nothing else with the memory.
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Relaxed);
        // SAFETY: the caller guarantees what `System` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Relaxed);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Number of cases for each target.
pub fn fuzz_cases() -> u64 {
    std::env::var("RINGFENCE_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES_DEFAULT)
}

/// Runs every target on its valid encodings and on mutations of them. The test binary's allocator must be [`Largest`].
///
/// # Panics
/// If a decoder panics, or allocates more than any input justifies.
pub fn fuzz(targets: &[FuzzTarget]) {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(4_321)));
    assert!(LARGEST.load(Relaxed) >= 4_321, "this binary's allocator does not count");
    for (name, seeds, decode) in targets {
        let seeds = seeds();
        seeds.iter().for_each(|seed| decode(seed));
        for case in 0..fuzz_cases() {
            let bytes = mutated(&Rng::new(case), &seeds);
            LARGEST.store(0, Relaxed);
            let result = std::panic::catch_unwind(|| decode(&bytes));
            assert!(result.is_ok(), "{name}, case {case}: panicked on {} bytes", bytes.len());
            let largest = LARGEST.load(Relaxed);
            assert!(largest < ALLOCATION_MAX, "{name}, case {case}: {largest} bytes for an input of {}", bytes.len());
        }
    }
}

/// One of the seeds with up to four mutations.
///
/// # Panics
/// If there are no seeds.
pub fn mutated(rng: &Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = rng.pick(seeds).clone();
    for _ in 0..=rng.below(4) {
        let other: &Vec<u8> = rng.pick(seeds);
        mutate(rng, &mut bytes, other);
    }
    bytes
}

fn mutate(rng: &Rng, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = below(rng, bytes.len());
    match rng.below(8) {
        0 => put(bytes, at, |b| b ^ (1 << rng.below(8))),
        1 => put(bytes, at, |_| *rng.pick(&[0, 1, 0x7f, 0x80, 0xff, b'{', b'"'])),
        2 => bytes.truncate(at),
        // An extreme value for a length or a count, in either byte order and several widths; LEB128 decoders read these
        // bytes too.
        3 | 4 => {
            let extreme =
                *rng.pick(&[0, 1, 0x7f, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX]);
            let wide = *rng.pick(&[2usize, 4, 8]);
            let raw = if rng.below(4) == 0 { extreme.to_be_bytes() } else { extreme.to_le_bytes() };
            raw.iter().take(wide).enumerate().for_each(|(i, byte)| put(bytes, at + i, |_| *byte));
        }
        // The tail of another seed, or of the same: sections are missing or occur twice.
        5 => {
            bytes.truncate(at);
            bytes.extend_from_slice(other.get(below(rng, other.len())..).unwrap_or_default());
        }
        6 => {
            let piece = bytes.get(at..(at + below(rng, 64)).min(bytes.len())).unwrap_or_default().to_vec();
            let to = below(rng, bytes.len());
            bytes.splice(to..to, piece);
        }
        _ => {
            let end = (at + 1 + below(rng, 16)).min(bytes.len());
            drop(bytes.drain(at.min(end)..end));
        }
    }
}

fn put(bytes: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = change(*byte);
    }
}

fn below(rng: &Rng, n: usize) -> usize {
    usize::try_from(rng.below(n as u64)).unwrap_or(0)
}
