//! Passages keep the module's promises on any text.

use crate::testing::{Quads, draft, raw, screened};
use crate::{RawDocument, Screened, parse};
use kernel::{Chunking, Screening, Tokens, Untrusted};
use proptest::prelude::*;

fn cut(media_type: &str, text: &str, max_tokens: u32, overlap_tokens: u32) -> Screened {
    let mut screened = screened(draft(media_type, text), &Screening::default());
    screened.chunk(Some(&Quads), &Chunking { max_tokens, overlap_tokens }).expect("few passages");
    screened
}

fn texts(screened: &Screened) -> Vec<String> {
    screened.passages().into_iter().map(Untrusted::into_exposed).collect()
}

#[test]
fn short_text_is_one_passage() {
    let screened = cut("text/plain", "  One day. Two days.\n", 254, 32);
    assert_eq!(texts(&screened), ["One day. Two days."]);
    assert_eq!((screened.chunked_passages()[0].tokens, screened.tokens()), (5, 5));
}

#[test]
fn sentences_stay_whole_and_are_repeated() {
    let screened = cut("text/plain", "Aaa bbb ccc. Ddd eee fff. Ggg hhh iii. Jjj kkk lll.", 16, 4);
    assert_eq!(texts(&screened), ["Aaa bbb ccc. Ddd eee fff. Ggg hhh iii. Jjj kkk lll."]);
    let screened = cut("text/plain", "Aaa bbb ccc. Ddd eee fff. Ggg hhh iii. Jjj kkk lll.", 7, 3);
    assert_eq!(
        texts(&screened),
        ["Aaa bbb ccc. Ddd eee fff.", "Ddd eee fff. Ggg hhh iii.", "Ggg hhh iii. Jjj kkk lll."]
    );
}

#[test]
fn headings_and_paragraphs_come_first() {
    let source = "# One\n\nAaaa bbbb cccc dddd.\n\n## Two\n\nEeee ffff.\n\nGggg hhhh iiii jjjj kkkk.";
    let mut raw = raw("text/markdown", source);
    raw.title = Some(Untrusted::new(" "));
    let mut screened = screened(parse(raw).expect("good"), &Screening::default());
    screened.chunk(Some(&Quads), &Chunking { max_tokens: 9, overlap_tokens: 0 }).expect("few");
    assert_eq!(texts(&screened), ["One\n\nAaaa bbbb cccc dddd.", "Two\n\nEeee ffff.", "Gggg hhhh iiii jjjj kkkk."]);
}

#[test]
fn the_title_precedes_each_passage_and_counts_towards_the_budget() {
    let mut raw = raw("text/plain", "Leave. Aaaa bbbb cccc dddd eeee. Ffff gggg hhhh iiii jjjj.");
    raw.title = Some(Untrusted::new("Leave"));
    let mut screened = screened(parse(raw).expect("good"), &Screening::default());
    screened.chunk(Some(&Quads), &Chunking { max_tokens: 16, overlap_tokens: 0 }).expect("few");
    assert_eq!(texts(&screened), ["Leave. Aaaa bbbb cccc dddd eeee.", "Leave Ffff gggg hhhh iiii jjjj."]);
    assert_eq!(screened.tokens(), 8 + 6 + 2 * 3);
    let long = RawDocument {
        title: Some(Untrusted::new("word ".repeat(200))),
        ..crate::testing::raw("text/plain", "Aaaa. Bbbb.")
    };
    let mut screened = crate::testing::screened(parse(long).expect("good"), &Screening::default());
    screened.chunk(Some(&Quads), &Chunking { max_tokens: 16, overlap_tokens: 0 }).expect("few");
    assert_eq!(texts(&screened), ["word word word Aaaa. Bbbb."]);
}

#[test]
fn an_own_vector_makes_one_passage() {
    let raw = RawDocument { vector: Some(vec![1.0]), ..raw("text/plain", &" Aaaa bbbb.".repeat(100)) };
    let mut screened = screened(parse(raw).expect("good"), &Screening::default());
    screened.chunk(Some(&Quads), &Chunking { max_tokens: 16, overlap_tokens: 0 }).expect("few");
    assert_eq!(screened.chunked_passages().len(), 1);
    assert_eq!(screened.chunked_passages()[0].span.byte_start, 1);
    let empty =
        RawDocument { body: crate::RawBody::None, vector: Some(vec![1.0]), ..crate::testing::raw("text/plain", "") };
    let mut screened = crate::testing::screened(parse(empty).expect("good"), &Screening::default());
    screened.chunk(None, &Chunking::default()).expect("few");
    assert_eq!(screened.chunked_passages(), [kernel::Passage::default()]);
}

#[test]
fn a_long_line_is_split() {
    for unit in ["word ", "x", "é。", "a.b ", "1. "] {
        let text = unit.repeat(150_000 / unit.len());
        let screened = cut("text/plain", &text, 8_192, 32);
        holds(&screened, 8_192);
    }
}

#[test]
fn too_many_passages_are_refused() {
    let mut screened = screened(draft("text/plain", &"A b c d e f g h i. ".repeat(20_100)), &Screening::default());
    assert!(screened.chunk(Some(&Quads), &Chunking { max_tokens: 16, overlap_tokens: 0 }).is_err());
}

/// Asserts the promises of the module.
fn holds(screened: &Screened, max_tokens: u32) {
    let text = &screened.text;
    let (mut covered, mut byte, mut point) = (0, 0, 0_usize);
    for passage in screened.chunked_passages() {
        let (start, end) = (passage.span.byte_start as usize, passage.span.byte_end as usize);
        assert!(start < end && text.is_char_boundary(start) && text.is_char_boundary(end));
        assert!(start >= byte && end > covered, "in order");
        point += text[byte..start].chars().count();
        assert_eq!(passage.span.point_start as usize, point, "points agree");
        assert_eq!(passage.span.point_end as usize, point + text[start..end].chars().count());
        byte = start;
        if start > covered {
            assert!(text[covered..start].trim().is_empty(), "only blanks between passages");
        }
        covered = end;
        assert!(passage.tokens + screened.prefix_tokens <= max_tokens, "within the budget");
        let long_tokens = text[start..end].split_whitespace().any(|w| w.len() > 200);
        assert!(long_tokens || passage.tokens as usize >= Quads.count(&text[start..end]), "tokens are counted");
    }
    assert!(text[covered..].trim().is_empty(), "all is covered");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_holds(text in "(\\PC{0,12}[ .!?\n\r\t]{0,3}){0,60}", max in 16_u32..64, overlap in 0_u32..32) {
        prop_assume!(!text.trim().is_empty());
        holds(&cut("text/plain", &text, max, overlap.min(max / 2)), max);
    }

    #[test]
    fn any_markdown_holds(text in "([#>*`|<!\\[\\]()\\-]{0,3} ?\\PC{0,10}\n{0,2}){0,60}", max in 16_u32..64) {
        if let Ok(parsed) = parse(raw("text/markdown", &text)) {
            let mut screened = screened(parsed, &Screening::default());
            screened.chunk(Some(&Quads), &Chunking { max_tokens: max, overlap_tokens: 8 }).expect("few");
            holds(&screened, max);
        }
    }
}
