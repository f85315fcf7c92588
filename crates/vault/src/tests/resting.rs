//! Homes, logs and segments that are open and at rest: their keys lie in the arena and nowhere else, neither as they are
//! nor as a cipher's schedule, which begins with the key's own bytes.

use super::{life, object};
use crate::{
    Home, LocalProvider, ObjectKind, PlaceKind, SecretKey, TenantKeys,
    crypto::{Aead, Cipher, KEY},
};
use kernel::{LogEpoch, NamespaceUuid, ReadAt, SeededEntropy};
use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    sync::Arc,
};

/// How often a key stands in this process's memory outside of the arena.
fn found(key: &SecretKey) -> usize {
    let slot = key.bytes().as_ptr().addr();
    let memory = File::open("/proc/self/mem").unwrap();
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mut found = 0;
    for line in maps.lines() {
        let (range, rest) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| usize::from_str_radix(hex, 16).unwrap());
        if !rest.starts_with("rw") || (start..end).contains(&slot) {
            continue;
        }
        let mut bytes = vec![0; 1 << 20];
        // Pieces overlap, so that a key on a border is in one of them. What cannot be read is for nobody.
        for at in (start..end).step_by(bytes.len() - KEY) {
            let piece = &mut bytes[..(end - at).min(1 << 20)];
            if memory.read_exact_at(piece, at as u64).is_ok() {
                found += piece.windows(KEY).filter(|window| *window == key.bytes()).count();
            }
        }
    }
    found
}

#[test]
fn what_is_open_has_its_keys_in_the_arena_alone() {
    // No other test has these keys.
    let entropy = SeededEntropy::new(7_700);
    let provider = LocalProvider::from_env_value(&"77".repeat(32), Arc::new(SeededEntropy::new(7_701))).unwrap();
    let (keys, _) = TenantKeys::create(&provider, life(1), &entropy).unwrap();
    let uuid = NamespaceUuid::from_bytes([7; 16]);
    let (home, _) = Home::create_place(&keys, PlaceKind::Namespace, uuid, &entropy).unwrap();
    let (prologue, mut sealer) = home.start_log(object(1), LogEpoch(1), &entropy).unwrap();
    let frame = sealer.seal(1, b"some text", &entropy).unwrap();
    let (mut opener, _) = home.open_log(&prologue).unwrap();
    assert!(opener.open(&frame).unwrap().is_some());
    let (sealed, key) = home.seal_split(ObjectKind::Segment, object(2), &[5; 100_000], 50_000, &entropy).unwrap();
    let (_whole, reader) = home.open_split(ObjectKind::Segment, object(2), &key, Arc::new(sealed)).unwrap();
    reader.read_at(1_000, &mut [0; 40_000]).unwrap();
    kernel::wipe_stack();

    let [log, header] = opener.keys();
    let resting = [("log", log), ("log header", header), ("segment", reader.key()), ("MACs", home.mac_key())];
    for (what, key) in resting {
        assert_eq!(found(key), 0, "{what}");
    }
    for (what, key) in resting {
        let cipher = Cipher::new(key.bytes());
        assert!(found(key) > 0, "{what}: this test can see what there is to see");
        drop(cipher);
    }
}
