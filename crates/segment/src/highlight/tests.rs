use super::*;
use kernel::Language;
use proptest::prelude::*;
use rstest::rstest;

/// The marked parts of the text.
fn marked(question: &str, text: &str) -> Vec<String> {
    let query = TextQuery::new(question);
    let points: Vec<char> = text.chars().collect();
    let spans = Highlighter::new(&query).spans(text).unwrap();
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
fn spans_beyond_the_limit_give_a_warning() {
    let query = TextQuery::new("word");
    let mut highlighter = Highlighter::new(&query);
    assert_eq!(
        highlighter.spans(&"word ".repeat(limits::HIGHLIGHTS_PER_HIT_MAX)).unwrap().len(),
        limits::HIGHLIGHTS_PER_HIT_MAX
    );
    assert_eq!(highlighter.warning(), None);
    let spans = highlighter.spans(&"word ".repeat(limits::HIGHLIGHTS_PER_HIT_MAX + 1)).unwrap();
    assert_eq!(spans.len(), limits::HIGHLIGHTS_PER_HIT_MAX);
    assert!(highlighter.warning().is_some());
}

proptest! {
    #[test]
    fn spans_are_disjoint_and_inside_the_text(
        question in "[a-c東京\"* _.-]{0,20}|\\PC{0,20}",
        text in "[a-c東京 _.-]{0,40}|\\PC{0,40}",
        language in proptest::sample::select(Language::ALL),
    ) {
        let query = TextQuery::in_language(&question, language);
        let spans = Highlighter::new(&query).spans(&text).unwrap();
        let points = text.chars().count() as u32;
        prop_assert!(spans.iter().all(|(start, end)| start < end && *end <= points));
        prop_assert!(spans.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}

proptest! {
    /// Texts are read in parts; the ends of these do not show in the result.
    #[test]
    fn text_before_does_not_change_what_is_marked(
        question in "[a-c東京\"* _.-]{0,24}",
        text in "[a-c東京 _.-]{0,40}",
        before in PART_BYTES - 60..PART_BYTES + 2,
    ) {
        let query = TextQuery::new(&question);
        let alone = Highlighter::new(&query).spans(&text).unwrap();
        let before = format!("{} ", "x".repeat(before));
        let shifted: Vec<_> = Highlighter::new(&query)
            .spans(&format!("{before}{text}"))
            .unwrap()
            .into_iter()
            .map(|(start, end)| (start - before.len() as u32, end - before.len() as u32))
            .collect();
        prop_assert_eq!(shifted, alone);
    }
}

#[test]
fn a_phrase_across_parts_is_marked_and_reading_stops_after_the_last_shown_span() {
    let query = TextQuery::new("\"of leave of\"");
    let text = format!("{} of leave of", "x".repeat(PART_BYTES - 6));
    let marked = Highlighter::new(&query).spans(&text).unwrap();
    assert_eq!(marked.len(), 3, "{marked:?}");
    let many = "of leave of x ".repeat(200_000);
    let mut highlighter = Highlighter::new(&query);
    let marked = highlighter.spans(&many).unwrap();
    assert_eq!((marked.len(), marked[255]), (limits::HIGHLIGHTS_PER_HIT_MAX, (85 * 14, 85 * 14 + 2)));
    assert!(highlighter.warning().is_some());
}

#[test]
fn marking_ends_inside_a_text_when_the_request_is_cancelled() {
    let query = TextQuery::new("absent");
    let cancel = kernel::CancelFlag::default();
    drop(cancel.drop_guard());
    let clock = std::sync::Arc::new(kernel::ManualClock::new(kernel::Timestamp::default()));
    let interrupt = kernel::Interrupt::new(cancel, clock, std::time::Duration::from_secs(1));
    let text = "a word ".repeat(100_000);
    let end = interrupt.scope(|| Highlighter::new(&query).spans(&text));
    assert_eq!(end, Err(Interrupted::Disconnected));
}
