//! Parsers as plain functions, for fuzzers (feature `fuzzing`) and for the test below. No shipped build contains them.

use crate::{RawBody, RawDocument, Verdict, parse, screen};
use kernel::{Attributes, Chunking, FuzzTarget, Screening, Untrusted};

/// The parsers that read foreign markup.
pub const TARGETS: &[FuzzTarget] = &[("intake_html", pages, html), ("intake_markdown", texts, markdown)];

/// Pages with something of everything that decides whether a reader sees a text.
fn pages() -> Vec<Vec<u8>> {
    seeds(&[
        "<!DOCTYPE html><html><head><title>Leave &amp; holidays</title><meta name=a content='b'>\
         <style>.off, #x { display: none } @media print { .y { color: #fff } }</style></head>\
         <body><h1>Leave</h1><p class=off>hidden</p><p id=x style=\"visibility:hidden\">also</p>seen</body></html>",
        "<table><tr><td>1<td>2<tr><th>a</table><ul><li>one<li>two</ul><a href='https://example.com' title=t>link</a>\
         <img src=i.png alt='a picture'><br/>&#x1f9ea;&#0;&notanentity;&lt",
        "<script>if (a < b) { '</scr' + 'ipt>' }</script><!-- a comment --!><![CDATA[x]]><svg><title>t</title></svg>\
         <template><p>x</template><textarea>\n<b>raw</textarea><noscript>n</noscript><plaintext>rest <b>",
    ])
}

fn texts() -> Vec<Vec<u8>> {
    seeds(&[
        "---\ntitle: a\n---\n# Leave *policy*\r\n\r\nEveryone has **30** days[^1].\n\n[^1]: A note\n\n## Second\n",
        "| a | b |\n|---|:-:|\n| 1 | `2` |\n\n- [x] done\n  1. one\n\n> quote\n> > deeper\n\n```rust\nlet a = 1;\n```\n",
        "[link](https://example.com \"title\") ![image](i.png) <b hidden>x</b> <!-- y -->\n\n<div style='display:none'>\n\n\
         inside\n\n</div>\n\n~~gone~~ [ref][r]\n\n[r]: <a b> 'c'\n\nSetext\n===\n***\n    code\n",
    ])
}

fn seeds(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn html(bytes: &[u8]) {
    read("text/html", bytes);
}

fn markdown(bytes: &[u8]) {
    read("text/markdown", bytes);
}

/// Parses any text, then screens and chunks it as an ingest does. A document without visible text is refused; nothing
/// else is an error.
fn read(media_type: &str, bytes: &[u8]) {
    let document = || RawDocument {
        id: None,
        body: RawBody::Text(Untrusted::new(String::from_utf8_lossy(bytes).replace('\0', ""))),
        media_type: Some(media_type.to_owned()),
        title: None,
        uri: None,
        attributes: Attributes::new(),
        readers: None,
        vector: None,
        expires_at: None,
    };
    let draft = match parse(document()) {
        Ok(draft) => draft,
        Err(error) => {
            let refusal = error.to_string();
            // A text may begin as a PDF or an archive does.
            assert!(refusal.starts_with("documents[].text: "), "{refusal}");
            return;
        }
    };
    let content = &draft.content;
    assert!(!content.text.contains(['\0', '\r']) && !content.text.trim().is_empty());
    assert!(content.headings.is_sorted() && content.headings.iter().all(|at| content.text.is_char_boundary(*at)));
    assert!(content.hidden.pieces().all(|(_, piece)| !piece.is_empty()), "pieces end on character boundaries");
    let chunking = Chunking { max_tokens: 16, overlap_tokens: 4 };
    if let Verdict::Screened(mut screened) = screen(draft, &Screening::default()) {
        assert!(screened.chunk(None, &chunking).is_ok());
        assert!(screened.passage_count() > 0 && screened.passages().len() == screened.passage_count());
    }
}

#[cfg(test)]
mod tests {
    #[global_allocator]
    static ALLOCATOR: testkit::Largest = testkit::Largest;

    #[test]
    fn no_bytes_break_a_parser() {
        testkit::fuzz(super::TARGETS);
    }
}
