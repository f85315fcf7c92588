//! Latency of a tenant's searches alone and during each attack of `testkit::hostile`: median, p99, and the ratio of the
//! two p99s, which should stay under 5. It only prints the results.
//!
//! `RINGFENCE_HOSTILE_SECONDS` is the length of each measurement in seconds (10), `RINGFENCE_LIMITS_PERCENT` the size
//! of the requests in percent of the limits (100), and `RINGFENCE_HOSTILE_ONLY` the name of the only attack to measure.

#![expect(clippy::print_stdout, reason = "a benchmark prints its result")]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};
use testkit::{
    ServerBuilder,
    hostile::{AnswerSummary, Attack, Bystanders, Observations, Size, attacker, attacks, prepare, run},
};

/// Number of clients that send the same attack concurrently.
const CLIENTS: usize = 4;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() {
    let length = Duration::from_secs(setting("RINGFENCE_HOSTILE_SECONDS", 10));
    let size = Size(usize::try_from(setting("RINGFENCE_LIMITS_PERCENT", 100)).unwrap_or(100));
    let only = std::env::var("RINGFENCE_HOSTILE_ONLY").ok();
    println!(
        "{:18} {:>9} {:>9} {:>9} {:>9} {:>6} {:>9} {:>9}",
        "attack", "p50 alone", "p50", "p99 alone", "p99", "ratio", "healthz", "suspend"
    );
    for attack in attacks().iter().filter(|attack| only.as_ref().is_none_or(|name| name == attack.name)) {
        measure(attack, size, length);
    }
}

fn measure(attack: &Attack, size: Size, length: Duration) {
    let server = ServerBuilder::new(env!("CARGO_BIN_EXE_ringfence")).start();
    let beside = Bystanders::new(&server);
    let hostile = attacker(&server, "hostile", 2);
    prepare(attack, &hostile, size);
    let alone = watched(&beside, || thread::sleep(length));
    let tally = AnswerSummary::default();
    let with = watched(&beside, || {
        run(attack, &hostile, size, CLIENTS, length, &tally);
    });
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let of = |seen: &Observations, share| millis(seen.quantile("search", share));
    println!(
        "{:18} {:9.2} {:9.2} {:9.2} {:9.2} {:6.1} {:9.1} {:9.1}{}",
        attack.name,
        of(&alone, 0.5),
        of(&with, 0.5),
        of(&alone, 0.99),
        of(&with, 0.99),
        of(&with, 0.99) / of(&alone, 0.99).max(0.001),
        millis(with.slowest("healthz")),
        millis(with.slowest("suspend")),
        if with.failed.is_empty() { String::new() } else { format!("  {} FAILED", with.failed.len()) },
    );
}

fn watched(beside: &Bystanders<'_>, work: impl FnOnce()) -> Observations {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let watching = scope.spawn(|| beside.watch(&stop));
        work();
        stop.store(true, Ordering::Relaxed);
        watching.join().expect("the watcher does not panic")
    })
}
