//! The real store over the real journal, in a world that a seed makes.
#![allow(dead_code, reason = "being built")]

mod checker;
mod client;
mod commits;
mod crash_disk;
mod faulty;
mod history;
mod process;
mod rng;
mod sim;
mod world;

use sim::{Backend, run};
use std::cell::RefCell;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}

#[test]
fn a_folder() {
    let (seeds, from, ops) =
        (number("RINGFENCE_SEEDS", 3), number("RINGFENCE_SEEDS_FROM", 0), number("RINGFENCE_OPERATIONS", 1000));
    for seed in from..from + seeds {
        let backend = Backend::Folder(tempfile::tempdir().unwrap(), RefCell::default());
        let report = run(seed, ops, backend);
        println!("{report:?}");
        assert!(report.faults.is_empty(), "seed {seed}: {}", report.faults.join("\n"));
    }
}
