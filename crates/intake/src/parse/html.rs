//! HTML to visible text. A tokenizer feeds a small stack of open elements; no tree is built, so
//! hostile nesting costs neither stack nor square time.
//!
//! Promises that every piece of text lands in one of the two streams. What a browser's style
//! sheets would hide beyond simple class and id rules counts as visible, and is screened as such.

use super::{Content, Hidden, HiddenKind, css};
use html5ever::{
    Attribute, LocalName,
    tendril::StrTendril,
    tokenizer::{
        BufferQueue, Tag, TagKind, Token, TokenSink, TokenSinkResult, Tokenizer, TokenizerOpts, states::RawKind,
    },
};
use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
};

/// Open elements that are tracked; deeper ones count as their parent, as browsers do.
const DEPTH_MAX: usize = 512;
/// Style text that is read for hidden classes, bytes.
const SHEET_BYTES_MAX: usize = 1 << 20;

/// Reads an HTML document.
pub(super) fn read(text: &str) -> Content {
    let reader = Reader::new();
    reader.feed(text);
    reader.finish()
}

/// A tokenizer and what it writes into; the Markdown parser drives one too.
pub(super) struct Reader(Tokenizer<Sink>);

impl Reader {
    pub(super) fn new() -> Self {
        Self(Tokenizer::new(Sink(RefCell::default()), TokenizerOpts::default()))
    }

    /// Reads HTML source.
    pub(super) fn feed(&self, source: &str) {
        let queue = BufferQueue::default();
        queue.push_back(StrTendril::from(source));
        // It pauses at scripts, for a browser to run them.
        loop {
            let _paused = self.0.feed(&queue);
            if queue.is_empty() {
                return;
            }
        }
    }

    /// Writes straight into the page, past the tokenizer.
    pub(super) fn page<T>(&self, write: impl FnOnce(&mut Page) -> T) -> T {
        write(&mut self.0.sink.0.borrow_mut())
    }

    pub(super) fn finish(self) -> Content {
        self.0.end();
        let mut page = self.0.sink.0.into_inner();
        page.close_hidden();
        page.content.title = page.content.title.split_whitespace().collect::<Vec<_>>().join(" ");
        page.content
    }
}

struct Sink(RefCell<Page>);

impl TokenSink for Sink {
    type Handle = ();

    fn process_token(&self, token: Token, _line: u64) -> TokenSinkResult<()> {
        let mut page = self.0.borrow_mut();
        match token {
            Token::TagToken(tag) if tag.kind == TagKind::StartTag => {
                page.start_tag(&tag);
                return raw_kind(&tag.name);
            }
            Token::TagToken(tag) => page.end(&tag.name),
            Token::CharacterTokens(text) => page.text(&text),
            Token::CommentToken(text) => page.hide(HiddenKind::Concealed, &text),
            _ => {}
        }
        TokenSinkResult::Continue
    }
}

/// Elements whose content is not markup.
fn raw_kind(name: &str) -> TokenSinkResult<()> {
    match name {
        "script" => TokenSinkResult::RawData(RawKind::ScriptData),
        "style" | "iframe" | "noembed" | "noframes" | "xmp" => TokenSinkResult::RawData(RawKind::Rawtext),
        "title" | "textarea" => TokenSinkResult::RawData(RawKind::Rcdata),
        "plaintext" => TokenSinkResult::Plaintext,
        _ => TokenSinkResult::Continue,
    }
}

struct Open {
    name: LocalName,
    hide: Option<HiddenKind>,
    color: Option<String>,
    background: Option<String>,
}

/// The page so far: open elements, and both streams.
#[derive(Default)]
pub(super) struct Page {
    content: Content,
    open: Vec<Open>,
    /// How many of each name are open, so that a stray end tag costs nothing.
    names: HashMap<LocalName, usize>,
    hidden_selectors: HashSet<String>,
    /// Text of the hidden element that is open.
    hidden: String,
    /// Line ends owed before the next visible character.
    breaks: usize,
    /// Space owed before the next visible character.
    space: Option<char>,
    heading: bool,
}

impl Page {
    fn start_tag(&mut self, tag: &Tag) {
        let looks = self.looks(tag);
        self.read_attributes(&tag.name, &tag.attrs);
        self.push(&tag.name, looks);
    }

    /// Opens an element without attributes.
    pub(super) fn start(&mut self, name: &str, hide: Option<HiddenKind>) {
        let looks = Looks { hide, ..Looks::default() };
        self.push(&LocalName::from(name), looks);
    }

    fn push(&mut self, name: &LocalName, looks: Looks) {
        while self.open.last().is_some_and(|top| implied_end(&top.name, name)) {
            self.pop();
        }
        self.break_before(name);
        if is_void(name) {
            return;
        }
        let parent = self.open.last();
        let inherited = parent.and_then(|p| p.hide);
        let color = looks.color.or_else(|| parent.and_then(|p| p.color.clone()));
        let background = looks.background.or_else(|| parent.and_then(|p| p.background.clone()));
        let unseen = looks.colored && color.is_some() && color == background;
        let hide = inherited.or(looks.hide).or(unseen.then_some(HiddenKind::Concealed));
        if self.open.len() >= DEPTH_MAX {
            if let Some(top) = self.open.last_mut() {
                top.hide = hide;
            }
            return;
        }
        *self.names.entry(name.clone()).or_default() += 1;
        self.open.push(Open { name: name.clone(), hide, color, background });
    }

    /// Closes an element and all that it still holds open.
    pub(super) fn end(&mut self, name: &str) {
        let name = LocalName::from(name);
        self.break_before(&name);
        if matches!(&*name, "html" | "body") || !self.is_open(&name) {
            return;
        }
        while let Some(closed) = self.pop() {
            if closed == name {
                return;
            }
        }
    }

    fn is_open(&self, name: &str) -> bool {
        self.names.get(&LocalName::from(name)).is_some_and(|n| *n > 0)
    }

    fn pop(&mut self) -> Option<LocalName> {
        let closed = self.open.pop()?;
        if let Some(n) = self.names.get_mut(&closed.name) {
            *n -= 1;
        }
        if &*closed.name == "style" {
            let sheet = super::shorten(&self.hidden, SHEET_BYTES_MAX).to_owned();
            css::hidden_selectors(&sheet, &mut self.hidden_selectors);
        }
        if closed.hide.is_some() && self.open.last().is_none_or(|parent| parent.hide.is_none()) {
            self.flush_hidden(closed.hide);
        }
        Some(closed.name)
    }

    /// Character data where the page stands.
    pub(super) fn text(&mut self, text: &str) {
        let top = self.open.last();
        if top.is_some_and(|t| &*t.name == "title") && !self.is_open("svg") {
            return self.content.title.push_str(text);
        }
        if top.is_some_and(|t| t.hide.is_some()) {
            return self.hidden.push_str(text);
        }
        if self.is_open("pre") {
            self.preformatted(text);
        } else {
            self.flowing(text);
        }
    }

    fn flowing(&mut self, text: &str) {
        let blank = |c: char| c.is_ascii_whitespace();
        for (n, word) in text.split(blank).enumerate() {
            if n > 0 {
                self.space.get_or_insert(' ');
            }
            if !word.is_empty() {
                self.settle();
                self.content.text.push_str(word);
            }
        }
    }

    fn preformatted(&mut self, text: &str) {
        if !text.is_empty() {
            self.settle();
            self.content.text.push_str(text);
        }
    }

    /// Pays what is owed before a visible character.
    fn settle(&mut self) {
        let (breaks, space) = (std::mem::take(&mut self.breaks), self.space.take());
        let out = &mut self.content.text;
        if breaks > 0 {
            let kept = out.trim_end().len();
            out.truncate(kept);
        }
        if out.is_empty() {
            // Nothing to part from.
        } else if breaks > 0 {
            out.extend(std::iter::repeat_n('\n', breaks));
        } else if let Some(space) = space {
            out.push(space);
        }
        if std::mem::take(&mut self.heading) {
            self.content.headings.push(self.content.text.len());
        }
    }

    fn break_before(&mut self, name: &str) {
        if self.open.last().is_some_and(|t| t.hide.is_some()) {
            return self.hidden.push(' ');
        }
        match name {
            "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => {
                self.breaks = 2;
                self.heading = !self.is_open(name);
            }
            "td" | "th" => self.space = Some('\t'),
            _ => self.breaks = self.breaks.max(breaks(name)),
        }
    }

    /// Adds a piece that no reader sees.
    pub(super) fn hide(&mut self, kind: HiddenKind, text: &str) {
        let text = text.trim();
        if !text.is_empty() {
            self.content.hidden.push(Hidden { kind, text: text.to_owned() });
        }
    }

    fn flush_hidden(&mut self, kind: Option<HiddenKind>) {
        let text = std::mem::take(&mut self.hidden);
        self.hide(kind.unwrap_or(HiddenKind::Concealed), &text);
    }

    fn close_hidden(&mut self) {
        let kind = self.open.last().and_then(|t| t.hide);
        self.flush_hidden(kind);
    }

    /// What an element's attributes say of its looks.
    fn looks(&self, tag: &Tag) -> Looks {
        let style = attribute(tag, "style").map(css::declarations).unwrap_or_default();
        let color = style.color.or_else(|| attribute(tag, "color").map(css::color));
        let background = style.background.or_else(|| attribute(tag, "bgcolor").map(css::color));
        let truthy = |name| attribute(tag, name).is_some_and(|v| !v.eq_ignore_ascii_case("false"));
        let by_sheet = || {
            let classes = attribute(tag, "class").unwrap_or("").split_ascii_whitespace().map(|c| format!(".{c}"));
            let id = attribute(tag, "id").map(|id| format!("#{id}"));
            classes.chain(id).any(|selector| self.hidden_selectors.contains(&selector))
        };
        let hide = match &*tag.name {
            "script" | "style" => Some(HiddenKind::Script),
            "template" | "noscript" | "iframe" | "noembed" | "noframes" | "object" => Some(HiddenKind::Concealed),
            "dialog" if attribute(tag, "open").is_none() => Some(HiddenKind::Concealed),
            _ if style.hides || attribute(tag, "hidden").is_some() || truthy("aria-hidden") => {
                Some(HiddenKind::Concealed)
            }
            _ if !self.hidden_selectors.is_empty() && by_sheet() => Some(HiddenKind::Concealed),
            _ => None,
        };
        Looks { hide, colored: color.is_some() || background.is_some(), color, background }
    }

    fn read_attributes(&mut self, element: &str, attributes: &[Attribute]) {
        for attribute in attributes {
            let (name, value) = (&*attribute.name.local, &*attribute.value);
            match name {
                "href" | "action" | "formaction" | "cite" => self.hide(HiddenKind::Link, value),
                "src" | "srcset" | "poster" | "background" => self.hide(HiddenKind::Image, value),
                "data" if element == "object" => self.hide(HiddenKind::Image, value),
                "class" | "style" | "d" | "points" | "viewbox" | "transform" | "rel" | "sizes" => {}
                _ if name.starts_with("on") => self.hide(HiddenKind::Script, value),
                "alt" | "title" | "content" | "value" | "placeholder" => self.hide(HiddenKind::Label, value),
                _ if value.contains(' ') => self.hide(HiddenKind::Label, value),
                _ => {}
            }
        }
    }
}

#[derive(Default)]
struct Looks {
    hide: Option<HiddenKind>,
    /// Whether this element itself sets a colour.
    colored: bool,
    color: Option<String>,
    background: Option<String>,
}

fn attribute<'a>(tag: &'a Tag, name: &str) -> Option<&'a str> {
    tag.attrs.iter().find(|a| &*a.name.local == name).map(|a| &*a.value)
}

/// Line ends around an element.
fn breaks(name: &str) -> usize {
    match name {
        "p" | "pre" | "blockquote" | "table" | "ul" | "ol" | "dl" | "section" | "article" | "hr" | "figure"
        | "header" | "footer" | "main" | "nav" | "aside" | "form" | "fieldset" | "details" => 2,
        "div" | "li" | "tr" | "dt" | "dd" | "br" | "option" | "caption" | "figcaption" | "summary" | "legend"
        | "address" | "thead" | "tbody" | "tfoot" | "select" | "textarea" | "title" | "head" | "body" | "html" => 1,
        _ => 0,
    }
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "area"
            | "base"
            | "br"
            | "col"
            | "embed"
            | "hr"
            | "img"
            | "input"
            | "link"
            | "meta"
            | "param"
            | "source"
            | "track"
            | "wbr"
    )
}

/// Whether `next` ends an open `top` without an end tag.
fn implied_end(top: &str, next: &str) -> bool {
    match top {
        "p" => {
            breaks(next) == 2
                || matches!(next, "div" | "li" | "dt" | "dd" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "address")
        }
        "li" => next == "li",
        "dt" | "dd" => matches!(next, "dt" | "dd"),
        "td" | "th" => matches!(next, "td" | "th" | "tr" | "tbody" | "thead" | "tfoot"),
        "tr" | "thead" | "tbody" | "tfoot" => matches!(next, "tbody" | "tfoot") || (top == "tr" && next == "tr"),
        "option" => matches!(next, "option" | "optgroup"),
        "head" => next == "body",
        _ => false,
    }
}
