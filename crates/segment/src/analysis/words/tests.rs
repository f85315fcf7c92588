use super::*;
use proptest::prelude::*;
use rstest::rstest;

fn cut(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    pieces(text, |piece| {
        out.push(match piece.kind {
            PieceKind::Whole => format!("={}", piece.text),
            PieceKind::Last => format!("{}.", piece.text),
            _ => piece.text.to_owned(),
        });
    });
    out
}

#[rstest]
#[case::words("Twenty days, (each) year.", &["Twenty", "days", "each", "year"])]
#[case::code("see ERR_CONN_42.", &["see", "ERR", "CONN", "42", "=ERR_CONN_42"])]
#[case::part_number("AX-1290/B!", &["AX", "1290", "B", "=AX-1290/B"])]
#[case::address("(192.168.0.1)", &["192", "168", "0", "1", "=192.168.0.1"])]
#[case::mail("<foo@bar.org>,", &["foo", "bar", "org", "=foo@bar.org"])]
#[case::two_joints_part("http://a.b -- c", &["http", "a", "b", "=a.b", "c"])]
#[case::joints_at_the_ends("-v ... x_", &["v", "x"])]
#[case::marks_belong_to_words("na\u{69}\u{308}ve தமிழ்", &["na\u{69}\u{308}ve", "தமிழ்"])]
#[case::no_spaces("東京都に", &["東京", "京都", "都に", "に."])]
#[case::one_character("東 x", &["東.", "x"])]
#[case::mixed("iPhone15を買う", &["iPhone15", "を買", "買う", "う."])]
#[case::korean("한국어 문서", &["한국", "국어", "어.", "문서", "서."])]
#[case::nothing("?! --", &[])]
fn text_to_pieces(#[case] text: &str, #[case] expected: &[&str]) {
    assert_eq!(cut(text), expected);
}

#[test]
fn overlong_runs_are_not_words() {
    assert!(cut(&"x".repeat(WORD_BYTES_MAX)).is_empty());
    assert_eq!(cut(&"x".repeat(WORD_BYTES_MAX - 1)).len(), 1);
    assert_eq!(cut(&format!("a-{}", "b".repeat(WORD_BYTES_MAX - 2))).len(), 2, "its words are still there");
}

proptest! {
    #[test]
    fn pieces_are_at_their_offsets(text in "[a-zA-Z0-9_.@/ -]{0,30}|[a東京のก็ㅎé_ .]{0,20}|\\PC{0,40}") {
        pieces(&text, |piece| {
            assert_eq!(&text[piece.at..piece.at + piece.text.len()], piece.text);
            assert!(!piece.text.is_empty());
        });
    }
}
