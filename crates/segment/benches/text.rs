//! Text search: searches per CPU second for any of some words, for a quoted phrase, and for a prefix.
//!
//! `cargo bench --workspace --bench text`. 2,000 passages that were just written (in memory) and 100,000 of a written
//! segment, with 100 words each from a vocabulary whose frequencies fall off as those of language do; every search asks
//! for the best 10. The cost of phrases and prefixes, and the cost of statistics over only the rows that a reader sees,
//! are printed as ratios to plain words for a reader who sees everything, in the same run. One thread.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]

use kernel::{CommitNo, Distance, Document, DocumentId, Passage, Span, Status, Timestamp, Untrusted};
use roaring::RoaringBitmap;
use segment::{Expansion, GraphMode, Segment, Spec, TextLengths, TextQuery, TextStats};
use std::{hint::black_box, time::Duration};
use testkit::Rng;

const WORDS: usize = 30_000;
const PASSAGE_WORDS: usize = 100;
const SPEC: Spec = Spec::new(0, Distance::Cosine);
/// Measuring time of each kind.
const SPAN: Duration = Duration::from_secs(2);

fn main() {
    let mut rng = Rng::new(7);
    println!(
        "| passages | index | plain words, a CPU second | phrase | star | phrase / plain | star / plain | \
         nine of ten seen / all | one of ten seen / all |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (passages, memory) in [(2_000, true), (2_000, false), (100_000, false)] {
        let docs: Vec<Document> = (0..passages).map(|n| document(n, &mut rng)).collect();
        let questions = questions(&docs, &mut rng);
        let began = cpu();
        let segment = if memory {
            Segment::in_memory(&SPEC, docs).unwrap()
        } else {
            Segment::open(&SPEC, Segment::write(&SPEC, &mut docs.into_iter(), GraphMode::Deferred).unwrap()).unwrap()
        };
        let built = (cpu() - began) / passages as f64;
        let all: RoaringBitmap = (0..segment.rows()).collect();
        let [most, few] = [true, false].map(|most| all.iter().filter(|row| (row % 10 != 0) == most).collect());
        let [most, few] = [most, few].map(|visible| rate(&segment, &questions[0], &visible));
        let [plain, phrase, star] = questions.map(|questions| rate(&segment, &questions, &all));
        let index = if memory { "in memory" } else { "written" };
        println!(
            "| {passages} | {index}, {:.0} µs a passage | {plain:.0} | {phrase:.0} | {star:.0} | {:.2} | {:.2} | {:.2} | {:.2} |",
            built * 1e6,
            phrase / plain,
            star / plain,
            most / plain,
            few / plain,
        );
    }
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
    let title = (0..6).map(|_| word(rng)).collect::<Vec<_>>().join(" ");
    let span = Span { byte_end: text.len() as u32, point_end: text.len() as u32, ..Span::default() };
    Document {
        id: DocumentId::parse(&format!("d{n}")).unwrap(),
        status: Status::Indexed,
        content_hash: [0; 32],
        title: Untrusted::new(title),
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

/// A hundred queries of each kind: five words, three words that are adjacent in a passage, and four words with a star.
fn questions(docs: &[Document], rng: &mut Rng) -> [Vec<String>; 3] {
    let mut all = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..100 {
        let words: Vec<String> = (0..5).map(|_| word(rng)).collect();
        let text = docs[rng.below(docs.len() as u64) as usize].passage_text(0);
        let three: Vec<&str> = text.split(' ').skip(rng.below(PASSAGE_WORDS as u64 - 3) as usize).take(3).collect();
        let start = &words[4][..words[4].len().min(5)];
        all[1].push(format!("{} \"{}\"", words[..2].join(" "), three.join(" ")));
        all[2].push(format!("{} {start}*", words[..4].join(" ")));
        all[0].push(words.join(" "));
    }
    all
}

/// Rate for a reader who sees these rows; their lengths are computed once, as the store does.
fn rate(segment: &Segment, questions: &[String], visible: &RoaringBitmap) -> f64 {
    let lengths = segment.text_lengths(visible);
    let (began, mut searches) = (cpu(), 0);
    while cpu() - began < SPAN.as_secs_f64() {
        for question in questions {
            black_box(search(segment, question, visible, lengths));
            searches += 1;
        }
    }
    f64::from(searches) / (cpu() - began)
}

fn search(segment: &Segment, question: &str, all: &RoaringBitmap, lengths: TextLengths) -> usize {
    let mut query = TextQuery::new(question);
    if query.has_prefixes() {
        let mut expansion = Expansion::default();
        segment.expand(&query, all, &mut expansion).unwrap();
        query.expand(expansion);
    }
    let stats = TextStats::new(lengths, segment.text_frequencies(&query, all).unwrap());
    let held = (query.phrases() > 0).then(|| segment.rows_with_phrase(&query, 0, all).unwrap());
    segment.search_text(&query, &stats, held.as_ref().unwrap_or(all), 10).unwrap().len()
}

fn cpu() -> f64 {
    // The system counts CPU time when a thread leaves its core.
    std::thread::yield_now();
    let nanos = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().map(nanos).sum::<f64>() / 1e9
}
