//! The keys of open but idle keyspaces, logs and segments are in the arena and nowhere else, neither as raw bytes nor
//! as a cipher's key schedule, which begins with the key's own bytes.

use super::{incarnation_of, object};
use crate::{
    Keyspace, KeyspaceKind, LocalProvider, ObjectKind, SecretKey, TenantKeys,
    crypto::{Aead, Cipher, KEY},
};
use kernel::{LogEpoch, NamespaceUuid, ReadAt, SeededEntropy};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::Arc,
};

/// Number of copies of a key in this process's memory outside the arena.
fn copies_outside_arena(key: &SecretKey) -> usize {
    let slot = key.bytes().as_ptr().addr();
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut copies = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
        if !rest.starts_with("rw") || (start..end).contains(&slot) {
            continue;
        }
        let mut bytes = vec![0; 1 << 20];
        // Windows overlap, so that a key across a boundary is in one of them. Unreadable memory is skipped, because no
        // other reader sees it either.
        for at in (start..end).step_by(bytes.len() - KEY) {
            let window = &mut bytes[..(end - at).min(1 << 20)];
            if memory.read_exact_at(window, at as u64).is_ok() {
                copies += window.windows(KEY).filter(|window| *window == key.bytes()).count();
            }
        }
    }
    copies
}

#[test]
fn open_items_keep_their_keys_in_the_arena_only() {
    // No other test uses these keys.
    let entropy = SeededEntropy::new(7_700);
    let provider = LocalProvider::from_env_value(&"77".repeat(32), Arc::new(SeededEntropy::new(7_701))).unwrap();
    let (keys, _) = TenantKeys::create(&provider, incarnation_of(1), &entropy).unwrap();
    let uuid = NamespaceUuid::from_bytes([7; 16]);
    let (keyspace, _) = Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &entropy).unwrap();
    let (prologue, mut sealer) = keyspace.start_log(object(1), LogEpoch(1), &entropy).unwrap();
    let frame = sealer.seal(1, b"some text", &entropy).unwrap();
    let (mut opener, _) = keyspace.open_log(&prologue).unwrap();
    assert!(opener.open(&frame).unwrap().is_some());
    let (sealed, key) = keyspace.seal_split(ObjectKind::Segment, object(2), &[5; 100_000], 50_000, &entropy).unwrap();
    let (_whole, reader) = keyspace.open_split(ObjectKind::Segment, object(2), &key, Arc::new(sealed)).unwrap();
    reader.read_at(1_000, &mut [0; 40_000]).unwrap();
    kernel::wipe_stack();

    let [log, header] = opener.keys();
    let idle_keys = [("log", log), ("log header", header), ("segment", reader.key()), ("MACs", keyspace.mac_key())];
    for (what, key) in idle_keys {
        assert_eq!(copies_outside_arena(key), 0, "{what}");
    }
    for (what, key) in idle_keys {
        let cipher = Cipher::new(key.bytes());
        assert!(copies_outside_arena(key) > 0, "{what}: this test detects a key schedule in memory");
        drop(cipher);
    }
}
