use super::*;
use crate::{Keyspace, KeyspaceKind, keyspace::tests::VaultFixture};
use kernel::SeededEntropy;
use proptest::prelude::*;

const LOG: ObjectUuid = ObjectUuid::from_bytes([7; 16]);
const EPOCH: LogEpoch = LogEpoch(3);

/// A log of three frames: its prologue and the frames.
fn log(keyspace: &Keyspace, entropy: &SeededEntropy) -> (Vec<u8>, Vec<Vec<u8>>) {
    let (prologue, mut sealer) = keyspace.start_log(LOG, EPOCH, entropy).unwrap();
    let bodies: [&[u8]; 3] = [b"first entry", b"", b"the third entry of this log"];
    let frames = bodies.iter().zip(41..).map(|(body, seq)| sealer.seal(seq, body, entropy).unwrap()).collect();
    (prologue, frames)
}

/// Reads every entry up to the first that does not open, and returns how the reading ended.
fn read(keyspace: &Keyspace, prologue: &[u8], mut bytes: &[u8]) -> (Vec<(u64, Vec<u8>)>, Result<()>) {
    let mut entries = Vec::new();
    let mut opener = match keyspace.open_log(prologue) {
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
fn a_log_is_read_back_in_order() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (prologue, frames) = log(&keyspace, &fixture.entropy);
    assert_eq!(prologue.len(), LOG_PROLOGUE_BYTES);
    let (opener, _) = keyspace.open_log(&prologue).unwrap();
    assert_eq!((opener.object(), opener.epoch()), (LOG, EPOCH));
    let (entries, end) = read(&keyspace, &prologue, &frames.concat());
    end.unwrap();
    let expected = [(41, &b"first entry"[..]), (42, b""), (43, b"the third entry of this log")];
    assert!(entries.iter().map(|(seq, body)| (*seq, &body[..])).eq(expected));
    assert_eq!(frames[0].len(), 11 + FRAME_OVERHEAD_BYTES);
    // The frames may follow the prologue in the same buffer, as on disk.
    assert_eq!(keyspace.open_log(&[&prologue[..], &frames[0]].concat()).unwrap().1, LOG_PROLOGUE_BYTES);
}

#[test]
fn a_torn_tail_is_an_end_and_not_an_error() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (prologue, frames) = log(&keyspace, &fixture.entropy);
    for zeroes in [0, 1, 43, 44, 45, 4_096] {
        let (entries, end) = read(&keyspace, &prologue, &[frames.concat(), vec![0; zeroes]].concat());
        assert!(entries.len() == 3 && end.is_ok(), "{zeroes} zeroes");
    }
    for cut in 0..frames[2].len() {
        let (entries, end) = read(&keyspace, &prologue, &[&frames[0][..], &frames[1], &frames[2][..cut]].concat());
        assert!(entries.len() == 2 && end.is_ok(), "cut to {cut}");
    }
}

#[test]
fn every_changed_byte_is_an_error_in_its_frame() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (prologue, frames) = log(&keyspace, &fixture.entropy);
    let bytes = frames.concat();
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let (entries, end) = read(&keyspace, &prologue, &changed);
            let whole = [frames[0].len(), frames[0].len() + frames[1].len()].iter().filter(|end| at >= **end).count();
            assert_eq!(entries.len(), whole, "byte {at}");
            assert!(matches!(end, Err(Error::Corrupt { what: "log frame", .. })), "byte {at}");
        }
    }
    for at in 0..prologue.len() {
        let mut changed = prologue.clone();
        changed[at] ^= 1;
        assert!(keyspace.open_log(&changed).is_err(), "byte {at} of the prologue");
        assert!(keyspace.open_log(&prologue[..at]).is_err(), "prologue cut to {at}");
    }
    assert!(keyspace.open_log(&[0; 4_096]).is_err());
}

#[test]
fn frames_stay_in_their_order_and_log() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (prologue, frames) = log(&keyspace, &fixture.entropy);
    let [a, b, c] = &frames[..] else { panic!("three frames") };
    for wrong in [vec![b], vec![a, c], vec![a, a], vec![a, b, a], vec![c, b, a]] {
        let bytes: Vec<u8> = wrong.into_iter().flatten().copied().collect();
        assert!(read(&keyspace, &prologue, &bytes).1.is_err());
    }
    // The same entries in another log of the same epoch.
    let (other_prologue, others) = log(&keyspace, &fixture.entropy);
    assert!(read(&keyspace, &prologue, &others.concat()).1.is_err());
    assert!(read(&keyspace, &other_prologue, &frames.concat()).1.is_err());
    assert!(read(&keyspace, &prologue, &[&a[..], &others[1]].concat()).1.is_err());
}

#[test]
fn a_failed_open_does_not_move_the_opener() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (prologue, frames) = log(&keyspace, &fixture.entropy);
    let (mut opener, _) = keyspace.open_log(&prologue).unwrap();
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
fn a_log_opens_in_its_own_keyspace_only() {
    let fixture = VaultFixture::new();
    let keyspace = fixture.namespace();
    let (prologue, _) = log(&keyspace, &fixture.entropy);
    let (other, _) =
        Keyspace::create(&fixture.keys, KeyspaceKind::Namespace, fixture.uuid(9), &fixture.entropy).unwrap();
    assert!(matches!(other.open_log(&prologue), Err(Error::Corrupt { .. })));
}

#[test]
fn a_body_over_the_limit_is_refused() {
    let fixture = VaultFixture::new();
    let (_, mut sealer) = fixture.namespace().start_log(LOG, EPOCH, &fixture.entropy).unwrap();
    let body = vec![0; limits::LOG_FRAME_BYTES_MAX + 1];
    assert!(matches!(sealer.seal(1, &body, &fixture.entropy), Err(Error::TooLarge { .. })));
    sealer.frames = FRAMES_MAX;
    assert!(matches!(sealer.seal(1, b"", &fixture.entropy), Err(Error::LogKeyExhausted)));
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), magic: bool) {
        let fixture = VaultFixture::new();
        let keyspace = fixture.namespace();
        let (prologue, _) = log(&keyspace, &fixture.entropy);
        let bytes = if magic { [&FRAME_MAGIC[..], &bytes].concat() } else { bytes };
        prop_assert!(keyspace.open_log(&bytes).is_err());
        let (mut opener, _) = keyspace.open_log(&prologue).unwrap();
        prop_assert!(!matches!(opener.open(&bytes), Ok(Some(_))));
    }

    #[test]
    fn any_bodies_are_read_back(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..8), start: u32) {
        let fixture = VaultFixture::new();
        let keyspace = fixture.namespace();
        let (prologue, mut sealer) = keyspace.start_log(LOG, EPOCH, &fixture.entropy).unwrap();
        let mut bytes = Vec::new();
        for (body, seq) in bodies.iter().zip(u64::from(start)..) {
            bytes.extend(sealer.seal(seq, body, &fixture.entropy).unwrap());
        }
        let (entries, end) = read(&keyspace, &prologue, &bytes);
        prop_assert!(end.is_ok());
        prop_assert!(entries.into_iter().map(|(_, body)| body).eq(bodies));
    }
}
