//! What a filter takes in memory from the moment it is JSON to the moment it is asked: at its peak less than sixteen bytes
//! for each byte of its JSON, whatever its leaves are and however many.

use counting::{Counting, measure};
use kernel::Filter;
use serde_json::{Value, json};
use std::alloc::System;

/// The most bytes of memory for each byte of a filter.
const TIMES: usize = 16;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

/// Bytes that reading a filter, making it ready and asking it take at their peak, beside its JSON.
fn peak(value: &Value) -> usize {
    let ((), measured) = measure(|| {
        // What has too many words is refused, and has taken memory all the same.
        if let Ok(filter) = Filter::parse(value) {
            let compiled = filter.compile();
            drop(compiled.matcher());
        }
    });
    measured.peak
}

/// Makes the value of the leaf of a number, of about this many bytes.
type Make = fn(usize, usize) -> Value;

/// Letters that differ from leaf to leaf and do not repeat soon.
fn letters(leaf: usize, length: usize) -> String {
    let mut state = leaf as u64 * 0x9E37_79B9 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b'a' + u8::try_from((state >> 33) % 26).expect("small"))
    };
    (0..length).map(|_| next()).collect()
}

/// As many words of one or two letters as fit.
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
    let mut wrong = Vec::new();
    for (name, kind, make) in SHAPES {
        for (leaves, length) in [(200, 4_096), (1, 4_096)] {
            for keys in [1, leaves] {
                let leaf = |n: usize| json!({"type": kind, "key": format!("k{}", n % keys), "value": make(n, length)});
                let filter = json!({"type": "or", "filters": (0..leaves).map(leaf).collect::<Vec<_>>()});
                let (most, sent) = (peak(&filter), filter.to_string().len());

                // A leaf and the tables of a field take some hundred bytes, however short they are.
                if most > TIMES * sent + (64 << 10) {
                    wrong.push(format!("{name}, {leaves} leaves on {keys} fields: {} times", most / sent));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
