//! Measures how fast the real models embed: `cargo run --example embed_rate -- RUNTIME FOLDER [MODEL] [THREADS]`.
//!
//! Prints passages per second and, from the server's own counters, time inside ONNX Runtime per passage.
#![expect(clippy::print_stdout, reason = "its output is its purpose")]

use kernel::{Clock, SystemClock, Untrusted};
use models::{EmbedJob, Models, ModelsConfig, TaskKind, TenantQueueId};
use std::sync::{Arc, mpsc::channel};

const PASSAGES: usize = 400;
const WORDS: [&str; 16] = [
    "the", "contract", "of", "delivery", "ends", "with", "a", "notice", "in", "writing", "six", "weeks", "before",
    "each", "quarter", "closes",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let config = ModelsConfig {
        runtime: args.first().map(Into::into),
        folder: args.get(1).map(Into::into),
        default: args.get(2).cloned().unwrap_or_else(|| "all-MiniLM-L6-v2".to_owned()),
        threads: args.get(3).map_or(Ok(1), |n| n.parse())?,
        ..ModelsConfig::default()
    };
    let clock = SystemClock::new();
    let models = Models::load(&config)?;
    println!("{} threads, loaded in {} ms", config.threads, clock.monotonic().as_millis());
    // 126 words of one token each and two special tokens; the beginnings differ.
    let text = |i: usize| (0..126).map(|w| WORDS[(w * 7 + i + w * i / 5) % 16]).collect::<Vec<_>>().join(" ");
    let (send, reply) = channel();
    let start = clock.monotonic();
    models.submit(EmbedJob {
        model: config.default.clone(),
        queue: TenantQueueId([0; 16]),
        kind: TaskKind::Passage,
        texts: (0..PASSAGES).map(|i| Untrusted::new(text(i))).collect(),
        question: None,
        cancelled: Arc::default(),
        done: Box::new(move |result| drop(send.send(result))),
    })?;
    reply.recv()??;
    let seconds = (clock.monotonic() - start).as_secs_f64();
    models.stop();
    let stats = &models.stats().models[0];
    let tokens = stats.tokens_total as f64 / stats.texts_total as f64;
    let busy = stats.busy_ns as f64 / 1e6 / stats.texts_total as f64;
    println!(
        "{:.1} passages/s of {tokens:.0} tokens, {busy:.1} ms each inside ONNX Runtime",
        PASSAGES as f64 / seconds
    );
    Ok(())
}
