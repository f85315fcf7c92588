use super::*;
use crate::{Home, PlaceKind, home::tests::World};
use kernel::SeededEntropy;
use proptest::prelude::*;

const LOG: ObjectUuid = ObjectUuid::from_bytes([7; 16]);
const EPOCH: LogEpoch = LogEpoch(3);

/// A log of three frames: its prologue and the frames.
fn log(home: &Home, entropy: &SeededEntropy) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (prologue, mut sealer) = home.start_log(LOG, EPOCH, entropy).unwrap();
    let bodies: [&[u8]; 3] = [b"first entry", b"", b"the third entry of this log"];
    let frames = bodies.iter().zip(41..).map(|(body, seq)| sealer.seal(seq, body, entropy).unwrap()).collect();
    (prologue, frames)
}

/// Every entry up to the first that does not open, and how the reading ended.
fn read(home: &Home, prologue: &[u8], mut bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, Result<()>) {
    let mut entries = Vec::new();
    let mut opener = match home.open_log(prologue) {
        Ok((opener, used)) => {
            assert_eq!(used, LOG_PROLOGUE_BYTES);
            opener
        }
        Err(error) => return (entries, Err(error)),
    };
    loop {
        match opener.open(bytes) {
            Ok(Some((seq, body, used))) => {
                entries.push((seq, body.to_vec()));
                bytes = &bytes[used..];
            }
            Ok(None) => return (entries, Ok(())),
            Err(error) => return (entries, Err(error)),
        }
    }
}

#[test]
fn a_log_comes_back_in_order() {
    let world = World::new();
    let home = world.namespace();
    let (prologue, frames) = log(&home, &world.entropy);
    assert_eq!(prologue.len(), LOG_PROLOGUE_BYTES);
    let (opener, _) = home.open_log(&prologue).unwrap();
    assert_eq!((opener.object(), opener.epoch()), (LOG, EPOCH));
    let (entries, end) = read(&home, &prologue, &frames.concat());
    end.unwrap();
    let expected = [(41, &b"first entry"[..]), (42, b""), (43, b"the third entry of this log")];
    assert!(entries.iter().map(|(seq, body)| (*seq, &body[..])).eq(expected));
    assert_eq!(frames[0].len(), 11 + FRAME_OVERHEAD_BYTES);
    // The prologue may stand in front of the frames, as on disk.
    assert_eq!(home.open_log(&[&prologue[..], &frames[0]].concat()).unwrap().1, LOG_PROLOGUE_BYTES);
}

#[test]
fn what_a_crash_leaves_is_an_end_and_not_an_error() {
    let world = World::new();
    let home = world.namespace();
    let (prologue, frames) = log(&home, &world.entropy);
    for zeroes in [0, 1, 43, 44, 45, 4_096] {
        let (entries, end) = read(&home, &prologue, &[frames.concat(), vec![0; zeroes]].concat());
        assert!(entries.len() == 3 && end.is_ok(), "{zeroes} zeroes");
    }
    for cut in 0..frames[2].len() {
        let (entries, end) = read(&home, &prologue, &[&frames[0][..], &frames[1], &frames[2][..cut]].concat());
        assert!(entries.len() == 2 && end.is_ok(), "cut to {cut}");
    }
}

#[test]
fn every_changed_byte_is_an_error_where_it_stands() {
    let world = World::new();
    let home = world.namespace();
    let (prologue, frames) = log(&home, &world.entropy);
    let bytes = frames.concat();
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let (entries, end) = read(&home, &prologue, &changed);
            let whole = [frames[0].len(), frames[0].len() + frames[1].len()].iter().filter(|end| at >= **end).count();
            assert_eq!(entries.len(), whole, "byte {at}");
            assert!(matches!(end, Err(Error::Corrupt { what: "log frame", .. })), "byte {at}");
        }
    }
    for at in 0..prologue.len() {
        let mut changed = prologue.clone();
        changed[at] ^= 1;
        assert!(home.open_log(&changed).is_err(), "byte {at} of the prologue");
        assert!(home.open_log(&prologue[..at]).is_err(), "prologue cut to {at}");
    }
    assert!(home.open_log(&[0; 4_096]).is_err());
}

#[test]
fn frames_stay_in_their_order_and_log() {
    let world = World::new();
    let home = world.namespace();
    let (prologue, frames) = log(&home, &world.entropy);
    let [a, b, c] = &frames[..] else { panic!("three frames") };
    for wrong in [vec![b], vec![a, c], vec![a, a], vec![a, b, a], vec![c, b, a]] {
        let bytes: Vec<u8> = wrong.into_iter().flatten().copied().collect();
        assert!(read(&home, &prologue, &bytes).1.is_err());
    }
    // The same entries in another log, of the same epoch and of another.
    let (other_prologue, others) = log(&home, &world.entropy);
    assert!(read(&home, &prologue, &others.concat()).1.is_err());
    assert!(read(&home, &other_prologue, &frames.concat()).1.is_err());
    assert!(read(&home, &prologue, &[&a[..], &others[1]].concat()).1.is_err());
}

#[test]
fn an_opener_that_refuses_stands_where_it_stood() {
    let world = World::new();
    let home = world.namespace();
    let (prologue, frames) = log(&home, &world.entropy);
    let (mut opener, _) = home.open_log(&prologue).unwrap();
    let mut wrong = frames[0].clone();
    wrong[FRAME_OVERHEAD_BYTES] ^= 1;
    assert!(opener.open(&wrong).is_err());
    assert!(opener.open(&frames[1]).is_err());
    assert!(opener.open(&[0; 100]).unwrap().is_none());
    for frame in &frames {
        assert!(opener.open(frame).unwrap().is_some());
    }
}

#[test]
fn a_log_opens_in_its_own_place_only() {
    let world = World::new();
    let home = world.namespace();
    let (prologue, _) = log(&home, &world.entropy);
    let (other, _) = Home::create_place(&world.keys, PlaceKind::Namespace, world.uuid(9), &world.entropy).unwrap();
    assert!(matches!(other.open_log(&prologue), Err(Error::Corrupt { .. })));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let world = World::new();
    let (_, mut sealer) = world.namespace().start_log(LOG, EPOCH, &world.entropy).unwrap();
    let body = vec![0; limits::LOG_FRAME_BYTES_MAX + 1];
    assert!(matches!(sealer.seal(1, &body, &world.entropy), Err(Error::TooLarge { .. })));
    sealer.frames = FRAMES_MAX;
    assert!(matches!(sealer.seal(1, b"", &world.entropy), Err(Error::UsedUp)));
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let world = World::new();
        let home = world.namespace();
        let (prologue, _) = log(&home, &world.entropy);
        let bytes = if magic { [&FRAME_MAGIC[..], &bytes].concat() } else { bytes };
        prop_assert!(home.open_log(&bytes).is_err());
        let (mut opener, _) = home.open_log(&prologue).unwrap();
        prop_assert!(!matches!(opener.open(&bytes), Ok(Some(_))));
    }

    #[test]
    fn any_bodies_come_back(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8), start: u32) {
        let world = World::new();
        let home = world.namespace();
        let (prologue, mut sealer) = home.start_log(LOG, EPOCH, &world.entropy).unwrap();
        let mut bytes = Vec::new();
        for (body, seq) in bodies.iter().zip(u64::from(start)..) {
            bytes.extend(sealer.seal(seq, body, &world.entropy).unwrap());
        }
        let (entries, end) = read(&home, &prologue, &bytes);
        prop_assert!(end.is_ok());
        prop_assert!(entries.into_iter().map(|(_, body)| body).eq(bodies));
    }
}
