//! What opening a sealed segment costs, by part: `cargo bench --workspace --bench open`.
//! It stands here because segment does not see vault.
//!
//! `RINGFENCE_OPEN_ROWS=20,20000,100000` names sizes. Documents of 10 passages of about 600 bytes, 384
//! dimensions, links scattered (a real graph opens the same; building one takes 2 ms of CPU a row).
#![allow(clippy::print_stdout, missing_docs)]

use kernel::{
    AttrValue, Clock, CommitNo, Distance, Document, DocumentId, Incarnation, NamespaceUuid, ObjectUuid, OsEntropy,
    Passage, Scalar, SeededEntropy, Span, Status, SystemClock, Timestamp, Untrusted,
};
use segment::{Links, Segment, Spec};
use std::{sync::Arc, time::Duration};
use vault::{Home, LocalProvider, ObjectKind, PlaceKind, TenantKeys};

const SPEC: Spec = Spec { dimensions: 384, distance: Distance::Cosine };
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

/// Words by Zipf's law over a vocabulary of 200,000.
fn passage(random: &mut Random) -> String {
    let mut text = String::with_capacity(640);
    while text.len() < 594 {
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
        let span = Span { byte_start: start, byte_end: text.len() as u32, point_start: start, point_end: text.len() as u32 };
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
            ("year".to_owned(), AttrValue::One(Scalar::Num(f64::from(2000 + number % 25)))),
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

fn home() -> Home {
    let entropy = Arc::new(OsEntropy);
    let provider = LocalProvider::from_env_value(&"7".repeat(64), entropy).unwrap();
    let (keys, _) = TenantKeys::create(&provider, Incarnation::from_bytes([1; 16]), &OsEntropy).unwrap();
    Home::create_place(&keys, PlaceKind::Namespace, NamespaceUuid::from_bytes([2; 16]), &SeededEntropy::new(3)).unwrap().0
}

fn ms(d: Duration) -> String {
    format!("{:.3}", d.as_secs_f64() * 1e3)
}

fn main() {
    let sizes = std::env::var("RINGFENCE_OPEN_ROWS").unwrap_or_else(|_| "20,20000,100000".into());
    for rows in sizes.split(',').map(|n| n.trim().parse::<u32>().unwrap()) {
        measure(rows);
    }
}

fn measure(rows: u32) {
    let clock = SystemClock::default();
    let home = home();
    let uuid = ObjectUuid::from_bytes([4; 16]);
    let file = std::env::temp_dir().join(format!("ringfence-open-{}-{rows}", std::process::id()));
    let key = {
        let mut random = Random(5);
        let mut docs = (0..rows.div_ceil(PASSAGES)).map(|n| document(n, PASSAGES.min(rows - n * PASSAGES), &mut random));
        let start = clock.monotonic();
        let plain = Segment::write_linked(&SPEC, &mut docs, Links::Scattered).unwrap();
        println!("{rows} rows: written in {} ms, {} bytes", ms(clock.monotonic() - start), plain.len());
        let (sealed, key) = home.seal(ObjectKind::Segment, uuid, &plain, &OsEntropy).unwrap();
        std::fs::write(&file, sealed).unwrap();
        key
    };
    let times = if rows <= 1_000 { 200 } else { 3 };
    let mut best: Vec<(&'static str, Duration)> = Vec::new();
    for _ in 0..times {
        let before = resident();
        let mut at = clock.monotonic();
        let mut found: Vec<(&'static str, Duration)> = Vec::new();
        let mut stage = |name| {
            let now = clock.monotonic();
            found.push((name, now - at));
            at = now;
        };
        let sealed = std::fs::read(&file).unwrap();
        stage("read");
        let plain = home.open(ObjectKind::Segment, uuid, &key, &sealed).unwrap();
        drop(sealed);
        stage("decrypt");
        let segment = Segment::open_staged(&SPEC, plain, &mut stage).unwrap();
        let total = |list: &[(_, Duration)]| list.iter().map(|(_, d)| *d).sum::<Duration>();
        if best.is_empty() || total(&found) < total(&best) {
            best = found;
        }
        if times <= 3 {
            println!("   resident {} MB, said {} MB", (resident() - before) >> 20, segment.bytes() >> 20);
        }
    }
    for (name, d) in &best {
        println!("   {name:<30} {:>12} ms", ms(*d));
    }
    println!("   {:<30} {:>12} ms", "all", ms(best.iter().map(|(_, d)| *d).sum()));
    std::fs::remove_file(&file).unwrap();
}
