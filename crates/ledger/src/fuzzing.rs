//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. In no build that is shipped.

use crate::book::{State, decode_batch, encode_batch};
use std::sync::Arc;

/// A name, valid encodings, and what decodes any bytes and panics where a promise does not hold.
pub type Target = (&'static str, fn() -> Vec<Vec<u8>>, fn(&[u8]));

/// Every decoder of this crate.
pub const TARGETS: &[Target] = &[("ledger_batch", batches, batch), ("ledger_checkpoint", checkpoints, checkpoint)];

fn a_line(sequence: u64, previous: &str) -> String {
    let integrity =
        format!(r#"{{"sequence":{sequence},"prev_hash":"{previous}","fingerprint":"{}"}}"#, "ab".repeat(32));
    let commit = r#"{"bytes":9,"digest":"abababababababababababababababab","documents":2,"log":"01890000-0000-7000-8000-000000000001","number":7}"#;
    format!(
        r#"{{"actor":{{"user":{{"type":"api_key"}}}},"api":{{"operation":"document.upsert"}},"record_integrity":{integrity},"time":5,"unmapped":{{"commit":{commit},"counts":{{"documents":2,"tokens":18446744073709551615,"bytes_in":9}}}}}}"#
    )
}

fn batches() -> Vec<Vec<u8>> {
    let lines = [a_line(1, &"00".repeat(32)), a_line(2, &"ab".repeat(32)), a_line(3, &"ab".repeat(32))];
    let lines: Vec<Arc<[u8]>> = lines.iter().map(|line| Arc::from(line.as_bytes())).collect();
    vec![encode_batch(&lines[..0]).to_vec(), encode_batch(&lines[..1]).to_vec(), encode_batch(&lines).to_vec()]
}

/// A batch, and what a start makes of its lines.
fn batch(bytes: &[u8]) {
    let Some(lines) = decode_batch(bytes) else { return };
    let shared: Vec<Arc<[u8]>> = lines.iter().map(|line| Arc::from(*line)).collect();
    assert_eq!(*encode_batch(&shared), bytes);
    let mut state = State::new();
    // The first that does not follow ends it, as a start would.
    let _taken = lines.into_iter().try_for_each(|line| state.replay(line)).is_ok();
}

fn checkpoints() -> Vec<Vec<u8>> {
    let mut full = State::new();
    let batch = batches().pop().unwrap_or_default();
    for line in decode_batch(&batch).unwrap_or_default() {
        let _taken = full.replay(line).is_ok();
    }
    full.with_chunk();
    vec![State::new().encode().to_vec(), full.encode().to_vec()]
}

/// A checkpoint, and a line after it.
fn checkpoint(bytes: &[u8]) {
    let Some(mut state) = State::decode(bytes) else { return };
    assert_eq!(State::decode(&state.encode()).as_ref(), Some(&state));
    let (next, head) = state.place();
    let _taken = state.replay(a_line(next, &crate::line::hex(&head)).as_bytes()).is_ok();
}

#[cfg(test)]
mod tests {
    #[global_allocator]
    static ALLOCATOR: testkit::Largest = testkit::Largest;

    #[test]
    fn no_bytes_break_a_decoder() {
        testkit::fuzz(super::TARGETS);
    }
}
