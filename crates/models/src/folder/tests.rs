use super::*;
use rstest::rstest;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn inspected(bytes: &[u8]) -> (String, bool) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    inspect(file.path()).unwrap()
}

#[test]
fn an_empty_file() {
    assert_eq!(inspected(b""), (EMPTY.to_owned(), false));
}

#[rstest]
#[case::in_a_block(100)]
#[case::across_two(BLOCK_BYTES - 5)]
#[case::at_a_border(BLOCK_BYTES)]
#[case::far_on(3 * BLOCK_BYTES + 7)]
fn an_operator_is_found(#[case] at: usize) {
    // The block is full of first letters, so that the search does not succeed by luck.
    let mut bytes = b"DDynamicD".repeat(500_000);
    assert!(!inspected(&bytes).1);
    bytes[at..][..21].copy_from_slice(b"DynamicQuantizeMatMul");
    let (sha256, found) = inspected(&bytes);
    assert!(found);
    assert_eq!(sha256, hex(digest::digest(&digest::SHA256, &bytes).as_ref()));
}

#[rstest]
#[case::trained(r#"{"max_position_embeddings": 512}"#, Some(r#"{"max_seq_length": 256}"#), 256)]
#[case::more_than_positions(r#"{"max_position_embeddings": 128}"#, Some(r#"{"max_seq_length": 256}"#), 128)]
#[case::positions(r#"{"max_position_embeddings": 128, "hidden_size": 2}"#, None, 128)]
#[case::unsaid("{}", Some("{}"), 512)]
fn the_limit_of_a_model(#[case] config: &str, #[case] sentence: Option<&str>, #[case] expected: usize) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(CONFIG), config).unwrap();
    if let Some(sentence) = sentence {
        std::fs::write(dir.path().join(SENTENCE_CONFIG), sentence).unwrap();
    }
    assert_eq!(Limits::read(dir.path()).unwrap().max_tokens, expected);
}
