use super::*;
use proptest::prelude::*;
use rstest::rstest;

#[rstest]
#[case::composed("résumé", "re\u{301}sume\u{301}")]
#[case::hangul("한국어", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165}")]
#[case::kana("ガギグ", "カ\u{3099}キ\u{3099}ク\u{3099}")]
#[case::half_width_kana("ガパ", "ｶﾞﾊﾟ")]
#[case::wide("Ring12", "Ｒｉｎｇ１２")]
#[case::ligatures("fibrils office", "ﬁbrils oﬃce")]
#[case::digraph("ijs", "ĳs")]
#[case::sharp_s("STRASSE", "Straße")]
#[case::capital_sharp_s("strasse", "STRAẞE")]
#[case::sigma("ΛΌΓΟΣ", "λόγος")]
#[case::soft_hyphen("Gesamtkonzept", "Ge\u{ad}samt\u{ad}kon\u{ad}zept")]
#[case::word_joiner("offshore", "off\u{2060}shore")]
#[case::zero_width("offshore", "off\u{200b}sh\u{200c}or\u{200d}e\u{feff}")]
#[case::mark_after_a_soft_hyphen("é", "e\u{ad}\u{301}")]
#[case::long_s("s", "ſ")]
#[case::superscript("x2", "x²")]
#[case::kelvin("k", "\u{212a}")]
#[case::dotted_capital("istanbul", "İSTANBUL")]
#[case::georgian("ა", "Ა")]
fn texts_that_read_alike_are_equal(#[case] one: &str, #[case] other: &str) {
    assert_eq!(folded(one, Folding::Common), folded(other, Folding::Common));
}

#[rstest]
#[case("DİYARBAKIR", "diyarbakır")]
#[case("DI\u{307}YARBAKIR", "diyarbakır")]
#[case("ISPARTA", "ısparta")]
#[case("ÇİĞKÖFTE", "çiğköfte")]
#[case("şıŞI", "şışı")]
fn turkish_has_two_letters_i(#[case] one: &str, #[case] other: &str) {
    assert_eq!(folded(one, Folding::Turkish), other);
    assert_eq!(folded(other, Folding::Turkish), other);
}

#[test]
fn accents_and_different_letters_stay_distinct() {
    for (one, other) in [("resume", "résumé"), ("ı", "i"), ("ガ", "カ"), ("東", "京"), ("a", "ä")] {
        assert_ne!(folded(one, Folding::Common), folded(other, Folding::Common));
    }
}

#[rstest]
#[case("ab", "abc", (0, 2))]
#[case("gesamt", "x Ge\u{ad}samt y", (2, 10))]
#[case("fi", "aﬁb", (1, 4))]
#[case("i", "aﬁb", (1, 4))]
#[case("résumé", "« RE\u{301}SUME\u{301} »", (3, 13))]
#[case("b", "éb", (2, 3))]
#[case("語", "日ｶﾞ語", (9, 12))]
#[case("ss", "ﬀß", (3, 5))]
fn ranges_map_back_to_the_original(#[case] part: &str, #[case] written: &str, #[case] expected: (usize, usize)) {
    let folded = Folded::new(written, Folding::Common);
    let at = folded.text().find(part).expect("it is there");
    assert_eq!(folded.original_range(at, at + part.len()), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_normal_form_is_stable_and_maps_back(text in "[a-zA-Zéﬁß\u{301}\u{ad}\u{200d}ｶﾞ\u{1100}\u{1161}İıIΣς東 ]{0,20}|\\PC{0,20}", turkish in any::<bool>()) {
        let folding = if turkish { Folding::Turkish } else { Folding::Common };
        let once = Folded::new(&text, folding);
        prop_assert_eq!(folded(once.text(), folding), once.text());
        prop_assert_eq!(folded(&text.nfc().collect::<String>(), folding), folded(&text.nfd().collect::<String>(), folding));
        let mut last = 0;
        for (at, c) in once.text().char_indices() {
            let (start, end) = once.original_range(at, at + c.len_utf8());
            prop_assert!(start < end && text.is_char_boundary(start) && text.is_char_boundary(end));
            prop_assert!(start >= last);
            last = start;
        }
    }
}
