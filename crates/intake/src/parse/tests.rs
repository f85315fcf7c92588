//! Tests of what is visible, what is hidden, and what is refused.

use crate::{
    Draft, Error, RawBody, RawDocument, parse,
    parse::HiddenKind,
    testing::{draft, file, raw},
};
use kernel::{Untrusted, limits};
use rstest::rstest;

fn text(draft: &Draft) -> &str {
    &draft.content.text
}

fn hidden(draft: &Draft, kind: HiddenKind) -> String {
    let pieces = draft.content.hidden.pieces().filter(|piece| piece.0 == kind);
    pieces.map(|piece| piece.1.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join("|")
}

fn param(result: Result<Draft, Error>) -> &'static str {
    match result.expect_err("must be refused") {
        Error::Invalid { param, .. } | Error::TooLarge { param, .. } => param,
        other => panic!("another error: {other}"),
    }
}

fn bytes(bytes: &[u8]) -> RawDocument {
    RawDocument { body: RawBody::Bytes { media_type: None, bytes: bytes.to_vec() }, media_type: None, ..raw("", "") }
}

#[test]
fn plain_text_is_kept_but_for_line_ends() {
    assert_eq!(text(&draft("text/plain", "one\r\ntwo\rthree\n\n<b>four</b>")), "one\ntwo\nthree\n\n<b>four</b>");
}

#[test]
fn html_breaks_lines_at_blocks_and_knows_headings() {
    let page = "<!doctype html><title>Leave &amp; more</title><h1>Leave</h1><p>You have\n <b>27</b> days.<p>Ask&nbsp;HR.\
                <ul><li>one<li>two</ul><table><tr><td>a<td>b<tr><td>c</table>x<br>y<pre>  a\n   b</pre>";
    let draft = draft("text/html", page);
    let expected = "Leave\n\nYou have 27 days.\n\nAsk\u{a0}HR.\n\none\ntwo\n\na\tb\nc\n\nx\ny\n\n  a\n   b";
    assert_eq!(text(&draft), expected);
    assert_eq!(draft.fields.title.expose(), "Leave & more");
    assert_eq!(draft.content.headings, [0]);
}

#[rstest]
#[case("<p style='display : NONE'>x</p>")]
#[case("<p style='visibility:hidden'>x</p>")]
#[case("<p style='opacity:0'>x</p>")]
#[case("<p style='font-size:0px'>x</p>")]
#[case("<p style='font-size:0.01em !important'>x</p>")]
#[case("<p style='position:absolute;left:-9999px'>x</p>")]
#[case("<p style='text-indent:-9999px'>x</p>")]
#[case("<p style='color:#fff;background:white'>x</p>")]
#[case("<div style='background-color:#ffffff'><p style='color:#FFF'>x</p></div>")]
#[case("<font color=white><p style='background:#ffffff'>x</p></font>")]
#[case("<p style='color:rgba(1,2,3,0)'>x</p>")]
#[case("<p style='height:0;overflow:hidden'>x</p>")]
#[case("<p hidden>x</p>")]
#[case("<p aria-hidden=true><b>x</b></p>")]
#[case("<template>x</template>")]
#[case("<noscript>x</noscript>")]
#[case("<!-- x -->")]
#[case("<style>.a, p.note { display:none } @media print { .b { color: red } }</style><p class='q note'>x</p>")]
#[case("<style>#y{visibility:hidden}</style><div id=y><div><p>x</div></div>")]
fn concealed_text_is_not_visible(#[case] source: &str) {
    let page = format!("<p>seen</p>{source}<p>also seen</p>");
    let draft = draft("text/html", &page);
    assert_eq!(text(&draft), "seen\n\nalso seen", "{source}");
    assert_eq!(hidden(&draft, HiddenKind::Concealed), "x", "{source}");
}

#[rstest]
#[case("<p style='display:block'>x</p>")]
#[case("<p style='font-size:1em;color:#fff;background:#000'>x</p>")]
#[case("<p style='opacity:0.5'>x</p>")]
#[case("<p aria-hidden=false>x</p>")]
#[case("<style>@media print { .n { display:none } } .m .n { display: none }</style><p class=n>x</p>")]
#[case("<details><summary>x</summary></details>")]
fn ordinary_style_hides_nothing(#[case] source: &str) {
    assert_eq!(text(&draft("text/html", source)), "x", "{source}");
}

#[test]
fn scripts_labels_and_links_have_streams_of_their_own() {
    let page = "<meta name=d content='about us'><script>var a = '</p>';</script><a href='https://e.example/?a=1'>go</a>\
                <img src=i.png alt='a cat' onerror='run()'>";
    let draft = draft("text/html", page);
    assert_eq!(text(&draft), "go");
    assert_eq!(hidden(&draft, HiddenKind::Label), "about us|a cat");
    assert_eq!(hidden(&draft, HiddenKind::Script), "var a = '</p>';|run()");
    assert_eq!(hidden(&draft, HiddenKind::Link), "https://e.example/?a=1");
    assert_eq!(hidden(&draft, HiddenKind::Image), "i.png");
}

#[test]
fn markdown_shows_what_a_reader_sees() {
    let source = "---\nowner: hr\n---\n# Days of *leave*\n\nYou have **27**\ndays, see [the form](https://e.example/f \"Form\").\n\n\
                  - one\n- two `code`\n\n```sh\nls  -l\n```\n\n<!-- quiet -->\n\n| a | b |\n|---|---|\n| c | d |\n\n![a cat](cat.png)";
    let draft = draft("text/markdown", source);
    let expected = "Days of leave\n\nYou have 27 days, see the form.\n\none\ntwo code\n\nls  -l\n\na\tb\nc\td";
    assert_eq!(text(&draft), expected);
    assert_eq!(draft.fields.title.expose(), "Days of leave");
    assert_eq!(draft.content.headings, [0]);
    assert_eq!(hidden(&draft, HiddenKind::Concealed), "quiet");
    assert_eq!(hidden(&draft, HiddenKind::Label), "owner: hr|Form|a cat");
    assert_eq!(hidden(&draft, HiddenKind::Link), "https://e.example/f");
    assert_eq!(hidden(&draft, HiddenKind::Image), "cat.png");
}

#[test]
fn raw_html_in_markdown_hides_the_markdown_inside_it() {
    let draft = draft(
        "text/markdown",
        "seen\n\n<div style=\"display:none\">\n\n**x** y\n\n</div>\n\na <span hidden>z</span> b",
    );
    assert_eq!(text(&draft), "seen\n\na b");
    assert_eq!(hidden(&draft, HiddenKind::Concealed), "x y|z");
}

#[rstest]
#[case("a/b.md", "# x", "x")]
#[case("b.HTML", "<p>x</p>", "x")]
#[case("c.txt", "<p>x</p>", "<p>x</p>")]
#[case("d", "  <!DOCTYPE HTML><p>x</p>", "x")]
#[case("e.rs", "# x", "# x")]
fn the_kind_comes_from_the_name_or_the_first_bytes(#[case] name: &str, #[case] source: &str, #[case] seen: &str) {
    let draft = parse(file(name, source)).expect("good text");
    assert_eq!(text(&draft).trim(), seen);
}

#[test]
fn the_uri_names_the_kind_when_the_id_does_not() {
    let raw = RawDocument { uri: Some(Untrusted::new("https://e.example/a.html?q=1.md")), ..file("1", "<p>x") };
    assert_eq!(text(&parse(raw).expect("good text")), "x");
}

#[test]
fn what_cannot_be_read_is_refused_by_field() {
    assert_eq!(param(parse(raw("application/pdf", "x"))), "documents[].media_type");
    assert_eq!(param(parse(raw("text/plain; charset=latin1", "x"))), "documents[].media_type");
    assert!(parse(raw("Text/Plain; charset=\"UTF-8\"", "x")).is_ok());
    assert_eq!(param(parse(raw("text/plain", "a\0b"))), "documents[].text");
    assert_eq!(param(parse(raw("text/plain", " \n"))), "documents[].text");
    assert_eq!(param(parse(raw("text/html", "<p hidden>x"))), "documents[].text");
    assert_eq!(param(parse(bytes(b"\xff\xfea\0"))), "documents[].content_base64");
    assert_eq!(param(parse(bytes(b"%PDF-1.7"))), "documents[].content_base64");
    assert_eq!(param(parse(bytes(b"caf\xe9"))), "documents[].content_base64");
    assert_eq!(param(parse(bytes(b"a\0b"))), "documents[].content_base64");
    assert_eq!(text(&parse(bytes(b"\xef\xbb\xbfcaf\xc3\xa9")).expect("UTF-8")), "café");
}

#[test]
fn limits_hold() {
    let long = "x".repeat(limits::TITLE_BYTES_MAX + 1);
    assert_eq!(param(parse(RawDocument { title: Some(long.into()), ..raw("text/plain", "x") })), "documents[].title");
    assert_eq!(param(parse(RawDocument { readers: Some(vec![]), ..raw("text/plain", "x") })), "documents[].readers");
    assert_eq!(param(parse(RawDocument { vector: Some(vec![]), ..raw("text/plain", "x") })), "documents[].vector");
    let huge = "x".repeat(limits::DOCUMENT_BYTES_MAX + 1);
    assert_eq!(param(parse(raw("text/plain", &huge))), "documents[].text");
    let title = "x".repeat(4_000);
    let draft = draft("text/html", &format!("<title>{title}</title>x"));
    assert_eq!(draft.fields.title.len(), limits::TITLE_BYTES_MAX);
}

#[test]
fn a_vector_needs_no_text() {
    let raw = RawDocument { body: RawBody::None, vector: Some(vec![1.0, 2.0]), ..raw("text/plain", "") };
    assert_eq!(text(&parse(raw).expect("a vector is enough")), "");
}

#[test]
fn hostile_nesting_is_read_in_linear_time_and_without_recursion() {
    for piece in
        ["<div>", "<p><b>", "<font color=a>", "<table><tr><td>", "</div>", "<!--", "<svg><title>", "&amp", "<a b=c"]
    {
        let page = format!("seen{}", piece.repeat(20_000));
        assert!(text(&draft("text/html", &page)).starts_with("seen"), "{piece}");
    }
    for piece in ["> ", "* ", "[", "![", "**a ", "<b>", "`", "- - ", "|a"] {
        let page = format!("seen\n\n{}x", piece.repeat(5_000));
        assert!(text(&draft("text/markdown", &page)).starts_with("seen"), "{piece}");
    }
}

#[test]
fn deep_inside_hidden_stays_hidden() {
    let page = format!("a<div hidden>{}x", "<div>".repeat(2_000));
    assert_eq!(text(&draft("text/html", &page)), "a");
    let page = format!("a{}<p hidden>x", "<div>".repeat(2_000));
    assert_eq!(text(&draft("text/html", &page)), "a");
}
