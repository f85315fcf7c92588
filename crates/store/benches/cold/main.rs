//! The first search of a namespace that was evicted, with the page cache dropped, and how much of it is decryption.
//!
//! `cargo bench --workspace --bench cold`. `RINGFENCE_COLD_ROWS=1000,100000` names sizes: documents of 1 KiB of text and
//! one vector. Namespaces of a size are filled, flushed and let go by the store's own eviction; then their files leave
//! the page cache (`posix_fadvise`; names and inodes stay), and each is entered and searched for the ten nearest
//! passages, text fetched. The same again with the files in the page cache: the difference is the disk. Decryption is
//! timed alone, in memory, after each of these: as many objects with the same documents, the part that an opening reads
//! (that of small ones is all of them), and as many pages as the first search does. Both as shares of the CPU. Medians; milliseconds on the clock, which tells of other programs too, and of CPU of this process.

#![expect(clippy::print_stdout, reason = "a table for people is what it is for")]

#[path = "../write_speed/pool.rs"]
mod pool;
#[path = "../write_speed/world.rs"]
mod world;

use access::{Ingest, Search};
use kernel::{
    Audience, Clock, CommitNo, Distance, Incarnation, NamespaceUuid, ObjectUuid, OsEntropy, ReadAt, Status,
    SystemClock, Timestamp, limits,
};
use segment::{Links, Segment, Spec};
use std::{fs, path::Path, sync::Arc, time::Duration};
use testkit::{Mixture, VALUES};
use vault::{Home, LocalProvider, ObjectKind, PagedReader, PlaceKind, TenantKeys, WrappedKey};
use world::World;

const K: usize = 10;
/// Documents of one commit.
const AT_ONCE: usize = 500;
/// Namespaces of a size hold about so many rows together; measured are at least so many openings.
const ROWS_AT_MOST: usize = 50_000;
const TIMES: usize = 5;

/// Time on the clock, and of CPU.
#[derive(Clone, Copy)]
struct Took {
    wall: Duration,
    cpu: Duration,
}

/// One first search, and the opening of its namespace as part of it.
struct First {
    opening: Took,
    all: Took,
    parts: usize,
}

/// The same of decryption alone.
struct Decryption {
    opening: Took,
    all: Took,
}

struct Watch<'a>(&'a SystemClock, Duration, Duration);

impl<'a> Watch<'a> {
    fn start(clock: &'a SystemClock) -> Self {
        Self(clock, clock.monotonic(), cpu_time())
    }

    fn read(&self) -> Took {
        Took { wall: self.0.monotonic() - self.1, cpu: cpu_time() - self.2 }
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
    // The last namespace is small: entering it makes the store look for room.
    let world = World::new(folder, many + 1, 1, kernel::limits::ERASE_WITHIN).await;
    for n in 0..many {
        fill(&world, n, &vectors).await;
    }
    fill(&world, many, &vectors[..1]).await;
    world.settle().await;
    world.stores.flush_all().await.expect("it flushes");
    let queries: Vec<Vec<f32>> = (0..many * TIMES).map(|_| mixture.point()).collect();
    let rounds = TIMES.div_ceil(many);
    let (mut cold, mut cached, mut alone) = (Vec::new(), Vec::new(), Vec::<Decryption>::new());
    let objects = Objects::of(&world, &vectors, first(clock, &world, 0, &queries[0]).await.parts);
    for (drops, into) in [(true, &mut cold), (false, &mut cached)] {
        for round in 0..rounds {
            evicted(&world, many).await;
            if drops {
                drop_pages(folder);
            }
            for n in 0..many {
                into.push(first(clock, &world, n, &queries[round * many + n]).await);
                if !drops {
                    alone.push(objects.decrypted(clock));
                }
            }
        }
    }
    let row = |what: &str, took: Vec<Took>| -> f64 {
        let p50 = |which: fn(&Took) -> Duration| {
            let mut list: Vec<f64> = took.iter().map(|t| which(t).as_secs_f64() * 1e3).collect();
            list.sort_by(f64::total_cmp);
            list[list.len() / 2]
        };
        println!("| {rows} | {what} | {} | {:.2} | {:.2} |", took.len(), p50(|t| t.wall), p50(|t| t.cpu));
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

async fn first(clock: &SystemClock, world: &World, namespace: usize, query: &[f32]) -> First {
    let watch = Watch::start(clock);
    let snapshot = world.enter::<Search>(namespace).await.snapshot(None).await.expect("it opens");
    let opening = watch.read();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], clock.now()).expect("it reads");
    let (hits, looks) = snapshot.vector(query, &eligible, K).expect("it reads");
    for hit in &hits {
        snapshot.passage(&eligible, hit.at, false).expect("it reads");
    }
    assert_eq!(hits.len(), K);
    First { opening, all: watch.read(), parts: looks.len() }
}

/// Objects as the store has them, in memory.
struct Objects {
    home: Home,
    sealed: Vec<(Arc<Vec<u8>>, WrappedKey)>,
}

const OBJECT: ObjectUuid = ObjectUuid::from_bytes([4; 16]);

impl Objects {
    /// These documents in so many objects.
    fn of(world: &World, vectors: &[Vec<f32>], parts: usize) -> Self {
        let provider = LocalProvider::from_env_value(&"7".repeat(64), Arc::new(OsEntropy)).expect("a root key");
        let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&OsEntropy), &OsEntropy).expect("keys");
        let uuid = NamespaceUuid::random(&OsEntropy);
        let (home, _) = Home::create_place(&keys, PlaceKind::Namespace, uuid, &OsEntropy).expect("a home");
        let spec = Spec { dimensions: VALUES, distance: Distance::Cosine, language: kernel::Language::English };
        let document = |(n, vector): (usize, &Vec<f32>)| {
            world.upsert(n, n, vector.clone()).admitted.into_document(
                Timestamp::from_millis(0),
                Timestamp::from_millis(0),
                CommitNo(1),
            )
        };
        let seal = |some: &[Vec<f32>]| {
            let mut documents = some.iter().enumerate().map(document);
            let plain = Segment::write(&spec, &mut documents, Links::Scattered).expect("it is written");
            let split = Segment::split(&plain).expect("it was written just now");
            let sealed = home.seal_split(ObjectKind::Segment, OBJECT, &plain, split, &OsEntropy);
            let (sealed, key) = sealed.expect("it is sealed");
            (Arc::new(sealed), key)
        };
        let sealed = vectors.chunks(vectors.len().div_ceil(parts)).map(seal).collect();
        Self { home, sealed }
    }

    /// What opening them takes in decryption alone, and fetching ten texts.
    fn decrypted(&self, clock: &SystemClock) -> Decryption {
        let watch = Watch::start(clock);
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
                self.home.open_split(ObjectKind::Segment, OBJECT, key, sealed.clone()).expect("it opens");
            let at_once = small(paged.size()).then(|| read(&paged, 1, paged.size()));
            (whole, paged, at_once)
        };
        let opened: Vec<_> = self.sealed.iter().map(open).collect();
        let opening = watch.read();
        let pages = (K / self.sealed.len()).max(1) as u64;
        for (_, paged, _) in opened.iter().filter(|(.., at_once)| at_once.is_none()) {
            read(paged, pages, limits::PAGE_BYTES as u64);
        }
        let all = watch.read();
        drop(opened);
        Decryption { opening, all }
    }
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

/// CPU that all threads of this process took.
#[expect(unsafe_code, reason = "as above")]
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which is ours.
    let said = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    assert_eq!(said, 0, "clock_gettime");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
