use super::*;
use std::{fs::File, os::unix::fs::FileExt};

#[test]
fn small_and_large_buffers_hold_their_bytes() {
    for length in [0, 1, 4_095, POOLED_BYTES_MIN - 1, POOLED_BYTES_MIN, POOLED_BYTES_MIN + 4_097, (4 << 20) + 1] {
        let mut bytes = Plaintext::zeroed(length);
        assert!(bytes.len() == length && bytes.iter().all(|byte| *byte == 0));
        bytes.iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
        let mut copy = Plaintext::from(&bytes[..]);
        assert!(copy == bytes && copy.iter().enumerate().all(|(n, byte)| *byte == n as u8));
        assert_eq!(matches!(copy.0, PlaintextStorage::Pooled(_)), length >= POOLED_BYTES_MIN);
        copy.truncate(length / 2);
        assert_eq!(copy[..], bytes[..length / 2]);
        copy.truncate(length);
        assert_eq!(copy.len(), length / 2, "it never grows");
    }
}

/// Bytes at an address, whatever owns them now. `None` for memory that was returned to the system.
fn bytes_at(address: usize, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address as u64).ok().map(|()| bytes)
}

fn holds(address: usize, length: usize) -> bool {
    bytes_at(address, length).is_some_and(|bytes| bytes.windows(16).any(|piece| piece == [0xB7; 16]))
}

/// The allocator of this test does not wipe freed memory, so the buffers have to.
#[test]
fn dropped_buffers_leave_no_bytes_in_memory() {
    static TEST_POOL: BufferPool = BufferPool::new(3 << 20);
    for length in [64, 500, 5_000, 70_000, POOLED_BYTES_MIN - 1, POOLED_BYTES_MIN, 1 << 20, 3 << 20] {
        // A whole buffer, a truncated one, and one in a vector whose capacity exceeds its length.
        for (kind, mut bytes) in [
            Plaintext::from_pool(&TEST_POOL, length),
            Plaintext::from_pool(&TEST_POOL, length),
            Plaintext::from(Zeroizing::new(Vec::with_capacity(length))),
        ]
        .into_iter()
        .enumerate()
        {
            if let (2, PlaintextStorage::Vector(vector)) = (kind, &mut bytes.0) {
                vector.resize(length, 0xB7);
            }
            bytes.fill(0xB7);
            let address = bytes.as_ptr().addr();
            if kind > 0 {
                bytes.truncate(length / 3);
            }
            assert!(holds(address, length), "the test can read the buffer");
            drop(bytes);
            assert!(!holds(address, length), "{length} bytes, {kind}");
        }
    }
    assert!(!TEST_POOL.kept().is_empty());
}

#[test]
fn a_mapping_is_reused_and_is_zero() {
    static TEST_POOL: BufferPool = BufferPool::new(8 << 20);
    let mut one = Plaintext::from_pool(&TEST_POOL, 1 << 20);
    one.fill(0xB7);
    let address = one.as_ptr().addr();
    drop(one);
    assert_eq!(TEST_POOL.kept(), [1 << 20]);
    let other = Plaintext::from_pool(&TEST_POOL, (1 << 20) - 5_000);
    assert!(other.as_ptr().addr() == address && other.len() == (1 << 20) - 5_000);
    assert!(other.iter().all(|byte| *byte == 0) && TEST_POOL.kept().is_empty());
    drop(other);
    // It serves no longer buffer, and none for which it is too long.
    let others = [(1 << 20) + 1, (1 << 20) * 3 / 4].map(|length| Plaintext::from_pool(&TEST_POOL, length));
    assert_eq!(TEST_POOL.kept(), [1 << 20]);
    drop(others);
}

#[test]
fn the_pool_keeps_no_more_than_its_limit() {
    static TEST_POOL: BufferPool = BufferPool::new(4 << 20);
    let mebibytes = |n: usize| Plaintext::from_pool(&TEST_POOL, n << 20);
    let all = [1, 2, 1, 3].map(mebibytes);
    drop(all);
    assert_eq!(TEST_POOL.kept(), [1 << 20, 3 << 20], "the oldest were dropped");
    drop(mebibytes(5));
    assert_eq!(TEST_POOL.kept(), [1 << 20, 3 << 20], "a mapping longer than the whole pool is not kept");
}
