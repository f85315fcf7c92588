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
mod trouble;
mod world;

use crash_disk::{CrashDisk, Mutant};
use rng::Rng;
use sim::{Backend, Report, run};
use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
};

/// Seeds and operations of a run, from the environment or these.
const SEEDS: u64 = 4;
const OPERATIONS: u64 = 1_000;

#[test]
fn on_a_bucket() {
    seeds("bucket", |_| Backend::Bucket);
}

#[test]
fn on_a_disk() {
    seeds("disk", |seed| Backend::Disk(CrashDisk::new(Rng::new(seed, 3), Mutant::None)));
}

#[test]
fn a_seed_gives_the_same_run_again() {
    for seed in 1000..1002 {
        let twice = [run(seed, 400, Backend::Bucket), run(seed, 400, Backend::Bucket)];
        assert_eq!(twice[0].digest, twice[1].digest, "seed {seed} on a bucket");
        let disk = || Backend::Disk(CrashDisk::new(Rng::new(seed, 3), Mutant::None));
        assert_eq!(run(seed, 400, disk()).digest, run(seed, 400, disk()).digest, "seed {seed} on a disk");
    }
}

/// The judges see a store that forgets a flush: the same store on a disk that does not do it.
#[test]
fn a_disk_that_does_not_flush_is_found_out() {
    for mutant in [Mutant::FileSyncIgnored, Mutant::FolderSyncIgnored, Mutant::SyncErrorSwallowed] {
        let caught = |seed: &u64| {
            let disk = Backend::Disk(CrashDisk::new(Rng::new(*seed, 3), mutant));
            // Some worlds do not even start any more.
            catch_unwind(AssertUnwindSafe(|| run(*seed, 500, disk))).map_or(true, |report| !report.faults.is_empty())
        };
        let at = (0..20).find(caught);
        assert!(at.is_some(), "{mutant:?} was not caught");
        println!("{mutant:?}: caught with seed {at:?}");
    }
}

fn seeds(name: &str, backend: impl Fn(u64) -> Backend) {
    let (seeds, from) = (number("RINGFENCE_SEEDS", SEEDS), number("RINGFENCE_SEEDS_FROM", 0));
    let operations = number("RINGFENCE_OPERATIONS", OPERATIONS);
    let mut sum = Sum::default();
    for seed in from..from + seeds {
        let report = catch_unwind(AssertUnwindSafe(|| run(seed, operations, backend(seed)))).unwrap_or_else(|panic| {
            println!("{name}: a panic with seed {seed}, {operations} operations");
            resume_unwind(panic)
        });
        println!("{name}: {}", report.line());
        let again =
            format!("again with RINGFENCE_SEEDS_FROM={seed} RINGFENCE_SEEDS=1 RINGFENCE_OPERATIONS={operations}");
        assert!(report.faults.is_empty(), "{name}, seed {seed}: {}\n{again}", report.faults.join("\n"));
        sum.add(&report);
    }
    println!("{name}: {} seeds, {}", seeds, sum.0.line());
}

/// Of several runs.
#[derive(Default)]
struct Sum(Report);

impl Sum {
    fn add(&mut self, report: &Report) {
        let sum = &mut self.0;
        sum.operations += report.operations;
        sum.hours += report.hours;
        (0..3).for_each(|n| sum.writes[n] += report.writes[n]);
        for (what, count) in &report.events {
            *sum.events.entry(what).or_default() += count;
        }
    }
}

impl Report {
    fn line(&self) -> String {
        let [acknowledged, refused, unknown] = self.writes;
        let events: BTreeMap<_, _> = self.events.iter().collect();
        let events: Vec<String> = events.iter().map(|(what, count)| format!("{count} {what}")).collect();
        format!(
            "seed {}, {} operations, writes {acknowledged} acknowledged {refused} refused {unknown} unknown, {:.0} simulated hours, {} faults; {}",
            self.seed,
            self.operations,
            self.hours,
            self.faults.len(),
            events.join(", ")
        )
    }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} must be a number")))
}
