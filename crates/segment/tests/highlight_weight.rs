//! Marking words in a text takes memory for the words that are marked and for those that are known, never for the text: a
//! passage may be as long as a document.

use segment::{Highlighter, TextQuery};
use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(bytes: isize) {
    // A thread that ends has no counters any more.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

/// The system's allocator, which counts for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without; every call goes to the system's unchanged")]
// SAFETY: each method hands its arguments to `System` and does nothing else with the memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size().cast_signed());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        note(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { System.dealloc(place, layout) }
    }
}

/// Bytes that marking takes at its peak beside the text.
fn peak(question: &str, text: &str) -> usize {
    let query = TextQuery::new(question);
    let before = HELD.get();
    PEAK.set(before);
    let spans = Highlighter::new(&query).spans(text).expect("no one interrupts");
    assert!(spans.len() <= kernel::limits::HIGHLIGHTS_PER_HIT_MAX);
    (PEAK.get() - before).unsigned_abs()
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
            // A hundred thousand words that are known, or one part of the text.
            let bound = if name == "distinct words" { 40 << 20 } else { 2 << 20 };
            assert!(most < bound, "{name}, {question}: {most} bytes for {}", text.len());
        }
    }
}
