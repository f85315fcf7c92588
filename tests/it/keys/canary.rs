//! A text that this process holds nowhere by itself, and a look for it in the process's whole memory.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    thread,
};

/// Random letters, kept veiled.
pub(super) struct Canary(Vec<u8>);

const VEIL: u8 = 0xA5;
const LETTERS: usize = 24;

impl Canary {
    pub(super) fn new() -> Self {
        let mut bytes = [0; LETTERS];
        kernel::Entropy::fill(&kernel::OsEntropy, &mut bytes);
        Self(bytes.iter().map(|b| (b'a' + b % 26) ^ VEIL).collect())
    }

    /// Uses the text behind `before`; nothing of it stays here.
    pub(super) fn with<T: Send>(&self, before: &str, uses: impl FnOnce(&str) -> T + Send) -> T {
        // Freed memory is wiped: the test runs under the program's own allocator. What a stack was left with goes with
        // its thread.
        let work = || {
            let mut text = String::with_capacity(before.len() + LETTERS);
            text.push_str(before);
            text.extend(self.0.iter().map(|b| char::from(b ^ VEIL)));
            uses(&text)
        };
        thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    /// How often the letters stand in what this process may write to: heap, stacks, everything mapped.
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
                // One chunk and what a match may reach over its end. What this look itself copied is left out.
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
        bytes.windows(LETTERS).filter(|w| w.iter().zip(&self.0).all(|(b, veiled)| b ^ VEIL == *veiled)).count()
    }
}

const CHUNK: usize = 1 << 20;
