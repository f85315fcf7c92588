//! Every schedule within small bounds, depth first, each state visited once.
//!
//! A step may have choices of its own (what a LIST shows, what a fault does): all are taken, by
//! running the step again with another script. States are kept as 128-bit fingerprints.
//! A retry that changes nothing leads back to a visited state, so loops end by themselves.

use super::{
    rules::Rules,
    world::{Choose, World},
    writer::{Budget, Next, Process},
};
use std::{
    collections::HashSet,
    hash::{BuildHasherDefault, Hash, Hasher},
};

/// Bounds of a search.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Processes.
    pub(crate) writers: u8,
    /// What each may do.
    pub(crate) budget: Budget,
    /// Faults and crashes in all.
    pub(crate) faults: u8,
    /// States after which the search gives up.
    pub(crate) states: usize,
}

/// What a search came to.
pub(crate) struct Searched {
    /// Different states.
    pub(crate) states: usize,
    /// Steps taken.
    pub(crate) steps: u64,
    /// All states within the bounds were visited.
    pub(crate) complete: bool,
    /// What was found to be wrong.
    pub(crate) wrong: Option<&'static str>,
}

/// Searches until something is wrong or nothing is left.
pub(crate) fn search(rules: Rules, bounds: Bounds) -> Searched {
    let first = World::new(rules, bounds.writers, bounds.budget, bounds.faults, 1);
    let mut seen = HashSet::<u128, BuildHasherDefault<Through>>::default();
    seen.insert(fingerprint(&first));
    let mut stack = vec![first];
    let mut found = Searched { states: 1, steps: 0, complete: true, wrong: None };
    while let Some(world) = stack.pop() {
        for process in 0..world.processes.len() {
            if !may_act(&world, process, bounds.budget) {
                continue;
            }
            each(
                &world,
                &mut |next, script| {
                    if next.faults > 0 && script.pick(2) == 1 {
                        next.faults -= 1;
                        next.crash(process, script);
                    } else {
                        next.step(process, script);
                        while reads_on(next, process) {
                            next.step(process, script);
                        }
                    }
                    next.audit();
                },
                &mut |next| {
                    found.steps += 1;
                    found.wrong = found.wrong.or(next.wrong);
                    if seen.insert(fingerprint(&next)) {
                        stack.push(next);
                    }
                },
            );
        }
        if !world.ghosts.is_empty() {
            each(&world, &mut |next, script| next.ghost_lands(script), &mut |next| {
                found.steps += 1;
                if seen.insert(fingerprint(&next)) {
                    stack.push(next);
                }
            });
        }
        found.states = seen.len();
        found.complete = stack.is_empty();
        if found.wrong.is_some() || found.states >= bounds.states {
            break;
        }
    }
    found
}

/// A bound, not a law: the GETs that follow a LIST happen together. The random schedules take them
/// one by one.
fn reads_on(world: &World, process: usize) -> bool {
    let next = world.processes[process].next;
    matches!(next, Next::RecoverDown | Next::RecoverBase | Next::RecoverWalk | Next::SealDown)
}

/// Processes are alike: one begins only after the one before it has begun.
fn may_act(world: &World, process: usize, budget: Budget) -> bool {
    let begun = |p: &Process| *p != Process::new(p.nonce, p.node, budget);
    !world.processes[process].idle() && (process == 0 || begun(&world.processes[process - 1]))
}

/// Runs the step once for every script of its choices.
fn each(world: &World, step: &mut dyn FnMut(&mut World, &mut Script), then: &mut dyn FnMut(World)) {
    let mut script = Script::default();
    loop {
        let mut next = world.clone();
        step(&mut next, &mut script);
        then(next);
        if !script.advance() {
            return;
        }
    }
}

/// Choices made, and of how many.
#[derive(Default)]
struct Script {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Script {
    /// The next script in order; false: that was the last.
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

fn fingerprint(world: &World) -> u128 {
    let mut lanes = Lanes { a: 0x243F_6A88_85A3_08D3, b: 0x1319_8A2E_0370_7344 };
    world.hash(&mut lanes);
    (u128::from(lanes.a) << 64) | u128::from(lanes.b)
}

/// Two unlike 64-bit hashes at once.
struct Lanes {
    a: u64,
    b: u64,
}

impl Hasher for Lanes {
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

/// A fingerprint is a hash already.
#[derive(Default)]
struct Through(u64);

impl Hasher for Through {
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
