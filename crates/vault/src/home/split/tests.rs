use crate::{Error, FORMAT_VERSION, Home, ObjectKind, WrappedKey, home::tests::World};
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

/// Everything that can be read of it.
fn opened(home: &Home, kind: ObjectKind, key: &WrappedKey, sealed: Vec<u8>) -> Result<Vec<u8>, String> {
    let (whole, paged) = home.open_split(kind, OBJECT, key, Arc::new(sealed)).map_err(|error| {
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        error.to_string()
    })?;
    let mut behind = vec![0; paged.size() as usize];
    paged.read_at(0, &mut behind).map_err(|error| error.to_string())?;
    Ok([whole.to_vec(), behind].concat())
}

#[test]
fn both_parts_come_back() {
    let world = World::new();
    let home = world.namespace();
    for (len, split) in [(0, 0), (10, 0), (10, 10), (10, 4), (3 * PAGE, PAGE), ((1 << 20) + PAGE + 9, (1 << 20) + 5)] {
        let plain = plain(len);
        let (sealed, key) = home.seal_split(ObjectKind::Segment, OBJECT, &plain, split, &world.entropy).unwrap();
        let (whole, paged) = home.open_split(ObjectKind::Segment, OBJECT, &key, Arc::new(sealed.clone())).unwrap();
        assert_eq!((&*whole, paged.size()), (&plain[..split], (len - split) as u64));
        assert_eq!(opened(&home, ObjectKind::Segment, &key, sealed).unwrap(), plain);
    }
    let outside = home.seal_split(ObjectKind::Segment, OBJECT, &[1, 2], 3, &world.entropy);
    assert!(matches!(outside, Err(Error::Misplaced(_))));
}

#[test]
fn it_opens_as_itself_and_in_its_own_place_only() {
    let world = World::new();
    let home = world.namespace();
    let (sealed, key) = home.seal_split(ObjectKind::Segment, OBJECT, &plain(50), 20, &world.entropy).unwrap();
    assert!(opened(&home, ObjectKind::Checkpoint, &key, sealed.clone()).is_err());
    for twin in home.twins() {
        assert!(opened(&twin, ObjectKind::Segment, &key, sealed.clone()).is_err());
    }
    let other = ObjectUuid::from_bytes([8; 16]);
    assert!(home.open_split(ObjectKind::Segment, other, &key, Arc::new(sealed.clone())).is_err());
    // Nor as an object of one part, nor the other way round.
    assert!(home.open(ObjectKind::Segment, OBJECT, &key, &sealed).is_err());
    let (one, key) = home.seal(ObjectKind::Segment, OBJECT, &plain(50), &world.entropy).unwrap();
    assert!(opened(&home, ObjectKind::Segment, &key, one.clone()).is_err());
    let dressed = [&b"RFSP"[..], &[FORMAT_VERSION], &(one.len() as u64).to_be_bytes(), &one, &one].concat();
    assert!(opened(&home, ObjectKind::Segment, &key, dressed).is_err());
}

#[test]
fn the_parts_do_not_change_places_and_fit_their_own_object() {
    let world = World::new();
    let home = world.namespace();
    let seal = |len| home.seal_split(ObjectKind::Segment, OBJECT, &plain(len), len / 2, &world.entropy).unwrap();
    let ((sealed, key), (again, _)) = (seal(64), seal(64));
    let parts = |sealed: &[u8]| (sealed[..13].to_vec(), sealed[13..13 + 138].to_vec(), sealed[151..].to_vec());
    let ((head, first, second), (_, first2, second2)) = (parts(&sealed), parts(&again));
    assert_eq!(first.len(), second.len());
    let joined = |parts: &[&Vec<u8>]| {
        let sealed = parts.iter().flat_map(|part| part.iter().copied()).collect();
        opened(&home, ObjectKind::Segment, &key, sealed)
    };
    assert!(joined(&[&head, &first, &second]).is_ok());
    for wrong in [[&second, &first], [&first, &first], [&second, &second], [&first2, &second], [&first, &second2]] {
        assert!(joined(&[&head, wrong[0], wrong[1]]).is_err());
    }
}

#[test]
fn every_changed_byte_and_every_cut_is_refused() {
    let world = World::new();
    let home = world.namespace();
    let (sealed, key) = home.seal_split(ObjectKind::Segment, OBJECT, &plain(90), 40, &world.entropy).unwrap();
    for at in 0..sealed.len() {
        for bit in [0, 7] {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(opened(&home, ObjectKind::Segment, &key, changed).is_err(), "byte {at}");
        }
        assert!(opened(&home, ObjectKind::Segment, &key, sealed[..at].to_vec()).is_err(), "cut at {at}");
    }
    assert!(opened(&home, ObjectKind::Segment, &key, [&sealed[..], &[0]].concat()).is_err());
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
    let world = World::new();
    let home = world.namespace();
    for (len, split) in [(0, 0), (70_000, 70_000), (70_000, 60_000), ((1 << 20) + 5, 1 << 20)] {
        let (sealed, key) = home.seal_split(ObjectKind::Segment, OBJECT, &plain(len), split, &world.entropy).unwrap();
        let source = Arc::new(Counting(sealed, AtomicU64::new(0)));
        home.open_split(ObjectKind::Segment, OBJECT, &key, source.clone()).unwrap();
        // Both headers and the prologue, the first part, the last page of the second.
        let (headers, page) = (13 + 74 + 74, (len - split) % PAGE + 32);
        let first = split + split.div_ceil(1 << 20).max(1) * 32;
        assert_eq!(source.1.load(Ordering::Relaxed), (headers + first + page) as u64);
    }
}

#[test]
fn a_source_that_does_not_answer_is_no_corruption() {
    struct Gone;
    impl ReadAt for Gone {
        fn size(&self) -> u64 {
            1_000
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<()> {
            Err(std::io::ErrorKind::TimedOut.into())
        }
    }
    let world = World::new();
    let home = world.namespace();
    let (_, key) = home.seal_split(ObjectKind::Segment, OBJECT, &[], 0, &world.entropy).unwrap();
    let opened = home.open_split(ObjectKind::Segment, OBJECT, &key, Arc::new(Gone));
    assert!(matches!(opened, Err(Error::Unreadable { .. })));
}
