use super::*;
use kernel::SeededEntropy;
use proptest::prelude::*;
use std::path::Path;

mod known;

const SMALL: Params = Params { segment_len: 64, rotation_bits: 20 };
const ROTATING: Params = Params { segment_len: 40, rotation_bits: 2 };
const ZERO: [u8; KEY] = [0; KEY];
const AAD: &[u8] = b"This is AAD";

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.trim().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn known_answers_open() {
    for (params, answers) in [(&SMALL, known::SEGMENTS_OF_64), (&ROTATING, known::ROTATION)] {
        for known in answers {
            let plain = open(params, &ZERO, AAD, &unhex(known.sealed)).unwrap_or_else(|_| panic!("{}", known.by));
            assert_eq!(*plain, unhex(known.plain), "{}", known.by);
        }
    }
}

/// The large vectors are not in the repository: `RINGFENCE_FLOE_KATS` names a folder of the specification's files.
#[test]
fn known_answers_of_4_kib_open() {
    let Ok(folder) = std::env::var("RINGFENCE_FLOE_KATS") else { return };
    let params = Params { segment_len: 4_096, rotation_bits: 20 };
    for by in ["cpp", "go"] {
        let read = |part| {
            let file = Path::new(&folder).join(format!("{by}_GCM256_IV256_4K_{part}.txt"));
            unhex(&std::fs::read_to_string(file).unwrap())
        };
        assert_eq!(*open(&params, &ZERO, AAD, &read("ct")).unwrap(), read("pt"), "{by}");
    }
}

#[test]
fn known_answers_need_their_key_data_and_parameters() {
    let sealed = unhex(known::SEGMENTS_OF_64[0].sealed);
    assert!(open(&SMALL, &[1; KEY], AAD, &sealed).is_err());
    assert!(open(&SMALL, &ZERO, b"This is AAE", &sealed).is_err());
    assert!(open(&ROTATING, &ZERO, AAD, &sealed).is_err());
    let rotated = unhex(known::ROTATION[0].sealed);
    assert!(open(&Params { rotation_bits: 20, ..ROTATING }, &ZERO, AAD, &rotated).is_err());
}

/// Every length around the boundaries of segments and of key rotations: 32 or 8 bytes of plaintext per segment.
#[test]
fn every_length_is_read_back() {
    let entropy = SeededEntropy::new(3);
    for params in [&SMALL, &ROTATING] {
        for len in 0..200usize {
            let plain: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let sealed = seal(params, &ZERO, AAD, &plain, &entropy);
            let segments = len.div_ceil(params.plain_len()).max(1);
            assert_eq!(sealed.len(), HEADER + len + segments * SEGMENT_OVERHEAD);
            assert_eq!(*open(params, &ZERO, AAD, &sealed).unwrap(), plain, "{len} bytes");
        }
    }
}

#[test]
fn objects_have_segments_of_a_mebibyte() {
    let entropy = SeededEntropy::new(4);
    assert_eq!(OBJECTS.plain_len(), 1 << 20);
    let plain = vec![5; (1 << 20) + 1];
    let sealed = seal(&OBJECTS, &ZERO, AAD, &plain, &entropy);
    assert_eq!(sealed.len(), plain.len() + HEADER + 2 * SEGMENT_OVERHEAD);
    assert_eq!(*open(&OBJECTS, &ZERO, AAD, &sealed).unwrap(), plain);
}

/// Four segments: every bit of every byte, and every truncation.
#[test]
fn any_change_is_refused() {
    let sealed = seal(&SMALL, &ZERO, AAD, &[9; 100], &SeededEntropy::new(5));
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert!(open(&SMALL, &ZERO, AAD, &changed).is_err(), "bit {bit} of byte {at}");
        }
        assert!(open(&SMALL, &ZERO, AAD, &sealed[..at]).is_err(), "cut to {at}");
    }
    for extra in [&[0][..], &[0; 64], &sealed[HEADER..]] {
        assert!(open(&SMALL, &ZERO, AAD, &[&sealed[..], extra].concat()).is_err());
    }
}

#[test]
fn segments_do_not_open_in_another_order_or_number() {
    let entropy = SeededEntropy::new(6);
    let sealed = seal(&SMALL, &ZERO, AAD, &[9; 128], &entropy);
    let (header, body) = sealed.split_at(HEADER);
    let parts: Vec<&[u8]> = body.chunks(64).collect();
    let [a, b, c, d] = parts[..] else { panic!("four segments") };
    let joined = |parts: &[&[u8]]| open(&SMALL, &ZERO, AAD, &[header, &parts.concat()].concat());
    assert!(joined(&[a, b, c, d]).is_ok());
    for wrong in [&[b, a, c, d][..], &[a, c, b, d], &[a, b, d], &[b, c, d], &[a, a, b, c, d], &[a, b, c], &[d], &[]] {
        assert!(joined(wrong).is_err());
    }
    // A segment that is made to look like the last, and the last made to look like the others.
    let mut last = c.to_vec();
    last[..4].copy_from_slice(&64u32.to_be_bytes());
    assert!(joined(&[a, b, &last]).is_err());
    let mut middle = d.to_vec();
    middle[..4].fill(0xFF);
    assert!(joined(&[a, b, c, &middle]).is_err());
    // Segments of another object under the same key.
    let other = seal(&SMALL, &ZERO, AAD, &[9; 128], &entropy);
    assert!(joined(&[a, b, c, &other[HEADER + 192..]]).is_err());
}

#[test]
fn the_header_commits_to_the_key() {
    let sealed = seal(&SMALL, &ZERO, AAD, b"x", &SeededEntropy::new(7));
    let other = seal(&SMALL, &[1; KEY], AAD, b"x", &SeededEntropy::new(7));
    assert_eq!(sealed[..PARAMS + IV], other[..PARAMS + IV]);
    assert_ne!(sealed[PARAMS + IV..HEADER], other[PARAMS + IV..HEADER]);
}

proptest! {
    #[test]
    fn foreign_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..400), honest: bool) {
        if honest && bytes.len() >= PARAMS {
            bytes[..PARAMS].copy_from_slice(&SMALL.encode());
        }
        prop_assert!(open(&SMALL, &ZERO, AAD, &bytes).is_err());
    }

    /// After an authentic header, the segments' fields are still untrusted.
    #[test]
    fn foreign_segments_never_panic(tail in prop::collection::vec(any::<u8>(), 0..200), length: u32) {
        let mut sealed = seal(&SMALL, &ZERO, AAD, &[], &SeededEntropy::new(8));
        sealed.truncate(HEADER);
        sealed.extend_from_slice(&length.to_be_bytes());
        sealed.extend_from_slice(&tail);
        prop_assert!(open(&SMALL, &ZERO, AAD, &sealed).is_err());
    }
}
