//! Speed of acknowledged writes compared with that of a bare program on the same disk.
//!
//! `write_speed/64x1KiB_384d`: 64 concurrent writers of one document (1 KiB of text and the caller's 384 values), into
//! one namespace and into 64, against 64 threads that only write and `fdatasync` as many bytes into one preallocated
//! file (a group commit) and into 64. Rounds alternate, so that both get the same disk conditions; medians are
//! compared. Then one writer alone. Audit records go to a sink that discards them: the audit log has fsyncs of its own.
//!
//! Finally the share of sealing: `SHARE_ROWS` (20,000) documents in requests of 500 are written to one namespace,
//! flushed, merged and settled, and in the same run as many bytes are sealed alone, as frames of such requests and as
//! such objects.

#![expect(clippy::print_stdout, reason = "a table for people is what it is for")]

mod bare;
mod env;
mod pool;
mod share;

use env::BenchEnv;
use kernel::{Clock, SeededEntropy, SystemClock};
use std::{sync::Arc, time::Duration};
use store::Upsert;

/// Duration of one round.
#[derive(Clone, Copy)]
struct RoundTime {
    wall: Duration,
    cpu: Duration,
}

const WRITERS: usize = 64;

fn main() {
    let number = |name: &str, default: usize| std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default);
    let (rounds, each) = (number("ROUNDS", 5), number("WRITES", 100));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let clock = SystemClock::new();
    let folder = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into())).expect("a folder");
    let env = runtime.block_on(BenchEnv::new(
        folder.path(),
        rounds * (1 + WRITERS) + 2,
        4 << 30,
        kernel::limits::ERASE_WITHIN,
    ));
    println!("{WRITERS} writers, {each} writes each a round, {rounds} rounds, {} cores", cores());

    let (mut one, mut many) = (Vec::new(), Vec::new());
    let (mut one_file, mut many_files) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let first = round * (1 + WRITERS);
        one_file.push(timed(&clock, || bare::one_file(folder.path(), WRITERS, each)));
        one.push(store_round(&runtime, &clock, &env, &[first], each));
        many_files.push(timed(&clock, || bare::many_files(folder.path(), WRITERS, each)));
        let names: Vec<usize> = (first + 1..first + 1 + WRITERS).collect();
        many.push(store_round(&runtime, &clock, &env, &names, each));
    }
    let writes = WRITERS * each;
    println!("| pattern | writes/s | CPU µs a write | bare writes/s | bare CPU µs | ratio | ratios of the rounds |");
    println!("|---|---|---|---|---|---|---|");
    row("one namespace / one file", &one, &one_file, writes);
    row("64 namespaces / 64 files", &many, &many_files, writes);
    single(&runtime, &clock, &env, rounds * (1 + WRITERS), folder.path());
    println!("{:?}", env.stores.stats());
    share::measure(&runtime, &folder.path().join("share"), number("SHARE_ROWS", 20_000));
}

/// One round of the store: documents are made in advance, one write warms up, and the time is from the first request to
/// the last answer.
fn store_round(
    runtime: &tokio::runtime::Runtime,
    clock: &SystemClock,
    env: &Arc<BenchEnv>,
    names: &[usize],
    each: usize,
) -> RoundTime {
    runtime.block_on(async {
        let mut handles = Vec::new();
        for name in names {
            let handle = env.enter(*name).await;
            env::write(&handle, vec![upsert(env, usize::MAX - *name)]).await;
            handles.push(Arc::new(handle));
        }
        let batches: Vec<Vec<Upsert>> =
            (0..WRITERS).map(|w| (0..each).map(|n| upsert(env, w * each + n)).collect()).collect();
        let (began, used) = (clock.monotonic(), cpu_time());
        let tasks: Vec<_> = (0..WRITERS)
            .zip(batches)
            .map(|(w, batch)| {
                let handle = handles[w % handles.len()].clone();
                env.tracker.spawn(async move {
                    for upsert in batch {
                        env::write(&handle, vec![upsert]).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("a writer ends");
        }
        let taken = RoundTime { wall: clock.monotonic() - began, cpu: cpu_time() - used };
        drop(handles);
        env.wait_idle().await;
        taken
    })
}

fn single(
    runtime: &tokio::runtime::Runtime,
    clock: &SystemClock,
    env: &Arc<BenchEnv>,
    name: usize,
    folder: &std::path::Path,
) {
    let writes = 1_000;
    let mut taken = runtime.block_on(async {
        let handle = env.enter(name).await;
        let mut taken = Vec::new();
        for n in 0..writes {
            let upsert = upsert(env, n);
            let began = clock.monotonic();
            env::write(&handle, vec![upsert]).await;
            taken.push(clock.monotonic() - began);
        }
        taken
    });
    let mut bare = bare::single(folder, writes, clock);
    for (what, list) in [("one writer alone", &mut taken), ("one bare thread", &mut bare)] {
        list.sort();
        let at = |share: usize| list[(list.len() - 1) * share / 100].as_secs_f64() * 1e3;
        println!("{what}: p50 {:.3} ms, p99 {:.3} ms", at(50), at(99));
    }
}

/// A document with uniformly distributed values.
fn upsert(env: &BenchEnv, n: usize) -> Upsert {
    let random = SeededEntropy::new(!n as u64);
    let values = (0..env::DIMENSIONS).map(|_| env::below(&random, 2_000) as f32 / 1_000.0 - 0.999);
    env.upsert(n, n, values.collect())
}

fn timed(clock: &SystemClock, work: impl FnOnce()) -> RoundTime {
    let (began, used) = (clock.monotonic(), cpu_time());
    work();
    RoundTime { wall: clock.monotonic() - began, cpu: cpu_time() - used }
}

fn row(name: &str, store_round: &[RoundTime], bare: &[RoundTime], writes: usize) {
    #[expect(clippy::cast_precision_loss, reason = "some thousands")]
    let writes = writes as f64;
    let rate = |r: &RoundTime| writes / r.wall.as_secs_f64();
    let cpu = |r: &RoundTime| r.cpu.as_secs_f64() * 1e6 / writes;
    let ratios: Vec<f64> = store_round.iter().zip(bare).map(|(o, b)| rate(o) / rate(b)).collect();
    println!(
        "| {name} | {:.0} | {:.0} | {:.0} | {:.0} | {:.2} | {} |",
        median(store_round.iter().map(rate)),
        median(store_round.iter().map(cpu)),
        median(bare.iter().map(rate)),
        median(bare.iter().map(cpu)),
        median(ratios.iter().copied()),
        ratios.iter().map(|r| format!("{r:.2}")).collect::<Vec<_>>().join(" "),
    );
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// CPU time of this process so far, as the kernel counts it: in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
