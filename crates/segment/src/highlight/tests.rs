use super::*;
use kernel::Language;
use proptest::prelude::*;
use rstest::rstest;

/// The marked parts of the text.
fn marked(question: &str, text: &str) -> Vec<String> {
    let query = TextQuery::new(question);
    let points: Vec<char> = text.chars().collect();
    let spans = Highlighter::new(&query).spans(text);
    spans.iter().map(|(start, end)| points[*start as usize..*end as usize].iter().collect()).collect()
}

#[rstest]
#[case::stems("running policies", "The Policy: he runs, she ran.", &["Policy", "runs"])]
#[case::no_stop_words("the leave", "the leave", &["leave"])]
#[case::behind_other_letters("größe", "naïve 東京 Größe", &["Größe"])]
#[case::phrase_with_its_stop_words("\"days of leave\" of", "of days of leave", &["days", "of", "leave"])]
#[case::prefix("comput*", "Computing computers compare", &["Computing", "computers"])]
#[case::prefix_longer_than_the_stem("runni*", "running runs", &["running"])]
#[case::code("ERR_CONN_42", "see ERR_CONN_42, not 42", &["ERR_CONN_42", "42"])]
#[case::pairs_become_one("東京都", "これは東京都です", &["東京都"])]
#[case::one_character("東", "東京", &["東京"])]
#[case::nothing("absent", "text", &[])]
fn what_is_marked(#[case] question: &str, #[case] text: &str, #[case] expected: &[&str]) {
    assert_eq!(marked(question, text), expected);
}

#[test]
fn no_more_than_the_limit_and_it_is_said() {
    let query = TextQuery::new("word");
    let mut highlighter = Highlighter::new(&query);
    assert_eq!(
        highlighter.spans(&"word ".repeat(limits::HIGHLIGHTS_PER_HIT_MAX)).len(),
        limits::HIGHLIGHTS_PER_HIT_MAX
    );
    assert_eq!(highlighter.warning(), None);
    let spans = highlighter.spans(&"word ".repeat(limits::HIGHLIGHTS_PER_HIT_MAX + 1));
    assert_eq!(spans.len(), limits::HIGHLIGHTS_PER_HIT_MAX);
    assert!(highlighter.warning().is_some());
}

proptest! {
    #[test]
    fn spans_lie_apart_and_in_the_text(
        question in "[a-c東京\"* _.-]{0,20}|\\PC{0,20}",
        text in "[a-c東京 _.-]{0,40}|\\PC{0,40}",
        language in proptest::sample::select(Language::ALL),
    ) {
        let query = TextQuery::in_language(&question, language);
        let spans = Highlighter::new(&query).spans(&text);
        let points = text.chars().count() as u32;
        prop_assert!(spans.iter().all(|(start, end)| start < end && *end <= points));
        prop_assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
