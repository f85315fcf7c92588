//! Text search: searches a CPU second for any of some words, for a quoted phrase, and for a word with a star.
//!
//! `cargo bench --workspace --bench text`. 2,000 passages just written (in memory) and 100,000 of a written segment, 100
//! words each of a vocabulary that falls off as language does; every search asks for the best 10. What phrases and
//! stars cost, and what it costs that statistics are those of what a reader sees, is told as a ratio to plain words for
//! a reader who sees everything, in the same run. One thread.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]

use kernel::{CommitNo, Distance, Document, DocumentId, Passage, Span, Status, Timestamp, Untrusted};
use roaring::RoaringBitmap;
use segment::{Expansion, Links, Segment, Spec, TextLengths, TextQuery, TextStats};
use std::{hint::black_box, time::Duration};
use testkit::Rng;

const WORDS: usize = 30_000;
const PASSAGE_WORDS: usize = 100;
const SPEC: Spec = Spec::new(0, Distance::Cosine);
/// How long each kind is measured.
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
            Segment::open(&SPEC, Segment::write(&SPEC, &mut docs.into_iter(), Links::Later).unwrap()).unwrap()
        };
        let built = (cpu() - began) / passages as f64;
        let all: RoaringBitmap = (0..segment.rows()).collect();
        let [most, few] = [true, false].map(|most| all.iter().filter(|row| (row % 10 != 0) == most).collect());
        let [most, few] = [most, few].map(|seen| rate(&segment, &questions[0], &seen));
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

/// Words whose frequency falls with their rank.
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

/// Per kind a hundred questions: five words, three of which stand together in a passage, and four words with a star.
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

/// For a reader who sees these rows; how long they are is remembered, as the store does.
fn rate(segment: &Segment, questions: &[String], seen: &RoaringBitmap) -> f64 {
    let lengths = segment.text_lengths(seen);
    let (began, mut searches) = (cpu(), 0);
    while cpu() - began < SPAN.as_secs_f64() {
        for question in questions {
            black_box(search(segment, question, seen, lengths));
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
    let held = query.has_phrases().then(|| segment.holding(&query, all).unwrap());
    segment.search_text(&query, &stats, held.as_ref().unwrap_or(all), 10).unwrap().len()
}

fn cpu() -> f64 {
    // The system counts when a thread leaves its core.
    std::thread::yield_now();
    let nanos = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().map(nanos).sum::<f64>() / 1e9
}
