use super::*;
use proptest::{collection::vec, prelude::*};

/// One read of each kind, chosen by a byte. Returns what it read, as bytes.
fn read(kind: u8, n: usize, r: &mut ByteReader<'_>) -> Result<Vec<u8>, MalformedBytes> {
    Ok(match kind % 12 {
        0 => vec![r.u8()?],
        1 => r.u16()?.to_le_bytes().to_vec(),
        2 => r.u32()?.to_le_bytes().to_vec(),
        3 => r.u64()?.to_le_bytes().to_vec(),
        4 => r.i64()?.to_le_bytes().to_vec(),
        5 => r.array::<16>()?.to_vec(),
        6 => r.take(n)?.to_vec(),
        7 => vec![r.flag()?.into()],
        8 => r.str()?.as_bytes().to_vec(),
        9 => r.sized()?.to_vec(),
        10 => vec![0; r.count(n)?],
        _ => r.size().map(|_| Vec::new())?,
    })
}

proptest! {
    #[test]
    fn any_bytes_are_read_within_their_bounds(
        bytes in vec(any::<u8>(), 0..64),
        reads in vec((any::<u8>(), prop_oneof![0usize..20, Just(usize::MAX)]), 0..20),
    ) {
        let mut r = ByteReader::new(&bytes, "anything");
        for (kind, n) in reads {
            let before = r.at();
            match read(kind, n, &mut r) {
                // No value is longer than what was read for it, or, for a count, than what is left.
                Ok(value) => prop_assert!(value.len() <= (r.at() - before).max(r.remaining())),
                Err(error) => {
                    prop_assert_eq!(error.what, "anything");
                    prop_assert!(before <= error.at && error.at <= bytes.len());
                    return Ok(());
                }
            }
            prop_assert!(before <= r.at() && r.at() + r.remaining() == bytes.len());
        }
        prop_assert_eq!(r.end().is_ok(), r.remaining() == 0);
        let left = r.remaining();
        prop_assert_eq!(r.rest(), &bytes[bytes.len() - left..]);
        prop_assert!(r.end().is_ok());
    }

    #[test]
    fn values_are_read_as_they_were_written(a: u8, b: u16, c: u32, d: u64, e: i64, f: bool, g in vec(any::<u8>(), 0..9)) {
        let bytes = [
            &a.to_le_bytes()[..], &b.to_le_bytes(), &c.to_le_bytes(), &d.to_le_bytes(), &e.to_le_bytes(),
            &[f.into(), g.len() as u8], &g,
        ].concat();
        let mut r = ByteReader::new(&bytes, "values");
        prop_assert_eq!((r.u8(), r.u16(), r.u32(), r.u64(), r.i64(), r.flag()), (Ok(a), Ok(b), Ok(c), Ok(d), Ok(e), Ok(f)));
        prop_assert_eq!(r.sized(), Ok(&g[..]));
        prop_assert_eq!(r.end(), Ok(()));
    }
}

#[test]
fn a_size_has_at_most_64_bits() {
    let size = |bytes: &[u8]| ByteReader::new(bytes, "size").size().ok();
    assert_eq!(size(&[0x7f]), Some(127));
    assert_eq!(size(&[0x80, 0x01]), Some(128));
    assert_eq!(size(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]), Some(usize::MAX));
    assert_eq!(size(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), None);
    assert_eq!(size(&[0xff; 12]), None);
    assert_eq!(size(&[0x80, 0x80]), None);
}

#[test]
fn a_count_of_more_than_the_bytes_hold_is_refused() {
    let bytes = [3, 1, 2, 3, 4, 5];
    assert_eq!(ByteReader::new(&bytes, "list").count(1), Ok(3));
    assert_eq!(ByteReader::new(&bytes, "list").count(2), Err(MalformedBytes { what: "list", at: 1 }));
    assert_eq!(ByteReader::new(&bytes, "list").count(0), Ok(3));
}

#[test]
fn an_error_says_where_and_holds_no_bytes() {
    let mut r = ByteReader::new(b"\x05ab", "note");
    assert_eq!(r.str().unwrap_err().to_string(), "note is malformed at byte 1");
}
