use crate::{Error, FORMAT_VERSION, Keyspace, ObjectKind, WrappedKey, keyspace::tests::VaultFixture};
use kernel::{ObjectUuid, ReadAt, limits};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

const OBJECT: ObjectUuid = ObjectUuid::from_bytes([7; 16]);
const PAGE: usize = limits::PAGE_BYTES;

fn plain(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n / 3) as u8).collect()
}

/// Reads everything of a split object.
fn opened(keyspace: &Keyspace, kind: ObjectKind, key: &WrappedKey, sealed: Vec<u8>) -> Result<Vec<u8>, String> {
    let (whole, paged) = keyspace.open_split(kind, OBJECT, key, Arc::new(sealed)).map_err(|error| {
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        error.to_string()
    })?;
    let mut behind = vec![0; paged.size() as usize];
    paged.read_at(0, &mut behind).map_err(|error| error.to_string())?;
    Ok([whole.to_vec(), behind].concat())
}

#[test]
fn both_parts_are_read_back() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    for (len, split) in [(0, 0), (10, 0), (10, 10), (10, 4), (3 * PAGE, PAGE), ((1 << 20) + PAGE + 9, (1 << 20) + 5)] {
        let plain = plain(len);
        let (sealed, key) = keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain, split, &fixture.entropy).unwrap();
        let (whole, paged) = keyspace.open_split(ObjectKind::Segment, OBJECT, &key, Arc::new(sealed.clone())).unwrap();
        assert_eq!((&*whole, paged.size()), (&plain[..split], (len - split) as u64));
        assert_eq!(opened(&keyspace, ObjectKind::Segment, &key, sealed).unwrap(), plain);
    }
    let outside = keyspace.seal_split(ObjectKind::Segment, OBJECT, &[1, 2], 3, &fixture.entropy);
    assert!(matches!(outside, Err(Error::Mismatch(_))));
}

#[test]
fn a_split_object_opens_as_itself_and_in_its_own_keyspace_only() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (sealed, key) = keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain(50), 20, &fixture.entropy).unwrap();
    assert!(opened(&keyspace, ObjectKind::Checkpoint, &key, sealed.clone()).is_err());
    for other in keyspace.with_changed_identities() {
        assert!(opened(&other, ObjectKind::Segment, &key, sealed.clone()).is_err());
    }
    let other = ObjectUuid::from_bytes([8; 16]);
    assert!(keyspace.open_split(ObjectKind::Segment, other, &key, Arc::new(sealed.clone())).is_err());
    // It does not open as an object of one part, nor the reverse.
    assert!(keyspace.open(ObjectKind::Segment, OBJECT, &key, &sealed).is_err());
    let (one, key) = keyspace.seal(ObjectKind::Segment, OBJECT, &plain(50), &fixture.entropy).unwrap();
    assert!(opened(&keyspace, ObjectKind::Segment, &key, one.clone()).is_err());
    let dressed = [&b"RFSP"[..], &[FORMAT_VERSION], &(one.len() as u64).to_be_bytes(), &one, &one].concat();
    assert!(opened(&keyspace, ObjectKind::Segment, &key, dressed).is_err());
}

#[test]
fn parts_cannot_be_swapped_or_combined_across_objects() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let seal = |len| keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain(len), len / 2, &fixture.entropy).unwrap();
    let ((sealed, key), (again, _)) = (seal(64), seal(64));
    let parts = |sealed: &[u8]| (sealed[..13].to_vec(), sealed[13..13 + 138].to_vec(), sealed[151..].to_vec());
    let ((head, first, second), (_, first2, second2)) = (parts(&sealed), parts(&again));
    assert_eq!(first.len(), second.len());
    let joined = |parts: &[&Vec<u8>]| {
        let sealed = parts.iter().flat_map(|part| part.iter().copied()).collect();
        opened(&keyspace, ObjectKind::Segment, &key, sealed)
    };
    assert!(joined(&[&head, &first, &second]).is_ok());
    for wrong in [[&second, &first], [&first, &first], [&second, &second], [&first2, &second], [&first, &second2]] {
        assert!(joined(&[&head, wrong[0], wrong[1]]).is_err());
    }
}

#[test]
fn every_changed_byte_and_every_truncation_is_refused() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (sealed, key) = keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain(90), 40, &fixture.entropy).unwrap();
    for at in 0..sealed.len() {
        for bit in [0, 7] {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(opened(&keyspace, ObjectKind::Segment, &key, changed).is_err(), "byte {at}");
        }
        assert!(opened(&keyspace, ObjectKind::Segment, &key, sealed[..at].to_vec()).is_err(), "cut at {at}");
    }
    assert!(opened(&keyspace, ObjectKind::Segment, &key, [&sealed[..], &[0]].concat()).is_err());
}

#[test]
fn the_first_part_is_read_once() {
    struct Counting(Vec<u8>, AtomicU64);
    impl ReadAt for Counting {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
            self.1.fetch_add(into.len() as u64, Ordering::Relaxed);
            self.0.read_at(offset, into)
        }
    }
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    for (len, split) in [(0, 0), (70_000, 70_000), (70_000, 60_000), ((1 << 20) + 5, 1 << 20)] {
        let (sealed, key) =
            keyspace.seal_split(ObjectKind::Segment, OBJECT, &plain(len), split, &fixture.entropy).unwrap();
        let source = Arc::new(Counting(sealed, AtomicU64::new(0)));
        keyspace.open_split(ObjectKind::Segment, OBJECT, &key, source.clone()).unwrap();
        // Both headers and the prologue, the first part, and the last page of the second.
        let (headers, page) = (13 + 74 + 74, (len - split) % PAGE + 32);
        let first = split + split.div_ceil(1 << 20).max(1) * 32;
        assert_eq!(source.1.load(Ordering::Relaxed), (headers + first + page) as u64);
    }
}

#[test]
fn an_unavailable_source_is_not_corruption() {
    struct Gone;
    impl ReadAt for Gone {
        fn size(&self) -> u64 {
            1_000
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (_, key) = keyspace.seal_split(ObjectKind::Segment, OBJECT, &[], 0, &fixture.entropy).unwrap();
    let opened = keyspace.open_split(ObjectKind::Segment, OBJECT, &key, Arc::new(Gone));
    assert!(matches!(opened, Err(Error::Unreadable { .. })));
}
