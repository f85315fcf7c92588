//! The cost of parsing and screening is bounded by the size of a document, however hostile it is: peak memory stays
//! below 16 bytes for each of its bytes, and twice the document costs at most twice the allocations.

use counting::{Counting, measure};
use intake::{RawBody, RawDocument, Verdict, parse, screen};
use kernel::{Attributes, Chunking, ScreenAction, Screening, Untrusted};
use std::alloc::System;

/// Most bytes of memory for each byte of a document.
const TIMES: usize = 16;
/// Bytes of tables and automata that every document needs.
const FIXED: usize = 64 << 10;

#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

const MASK: Screening =
    Screening { injection: ScreenAction::Mask, pii: ScreenAction::Mask, secret: ScreenAction::Mask };

/// Peak of bytes in addition to the document itself, and number of allocations, while it is parsed, screened and
/// chunked.
fn cost(media_type: &str, text: String) -> (usize, usize) {
    let raw = RawDocument {
        id: None,
        body: RawBody::Text(Untrusted::new(text)),
        media_type: Some(media_type.to_owned()),
        title: None,
        uri: None,
        attributes: Attributes::new(),
        readers: None,
        vector: None,
        expires_at: None,
    };
    let ((), measured) = measure(|| {
        if let Ok(draft) = parse(raw)
            && let Verdict::Screened(mut screened) = screen(draft, &MASK)
        {
            // A refusal because of too many passages is a valid result.
            let _ = screened.chunk(None, &Chunking::default());
        }
    });
    (measured.peak, measured.allocations)
}

/// Name of a case, its media type, the text at its start, and the text that is repeated.
type Hostile = (&'static str, &'static str, &'static str, fn(usize) -> String);

const HTML: &str = "text/html";
const MARKDOWN: &str = "text/markdown";
const PLAIN: &str = "text/plain";

#[rustfmt::skip]
const INPUTS: &[Hostile] = &[
    ("attributes of one tag", HTML, "seen<a ", |n| format!("a{n:x} ")),
    ("attributes of one end tag", HTML, "seen<a>x</a ", |n| format!("a{n:x} ")),
    ("attributes after a script", HTML, "seen<script>x</script ", |n| format!("a{n:x} ")),
    ("scripts as attributes", HTML, "seen<a ", |n| format!("on{n:x}=b ")),
    ("links as attributes", HTML, "seen<a ", |_| "href=b ".to_owned()),
    ("labels", HTML, "seen", |_| "<i alt=b title=c value=d>".to_owned()),
    ("colours of parents", HTML, "seen<font color=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA>", |_| "<i>".to_owned()),
    ("long colours", HTML, "seen", |n| format!("<font color={n:a>64}>")),
    ("names of elements", HTML, "seen", |n| format!("<a{n:x}></a{n:x}>")),
    ("open elements", HTML, "seen", |_| "<div>".to_owned()),
    ("formatting that never ends", HTML, "seen", |_| "<p><b><i><u><font>".to_owned()),
    ("tables in tables", HTML, "seen", |_| "<table><tr><td>x".to_owned()),
    ("selects", HTML, "seen", |_| "<select><option>x".to_owned()),
    ("foreign elements", HTML, "seen", |_| "<svg><title><math><mtext>".to_owned()),
    ("stray end tags", HTML, "seen", |_| "</b>".to_owned()),
    ("comments", HTML, "seen", |_| "<!--a-->".to_owned()),
    ("one comment", HTML, "seen<!--", |_| "->".to_owned()),
    ("references", HTML, "seen", |_| "&lt".to_owned()),
    ("references that are none", HTML, "seen", |_| "&CounterClockwiseContourIntegra".to_owned()),
    ("a long reference", HTML, "seen&", |_| "a".to_owned()),
    ("style rules", HTML, "seen<style>", |n| format!(".{n:x},")),
    ("style sheets", HTML, "seen", |n| format!("<style>.{n:x}{{display:none}}</style>")),
    ("blanks of preformatted text", HTML, "seen<pre>", |_| "\n \t".to_owned()),
    ("blocks of odd blanks", HTML, "seen", |_| "<p>\u{a0}".to_owned()),
    ("scripts that open comments", HTML, "seen<script>", |_| "<!--<script></script>-->".to_owned()),
    ("ends of a title", HTML, "seen<title>", |_| "</titl".to_owned()),
    ("words of a title", HTML, "seen<title>", |_| "a ".to_owned()),
    ("headings", HTML, "seen", |_| "<h1>x".to_owned()),
    ("emphasis", MARKDOWN, "seen\n\n", |_| "*a".to_owned()),
    ("stars", MARKDOWN, "seen\n\n", |_| "*".to_owned()),
    ("mixed emphasis", MARKDOWN, "seen\n\n", |_| "**a _".to_owned()),
    ("brackets", MARKDOWN, "seen\n\n", |_| "[".to_owned()),
    ("images", MARKDOWN, "seen\n\n", |_| "![a](".to_owned()),
    ("links", MARKDOWN, "seen\n\n", |_| "[a](b)".to_owned()),
    ("backticks", MARKDOWN, "seen\n\n", |n| format!("{}a", "`".repeat(n % 40))),
    ("tags in text", MARKDOWN, "seen\n\n", |_| "<b>".to_owned()),
    ("cells", MARKDOWN, "|a|b|\n|-|-|\n", |_| "|a".to_owned()),
    ("rows", MARKDOWN, "|a|b|\n|-|-|\n", |_| "|a|b|\n".to_owned()),
    ("lists", MARKDOWN, "seen\n\n", |_| "- a\n".to_owned()),
    ("lists in lists", MARKDOWN, "seen\n\n", |_| "- ".to_owned()),
    ("quotes in quotes", MARKDOWN, "seen\n\n", |_| "> ".to_owned()),
    ("lines", MARKDOWN, "seen\n\n", |_| "a\n".to_owned()),
    ("paragraphs", MARKDOWN, "seen\n\n", |_| "a\n\n".to_owned()),
    ("definitions", MARKDOWN, "seen\n\n", |n| format!("[{n:x}]: b\n")),
    ("footnotes", MARKDOWN, "seen\n\n", |n| format!("[^{n:x}]: b\n\n")),
    ("references in text", MARKDOWN, "seen\n\n", |_| "&lt;".to_owned()),
    ("escapes", MARKDOWN, "seen\n\n", |_| "\\*".to_owned()),
    ("tags in blocks", MARKDOWN, "seen\n\n", |_| "<div\n\nx\n\n".to_owned()),
    ("attributes in a block", MARKDOWN, "seen\n\n<div ", |n| format!("a{n:x}\n")),
    ("front matter", MARKDOWN, "---\n", |_| "a: b\n".to_owned()),
    ("letters apart", PLAIN, "", |_| "i g n o r e ".to_owned()),
    ("mail", PLAIN, "", |_| "@".to_owned()),
    ("addresses", PLAIN, "", |_| "a@b.ab ".to_owned()),
    ("numbers", PLAIN, "", |_| "1 ".to_owned()),
    ("cards", PLAIN, "", |_| "4111111111111111 ".to_owned()),
    ("accounts", PLAIN, "", |_| "DE89".to_owned()),
    ("keys", PLAIN, "", |_| "-----BEGIN PRIVATE KEY-----".to_owned()),
    ("assignments", PLAIN, "", |_| "token: ".to_owned()),
    ("tokens", PLAIN, "", |_| "eyJaaaaaaaa.".to_owned()),
    ("markers", PLAIN, "", |_| "[inst]".to_owned()),
    ("orders", PLAIN, "", |_| "ignore all instructions ".to_owned()),
    ("beginnings of orders", PLAIN, "", |_| "send ".to_owned()),
    ("base64", PLAIN, "", |_| "aWdub3Jl".to_owned()),
    ("blobs", PLAIN, "", |_| "aWdub3JlIGFsbCBpbnN0 ".to_owned()),
    ("ligatures", PLAIN, "", |_| "\u{fdfa}".to_owned()),
    ("accents", PLAIN, "", |_| "\u{1e69}".to_owned()),
    ("marks on one letter", PLAIN, "a", |_| "\u{301}".to_owned()),
    ("invisible characters", PLAIN, "", |_| "a\u{200b}".to_owned()),
    ("tags of Unicode", PLAIN, "a", |_| "\u{e0041}".to_owned()),
    ("selectors", PLAIN, "a", |_| "\u{fe01}".to_owned()),
    ("digits in words", PLAIN, "", |_| "1gn0r3 ".to_owned()),
    ("Cyrillic words", PLAIN, "", |_| "аbс ".to_owned()),
    ("sentences", PLAIN, "", |_| "A. ".to_owned()),
    ("lines of text", PLAIN, "", |_| "a\n".to_owned()),
    ("paragraphs of text", PLAIN, "", |_| "a\n\n".to_owned()),
    ("one word", PLAIN, "", |_| "a".to_owned()),
];

fn input((_, _, start, unit): &Hostile, bytes: usize) -> String {
    let mut text = String::with_capacity(bytes);
    text.push_str(start);
    for n in 0.. {
        let next = unit(n);
        if text.len() + next.len() > bytes {
            return text;
        }
        text.push_str(&next);
    }
    text
}

#[test]
fn no_document_takes_more_than_sixteen_times_its_length_or_more_than_twice_for_twice() {
    const BYTES: usize = 16 << 10;
    // Tables that are made once for the process are not counted to a document.
    for (_, media_type, ..) in INPUTS {
        cost(media_type, "seen 1gn0r3 \u{e9} aWdub3JlIGFsbCBpbnN0".to_owned());
    }
    let mut wrong = Vec::new();
    for hostile in INPUTS {
        let (name, media_type, ..) = hostile;
        let [once, twice] = [BYTES, 2 * BYTES].map(|bytes| cost(media_type, input(hostile, bytes)));
        let times = twice.0 / (2 * BYTES);
        if twice.0 > TIMES * 2 * BYTES + FIXED {
            wrong.push(format!("{media_type}, {name}: {times} times its length"));
        }
        if twice.1 > 2 * once.1 + once.1 / 4 + 1_000 {
            wrong.push(format!("{media_type}, {name}: {} allocations, then {}", once.1, twice.1));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), INPUTS.len(), wrong.join("\n"));
}
