//! Measures the cost of opening a sealed segment, by stage: `cargo bench --workspace --bench open`. It is in this crate
//! because segment does not depend on vault.
//!
//! `RINGFENCE_OPEN_ROWS=20,20000,100000` sets the sizes, `RINGFENCE_OPEN_TEXT` the bytes of a passage. Documents have
//! 10 passages of about 600 bytes and 384 dimensions, and random links (a real graph opens in the same time; building
//! one takes 0.2 ms of CPU for each row).
//!
//! Prints for each size the best of three openings (of 200 for small sizes) by stage; then the same with the cost of a
//! first search and of a later one, from memory and from pages, and the resident memory next to the size that the
//! segment reports.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]

use kernel::{
    AttrValue, Clock, CommitNo, Distance, Document, DocumentId, Incarnation, NamespaceUuid, ObjectUuid, OsEntropy,
    Passage, Plaintext, ReadAt, Scalar, SeededEntropy, Span, Status, SystemClock, Timestamp, Untrusted,
};
use segment::{GraphMode, Segment, Spec, TextQuery};
use std::{fs, io, os::unix::fs::FileExt, path::Path, sync::Arc, time::Duration};
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, TenantKeys, WrappedKey};

const SPEC: Spec = Spec::new(384, Distance::Cosine);
const PASSAGES: u32 = 10;

struct Random(u64);
impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1u64 << 24) as f32
    }
}

/// A passage of words that follow Zipf's law over a vocabulary of 200,000.
fn passage(random: &mut Random) -> String {
    let bytes: usize = std::env::var("RINGFENCE_OPEN_TEXT").map_or(594, |n| n.parse().unwrap());
    let mut text = String::with_capacity(bytes + 40);
    while text.len() < bytes {
        let rank = (200_000f32.powf(random.unit())) as u64;
        let mut n = rank.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let length = 3 + (rank % 7);
        for _ in 0..length {
            text.push(char::from(b'a' + (n % 26) as u8));
            n /= 26;
        }
        text.push(' ');
    }
    text
}

fn document(number: u32, count: u32, random: &mut Random) -> Document {
    let mut text = String::new();
    let mut passages = Vec::new();
    for _ in 0..count {
        let start = text.len() as u32;
        text.push_str(&passage(random));
        let span =
            Span { byte_start: start, byte_end: text.len() as u32, point_start: start, point_end: text.len() as u32 };
        passages.push(Passage { span, tokens: 140 });
        text.push('\n');
    }
    Document {
        id: DocumentId::parse(&format!("document-{number:08}")).unwrap(),
        status: Status::Indexed,
        content_hash: [7; 32],
        title: Untrusted::new(format!("Title {number}")),
        uri: Untrusted::new(format!("https://example.com/documents/{number}")),
        attributes: [
            ("year".to_owned(), AttrValue::One(Scalar::Num(f64::from(2000 + number % 25).into()))),
            ("team".to_owned(), AttrValue::One(Scalar::Str(format!("team-{}", number % 40)))),
        ]
        .into(),
        readers: None,
        created_at: Timestamp::from_millis(1_700_000_000_000 + i64::from(number)),
        updated_at: Timestamp::from_millis(1_700_000_000_000 + i64::from(number)),
        expires_at: None,
        commit: CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new(text),
        passages,
        vectors: (0..count * 384).map(|_| random.unit() - 0.5).collect(),
    }
}

fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

fn keyspace() -> Keyspace {
    let entropy = Arc::new(OsEntropy);
    let provider = LocalProvider::from_env_value(&"7".repeat(64), entropy).unwrap();
    let (keys, _) = TenantKeys::create(&provider, Incarnation::from_bytes([1; 16]), &OsEntropy).unwrap();
    Keyspace::create(&keys, KeyspaceKind::Namespace, NamespaceUuid::from_bytes([2; 16]), &SeededEntropy::new(3))
        .unwrap()
        .0
}

fn ms(d: Duration) -> String {
    format!("{:.3}", d.as_secs_f64() * 1e3)
}

fn main() {
    // Cargo's test runs start benchmarks too, without this argument.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let sizes = std::env::var("RINGFENCE_OPEN_ROWS").unwrap_or_else(|_| "20,20000,100000".into());
    for rows in sizes.split(',').map(|n| n.trim().parse::<u32>().unwrap()) {
        measure(rows);
    }
}

/// A sealed object as a file.
struct SealedFile(fs::File, u64);

impl ReadAt for SealedFile {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(into, offset)
    }
}

/// Stages with their name, wall time and CPU time of this thread.
type Stages = Vec<(&'static str, Duration, Duration)>;

fn total(list: &Stages) -> (Duration, Duration) {
    list.iter().fold(Default::default(), |(clock, cpu), (_, a, b)| (clock + *a, cpu + *b))
}

/// CPU time of this thread, to about 4 ms. On a shared machine the wall time includes the work of others.
fn cpu_time() -> Duration {
    let schedstat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

fn measure(rows: u32) {
    let (clock, keyspace) = (SystemClock::default(), keyspace());
    let file = std::env::temp_dir().join(format!("ringfence-open-{}-{rows}", std::process::id()));
    let key = write(&clock, &keyspace, rows, &file);
    let times = if rows <= 1_000 { 200 } else { 3 };
    let mut best = Stages::new();
    for n in 0..times {
        let before = resident();
        let mut stages = Stages::new();
        let segment = open(&clock, &keyspace, &key, &file, &mut stages);
        if best.is_empty() || total(&stages).0 < total(&best).0 {
            best = stages;
        }
        if n + 1 == times {
            let (held, reported) = (resident().saturating_sub(before), segment.bytes());
            println!("   {} MB more resident, {} MB as the segment reports", held >> 20, reported >> 20);
            searches(&clock, &segment);
            println!("   {} MB as the segment reports after the searches", segment.bytes() >> 20);
            let start = clock.monotonic();
            drop(segment);
            println!("   dropped and wiped in {} ms", ms(clock.monotonic() - start));
        }
    }
    let (wall, cpu) = total(&best);
    best.push(("all", wall, cpu));
    // Larger ones do not fit into the memory of a small machine.
    if rows <= 200_000 {
        println!("   the same with everything in memory:");
        searches(&clock, &in_memory(&keyspace, &key, &file));
    }
    for (name, wall, cpu) in best {
        println!("   {name:<40} {:>12} ms, CPU {:>12} ms", ms(wall), ms(cpu));
    }
    fs::remove_file(&file).unwrap();
}

const OBJECT: ObjectUuid = ObjectUuid::from_bytes([4; 16]);

fn write(clock: &SystemClock, keyspace: &Keyspace, rows: u32, file: &Path) -> WrappedKey {
    let mut random = Random(5);
    let mut docs = (0..rows.div_ceil(PASSAGES)).map(|n| document(n, PASSAGES.min(rows - n * PASSAGES), &mut random));
    let start = clock.monotonic();
    let plain = Segment::write(&SPEC, &mut docs, GraphMode::Scattered).unwrap();
    let split = Segment::split(&plain).unwrap();
    let took = ms(clock.monotonic() - start);
    println!("{rows} rows: written in {took} ms, {split} bytes opened completely, {} in pages", plain.len() - split);
    let (sealed, key) = keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain, split, &OsEntropy).unwrap();
    drop(plain);
    fs::write(file, sealed).unwrap();
    key
}

fn open(clock: &SystemClock, keyspace: &Keyspace, key: &WrappedKey, file: &Path, stages: &mut Stages) -> Segment {
    let mut at = (clock.monotonic(), cpu_time());
    let mut stage = |name| {
        let now = (clock.monotonic(), cpu_time());
        stages.push((name, now.0 - at.0, now.1 - at.1));
        at = (clock.monotonic(), now.1);
    };
    let file = fs::File::open(file).unwrap();
    let size = file.metadata().unwrap().len();
    let source = Arc::new(SealedFile(file, size));
    let (resident_part, paged) = keyspace.open_split(ObjectKind::Segment, OBJECT, key, source).unwrap();
    stage("read and decrypt");
    Segment::open_with_stages(&SPEC, resident_part, Arc::new(paged), &mut stage).unwrap()
}

/// Opens the segment completely in memory, without pages.
fn in_memory(keyspace: &Keyspace, key: &WrappedKey, file: &Path) -> Segment {
    let (resident_part, paged) =
        keyspace.open_split(ObjectKind::Segment, OBJECT, key, Arc::new(fs::read(file).unwrap())).unwrap();
    let mut plain = Plaintext::zeroed(resident_part.len() + usize::try_from(paged.size()).unwrap());
    let (first, second) = plain.split_at_mut(resident_part.len());
    first.copy_from_slice(&resident_part);
    paged.read_at(0, second).unwrap();
    Segment::open(&SPEC, plain).unwrap()
}

/// Times a first search of each kind, and the mean of a hundred later ones with different queries.
fn searches(clock: &SystemClock, segment: &Segment) {
    let mut random = Random(77);
    let rows = segment.rows_of(&(0..segment.documents()).collect());
    let timed = |name: &str, act: &mut dyn FnMut()| {
        let start = clock.monotonic();
        act();
        let (first, core) = (clock.monotonic() - start, cpu_time());
        (0..100).for_each(|_| act());
        println!("   {name:<40} first {} ms, then {} ms of CPU", ms(first), ms((cpu_time() - core) / 100));
    };
    timed("vector, 10 best of all", &mut || {
        let query: Vec<f32> = (0..384).map(|_| random.unit() - 0.5).collect();
        assert_eq!(segment.search_vector(&query, &rows, 10).hits.len(), 10);
    });
    let mut random = Random(78);
    timed("words, 10 best of all", &mut || {
        let text = passage(&mut random);
        let query = TextQuery::new(text.get(..40).unwrap());
        let stats = segment.text_stats(&query, &rows).unwrap();
        assert!(segment.search_text(&query, &stats, &rows, 10).unwrap().len() <= 10);
    });
    timed("a document without vectors", &mut || {
        let doc = (random.next() % u64::from(segment.documents())) as u32;
        segment.document(doc, false).unwrap();
    });
}
