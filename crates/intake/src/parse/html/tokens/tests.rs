//! The tokenizer agrees with html5ever on any input, whole and in pieces.

use super::*;
use html5ever::{
    tendril::StrTendril,
    tokenizer::{self as reference, BufferQueue, TagKind, Token, TokenSink, TokenSinkResult, states::RawKind},
};
use proptest::{collection::vec, prelude::*, sample::select};
use rstest::rstest;
use std::cell::RefCell;

/// Tokens that were read, one line for each; adjacent pieces of text are joined.
#[derive(Default, Debug, PartialEq)]
struct TokenLog(Vec<String>, Vec<(String, String)>);

impl TokenLog {
    fn text(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(last) if last.starts_with('T') => last.push_str(text),
            _ => self.0.push(format!("T{text}")),
        }
    }
}

impl TokenReceiver for TokenLog {
    fn text(&mut self, text: &str) {
        TokenLog::text(self, text);
    }
    fn comment(&mut self, text: &str) {
        self.0.push(format!("!{text}"));
    }
    fn attribute(&mut self, _: &str, name: &str, value: &str) {
        if self.1.iter().all(|(known, _)| known != name) {
            self.1.push((name.to_owned(), value.to_owned()));
        }
    }
    fn start_tag(&mut self, name: &str) {
        let attributes = std::mem::take(&mut self.1);
        self.0.push(format!("<{name} {attributes:?}"));
    }
    fn end_tag(&mut self, name: &str) {
        self.0.push(format!("/{name}"));
    }
}

struct Html5everLog(RefCell<TokenLog>);

impl TokenSink for Html5everLog {
    type Handle = ();

    fn process_token(&self, token: Token, _: u64) -> TokenSinkResult<()> {
        let mut log = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                let pair = |a: &html5ever::Attribute| (a.name.local.to_string(), a.value.to_string());
                log.0.push(format!("<{} {:?}", &*tag.name, tag.attrs.iter().map(pair).collect::<Vec<_>>()));
                return match &*tag.name {
                    "script" => TokenSinkResult::RawData(RawKind::ScriptData),
                    "style" | "iframe" | "noembed" | "noframes" | "xmp" => TokenSinkResult::RawData(RawKind::Rawtext),
                    "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
                    "plaintext" => TokenSinkResult::Plaintext,
                    _ => TokenSinkResult::Continue,
                };
            }
            Token::TagToken(tag) => log.0.push(format!("/{}", &*tag.name)),
            Token::CharacterTokens(text) => log.text(&text),
            Token::CommentToken(text) => log.0.push(format!("!{}", &*text)),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

fn by_them(source: &str) -> Vec<String> {
    let tokenizer = reference::Tokenizer::new(Html5everLog(RefCell::default()), reference::TokenizerOpts::default());
    let queue = BufferQueue::default();
    queue.push_back(StrTendril::from(source));
    while !queue.is_empty() {
        let _paused = tokenizer.feed(&queue);
    }
    tokenizer.end();
    tokenizer.sink.0.into_inner().0
}

fn by_us(pieces: &[&str]) -> Vec<String> {
    let mut tokenizer = Tokenizer::new(TokenLog::default());
    pieces.iter().for_each(|piece| tokenizer.feed(piece));
    tokenizer.end().0
}

#[rstest]
#[case("a<b c='d' e=f g h = i/>j</b k=l>")]
#[case("<a =b c==d 'e\"f><x/y/z/>")]
#[case("<a href='?a=1&copy=2&amp;b&lt' b=&ampx c=&amp=>")]
#[case("&amp;&ampx &notit; &notin; &#38;&#x26&#; &#x; &#128; &#0;&#xD800;&#99999999999; &;&nosuch;&")]
#[case("<!-->a<!--->b<!---->c<!-- --!>d<!-- --- -->e<!-- <!-- -->f<!--a--!b-->g<!--<!-->h<!-")]
#[case("<!doctype html public 'a>b'><!DOCTYPEx><!x><!-x><?x?>< a></ a></><//>")]
#[case("<script>a<!--<script>b</script>c--></script>d")]
#[case("<script><!--></script>x<script><!---></script>y<script><!--<scriptx></script>z")]
#[case("<script><!-- <script> </scrip> </script/> -- > --> </SCRIPT a='>'>x")]
#[case("<title>a&amp;<b></titlex></title >c<textarea></textare</textarea>d<style>&amp;</style")]
#[case("<xmp><b></xmp>x<plaintext></plaintext>&amp;")]
#[case("<a b=\"c>d\" e='f>g' h=i\"j>k<")]
#[case("<svg><![CDATA[x>y]]></svg>")]
#[case("<a b='never ends")]
#[case("<a b")]
#[case("text</")]
#[case("text</b c='x'")]
fn read_as_the_standard_says(#[case] source: &str) {
    assert_eq!(by_us(&[source]), by_them(source), "{source}");
}

fn fragment() -> impl Strategy<Value = String> {
    let known = select(vec![
        "<",
        ">",
        "/",
        "!",
        "--",
        "-",
        "=",
        "'",
        "\"",
        " ",
        "\n",
        "a",
        "B",
        "é",
        "&",
        "amp",
        ";",
        "#38",
        "#x",
        "<!--",
        "-->",
        "--!>",
        "<script",
        "</script",
        "<style>",
        "</style>",
        "<title>",
        "</title>",
        "<a href=x",
        "</a>",
        "<!",
        "doctype",
        "?",
        "[CDATA[",
        "]]>",
        "script",
        "&notit;",
        "&lt",
        "<b>",
        "plain",
    ]);
    known.prop_map(str::to_owned)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn anything_is_read_as_html5ever_reads_it(parts in vec(fragment(), 0..24)) {
        let source = parts.concat();
        prop_assert_eq!(by_us(&[&source]), by_them(&source));
    }

    /// Never divides a character reference, which is the one thing that must come whole.
    #[test]
    fn the_division_into_pieces_does_not_matter(parts in vec(fragment(), 0..24)) {
        let parts: Vec<String> = parts.into_iter().filter(|part| !part.contains('&')).collect();
        let pieces: Vec<&str> = parts.iter().map(String::as_str).collect();
        prop_assert_eq!(by_us(&pieces), by_us(&[&parts.concat()]));
    }
}
