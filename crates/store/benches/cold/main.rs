//! The first search of a namespace that was evicted, with the page cache dropped, and the share of decryption in it.
//!
//! `cargo bench --workspace --bench cold`. `RINGFENCE_COLD_ROWS=1000,100000` names sizes: documents of 1 KiB of text
//! and one vector. Namespaces of a size are filled, flushed and evicted by the store itself; then their files are
//! dropped from the page cache (`posix_fadvise`; names and inodes stay), and each is opened and searched for the ten
//! nearest passages, whose text is fetched. This is repeated with the files in the page cache: the difference is the
//! disk. Decryption is timed alone, in memory, after each of these: as many objects with the same documents, the part
//! that an opening reads (all of a small object), and as many pages as the first search reads. Both are given as shares
//! of the CPU time. Figures are medians, in milliseconds of wall-clock time, which other programs affect, and of CPU
//! time of this process.

#![expect(clippy::print_stdout, reason = "a table for people is what it is for")]

#[path = "../write_speed/env.rs"]
mod env;
#[path = "../write_speed/pool.rs"]
mod pool;

use access::{Ingest, Search};
use env::BenchEnv;
use kernel::{
    Audience, Clock, CommitNo, Distance, Incarnation, NamespaceUuid, ObjectUuid, OsEntropy, ReadAt, Status,
    SystemClock, Timestamp, limits,
};
use segment::{GraphMode, Segment, Spec};
use std::{fs, path::Path, sync::Arc, time::Duration};
use testkit::{Mixture, VALUES};
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, PagedReader, TenantKeys, WrappedKey};

const K: usize = 10;
/// Documents of one commit.
const AT_ONCE: usize = 500;
/// Namespaces of a size hold about this many rows together; at least `TIMES` openings are measured.
const ROWS_AT_MOST: usize = 50_000;
const TIMES: usize = 5;

/// Wall-clock time and CPU time.
#[derive(Clone, Copy)]
struct TimeTaken {
    wall: Duration,
    cpu: Duration,
}

/// A first search, and the opening of its namespace as a part of it.
struct FirstSearch {
    opening: TimeTaken,
    all: TimeTaken,
    segments: usize,
}

/// The same for decryption alone.
struct Decryption {
    opening: TimeTaken,
    all: TimeTaken,
}

struct Stopwatch<'a>(&'a SystemClock, Duration, Duration);

impl<'a> Stopwatch<'a> {
    fn start(clock: &'a SystemClock) -> Self {
        Self(clock, clock.monotonic(), cpu_time())
    }

    fn read(&self) -> TimeTaken {
        TimeTaken { wall: self.0.monotonic() - self.1, cpu: cpu_time() - self.2 }
    }
}

fn main() {
    let sizes = std::env::var("RINGFENCE_COLD_ROWS").unwrap_or_else(|_| "1000,100000".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let clock = SystemClock::new();
    segment::calibrate(|| clock.monotonic());
    println!("| rows | | times | ms | ms of CPU |\n|---|---|---|---|---|");
    for rows in sizes.split(',').map(|n| n.trim().parse().expect("a number of rows")) {
        let parent = std::env::var("BENCH_DIR").unwrap_or_else(|_| ".".into());
        let folder = tempfile::tempdir_in(parent).expect("a folder");
        runtime.block_on(measure(&clock, rows, folder.path()));
    }
    println!("load average: {}", fs::read_to_string("/proc/loadavg").unwrap_or_default().trim());
}

async fn measure(clock: &SystemClock, rows: usize, folder: &Path) {
    let many = (ROWS_AT_MOST / rows).clamp(1, 20);
    let mixture = Mixture::new(7);
    let vectors: Vec<Vec<f32>> = (0..rows).map(|_| mixture.point()).collect();
    // The last namespace is small: opening it makes the store evict others.
    let env = BenchEnv::new(folder, many + 1, 1, kernel::limits::ERASE_WITHIN).await;
    for n in 0..many {
        fill(&env, n, &vectors).await;
    }
    fill(&env, many, &vectors[..1]).await;
    env.wait_idle().await;
    env.stores.flush_all().await.expect("it flushes");
    let queries: Vec<Vec<f32>> = (0..many * TIMES).map(|_| mixture.point()).collect();
    let rounds = TIMES.div_ceil(many);
    let (mut cold, mut cached, mut alone) = (Vec::new(), Vec::new(), Vec::<Decryption>::new());
    let objects = Objects::of(&env, &vectors, first(clock, &env, 0, &queries[0]).await.segments);
    for (drops, into) in [(true, &mut cold), (false, &mut cached)] {
        for round in 0..rounds {
            evicted(&env, many).await;
            if drops {
                drop_pages(folder);
            }
            for n in 0..many {
                into.push(first(clock, &env, n, &queries[round * many + n]).await);
                if !drops {
                    alone.push(objects.decrypted(clock));
                }
            }
        }
    }
    let row = |what: &str, taken: Vec<TimeTaken>| -> f64 {
        let p50 = |which: fn(&TimeTaken) -> Duration| {
            let mut list: Vec<f64> = taken.iter().map(|t| which(t).as_secs_f64() * 1e3).collect();
            list.sort_by(f64::total_cmp);
            list[list.len() / 2]
        };
        println!("| {rows} | {what} | {} | {:.2} | {:.2} |", taken.len(), p50(|t| t.wall), p50(|t| t.cpu));
        p50(|t| t.cpu)
    };
    let all = row("first search, from the disk", cold.iter().map(|first| first.all).collect());
    let opening = row("of it, opening", cold.iter().map(|first| first.opening).collect());
    row("first search, from the page cache", cached.iter().map(|first| first.all).collect());
    let sealed: usize = objects.sealed.iter().map(|(sealed, _)| sealed.len()).sum();
    let what = format!("decryption alone, {} objects of {:.1} MB together", objects.sealed.len(), sealed as f64 / 1e6);
    let alone_all = row(&what, alone.iter().map(|alone| alone.all).collect());
    let alone_opening = row("of it, what opening needs", alone.iter().map(|alone| alone.opening).collect());
    let [of_all, of_opening] = [alone_all / all, alone_opening / opening];
    println!(
        "{rows} rows: decryption is {of_all:.2} of the CPU of a cold first search, {of_opening:.2} of its opening's"
    );
}

async fn fill(env: &BenchEnv, namespace: usize, vectors: &[Vec<f32>]) {
    let handle = env.enter::<Ingest>(namespace).await;
    for first in (0..vectors.len()).step_by(AT_ONCE) {
        let some = (first..vectors.len().min(first + AT_ONCE)).map(|n| env.upsert(n, n, vectors[n].clone()));
        env::write(&handle, some.collect()).await;
    }
}

/// Evicts all namespaces except the small one.
async fn evicted(env: &BenchEnv, small: usize) {
    let _held = env.enter::<Search>(small).await;
    env.wait_idle().await;
    assert_eq!(env.stores.stats().open, 1, "the others were evicted");
}

async fn first(clock: &SystemClock, env: &BenchEnv, namespace: usize, query: &[f32]) -> FirstSearch {
    let stopwatch = Stopwatch::start(clock);
    let snapshot = env.enter::<Search>(namespace).await.snapshot(None).await.expect("it opens");
    let opening = stopwatch.read();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], clock.now()).expect("it reads");
    let (hits, stats) = snapshot.vector(query, &eligible, K).expect("it reads");
    for hit in &hits {
        snapshot.passage(&eligible, hit.at, false).expect("it reads");
    }
    assert_eq!(hits.len(), K);
    FirstSearch { opening, all: stopwatch.read(), segments: stats.len() }
}

/// Objects in memory, sealed as the store has them.
struct Objects {
    keyspace: Keyspace,
    sealed: Vec<(Arc<Vec<u8>>, WrappedKey)>,
}

const OBJECT: ObjectUuid = ObjectUuid::from_bytes([4; 16]);

impl Objects {
    /// Seals these documents in `segments` objects.
    fn of(env: &BenchEnv, vectors: &[Vec<f32>], segments: usize) -> Self {
        let provider = LocalProvider::from_env_value(&"7".repeat(64), Arc::new(OsEntropy)).expect("a root key");
        let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&OsEntropy), &OsEntropy).expect("keys");
        let uuid = NamespaceUuid::random(&OsEntropy);
        let (keyspace, _) = Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &OsEntropy).expect("a keyspace");
        let spec = Spec { dimensions: VALUES, distance: Distance::Cosine, language: kernel::Language::English };
        let document = |(n, vector): (usize, &Vec<f32>)| {
            env.upsert(n, n, vector.clone()).admitted.into_document(
                Timestamp::from_millis(0),
                Timestamp::from_millis(0),
                CommitNo(1),
            )
        };
        let seal = |some: &[Vec<f32>]| {
            let mut documents = some.iter().enumerate().map(document);
            let plain = Segment::write(&spec, &mut documents, GraphMode::Scattered).expect("it is written");
            let split = Segment::split(&plain).expect("it was written just now");
            let sealed = keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain, split, &OsEntropy);
            let (sealed, key) = sealed.expect("it is sealed");
            (Arc::new(sealed), key)
        };
        let sealed = vectors.chunks(vectors.len().div_ceil(segments)).map(seal).collect();
        Self { keyspace, sealed }
    }

    /// Cost of the decryption alone when opening the objects and fetching ten texts.
    fn decrypted(&self, clock: &SystemClock) -> Decryption {
        let stopwatch = Stopwatch::start(clock);
        // A small paged part is read at once; of large ones the ten texts are, one page each.
        let small = |size| size <= limits::RESIDENT_PAGES_BYTES_MAX;
        let read = |paged: &PagedReader, pages: u64, length: u64| {
            let mut page = vec![0; usize::try_from(length).expect("it is in memory")];
            for n in 0..pages {
                paged.read_at(n * (paged.size() / pages), &mut page).expect("it opens");
            }
            page
        };
        let open = |(sealed, key): &(Arc<Vec<u8>>, WrappedKey)| {
            let (whole, paged) =
                self.keyspace.open_split(ObjectKind::Segment, OBJECT, key, sealed.clone()).expect("it opens");
            let at_once = small(paged.size()).then(|| read(&paged, 1, paged.size()));
            (whole, paged, at_once)
        };
        let opened: Vec<_> = self.sealed.iter().map(open).collect();
        let opening = stopwatch.read();
        let pages = (K / self.sealed.len()).max(1) as u64;
        for (_, paged, _) in opened.iter().filter(|(.., at_once)| at_once.is_none()) {
            read(paged, pages, limits::PAGE_BYTES as u64);
        }
        let all = stopwatch.read();
        drop(opened);
        Decryption { opening, all }
    }
}

/// Drops a folder's files from the page cache, so that the next read comes from the disk.
#[expect(unsafe_code, reason = "posix_fadvise has no safe face in the libraries at hand")]
fn drop_pages(folder: &Path) {
    use std::os::fd::AsRawFd;
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            drop_pages(&path);
            continue;
        }
        let file = fs::File::open(&path).expect("a file");
        // Pages that are not on the disk yet would stay in the cache.
        file.sync_data().expect("it is on the disk");
        // SAFETY: the descriptor is open while `file` lives, and the call accesses no memory of this process.
        let result = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(result, 0, "posix_fadvise");
    }
}

/// CPU time of all threads of this process.
#[expect(unsafe_code, reason = "as above")]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is a local variable.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "clock_gettime");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
