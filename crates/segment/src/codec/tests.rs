use super::*;
use crate::test_documents::{doc, document};
use proptest::prelude::*;

proptest! {
    #[test]
    fn decoding_undoes_encoding(doc in document(3), before in proptest::collection::vec(any::<u8>(), 0..3)) {
        let mut bytes = before.clone();
        encode_document(&doc, &mut bytes);
        let length = bytes.len() - before.len();
        bytes.extend_from_slice(b"what follows");
        let (back, used) = decode_document(&bytes[before.len()..]).unwrap();
        prop_assert_eq!(used, length);
        prop_assert!(back == doc);
    }

    #[test]
    fn sizes_are_those_of_the_encoding(doc in document(3)) {
        let mut bytes = Vec::new();
        encode_document(&doc, &mut bytes);
        let (mut text, mut count) = (Vec::new(), Vec::new());
        put_str(&mut text, doc.text.expose());
        put_size(&mut count, doc.vectors.len());
        let sizes = Sizes::of(&doc, 3, &mut vec![7; 9]);
        prop_assert_eq!(sizes.head, (bytes.len() - 1 - text.len() - count.len() - 4 * doc.vectors.len()) as u64);
        prop_assert_eq!(sizes.text, doc.text.len() as u64);
        prop_assert_eq!(sizes.vectors, 12 * doc.passages.len() as u64);
    }

    #[test]
    fn no_prefix_is_a_document(doc in document(2), cut in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        encode_document(&doc, &mut bytes);
        prop_assert!(decode_document(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn changed_bytes_never_panic(doc in document(2), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let mut bytes = Vec::new();
        encode_document(&doc, &mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Ok((_, used)) = decode_document(&bytes) {
            prop_assert!(used <= bytes.len());
        }
    }

    #[test]
    fn any_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = decode_document(&bytes);
        let _ = decode_document(&[&[VERSION], bytes.as_slice()].concat());
    }
}

#[test]
fn another_version_is_rejected_by_name() {
    let mut bytes = Vec::new();
    encode_document(&doc("a", &["text"]), &mut bytes);
    bytes[0] = 1;
    let message = decode_document(&bytes).unwrap_err().to_string();
    assert_eq!(message, "document has format version 1; this program reads version 0 only");
}

#[test]
fn a_false_length_reserves_no_memory() {
    let mut bytes = vec![VERSION];
    put_size(&mut bytes, usize::MAX);
    assert!(decode_document(&bytes).is_err());
}
