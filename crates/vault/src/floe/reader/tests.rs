use super::super::{SEGMENT_OVERHEAD, seal};
use super::*;
use kernel::SeededEntropy;
use proptest::prelude::*;

/// 32 bytes of plaintext per segment; a new key every 4 segments.
const SMALL: Params = Params { segment_len: 64, rotation_bits: 2 };
const KEY_BYTES: [u8; KEY] = [3; KEY];
const AAD: &[u8] = b"aad";
const FULL: usize = 64;

fn sealed(len: usize) -> (Vec<u8>, Vec<u8>) {
    let plain: Vec<u8> = (0..len).map(|n| (n * 7) as u8).collect();
    let sealed = seal(&SMALL, &KEY_BYTES, AAD, &plain, &SeededEntropy::new(1));
    (plain, sealed)
}

fn reader(sealed: Vec<u8>) -> io::Result<PagedReader> {
    let bounds = 0..sealed.len() as u64;
    PagedReader::open(&SMALL, &KEY_BYTES, AAD.to_vec(), Arc::new(sealed), bounds)
}

fn range(reader: &PagedReader, range: Range<usize>) -> io::Result<Vec<u8>> {
    let mut out = vec![0; range.len()];
    reader.read_at(range.start as u64, &mut out)?;
    Ok(out)
}

#[test]
fn every_range_of_every_length_is_read_back() {
    for len in (0..140).chain([256, 257]) {
        let (plain, sealed) = sealed(len);
        let reader = reader(sealed.clone()).unwrap();
        assert_eq!(reader.size(), len as u64);
        for from in 0..=len {
            for to in from..=len {
                assert_eq!(range(&reader, from..to).unwrap(), plain[from..to], "{from}..{to} of {len}");
            }
        }
        assert_eq!(range(&reader, 0..len + 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let source: Arc<dyn ReadAt> = Arc::new(sealed);
        let bounds = 0..source.size();
        assert_eq!(*read(&SMALL, &KEY_BYTES, AAD.to_vec(), &source, bounds).unwrap(), plain);
    }
}

#[test]
fn a_message_opens_in_its_exact_range_only() {
    let (plain, sealed) = sealed(100);
    let inside: Arc<dyn ReadAt> = Arc::new([&[1; 5][..], &sealed, &[2; 9]].concat());
    let bounds = 5..5 + sealed.len() as u64;
    let open = |bounds| PagedReader::open(&SMALL, &KEY_BYTES, AAD.to_vec(), inside.clone(), bounds);
    assert_eq!(range(&open(bounds.clone()).unwrap(), 0..100).unwrap(), plain);
    assert!(open(bounds.start + 1..bounds.end).is_err());
    assert!(open(bounds.start..bounds.end + 1).is_err());
    assert!(open(bounds.start..bounds.end - 1).is_err());
    assert!(open(bounds.start..bounds.end - FULL as u64).is_err(), "an end at a page boundary");
    assert!(open(bounds.end..bounds.end).is_err());
    let bounds = 0..sealed.len() as u64;
    let other =
        |key, aad: &[u8]| PagedReader::open(&SMALL, key, aad.to_vec(), Arc::new(sealed.clone()), bounds.clone());
    assert!(other(&KEY_BYTES, AAD).is_ok());
    assert!(other(&[4; KEY], AAD).is_err());
    assert!(other(&KEY_BYTES, b"aae").is_err());
}

/// A changed page is an error of the reads that need it, and of no other.
#[test]
fn every_flipped_bit_is_detected_when_its_page_is_read() {
    let (plain, sealed) = sealed(32 * 5 + 7);
    for at in 0..sealed.len() {
        for bit in [0, 3, 7] {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            let page = at.checked_sub(HEADER).map(|at| at / FULL);
            let Ok(reader) = reader(changed) else {
                assert!(page.is_none_or(|page| page == 5), "byte {at}: only header and last page are read at opening");
                continue;
            };
            for number in 0..6 {
                let bounds = number * 32..plain.len().min((number + 1) * 32);
                match range(&reader, bounds.clone()) {
                    Ok(read) => assert!(page != Some(number) && read == plain[bounds], "byte {at}"),
                    Err(error) => {
                        assert_eq!(page, Some(number), "byte {at}");
                        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                    }
                }
            }
            assert!(range(&reader, 0..plain.len()).is_err());
        }
    }
}

#[test]
fn pages_do_not_open_in_another_order_or_number() {
    let (_, whole) = sealed(32 * 4);
    let (header, body) = whole.split_at(HEADER);
    let pages: Vec<&[u8]> = body.chunks(FULL).collect();
    let [a, b, c, d] = pages[..] else { panic!("four pages") };
    let joined = |pages: &[&[u8]]| {
        let reader = reader([header, &pages.concat()].concat())?;
        range(&reader, 0..reader.size() as usize)
    };
    assert!(joined(&[a, b, c, d]).is_ok());
    for wrong in [&[b, a, c, d][..], &[a, c, b, d], &[a, b, d], &[a, a, b, c, d], &[a, b, c], &[a, b, c, d, d], &[]] {
        assert!(joined(wrong).is_err());
    }
    // Pages of another message under the same key.
    let other = seal(&SMALL, &KEY_BYTES, AAD, &[9; 128], &SeededEntropy::new(9));
    assert!(joined(&[a, &other[HEADER + FULL..HEADER + 2 * FULL], c, d]).is_err());
    assert!(joined(&[a, b, c, &other[HEADER + 3 * FULL..]]).is_err());
    assert_eq!(body.len() - 128, 4 * SEGMENT_OVERHEAD);
}

#[test]
fn hints_name_whole_sealed_pages() {
    struct RecordingSource(Vec<u8>, std::sync::Mutex<Vec<Range<u64>>>);
    impl ReadAt for RecordingSource {
        fn size(&self) -> u64 {
            self.0.size()
        }
        fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
            self.0.read_at(offset, into)
        }
        fn will_read(&self, ranges: &[Range<u64>]) {
            self.1.lock().unwrap().extend_from_slice(ranges);
        }
    }
    let (_, sealed) = sealed(100);
    let end = sealed.len() as u64;
    let source = Arc::new(RecordingSource(sealed, std::sync::Mutex::default()));
    let reader = PagedReader::open(&SMALL, &KEY_BYTES, AAD.to_vec(), source.clone(), 0..end).unwrap();
    reader.will_read(&[0..1, 31..33, 40..40, 95..200]);
    let first = HEADER as u64;
    assert_eq!(*source.1.lock().unwrap(), [first..first + 64, first..first + 128, first + 128..end]);
}

proptest! {
    /// Arbitrary bytes after an authentic header.
    #[test]
    fn foreign_bytes_never_panic(tail in prop::collection::vec(any::<u8>(), 0..300), honest: bool) {
        let mut bytes = if honest { sealed(0).1[..HEADER].to_vec() } else { Vec::new() };
        bytes.extend_from_slice(&tail);
        prop_assert!(reader(bytes).is_err());
    }
}
