use super::*;
use proptest::{collection::vec, prelude::*, sample::select};

/// The visible text without whitespace.
fn shown(content: &Content) -> String {
    content.text.split_whitespace().collect()
}

fn whole(text: &str) -> Content {
    let mut reader = HtmlReader::new();
    let mut title = TitleState::Before;
    by_events(&mut reader, text, &mut title);
    let TitleState::After(title) = title else { panic!("the page has a title") };
    Content { title, ..reader.finish() }
}

/// A document with too many marks to be read whole.
fn dense() -> String {
    "* a *b* `c` | [d](e) <i>f</i>\n".repeat(2_000)
}

#[test]
fn a_document_of_many_marks_reads_as_a_short_one_does() {
    let block = "# Head *a*\n\nText [b](c) <b>d</b> &amp;\nmore `e`.\n\n- one\n- *two*\n\n  inside\n\n```\n# no\n\n*head*\n```\n\n\
                 <!-- hidden\n\n# no head\n-->\n\n<div>\n*f*\n</div>\n\n| g | h |\n|---|---|\n| i | j |\n\n> k\n\n";
    let page = block.repeat(400);
    let pieces = pieces::pieces(&page);
    assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.bounded));
    assert_eq!(pieces.iter().map(|piece| piece.text).collect::<String>(), page);
    let (cut, uncut) = (read(&page), whole(&page));
    assert_eq!(shown(&cut), shown(&uncut));
    assert_eq!(cut.title, uncut.title);
    assert_eq!(cut.headings.len(), uncut.headings.len());
    let kinds =
        |content: &Content| content.hidden.pieces().map(|(kind, text)| (kind, text.to_owned())).collect::<Vec<_>>();
    assert_eq!(kinds(&cut), kinds(&uncut));
}

#[test]
fn markdown_that_cannot_be_divided_shows_no_hidden_text() {
    let page = format!("seen\n\n<!-- {} unseen\n{} --> end", "a*b\n".repeat(4_000), "c*d\n".repeat(4_000));
    let content = read(&page);
    assert!(content.text.starts_with("seen") && content.text.ends_with("end"));
    assert!(!content.text.contains("unseen"));
    let page = format!("seen\n{}<i hidden>unseen</i>\n{}", "a*b\n".repeat(9_000), "c*d\n".repeat(9_000));
    let content = read(&page);
    assert!(!content.text.contains("unseen") && content.text.contains("a*b\na*b") && content.text.contains("c*d"));
}

proptest! {
    #[test]
    fn pieces_are_the_document(parts in vec(select(vec!["\n", "\n\n", "# a", "- b", "```", "<!--", "-->", "<div>", "   ", "é*", "|a|"]), 0..40)) {
        let page = format!("{}{}{}", parts.concat(), dense(), parts.concat());
        prop_assert_eq!(pieces::pieces(&page).iter().map(|piece| piece.text).collect::<String>(), page);
    }
}
