//! Cost of a key in the arena compared to a key in a box: created, used once and dropped, as for each sealed object.
//!
//! `cargo bench --workspace --bench keys`. Both variants alternate for ten rounds, and the best round counts;
//! wall-clock nanoseconds per key in one thread, and in four threads at once (total keys over total time).
#![expect(clippy::print_stdout, reason = "a benchmark's output is its table")]

use kernel::{Clock, Entropy, SystemClock};
use std::{hint::black_box, thread};
use vault::SecretKey;
use zeroize::Zeroize;

/// Entropy that costs nothing, so that the cost of memory is visible.
struct Constant;

impl Entropy for Constant {
    fn fill(&self, out: &mut [u8]) {
        out.fill(7);
    }
}

const KEYS: u32 = 1_000_000;

fn main() {
    // Test runs of Cargo start benchmarks too; they do nothing there.
    if !std::env::args().any(|arg| arg == "--bench") {
        return;
    }
    println!("| threads | keys held meanwhile | box, ns | arena, ns | ratio |\n|---|---|---|---|---|");
    for (threads, held) in [(1, 0), (1, 200_000), (4, 0)] {
        let held_keys: Vec<SecretKey> = (0..held).map(|_| SecretKey::random(&Constant)).collect();
        let (mut boxes, mut arena) = (f64::MAX, f64::MAX);
        for _ in 0..10 {
            boxes = boxes.min(measure(threads, &|| {
                let mut key = Box::new([0u8; 32]);
                Constant.fill(&mut key[..]);
                black_box(&mut key).zeroize();
            }));
            arena = arena.min(measure(threads, &|| drop(black_box(SecretKey::random(&Constant)))));
        }
        println!("| {threads} | {held} | {boxes:.1} | {arena:.1} | {:.2} |", arena / boxes);
        drop(held_keys);
    }
    println!("\n{:?}", vault::key_memory());
}

/// Nanoseconds per key.
fn measure(threads: u32, act: &(dyn Fn() + Sync)) -> f64 {
    let clock = SystemClock::new();
    let began = clock.monotonic();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || (0..KEYS / threads).for_each(|_| act()));
        }
    });
    (clock.monotonic() - began).as_secs_f64() * 1e9 / f64::from(KEYS)
}
