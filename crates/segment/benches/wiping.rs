//! The cost of wiping freed memory, in work that allocates: `cargo bench --workspace --bench wiping`.
//!
//! One process whose allocator alternates between wiping and not wiping. The blocks are the system's either way, so
//! that each side may free what the other allocated. Prints CPU milliseconds of each side and their ratio, as medians
//! over rounds.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]
#![expect(unsafe_code, reason = "an allocator cannot be written without; every call goes to one of two unchanged")]

use kernel::{CommitNo, Distance, Document, DocumentId, Passage, Span, Status, Timestamp, Untrusted};
use roaring::RoaringBitmap;
use segment::{GraphMode, Segment, Spec, TextQuery, TextStats};
use serde_json::{Value, json};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    hint::black_box,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};
use testkit::Rng;
use zeroizing_alloc::ZeroAlloc;

static WIPES: AtomicBool = AtomicBool::new(false);
/// The allocator that the program uses.
static WIPING: ZeroAlloc<System> = ZeroAlloc(System);

struct SwitchedAllocator;

// SAFETY: each method passes its arguments to `System` or to its wrapper, and does nothing else with the memory.
unsafe impl GlobalAlloc for SwitchedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that `System` requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        unsafe {
            if WIPES.load(Relaxed) {
                WIPING.realloc(pointer, layout, size)
            } else {
                System.realloc(pointer, layout, size)
            }
        }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { if WIPES.load(Relaxed) { WIPING.dealloc(pointer, layout) } else { System.dealloc(pointer, layout) } }
    }
}

#[global_allocator]
static ALLOCATOR: SwitchedAllocator = SwitchedAllocator;

const WORDS: usize = 30_000;
const PASSAGE_WORDS: usize = 100;
const SPEC: Spec = Spec::new(0, Distance::Cosine);
const ROUNDS: usize = 11;

fn main() {
    // Cargo also starts benchmarks in test runs.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    let mut rng = Rng::new(7);
    let few: Vec<Document> = (0..20).map(|n| document(n, &mut rng)).collect();
    let many: Vec<Document> = (0..2_000).map(|n| document(n, &mut rng)).collect();
    let body: Vec<Value> = many.iter().map(|d| json!({ "id": d.id.as_str(), "text": d.passage_text(0) })).collect();
    let body = serde_json::to_vec(&body).unwrap();
    let bytes = Segment::write(&SPEC, &mut many.clone().into_iter(), GraphMode::Deferred).unwrap();
    let segment = Segment::open(&SPEC, bytes).unwrap();
    let questions: Vec<String> =
        (0..100).map(|_| (0..5).map(|_| word(&mut rng)).collect::<Vec<_>>().join(" ")).collect();
    let all: RoaringBitmap = (0..segment.rows()).collect();
    println!("| work | plain, ms of CPU | wiping, ms of CPU | ratio |\n|---|---|---|---|");
    compare("200 times a box of each of 16 to 4,096 bytes", &mut || {
        for _ in 0..200 {
            (16..4096).step_by(16).for_each(|n| drop(black_box(Vec::<u8>::with_capacity(n))));
        }
    });
    compare("a text grown by words to 16 MiB, 4 times", &mut || {
        for _ in 0..4 {
            let mut text = String::new();
            while text.len() < 16 << 20 {
                text.push_str("some words of it ");
            }
            black_box(text);
        }
    });
    compare("1 MiB, zeroed, a page of it used, 500 times", &mut || {
        for _ in 0..500 {
            let mut page = vec![0u8; 1 << 20];
            page[..4096].fill(1);
            black_box(page);
        }
    });
    compare("JSON of 2,000 documents parsed, 5 times", &mut || {
        for _ in 0..5 {
            black_box(serde_json::from_slice::<Value>(&body).unwrap());
        }
    });
    compare("20 documents indexed, 50 times", &mut || {
        for _ in 0..50 {
            black_box(Segment::in_memory(&SPEC, few.clone()).unwrap());
        }
    });
    compare("a segment of 2,000 passages written", &mut || {
        black_box(Segment::write(&SPEC, &mut many.clone().into_iter(), GraphMode::Deferred).unwrap());
    });
    compare("100 searches for five words in 2,000 passages", &mut || {
        for question in &questions {
            let query = TextQuery::new(question);
            let mut stats = TextStats::for_query(&query);
            stats += segment.text_stats(&query, &all).unwrap();
            black_box(segment.search_text(&query, &stats, &all, 10).unwrap());
        }
    });
}

/// Runs both sides in turn, with one round each before those that count.
fn compare(work: &str, act: &mut dyn FnMut()) {
    let mut sides = [Vec::new(), Vec::new()];
    for _ in 0..=ROUNDS {
        for (wipes, side) in [false, true].into_iter().zip(&mut sides) {
            WIPES.store(wipes, Relaxed);
            let began = cpu();
            act();
            side.push(cpu() - began);
        }
    }
    let [plain, wiping] = sides.map(|mut side| {
        side.remove(0);
        side.sort_by(f64::total_cmp);
        side[ROUNDS / 2] * 1e3
    });
    println!("| {work} | {plain:.2} | {wiping:.2} | {:.2} |", wiping / plain);
}

/// A word whose frequency falls with its rank.
fn word(rng: &mut Rng) -> String {
    let share = rng.below(1 << 24) as f64 / (1u64 << 24) as f64;
    let rank = (WORDS as f64).powf(share) as usize;
    let syllables = ["ba", "ter", "in", "mol", "e", "ra", "tion", "co", "li", "sur", "den", "o"];
    let (mut rest, mut word) = (rank + 11, String::new());
    while rest > 0 {
        word.push_str(syllables[rest % syllables.len()]);
        rest /= syllables.len();
    }
    word
}

fn document(n: usize, rng: &mut Rng) -> Document {
    let text = (0..PASSAGE_WORDS).map(|_| word(rng)).collect::<Vec<_>>().join(" ");
    let span = Span { byte_end: text.len() as u32, point_end: text.len() as u32, ..Span::default() };
    Document {
        id: DocumentId::parse(&format!("d{n}")).unwrap(),
        status: Status::Indexed,
        content_hash: [0; 32],
        title: Untrusted::default(),
        uri: Untrusted::default(),
        attributes: kernel::Attributes::new(),
        readers: None,
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
        expires_at: None,
        commit: CommitNo(1),
        findings: Vec::new(),
        text: Untrusted::new(text),
        passages: vec![Passage { span, tokens: 100 }],
        vectors: Vec::new(),
    }
}

/// CPU seconds of this process.
fn cpu() -> f64 {
    // The system counts CPU time when a thread leaves its core.
    std::thread::yield_now();
    let nanos = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().map(nanos).sum::<f64>() / 1e9
}
