use super::*;
use rstest::rstest;

#[rstest]
#[case::stems_and_case("Running RUNS runner", &["run", "runner"])]
#[case::stop_words_go("the policy of the leave", &["polici", "leav"])]
#[case::only_stop_words_stay("To be, or not to be", &["to", "be", "or", "not"])]
#[case::distinct("cat cat Cats", &["cat"])]
#[case::letters_of_any_script("Größe naïve 東京", &["größe", "naïv", "東京"])]
#[case::nothing("?! --", &[])]
fn query(#[case] text: &str, #[case] terms: &[&str]) {
    assert_eq!(TextQuery::new(text).terms, terms);
    assert_eq!(TextQuery::new(text).is_empty(), terms.is_empty());
}

#[rstest]
#[case::led_by_title("Leave", "Twenty days", &["leav", "twenti", "day"])]
#[case::title_counts_beside_its_repetition("Leave", "  Leave is twenty days", &["leav", "leav", "is", "twenti", "day"])]
#[case::no_title("", "days", &["day"])]
#[case::title_alone("Leave", "", &["leav"])]
fn row(#[case] title: &str, #[case] passage: &str, #[case] terms: &[&str]) {
    let (mut analyser, mut ids) = (Analyser::new(), Vec::new());
    analyser.row(title, passage, &mut ids);
    assert_eq!(ids.iter().map(|id| analyser.lexicon().term(*id)).collect::<Vec<_>>(), terms);
}

#[test]
fn a_run_of_letters_that_is_no_word_is_left_out() {
    assert!(TextQuery::new(&"x".repeat(10_000)).is_empty());
    assert!(!TextQuery::new(&"f".repeat(128)).is_empty());
}

#[test]
fn what_is_asked_twice_weighs_twice() {
    let query = TextQuery::new("cat dog cats the");
    assert_eq!((query.terms, query.times), (vec!["cat".to_owned(), "dog".to_owned()], vec![2.0, 1.0]));
}

#[test]
fn words_of_a_query_know_their_terms() {
    let query = TextQuery::new("the running cats, KX-20");
    assert_eq!(query.terms, ["run", "cat", "kx", "20"]);
    let places = query.places(["the", "Running", "cat", "KX", "20", "dog", "…"]);
    assert_eq!(places, [None, Some(0), Some(1), Some(2), Some(3), None, None]);
}

/// The library's own chain, from text to terms, without anything that is remembered.
fn at_length(text: &str) -> Vec<String> {
    let mut chain = TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(tantivy::tokenizer::RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(Stemmer::new(Language::English))
        .build();
    let mut out = Vec::new();
    chain.token_stream(text).process(&mut |token| out.push(token.text.clone()));
    out
}

proptest::proptest! {
    #[test]
    fn what_is_remembered_changes_no_term(texts in proptest::collection::vec("[a-dA-D ,ßİé東_0-9]{0,40}|\\PC{0,40}", 1..6)) {
        let mut analyser = Analyser::new();
        for text in &texts {
            let mut ids = Vec::new();
            analyser.terms(text, &mut ids);
            let terms: Vec<_> = ids.iter().map(|id| analyser.lexicon().term(*id).to_owned()).collect();
            proptest::prop_assert_eq!(terms, at_length(text));
        }
    }
}
