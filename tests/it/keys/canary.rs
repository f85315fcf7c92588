//! A text that this process does not hold in clear, and a search for it in the whole memory of the process.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    thread,
};

/// Random letters, stored masked.
pub(super) struct Canary(Vec<u8>);

const MASK: u8 = 0xA5;
const LETTERS: usize = 24;

impl Canary {
    pub(super) fn new() -> Self {
        let mut bytes = [0; LETTERS];
        kernel::Entropy::fill(&kernel::OsEntropy, &mut bytes);
        Self(bytes.iter().map(|b| (b'a' + b % 26) ^ MASK).collect())
    }

    /// Calls `uses` with `before` followed by the text, and leaves nothing of it in memory.
    pub(super) fn with<T: Send>(&self, before: &str, uses: impl FnOnce(&str) -> T + Send) -> T {
        // Freed memory is wiped, because the test runs with the program's own allocator. The remains on a stack go with
        // its thread.
        let work = || {
            let mut text = String::with_capacity(before.len() + LETTERS);
            text.push_str(before);
            text.extend(self.0.iter().map(|b| char::from(b ^ MASK)));
            uses(&text)
        };
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    /// Number of occurrences of the letters in the writable memory of this process: heap, stacks and all mappings.
    pub(super) fn in_memory(&self) -> usize {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let memory = File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0_u8; CHUNK + LETTERS];
        let own = buffer.as_ptr() as u64..buffer.as_ptr() as u64 + buffer.len() as u64;
        let mut found = 0;
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (Some(range), Some(rights)) = (words.next(), words.next()) else { continue };
            let Some((from, to)) = range.split_once('-') else { continue };
            let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let mut at = from;
            while at < to {
                // One chunk, and the bytes by which a match may extend beyond it. The buffer of this search itself is
                // left out.
                let length = (to - at).min(buffer.len() as u64) as usize;
                let overlaps = at < own.end && own.start < at + length as u64;
                let step = if overlaps { 4_096.min(length) } else { length };
                let inside = at < own.end && own.start < at + step as u64;
                if !inside && memory.read_exact_at(&mut buffer[..step], at).is_ok() {
                    found += self.count(&buffer[..step]);
                }
                at += (if step > LETTERS && at + (step as u64) < to { step - LETTERS } else { step }) as u64;
            }
        }
        buffer.fill(0);
        found
    }

    fn count(&self, bytes: &[u8]) -> usize {
        bytes.windows(LETTERS).filter(|w| w.iter().zip(&self.0).all(|(b, masked)| b ^ MASK == *masked)).count()
    }
}

const CHUNK: usize = 1 << 20;
