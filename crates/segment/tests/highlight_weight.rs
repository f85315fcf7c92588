//! Marking words in a text takes memory for the marked words and for the cached ones, but never for the text: a passage
//! may be as long as a document.

use counting::{Counting, measure};
use segment::{Highlighter, TextQuery};
use std::alloc::System;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Peak bytes that marking allocates in addition to the text.
fn peak(question: &str, text: &str) -> usize {
    let query = TextQuery::new(question);
    let (spans, measured) = measure(|| Highlighter::new(&query).spans(text).expect("no one interrupts"));
    assert!(spans.len() <= kernel::limits::HIGHLIGHTS_PER_HIT_MAX);
    measured.peak
}

#[test]
fn a_long_text_takes_no_more_memory_than_a_short_one() {
    const BYTES: usize = 4 << 20;
    let distinct: String = (0..BYTES / 8).map(|n| format!("w{n:06x} ")).collect();
    let texts = [
        ("short words", "a b ".repeat(BYTES / 4)),
        ("words with marks", "\u{e9} a\u{301} ".repeat(BYTES / 7)),
        ("codes", "a-b.c ".repeat(BYTES / 6)),
        ("distinct words", distinct),
    ];
    for (name, text) in texts {
        for question in ["absent", "absent \"a b c\" w0*"] {
            let most = peak(question, &text);
            // Covers a hundred thousand cached words, or one part of the text.
            let bound = if name == "distinct words" { 40 << 20 } else { 2 << 20 };
            assert!(most < bound, "{name}, {question}: {most} bytes for {}", text.len());
        }
    }
}
