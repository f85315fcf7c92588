use super::*;
use rstest::rstest;

fn shown(language: Language, title: &str, passage: &str) -> (Vec<String>, Vec<String>) {
    let (mut analyser, mut row) = (Analyser::new(language), RowTerms::default());
    analyser.set_title(title);
    analyser.row(passage, &mut row);
    let show = |id: &TermId| if *id == GAP { "|".to_owned() } else { analyser.lexicon().term(*id).to_owned() };
    let stems: Vec<String> = row.stems.iter().map(show).collect();
    assert_eq!(row.length() as usize, stems.iter().filter(|stem| *stem != "|").count());
    (stems, row.extras.iter().map(show).collect())
}

#[rstest]
#[case::led_by_title("Leave", "Twenty days", &["leav", "|", "twenti", "day"], &["=leave", "^leav", "=twenty", "=days"])]
#[case::title_repeated("Leave", " Leave is", &["leav", "|", "leav", "is"], &["=leave", "^leav", "=leave"])]
#[case::no_title("", "days", &["day"], &["=days"])]
#[case::title_alone("Day", "", &["day", "|"], &["^day"])]
#[case::code("", "X-1 v2s", &["x", "1", "v2s"], &["=x-1"])]
fn row(#[case] title: &str, #[case] passage: &str, #[case] stems: &[&str], #[case] extras: &[&str]) {
    let found = shown(Language::English, title, passage);
    assert_eq!(found.0, stems);
    assert_eq!(found.1, extras);
}

#[rstest]
fn codes_are_found_whole_and_in_parts_under_every_language(
    #[values("ERR_CONN_42", "AX-1290/B", "192.168.0.1", "foo@bar.org")] code: &str,
) {
    for language in Language::ALL {
        let (stems, extras) = shown(*language, "", &format!("see {code}."));
        let query = crate::TextQuery::in_language(code, *language);
        for (term, _) in &query.terms {
            let (crate::query::QueryTerm::Stem(term) | crate::query::QueryTerm::Written(term)) = term else {
                panic!("no star")
            };
            assert!(stems.contains(term) || extras.contains(term), "{language:?} {term}");
        }
        assert!(extras.contains(&written_term(&kernel::folded(code, folding(*language)))), "{language:?}");
    }
}

#[test]
fn a_title_applies_until_the_next() {
    let (mut analyser, mut row) = (Analyser::new(Language::Plain), RowTerms::default());
    analyser.set_title("one");
    analyser.row("x", &mut row);
    analyser.row("y", &mut row);
    assert_eq!((row.stems.len(), row.title), (3, 1));
    analyser.set_title("");
    analyser.row("y", &mut row);
    assert_eq!((row.stems.len(), row.title), (1, 0));
}

#[test]
fn a_run_of_letters_that_is_no_word_is_left_out() {
    let terms = |text: &str| shown(Language::English, "", text).0;
    assert!(terms(&"x".repeat(10_000)).is_empty() && crate::TextQuery::new(&"x".repeat(10_000)).is_empty());
    assert!(!terms(&"f".repeat(128)).is_empty() && !crate::TextQuery::new(&"f".repeat(128)).is_empty());
}

#[rstest]
#[case::composed("résumé", "re\u{301}sume\u{301}")]
#[case::korean(
    "한국어 문서",
    "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165} \u{1106}\u{116e}\u{11ab}\u{1109}\u{1165}"
)]
#[case::kana("ガギグゲゴ", "ｶﾞｷﾞｸﾞｹﾞｺﾞ")]
#[case::decomposed_kana("ガギ", "カ\u{3099}キ\u{3099}")]
#[case::wide("Ring12 ERR_CONN", "Ｒｉｎｇ１２ ＥＲＲ＿ＣＯＮＮ")]
#[case::ligatures("fibrils office ijs", "ﬁbrils oﬃce ĳs")]
#[case::soft_hyphens("Gesamtkonzept Wertpapier", "Ge\u{ad}samt\u{ad}kon\u{ad}zept Wert\u{ad}papier")]
#[case::word_joiner("offshore", "off\u{2060}shore")]
#[case::sigma("ΛΌΓΟΣ", "λόγος")]
#[case::sharp_s("Straße", "STRASSE")]
fn what_reads_alike_has_the_same_terms_in_every_language(#[case] one: &str, #[case] other: &str) {
    for language in Language::ALL {
        assert_eq!(shown(*language, one, one), shown(*language, other, other), "{language:?}");
    }
}

#[test]
fn turkish_words_are_found_in_either_case() {
    for (upper, lower) in [("DİYARBAKIR", "diyarbakır"), ("ISPARTA", "ısparta"), ("ŞIRNAK", "şırnak")] {
        assert_eq!(shown(Language::Turkish, "", upper), shown(Language::Turkish, "", lower));
    }
}

proptest::proptest! {
    #[test]
    fn the_cache_changes_no_term(texts in proptest::collection::vec("[a-dA-D ,ßİé東_0-9.]{0,40}|\\PC{0,40}", 1..6)) {
        let mut analyser = Analyser::new(Language::English);
        for text in &texts {
            let mut row = RowTerms::default();
            analyser.row(text, &mut row);
            let terms = |ids: &[TermId]| ids.iter().map(|id| analyser.lexicon().term(*id).to_owned()).collect::<Vec<_>>();
            proptest::prop_assert_eq!((terms(&row.stems), terms(&row.extras)), shown(Language::English, "", text));
        }
    }
}
