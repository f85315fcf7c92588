//! Every schedule within small bounds, depth first, each state visited once.
//!
//! A step may involve choices (what a LIST shows, what a fault does): the search takes all of them, by running the step
//! again with another script. States are kept as 128-bit fingerprints. A retry that changes nothing leads back to a
//! visited state, so loops terminate.

use super::{
    model::{Choose, Model},
    rules::Rules,
    writer::{Budget, Next, Process},
};
use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// Bounds of a search.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Number of processes.
    pub(crate) writers: u8,
    /// Actions of each process.
    pub(crate) budget: Budget,
    /// Total number of faults and crashes.
    pub(crate) faults: u8,
    /// Number of states after which the search gives up.
    pub(crate) states: usize,
}

/// Result of a search.
pub(crate) struct Searched {
    /// Number of distinct states.
    pub(crate) states: usize,
    /// Number of steps taken.
    pub(crate) steps: u64,
    /// Whether all states within the bounds were visited.
    pub(crate) complete: bool,
    /// The first violation that was found.
    pub(crate) violation: Option<&'static str>,
}

/// Searches until there is a violation or no state is left.
pub(crate) fn search(rules: Rules, bounds: Bounds) -> Searched {
    let first = Model::new(rules, bounds.writers, bounds.budget, bounds.faults, 1);
    let mut visited = HashSet::<u128, BuildHasherDefault<PassThrough>>::default();
    visited.insert(fingerprint(&first));
    let mut stack = vec![first];
    let mut found = Searched { states: 1, steps: 0, complete: true, violation: None };
    while let Some(model) = stack.pop() {
        for process in 0..model.processes.len() {
            if !may_act(&model, process, bounds.budget) {
                continue;
            }
            for_each_script(
                &model,
                &mut |next, script| {
                    if next.faults > 0 && script.pick(2) == 1 {
                        next.faults -= 1;
                        next.crash(process, script);
                    } else {
                        next.step(process, script);
                        while continues_reading(next, process) {
                            next.step(process, script);
                        }
                    }
                    next.verify();
                },
                &mut |next| {
                    found.steps += 1;
                    found.violation = found.violation.or(next.violation);
                    if visited.insert(fingerprint(&next)) {
                        stack.push(next);
                    }
                },
            );
        }
        if !model.delayed_puts.is_empty() {
            for_each_script(&model, &mut |next, script| next.delayed_put_arrives(script), &mut |next| {
                found.steps += 1;
                if visited.insert(fingerprint(&next)) {
                    stack.push(next);
                }
            });
        }
        found.states = visited.len();
        found.complete = stack.is_empty();
        if found.violation.is_some() || found.states >= bounds.states {
            break;
        }
    }
    found
}

/// Merges the GETs that follow a LIST into one step. This only bounds the search; the random schedules take them one by
/// one.
fn continues_reading(model: &Model, process: usize) -> bool {
    let next = model.processes[process].next;
    matches!(next, Next::RecoverDown | Next::RecoverBase | Next::RecoverWalk | Next::SealDown)
}

/// Processes are interchangeable, so each starts only after the one before it has started.
fn may_act(model: &Model, process: usize, budget: Budget) -> bool {
    let begun = |p: &Process| *p != Process::new(p.nonce, p.node, budget);
    !model.processes[process].idle() && (process == 0 || begun(&model.processes[process - 1]))
}

/// Runs the step once for every script of its choices.
fn for_each_script(model: &Model, step: &mut dyn FnMut(&mut Model, &mut Script), then: &mut dyn FnMut(Model)) {
    let mut script = Script::default();
    loop {
        let mut next = model.clone();
        step(&mut next, &mut script);
        then(next);
        if !script.advance() {
            return;
        }
    }
}

/// Choices that were made, each with the number of alternatives.
#[derive(Default)]
struct Script {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Script {
    /// Advances to the next script in order; `false` after the last one.
    fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.made.pop() {
            if choice + 1 < of {
                self.made.push((choice + 1, of));
                return true;
            }
        }
        false
    }
}

impl Choose for Script {
    fn pick(&mut self, n: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, n));
        }
        self.at += 1;
        self.made[self.at - 1].0
    }

    fn weigh(&mut self, weights: &[u32]) -> usize {
        self.pick(weights.len())
    }

    fn rare(&mut self, _: u32) -> bool {
        self.pick(2) == 1
    }
}

fn fingerprint(model: &Model) -> u128 {
    let mut hashes = TwoHashes { a: 0x243F_6A88_85A3_08D3, b: 0x1319_8A2E_0370_7344 };
    model.hash(&mut hashes);
    (u128::from(hashes.a) << 64) | u128::from(hashes.b)
}

/// Two independent 64-bit hashes at once.
struct TwoHashes {
    a: u64,
    b: u64,
}

impl Hasher for TwoHashes {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word) ^ ((chunk.len() as u64) << 56));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.a = (self.a.rotate_left(5) ^ word).wrapping_mul(0x517C_C1B7_2722_0A95);
        self.b = (self.b ^ word).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        self.b ^= self.b >> 32;
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte) | 0x100);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        self.a ^ self.b
    }
}

/// Passes fingerprints through, which are hashes already.
#[derive(Default)]
struct PassThrough(u64);

impl Hasher for PassThrough {
    fn write(&mut self, _: &[u8]) {
        unreachable!("fingerprints are u128")
    }

    fn write_u128(&mut self, word: u128) {
        self.0 = (word >> 64) as u64 ^ word as u64;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
