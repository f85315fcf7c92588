//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. No shipped build contains them.

use crate::audit_log_file::{ChainState, decode_batch, encode_batch};
use kernel::FuzzTarget;
use std::sync::Arc;

/// Every decoder of this crate.
pub const TARGETS: &[FuzzTarget] = &[("ledger_batch", batches, batch), ("ledger_checkpoint", checkpoints, checkpoint)];

fn sample_record(sequence: u64, previous: &str) -> String {
    let integrity =
        format!(r#"{{"sequence":{sequence},"prev_hash":"{previous}","fingerprint":"{}"}}"#, "ab".repeat(32));
    let commit = r#"{"bytes":9,"digest":"abababababababababababababababab","documents":2,"log":"01890000-0000-7000-8000-000000000001","number":7}"#;
    format!(
        r#"{{"actor":{{"user":{{"type":"api_key"}}}},"api":{{"operation":"document.upsert"}},"record_integrity":{integrity},"time":5,"unmapped":{{"commit":{commit},"counts":{{"documents":2,"tokens":18446744073709551615,"bytes_in":9}}}}}}"#
    )
}

fn batches() -> Vec<Vec<u8>> {
    let records =
        [sample_record(1, &"00".repeat(32)), sample_record(2, &"ab".repeat(32)), sample_record(3, &"ab".repeat(32))];
    let records: Vec<Arc<[u8]>> = records.iter().map(|record| Arc::from(record.as_bytes())).collect();
    vec![encode_batch(&records[..0]).to_vec(), encode_batch(&records[..1]).to_vec(), encode_batch(&records).to_vec()]
}

/// Decodes a batch, then replays its records as recovery does.
fn batch(bytes: &[u8]) {
    let Ok(records) = decode_batch(bytes) else { return };
    let shared: Vec<Arc<[u8]>> = records.iter().map(|record| Arc::from(*record)).collect();
    assert_eq!(*encode_batch(&shared), bytes);
    let mut state = ChainState::new();
    // The first record that does not follow its predecessor ends the replay, as in recovery.
    let _taken = records.into_iter().try_for_each(|record| state.replay(record)).is_ok();
}

fn checkpoints() -> Vec<Vec<u8>> {
    let mut full = ChainState::new();
    let batch = batches().pop().unwrap_or_default();
    for record in decode_batch(&batch).unwrap_or_default() {
        let _taken = full.replay(record).is_ok();
    }
    full.with_chunk();
    vec![ChainState::new().encode().to_vec(), full.encode().to_vec()]
}

/// Decodes a checkpoint, then replays one record after it.
fn checkpoint(bytes: &[u8]) {
    let Ok(mut state) = ChainState::decode(bytes) else { return };
    assert_eq!(ChainState::decode(&state.encode()).as_ref(), Ok(&state));
    let (next, head) = state.next_position();
    let _taken = state.replay(sample_record(next, &crate::record::hex(&head)).as_bytes()).is_ok();
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
