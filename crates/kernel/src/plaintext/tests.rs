use super::*;
use std::{fs::File, os::unix::fs::FileExt};

#[test]
fn small_and_large_ones_hold_what_is_put_into_them() {
    for length in [0, 1, 4_095, ROOM_MIN - 1, ROOM_MIN, ROOM_MIN + 4_097, (4 << 20) + 1] {
        let mut bytes = Plaintext::zeroed(length);
        assert!(bytes.len() == length && bytes.iter().all(|byte| *byte == 0));
        bytes.iter_mut().enumerate().for_each(|(n, byte)| *byte = n as u8);
        let mut copy = Plaintext::from(&bytes[..]);
        assert!(copy == bytes && copy.iter().enumerate().all(|(n, byte)| *byte == n as u8));
        assert_eq!(matches!(copy.0, Held::Room(_)), length >= ROOM_MIN);
        copy.truncate(length / 2);
        assert_eq!(copy[..], bytes[..length / 2]);
        copy.truncate(length);
        assert_eq!(copy.len(), length / 2, "it never grows");
    }
}

/// What stands at an address, whoever has it now. `None` for what went back to the system.
fn look(address: usize, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open("/proc/self/mem").unwrap().read_exact_at(&mut bytes, address as u64).ok().map(|()| bytes)
}

fn holds(address: usize, length: usize) -> bool {
    look(address, length).is_some_and(|bytes| bytes.windows(16).any(|piece| piece == [0xB7; 16]))
}

/// This test's allocator does not wipe.
#[test]
fn nothing_stays_where_they_lay() {
    static OURS: Rooms = Rooms::new(3 << 20);
    for length in [64, 500, 5_000, 70_000, ROOM_MIN - 1, ROOM_MIN, 1 << 20, 3 << 20] {
        // Whole, cut, and in a vector that is longer than what it holds.
        for (kind, mut bytes) in [
            Plaintext::among(&OURS, length),
            Plaintext::among(&OURS, length),
            Plaintext::from(Zeroizing::new(Vec::with_capacity(length))),
        ]
        .into_iter()
        .enumerate()
        {
            if let (2, Held::Vector(vector)) = (kind, &mut bytes.0) {
                vector.resize(length, 0xB7);
            }
            bytes.fill(0xB7);
            let address = bytes.as_ptr().addr();
            if kind > 0 {
                bytes.truncate(length / 3);
            }
            assert!(holds(address, length), "this test can see what there is to see");
            drop(bytes);
            assert!(!holds(address, length), "{length} bytes, {kind}");
        }
    }
    assert!(!OURS.kept().is_empty());
}

#[test]
fn a_room_that_was_left_is_handed_out_again_and_is_zero() {
    static OURS: Rooms = Rooms::new(8 << 20);
    let mut one = Plaintext::among(&OURS, 1 << 20);
    one.fill(0xB7);
    let address = one.as_ptr().addr();
    drop(one);
    assert_eq!(OURS.kept(), [1 << 20]);
    let other = Plaintext::among(&OURS, (1 << 20) - 5_000);
    assert!(other.as_ptr().addr() == address && other.len() == (1 << 20) - 5_000);
    assert!(other.iter().all(|byte| *byte == 0) && OURS.kept().is_empty());
    drop(other);
    // Neither longer ones nor those that it is too long for.
    let others = [(1 << 20) + 1, (1 << 20) * 3 / 4].map(|length| Plaintext::among(&OURS, length));
    assert_eq!(OURS.kept(), [1 << 20]);
    drop(others);
}

#[test]
fn no_more_are_kept_than_may_be() {
    static OURS: Rooms = Rooms::new(4 << 20);
    let mebibytes = |n: usize| Plaintext::among(&OURS, n << 20);
    let all = [1, 2, 1, 3].map(mebibytes);
    drop(all);
    assert_eq!(OURS.kept(), [1 << 20, 3 << 20], "the oldest have gone");
    drop(mebibytes(5));
    assert_eq!(OURS.kept(), [1 << 20, 3 << 20], "one that is longer than all together is not kept");
}
