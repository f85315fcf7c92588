//! Cost of erasing one deleted document: a large object with a graph is rewritten without it, by ordinary maintenance
//! after the bound, and by an erasure that a caller waits for.
//!
//! `cargo bench --workspace --bench erasing`. `RINGFENCE_ERASING_ROWS` documents (20,000 by default) of 1 KiB and one
//! vector each; the bound is eight seconds here.

#![expect(clippy::print_stdout, reason = "a table for people is what it is for")]

#[path = "../write_speed/env.rs"]
mod env;
#[path = "../write_speed/pool.rs"]
mod pool;

use access::{Delete, Ingest};
use env::BenchEnv;
use kernel::{Audience, Clock, DocumentId, SystemClock};
use std::{fs, time::Duration};
use store::{MakeAuditRecord, Selection};
use testkit::Mixture;

/// Documents of one commit.
const AT_ONCE: usize = 500;
const BOUND: Duration = Duration::from_secs(8);

fn main() {
    let rows = std::env::var("RINGFENCE_ERASING_ROWS").map_or(20_000, |n| n.parse().expect("a number of rows"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let folder = tempfile::tempdir_in(std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into())).expect("a folder");
    let clock = SystemClock::new();
    segment::calibrate(|| clock.monotonic());
    runtime.block_on(async {
        let env = BenchEnv::new(folder.path(), 1, 4 << 30, BOUND).await;
        println!("{rows} documents\n| | s | s of CPU | MB written |\n|---|---|---|---|");
        let mixture = Mixture::new(7);
        measure(&env, &clock, "filled", async {
            let handle = env.enter::<Ingest>(0).await;
            for some in (0..rows).collect::<Vec<_>>().chunks(AT_ONCE) {
                env::write(&handle, some.iter().map(|n| env.upsert(*n, *n, mixture.point())).collect()).await;
            }
        })
        .await;
        for round in 0..3 {
            let (ids, all) = (vec![id(3 * round)], Audience::Everything);
            let deleted = env.enter::<Delete>(0).await.delete(&Selection::Ids(ids), &all, line()).await;
            assert_eq!(deleted.expect("it deletes").deleted, 1);
            env.wait_idle().await;
            tokio::time::sleep(BOUND).await;
            measure(&env, &clock, "after the bound", async {
                let handle = env.enter::<Ingest>(0).await;
                env::write(&handle, vec![env.upsert(3 * round + 1, rows + round, mixture.point())]).await;
            })
            .await;
            // The write has deleted a previous version; the cost of that is not counted.
            tokio::time::sleep(BOUND).await;
            let handle = env.enter::<Ingest>(0).await;
            env::write(&handle, vec![env.upsert(rows + round, rows + round, mixture.point())]).await;
            drop(handle);
            env.wait_idle().await;
            let ids = vec![id(3 * round + 2)];
            measure(&env, &clock, "by an erasure", async {
                let handle = env.enter::<Delete>(0).await;
                let erasing = handle.erase(&ids, &all, line()).await.expect("it deletes");
                let _checkpoint = erasing.erased().await.expect("it erases");
            })
            .await;
        }
        println!("{:?}", env.stores.stats());
        println!("load average: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
    });
}

/// Measures the time until background work is done, graph included.
async fn measure(env: &BenchEnv, clock: &SystemClock, what: &str, work: impl Future<Output = ()>) {
    let (began, cpu, before) = (clock.monotonic(), cpu_time(), env.stores.stats().bytes_written);
    work.await;
    env.wait_idle().await;
    let written = (env.stores.stats().bytes_written - before) as f64 / 1e6;
    let (taken, cpu) = (clock.monotonic() - began, cpu_time() - cpu);
    println!("| {what} | {:.2} | {:.2} | {written:.0} |", taken.as_secs_f64(), cpu.as_secs_f64());
}

fn id(n: usize) -> DocumentId {
    DocumentId::parse(&format!("doc-{n:020}")).expect("an id")
}

fn line() -> MakeAuditRecord {
    Box::new(|_| b"a line".to_vec())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// CPU time of this process so far, as the kernel counts it: in hundredths of a second.
fn cpu_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |n: usize| fields.get(n).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
