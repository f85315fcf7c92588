//! Simulation of the real store on the real journal, in an environment determined by a seed.
//!
//! It uses one thread, tokio's paused clock, and randomness from the seed: up to three processes on an unreliable
//! bucket, or one on a disk that loses power; six clients that write, delete, read, search, replace and re-encrypt
//! namespaces of two tenants; and faults of every kind meanwhile. At the end the histories are checked: nothing
//! acknowledged is lost, nothing deleted comes back, nothing of one namespace is visible in another, and one order
//! explains all answers.
//!
//! `RINGFENCE_SEEDS`, `RINGFENCE_SEEDS_FROM` and `RINGFENCE_OPERATIONS` choose what is run. A failing seed is printed,
//! and fails again in the same way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a run reports its faults")]

mod checker;
mod client;
mod commits;
mod crash_disk;
mod env;
mod fault_injection;
mod faulty;
mod history;
mod process;
mod rng;
mod sim;

use crash_disk::{CrashDisk, Mutant};
use rng::Rng;
use sim::{Backend, Report, run};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Number of seeds, and operations of each, unless the environment says otherwise. In an unoptimised build an operation
/// takes two to four milliseconds, so 50 seeds of 10,000 are for `just long-simulation`.
const SEEDS: u64 = 50;
const OPERATIONS: u64 = 300;

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

/// The checkers detect a store that forgets a flush, which is simulated by a disk that ignores it.
#[test]
fn a_disk_that_does_not_flush_is_detected() {
    for mutant in [Mutant::FileSyncIgnored, Mutant::FolderSyncIgnored, Mutant::SyncErrorSwallowed] {
        let caught = |seed: &u64| {
            let disk = Backend::Disk(CrashDisk::new(Rng::new(*seed, 3), mutant));
            // Some environments do not even start.
            catch_unwind(AssertUnwindSafe(|| run(*seed, 500, disk))).map_or(true, |report| !report.faults.is_empty())
        };
        let at = (0..60).find(caught);
        assert!(at.is_some(), "{mutant:?} was not caught");
        println!("{mutant:?}: caught with seed {at:?}");
    }
}

/// Runs seeds one after the other, continues after a failure, and then reports all failures.
fn seeds(name: &str, backend: impl Fn(u64) -> Backend) {
    let (seeds, from) = (number("RINGFENCE_SEEDS", SEEDS), number("RINGFENCE_SEEDS_FROM", 0));
    let operations = number("RINGFENCE_OPERATIONS", OPERATIONS);
    let (mut sum, mut failed) = (Sum::default(), Vec::new());
    for seed in from..from + seeds {
        match catch_unwind(AssertUnwindSafe(|| run(seed, operations, backend(seed)))) {
            Ok(report) => {
                println!("{name}: {}", report.line());
                sum.add(&report);
                if !report.faults.is_empty() {
                    println!("{}", report.faults.join("\n"));
                    failed.push(seed);
                }
            }
            Err(_) => {
                println!("{name}: seed {seed} ended in a panic, see above");
                failed.push(seed);
            }
        }
    }
    println!("{name}, {seeds} seeds from {from}, all together: {}", sum.0.line());
    let again = format!("RINGFENCE_SEEDS=1 RINGFENCE_OPERATIONS={operations} RINGFENCE_SEEDS_FROM=<seed>");
    assert!(failed.is_empty(), "{name}: seeds {failed:?} failed; one again: {again}");
}

/// Sum of several reports.
#[derive(Default)]
struct Sum(Report);

impl Sum {
    fn add(&mut self, report: &Report) {
        let sum = &mut self.0;
        sum.seed = report.seed;
        sum.faults.extend(report.faults.iter().cloned());
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
        let events: Vec<String> = self.events.iter().map(|(what, count)| format!("{count} {what}")).collect();
        format!(
            "seed {}, {} operations, of the writes {acknowledged} acknowledged, {refused} refused, {unknown} unknown, \
             {:.0} hours, {} faults; events: {}",
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
