//! The first search of a namespace that was evicted, with the page cache dropped, and how much of it is decryption.
//!
//! `cargo bench --workspace --bench cold`. `RINGFENCE_COLD_ROWS=1000,100000` names sizes: documents of 1 KiB of text and
//! one vector. Namespaces of a size are filled, flushed and let go by the store's own eviction; then their files leave
//! the page cache (`posix_fadvise`; names and inodes stay), and each is entered and searched for the ten nearest
//! passages, text fetched. The same again with the files in the page cache: the difference is the disk. Decryption is
//! timed alone, best of five in memory: an object with the same documents, the part that an opening reads, and as many
//! pages as the first search does.

#![expect(clippy::print_stdout, reason = "a table for people is what it is for")]

#[path = "../write_speed/pool.rs"]
mod pool;
#[path = "../write_speed/world.rs"]
mod world;

use access::{Ingest, Search};
use kernel::{
    Audience, Clock, CommitNo, Distance, Incarnation, NamespaceUuid, ObjectUuid, OsEntropy, ReadAt, Status,
    SystemClock, limits,
};
use segment::{Links, Segment, Spec};
use std::{fs, path::Path, sync::Arc, time::Duration};
use testkit::{Mixture, VALUES};
use vault::{Home, LocalProvider, ObjectKind, PlaceKind, TenantKeys};
use world::World;

const K: usize = 10;
/// Documents of one commit.
const AT_ONCE: usize = 500;
/// Namespaces of a size hold about so many rows together; measured are at least so many openings.
const ROWS_AT_MOST: usize = 50_000;
const TIMES: usize = 5;

/// One first search.
#[derive(Clone, Copy)]
struct Took {
    opening: Duration,
    all: Duration,
}

fn main() {
    let sizes = std::env::var("RINGFENCE_COLD_ROWS").unwrap_or_else(|_| "1000,100000".into());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
    let clock = SystemClock::new();
    segment::calibrate(|| clock.monotonic());
    println!(
        "| rows | first search, cold p50 ms | opening of it | the same, files cached | decryption alone | share, cold | share, cached | sealed MB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
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
    // The last namespace is small: entering it makes the store look for room.
    let world = World::new(folder, many + 1, 1).await;
    for n in 0..many {
        fill(&world, n, &vectors).await;
    }
    fill(&world, many, &vectors[..1]).await;
    world.settle().await;
    world.stores.flush_all().await.expect("it flushes");
    let queries: Vec<Vec<f32>> = (0..many * TIMES).map(|_| mixture.point()).collect();
    let rounds = TIMES.div_ceil(many);
    let (mut cold, mut cached) = (Vec::new(), Vec::new());
    for (drops, into) in [(true, &mut cold), (false, &mut cached)] {
        for round in 0..rounds {
            evicted(&world, many).await;
            if drops {
                drop_pages(folder);
            }
            for n in 0..many {
                into.push(first(clock, &world, n, &queries[round * many + n]).await);
            }
        }
    }
    let (alone, sealed) = decryption(clock, &world, &vectors);
    let p50 = |took: &[Took], which: fn(&Took) -> Duration| {
        let mut list: Vec<f64> = took.iter().map(|t| which(t).as_secs_f64() * 1e3).collect();
        list.sort_by(f64::total_cmp);
        list[list.len() / 2]
    };
    let (all, hot, alone) = (p50(&cold, |t| t.all), p50(&cached, |t| t.all), alone.as_secs_f64() * 1e3);
    println!(
        "| {rows} | {all:.2} ({} times) | {:.2} | {hot:.2} | {alone:.2} | {:.2} | {:.2} | {:.1} |",
        cold.len(),
        p50(&cold, |t| t.opening),
        alone / all,
        alone / hot,
        sealed as f64 / 1e6,
    );
}

async fn fill(world: &World, namespace: usize, vectors: &[Vec<f32>]) {
    let room = world.enter::<Ingest>(namespace).await;
    for first in (0..vectors.len()).step_by(AT_ONCE) {
        let some = (first..vectors.len().min(first + AT_ONCE)).map(|n| world.upsert(n, n, vectors[n].clone()));
        world::write(&room, some.collect()).await;
    }
}

/// All namespaces but the small one leave memory.
async fn evicted(world: &World, small: usize) {
    let _held = world.enter::<Search>(small).await;
    world.settle().await;
    assert_eq!(world.stores.stats().open, 1, "the others were let go");
}

async fn first(clock: &SystemClock, world: &World, namespace: usize, query: &[f32]) -> Took {
    let began = clock.monotonic();
    let snapshot = world.enter::<Search>(namespace).await.snapshot(None).await.expect("it opens");
    let opening = clock.monotonic() - began;
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], clock.now()).expect("it reads");
    let (hits, _) = snapshot.vector(query, &eligible, K).expect("it reads");
    for hit in &hits {
        snapshot.passage(&eligible, hit.at, false).expect("it reads");
    }
    assert_eq!(hits.len(), K);
    Took { opening, all: clock.monotonic() - began }
}

/// What opening an object of these documents takes in decryption alone, and its bytes.
fn decryption(clock: &SystemClock, world: &World, vectors: &[Vec<f32>]) -> (Duration, usize) {
    let spec = Spec { dimensions: VALUES, distance: Distance::Cosine, language: kernel::Language::English };
    let now = clock.now();
    let document = |(n, vector): (usize, &Vec<f32>)| {
        world.upsert(n, n, vector.clone()).admitted.into_document(now, now, CommitNo(1))
    };
    let plain =
        Segment::write(&spec, &mut vectors.iter().enumerate().map(document), Links::Scattered).expect("it is written");
    let split = Segment::split(&plain).expect("it was written just now");
    let provider = LocalProvider::from_env_value(&"7".repeat(64), Arc::new(OsEntropy)).expect("a root key");
    let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&OsEntropy), &OsEntropy).expect("keys");
    let uuid = NamespaceUuid::random(&OsEntropy);
    let (home, _) = Home::create_place(&keys, PlaceKind::Namespace, uuid, &OsEntropy).expect("a home");
    let object = ObjectUuid::from_bytes([4; 16]);
    let (sealed, key) = home.seal_split(ObjectKind::Segment, object, &plain, split, &OsEntropy).expect("it is sealed");
    drop(plain);
    let (bytes, sealed) = (sealed.len(), Arc::new(sealed));
    let once = |_| {
        let began = clock.monotonic();
        let (whole, paged) = home.open_split(ObjectKind::Segment, object, &key, sealed.clone()).expect("it opens");
        let size = paged.size();
        // A small one is read at once; of a large one the ten texts are, one page each.
        let pages = if size <= limits::RESIDENT_PAGES_BYTES_MAX { 1 } else { K as u64 };
        let length = if pages == 1 { size } else { limits::PAGE_BYTES as u64 };
        let mut page = vec![0; usize::try_from(length).expect("it is in memory")];
        for n in 0..pages {
            paged.read_at(n * (size / pages), &mut page).expect("it opens");
        }
        let took = clock.monotonic() - began;
        drop(whole);
        took
    };
    ((0..TIMES).map(once).min().unwrap_or_default(), bytes)
}

/// Takes a folder's contents out of the page cache, so that what is read next comes from the disk.
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
        // Pages that are not on the disk yet would stay.
        file.sync_data().expect("it is on the disk");
        // SAFETY: the descriptor is open while `file` lives, and the call touches no memory of ours.
        let said = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(said, 0, "posix_fadvise");
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
