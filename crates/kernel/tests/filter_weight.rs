//! Memory of a filter from its JSON to its evaluation: its peak is less than sixteen bytes for each byte of its JSON,
//! for any kind and number of leaves.

use counting::{Counting, measure};
use kernel::Filter;
use serde_json::{Value, json};
use std::alloc::System;

/// Most bytes of memory for each byte of a filter.
const BYTES_PER_BYTE_MAX: usize = 16;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Peak memory of parsing, compiling and preparing a filter, bytes, not counting its JSON.
fn peak(value: &Value) -> usize {
    let ((), measured) = measure(|| {
        // A filter with too many words is refused, but has taken memory all the same.
        if let Ok(filter) = Filter::parse(value) {
            let compiled = filter.compile();
            drop(compiled.matcher());
        }
    });
    measured.peak
}

/// Makes the value of the nth leaf, of about the given number of bytes.
type Make = fn(usize, usize) -> Value;

/// Letters that differ from leaf to leaf and do not soon repeat.
fn letters(leaf: usize, length: usize) -> String {
    let mut state = leaf as u64 * 0x9E37_79B9 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).expect("small"))
    };
    (0..length).map(|_| next()).collect()
}

/// Words of one letter, as many as fit.
fn short_words(leaf: usize, length: usize) -> String {
    letters(leaf, length).as_bytes().chunks(2).map(|pair| format!("{} ", char::from(pair[0]))).collect()
}

#[rustfmt::skip]
const SHAPES: &[(&str, &str, Make)] = &[
    ("words of one letter", "match", |n, length| short_words(n, length).into()),
    ("words of two letters", "match", |n, length| letters(n, length).as_bytes().chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned()).collect::<Vec<_>>().join(" ").split_at(length).0.into()),
    ("words of three letters", "match", |n, length| letters(n, length).as_bytes().chunks(3)
        .map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>().join(" ").split_at(length).0.into()),
    ("one long word", "match", |n, length| letters(n, length).into()),
    ("substrings", "contains", |n, length| letters(n, length).into()),
    ("prefixes", "prefix", |n, length| letters(n, length).into()),
    ("equal strings", "eq", |n, length| letters(n, length).into()),
];

#[test]
fn no_filter_takes_sixteen_times_its_length() {
    let mut too_large = Vec::new();
    for (name, kind, make) in SHAPES {
        for (leaves, length) in [(200, 4_096), (1, 4_096)] {
            for keys in [1, leaves] {
                let leaf = |n: usize| json!({"type": kind, "key": format!("k{}", n % keys), "value": make(n, length)});
                let filter = json!({"type": "or", "filters": (0..leaves).map(leaf).collect::<Vec<_>>()});
                let (most, sent) = (peak(&filter), filter.to_string().len());

                // A leaf and the tables of a field take some hundred bytes, however short their values are.
                if most > BYTES_PER_BYTE_MAX * sent + (64 << 10) {
                    too_large.push(format!("{name}, {leaves} leaves on {keys} fields: {} times", most / sent));
                }
            }
        }
    }
    assert!(too_large.is_empty(), "{}", too_large.join("\n"));
}
