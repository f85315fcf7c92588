//! The protocol of the sealed-epoch log, as a program that can be searched.
//!
//! This is the definition: each rule is stated at the head of the module that implements it, and each can be switched
//! off to see what it is for. No code of the crate is used here.
//!
//! | rule | in short | module |
//! |---|---|---|
//! | R1 | an epoch is claimed by create-if-absent on `claim/<e>` and never used by a second process | `takeover.rs` |
//! | R2 | only the claimer writes `log/<e>/`, into consecutive slots; acknowledged when all lower ones are known to be stored | `writer.rs` |
//! | R3 | a Ckpt record follows only acknowledged slots; object first, record after | `maintenance.rs` |
//! | R4 | take-over: seal where the newest Ckpt's run ends, LIST again, done only if the Seal still exists | `takeover.rs`, `scan.rs` |
//! | R5 | replay from the newest Ckpt's floor, then read the Ckpt record again; open with `log/<e>/1` | `recover.rs`, `takeover.rs` |
//! | R6 | GC: mark `cut`, then everything below the floor in ascending order through all epochs; no claim, no Seal | `maintenance.rs` |
//! | R7 | AlreadyExists: GET and compare whole bytes; unknown: the same bytes again | `put.rs` |
//! | R8 | owner: GET of its next slot; reader: LIST after its last known slot, then its Ckpt record again | `recover.rs` |
//! | R9 | a process that detached remains the owner if the log still ends where it left it | `writer.rs`, `recover.rs` |
//!
//! Faults: any process stalls between any two requests, crashes, and is restarted; a PUT's reply is lost, or the PUT
//! never arrives, or it arrives long after its sender has given up; a 409 is returned although no object exists; a LIST
//! shows each key as of a different moment.
//!
//! Checked properties (`model.rs`): after every acknowledgment, refusal and read, and at the end, a recovery begins
//! with everything that any client was told of, in that order and without duplicates, and finds every object that it
//! names; and one live writer without faults terminates.
//!
//! `RINGFENCE_SCHEDULES` and `RINGFENCE_SCHEDULES_FROM` bound the random schedules, `RINGFENCE_STATES` the exhaustive
//! search, and `RINGFENCE_MUTANT_SCHEDULES` the search for a mutant; with `RINGFENCE_HINTS=0` the latter begins at seed
//! 0.

mod exhaustive;
mod maintenance;
mod model;
mod put;
mod random;
mod recover;
mod rules;
mod scan;
mod store;
mod takeover;
mod writer;

use exhaustive::{Bounds, search};
use random::Totals;
use rules::{Mutant, Order, REDUNDANT, Rules};
use writer::Budget;

/// The implemented variant: one PUT in flight per writer.
#[test]
fn one_put_in_flight_keeps_every_guarantee() {
    println!("{}", schedules(1));
}

/// A possible variant: up to three PUTs in flight.
#[test]
fn pipelined_puts_keep_every_guarantee() {
    println!("{}", schedules(3));
}

fn schedules(width: u8) -> String {
    let (from, count) = (number("RINGFENCE_SCHEDULES_FROM", 0), number("RINGFENCE_SCHEDULES", 100_000) / 2);
    let mut sum = Totals::default();
    for seed in from..from + count {
        let order = if seed % 2 == 0 { Order::Any } else { Order::Ascending };
        match random::run(Rules { order, ..rules(width) }, seed) {
            Ok(totals) => {
                sum.steps += totals.steps;
                sum.acked += totals.acked;
                sum.epochs += totals.epochs;
                sum.resumes += totals.resumes;
            }
            Err(what) => panic!("seed {seed}, {width} in flight: {what}"),
        }
    }
    let Totals { steps, acked, epochs, resumes } = sum;
    assert!(acked > count, "the schedules do nothing");
    format!(
        "{width} in flight: {count} schedules from {from}, {steps} steps, {epochs} epochs, {resumes} returns, {acked} acknowledged, 0 lost"
    )
}

/// Every interleaving of three writers that each claim and write once; of two with one fault or crash anywhere; of two
/// with checkpoints and GC; of two that detach and resume; and of three with these, as far as the bound allows.
#[test]
fn three_writers_exhaustively() {
    let once = Budget { writes: 1, claims: 1, ..Budget::default() };
    let scenes = [
        ("three writers, one write each", 3, once, 0),
        ("two writers, one write each, one fault", 2, once, 1),
        ("two writers, a write and a checkpoint each", 2, Budget { ckpts: 1, ..once }, 0),
        ("two writers, two writes and an eviction each", 2, Budget { writes: 2, evictions: 1, ..once }, 0),
        ("three writers, a write and a checkpoint each", 3, Budget { ckpts: 1, ..once }, 0),
    ];
    let states = usize::try_from(number("RINGFENCE_STATES", 400_000)).expect("the model is small");
    for (name, writers, budget, faults) in scenes {
        let found = search(rules(1), Bounds { writers, budget, faults, states });
        let extent = if found.complete { "all" } else { "the first" };
        println!("{name}: {extent} {} states, {} steps", found.states, found.steps);
        assert_eq!(found.violation, None, "{name}");
    }
}

/// First seed of the search for a mutant that only a late seed shows.
const HINTS: &[(Mutant, u64)] = &[
    (Mutant::CkptResent, 48_000),
    (Mutant::AnySealCounts, 35_000),
    (Mutant::ReaderNoAnchor, 14_000),
    (Mutant::GcOwnFirst, 5_900),
    (Mutant::ResumeUnknown, 1_600),
    (Mutant::EmptyByList, 1_300),
];

#[test]
fn every_mutant_is_caught() {
    let count = number("RINGFENCE_MUTANT_SCHEDULES", 3_000);
    let mut survivors = Vec::new();
    for mutant in Mutant::ALL {
        let hint = HINTS.iter().find(|(m, _)| m == mutant).map_or(0, |(_, seed)| *seed);
        let from = if number("RINGFENCE_HINTS", 1) == 1 { hint } else { 0 };
        let rules = Rules { off: Some(*mutant), ..rules(if mutant.pipelined() { 3 } else { 1 }) };
        let caught = (from..from + count).find_map(|seed| random::run(rules, seed).err().map(|what| (seed, what)));
        match caught {
            Some((seed, what)) => println!("| {} | {mutant:?} | {seed} | {what} |", mutant.text()),
            None if REDUNDANT.contains(mutant) => println!("| {} | {mutant:?} | – | survives |", mutant.text()),
            None => survivors.push(mutant),
        }
    }
    assert!(survivors.is_empty(), "no explorer notices that these rules are off: {survivors:?}");
}

fn rules(width: u8) -> Rules {
    Rules { off: None, width, order: Order::Any, delayed_puts: true }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |v| v.parse().expect("a number"))
}
