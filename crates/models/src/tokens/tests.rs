use super::*;
use proptest::prelude::*;

fn texts(text: &str) -> Vec<&str> {
    windows(text).map(|(start, window)| &text[start..start + window.len()]).collect()
}

#[test]
fn a_short_text_is_one_window() {
    assert_eq!(texts(""), Vec::<&str>::new());
    assert_eq!(texts("a b"), ["a b"]);
}

#[test]
fn windows_end_at_whitespace() {
    let text = "word ".repeat(10_000);
    assert!(texts(&text).iter().all(|w| w.len() <= WINDOW_BYTES && w.trim().split(' ').all(|w| w == "word")));
    assert_eq!(texts(&text).concat(), text);
}

#[test]
fn a_run_without_a_break_is_cut_between_characters() {
    let text = "ö".repeat(WINDOW_BYTES);
    assert_eq!(texts(&text).len(), 2);
    assert_eq!(texts(&text).concat(), text);
}

#[test]
fn an_unknown_run_counts_as_many_tokens() {
    let text = "x".repeat(TOKEN_BYTES_MAX * 4);
    let mut spans = Vec::new();
    push_spans(&mut spans, &text, 0, &[(0, text.len())]);
    assert_eq!(spans.len(), TOKEN_BYTES_MAX);
    assert_eq!((spans[0].start, spans[0].end, spans[TOKEN_BYTES_MAX - 1].end), (0, 4, text.len()));
}

proptest! {
    #[test]
    fn windows_lose_nothing(text in "(\\PC| |\n){0,200}", times in 1_usize..400) {
        let text = text.repeat(times);
        prop_assert_eq!(texts(&text).concat(), text.clone());
        prop_assert!(windows(&text).all(|(_, w)| !w.is_empty() && w.len() <= WINDOW_BYTES));
    }

    #[test]
    fn spans_are_ordered_and_on_character_boundaries(text in "\\PC{0,40}", raw in prop::collection::vec((0_usize..60, 0_usize..60), 0..20)) {
        let raw: Vec<(usize, usize)> = raw.into_iter().map(|(a, b)| (a.min(text.len()), b.min(text.len()))).collect();
        let mut spans = Vec::new();
        push_spans(&mut spans, &text, 0, &raw);
        let mut after = 0;
        for span in spans {
            prop_assert!(span.start >= after && span.end > span.start && text.get(span.start..span.end).is_some());
            after = span.end;
        }
    }
}
