use super::*;
use proptest::prelude::*;
use rstest::rstest;

/// The terms of a query as text: stems as they are, written words after `=`, prefixes before `*`.
fn terms(query: &TextQuery) -> Vec<String> {
    let one = |(term, times): &(QueryTerm, f32)| {
        let text = match term {
            QueryTerm::Stem(stem) | QueryTerm::Written(stem) => stem.clone(),
            QueryTerm::Prefix(n) => format!("{}*", query.prefixes[*n].start),
        };
        if *times == 1.0 { text } else { format!("{text}^{times}") }
    };
    query.terms.iter().map(one).collect()
}

#[rstest]
#[case::stems_and_case("Running RUNS runner", &["run^2", "runner"], &[])]
#[case::stop_words_go("the policy of the leave", &["polici", "leav"], &[])]
#[case::only_stop_words_stay("To be, or not to be", &["to^2", "be^2", "or", "not"], &[])]
#[case::what_stems_to_a_stop_word_stays("willing and able", &["will", "abl"], &[])]
#[case::letters_of_any_script("Größe naïve", &["grösse", "naïv"], &[])]
#[case::nothing("?! --", &[], &[])]
#[case::code_in_parts_and_whole("ERR_CONN_42", &["err", "conn", "42", "=err_conn_42"], &[])]
#[case::numbers_keep_their_form("v2s 1990s", &["v2s", "1990s"], &[])]
#[case::phrase("\"days of leave\" policy", &["day", "leav", "polici"], &["day of leav"])]
#[case::two_phrases("\"a b\" \"c d\"", &["b", "c", "d"], &["a b", "c d"])]
#[case::unbalanced("the \"days of leave", &["day", "leav"], &[])]
#[case::three_quotes("\"sick leave\" and 5\" pipe", &["sick", "leav", "5", "pipe"], &["sick leav"])]
#[case::empty_phrase("\"\" \"?!\" days", &["day"], &[])]
#[case::phrase_of_a_code("\"AX-1290/B\"", &["ax", "1290", "b", "=ax-1290/b"], &["ax 1290 b"])]
#[case::prefix("Comput* science", &["comput*", "scienc"], &[])]
#[case::prefix_twice("comput* COMPUT*", &["comput*^2"], &[])]
#[case::prefix_before_a_mark("(comput*), comput*?", &["comput*^2"], &[])]
#[case::prefix_of_a_code("AX-12* ERR_*", &["ax-12*", "err_*"], &[])]
#[case::a_star_alone("2 * 3 ** 4", &["2", "3", "4"], &[])]
#[case::a_star_inside("a*b *bold* x*", &["b", "bold*", "x"], &[])]
#[case::a_star_in_quotes("\"heat trans*\"", &["heat", "tran"], &["heat tran"])]
#[case::pairs("東京都", &["東京", "京都"], &[])]
#[case::one_character("東", &["東*"], &[])]
#[case::phrase_of_pairs("\"東京 都庁\"", &["東京", "都庁"], &["東京 京 都庁"])]
fn a_query_is_parsed(#[case] text: &str, #[case] expected: &[&str], #[case] phrases: &[&str]) {
    let query = TextQuery::new(text);
    assert_eq!(terms(&query), expected);
    assert_eq!(query.phrases.iter().map(|p| p.stems.join(" ")).collect::<Vec<_>>(), phrases);
    assert_eq!(query.is_empty(), expected.is_empty());
}

#[test]
fn a_plus_before_a_quote_requires_the_phrase() {
    let required = |text: &str| {
        let query = TextQuery::new(text);
        (0..query.phrases()).map(|n| query.requires(n)).collect::<Vec<_>>()
    };
    assert_eq!(required("\"a b\" +\"c d\" e"), [false, true]);
    assert_eq!(required("+\"a b\" +\"c d\""), [true, true]);
    assert_eq!(required("C+\"a b\" 1 + \"c d\""), [false, false]);
    assert_eq!(required("＋＂a b＂"), [true]);
    assert_eq!(terms(&TextQuery::new("x +\"c d\"")), ["x", "c", "d"]);
    let mut query = TextQuery::new("\"a b\" \"c d\"");
    query.require_phrases();
    assert!(query.requires(0) && query.requires(1) && !query.requires(2));
}

#[rstest]
#[case(Language::German, "die Häuser der Katzen", &["haus", "katz"])]
#[case(Language::Plain, "the Running Houses", &["the", "running", "houses"])]
#[case(Language::French, "les maisons", &["maison"])]
#[case(Language::Russian, "и книги", &["книг"])]
fn words_follow_the_rules_of_the_language(#[case] language: Language, #[case] text: &str, #[case] expected: &[&str]) {
    assert_eq!(terms(&TextQuery::in_language(text, language)), expected);
}

#[test]
fn excess_phrases_and_prefixes_become_words_with_a_warning() {
    let many = |unit: &str| unit.repeat(limits::PHRASES_PER_QUERY_MAX + 1);
    let query = TextQuery::new(&many("\"two words\" "));
    assert_eq!((query.phrases.len(), query.warnings().len()), (limits::PHRASES_PER_QUERY_MAX, 1));
    let stars: String = (0..=limits::PHRASES_PER_QUERY_MAX).map(|n| format!("star{n}* ")).collect();
    let query = TextQuery::new(&stars);
    assert_eq!((query.prefixes.len(), query.warnings().len()), (limits::PHRASES_PER_QUERY_MAX, 1));
    assert_eq!(query.terms.len(), limits::PHRASES_PER_QUERY_MAX + 1);
    assert_eq!(TextQuery::new("x*").warnings().len(), 1);
}

#[test]
fn a_prefix_takes_the_first_words_with_a_warning() {
    let mut query = TextQuery::new("wo*");
    let words = (0..=limits::PREFIX_WORDS_MAX).map(|n| format!("word{n:04}")).collect();
    query.expand(Expansion { terms: vec![words] });
    assert_eq!(query.prefixes[0].terms.len(), limits::PREFIX_WORDS_MAX);
    assert_eq!(query.prefixes[0].terms.last().unwrap(), "word0255");
    assert_eq!(query.warnings().len(), 1);
}

#[test]
fn a_word_that_is_found_by_its_stem_is_not_counted_as_written_too() {
    let mut analyser = Analyser::new(Language::English);
    let prefix = |start: &str| Prefix { start: start.to_owned(), terms: Vec::new() };
    assert!(prefix("run").stands_for("run", &mut analyser));
    assert!(!prefix("run").stands_for("=running", &mut analyser));
    assert!(prefix("runn").stands_for("=running", &mut analyser));
    assert!(!prefix("err").stands_for("=err_conn", &mut analyser));
    assert!(prefix("err_").stands_for("=err_conn", &mut analyser));
    assert!(!prefix("run").stands_for("^run", &mut analyser));
}

proptest! {
    #[test]
    fn nothing_is_an_error(text in "[a-z\"*_. 東あ]{0,60}|\\PC{0,60}", language in proptest::sample::select(Language::ALL)) {
        let query = TextQuery::in_language(&text, language);
        prop_assert!(query.prefixes.len() <= limits::PHRASES_PER_QUERY_MAX);
        prop_assert!(query.phrases.iter().all(|phrase| !phrase.stems.is_empty()));
        prop_assert!(query.terms.iter().all(|(_, times)| *times >= 1.0));
    }
}

#[test]
fn words_map_to_their_terms() {
    let query = TextQuery::new("the running cats, KX-20");
    let indexes = query.term_indexes(["the", "Running", "cat", "KX", "20", "dog", "…"]);
    assert_eq!((indexes[0], indexes[5], indexes[6]), (None, None, None));
    let found: Vec<usize> = indexes[1..5].iter().map(|index| index.expect("it is asked for")).collect();
    let asked = |n: usize| matches!(&query.terms[n].0, QueryTerm::Stem(stem) if ["run", "cat", "kx", "20"].contains(&stem.as_str()));
    assert!(found.iter().all(|n| asked(*n)) && found.windows(2).all(|pair| pair[0] < pair[1]), "{found:?}");
}
