//! The page that HTML describes: a small stack of open elements, and two streams of text, visible and hidden. No tree
//! is built, so hostile nesting costs neither stack nor quadratic time.

use super::tokens::TokenReceiver;
use crate::parse::{
    Content, HiddenKind,
    css::{self, Color},
    shorten,
};
use kernel::limits;
use std::collections::{HashMap, HashSet};

/// Most open elements that are tracked. Deeper ones are treated as part of their parent, as browsers do.
const DEPTH_MAX: usize = 512;
/// Most bytes of a style sheet that are searched for hidden classes.
const SHEET_BYTES_MAX: usize = 1 << 20;

struct OpenElement {
    name: Box<str>,
    hide: Option<HiddenKind>,
    color: Option<Color>,
    background: Option<Color>,
}

/// State of a page while it is read: open elements and both streams.
#[derive(Default)]
pub(in crate::parse) struct HtmlPage {
    content: Content,
    open: Vec<OpenElement>,
    /// Number of open elements of each name, so that a stray end tag costs nothing.
    names: HashMap<Box<str>, usize>,
    /// Attributes of the start tag that is being read.
    attributes: ElementAttributes,
    /// Whether an element below [`DEPTH_MAX`] hides text. Its end is not tracked, so all following text counts as
    /// hidden.
    hides_untracked: bool,
    hidden_selectors: HashSet<css::Selector>,
    /// Text of the open hidden element.
    hidden: String,
    /// Line ends to write before the next visible character.
    breaks: usize,
    /// Space to write before the next visible character.
    space: Option<char>,
    heading: bool,
}

impl HtmlPage {
    /// Opens an element without attributes.
    pub(in crate::parse) fn start(&mut self, name: &str, hide: Option<HiddenKind>) {
        self.push(name, Appearance { hide, ..Appearance::default() });
    }

    fn push(&mut self, name: &str, appearance: Appearance) {
        while self.open.last().is_some_and(|top| implied_end(&top.name, name)) {
            self.pop();
        }
        self.break_before(name);
        if is_void(name) {
            return;
        }
        let parent = self.open.last();
        let inherited = parent.and_then(|p| p.hide);
        let color = appearance.color.or_else(|| parent.and_then(|p| p.color));
        let background = appearance.background.or_else(|| parent.and_then(|p| p.background));
        let invisible = appearance.colored && color.is_some() && color == background;
        let hide = inherited.or(appearance.hide).or(invisible.then_some(HiddenKind::Concealed));
        // A raw text element ends at its own end tag and contains no element, so it may be one level deeper.
        if self.open.len() >= DEPTH_MAX && !is_raw_text(name) {
            self.hides_untracked |= hide.is_some();
            return;
        }
        match self.names.get_mut(name) {
            Some(n) => *n += 1,
            None => {
                self.names.insert(name.into(), 1);
            }
        }
        self.open.push(OpenElement { name: name.into(), hide, color, background });
    }

    /// Closes an element and all elements that are still open inside it.
    pub(in crate::parse) fn end(&mut self, name: &str) {
        self.break_before(name);
        if matches!(name, "html" | "body") || !self.is_open(name) {
            return;
        }
        while let Some(closed) = self.pop() {
            if *closed == *name {
                return;
            }
        }
    }

    fn is_open(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    fn pop(&mut self) -> Option<Box<str>> {
        let closed = self.open.pop()?;
        if let Some(n) = self.names.get_mut(&closed.name) {
            *n -= 1;
            if *n == 0 {
                self.names.remove(&closed.name);
            }
        }
        if &*closed.name == "style" {
            css::hidden_selectors(shorten(&self.hidden, SHEET_BYTES_MAX), &mut self.hidden_selectors);
        }
        if closed.hide.is_some() && self.open.last().is_none_or(|parent| parent.hide.is_none()) {
            self.flush_hidden(closed.hide);
        }
        Some(closed.name)
    }

    /// Adds character data.
    pub(in crate::parse) fn text(&mut self, text: &str) {
        let top = self.open.last();
        if top.is_some_and(|t| &*t.name == "title") && !self.is_open("svg") {
            return self.content.title.push_str(text);
        }
        if self.hides_untracked || top.is_some_and(|t| t.hide.is_some()) {
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
                self.flush_breaks();
                self.content.text.push_str(word);
            }
        }
    }

    fn preformatted(&mut self, text: &str) {
        if !text.is_empty() {
            self.flush_breaks();
            self.content.text.push_str(text);
        }
    }

    /// Writes the pending line ends or space before a visible character.
    fn flush_breaks(&mut self) {
        let (breaks, space) = (std::mem::take(&mut self.breaks), self.space.take());
        let out = &mut self.content.text;
        if breaks > 0 {
            let kept = out.trim_end().len();
            out.truncate(kept);
        }
        if out.is_empty() {
            // There is no text yet to separate from.
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
        if self.hides_untracked || self.open.last().is_some_and(|t| t.hide.is_some()) {
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

    /// Adds hidden text.
    pub(in crate::parse) fn hide(&mut self, kind: HiddenKind, text: &str) {
        self.content.hidden.push(kind, text.trim());
    }

    fn flush_hidden(&mut self, kind: Option<HiddenKind>) {
        let text = std::mem::take(&mut self.hidden);
        self.hide(kind.unwrap_or(HiddenKind::Concealed), &text);
    }

    /// Ends the page and returns its text.
    pub(super) fn finish(mut self) -> Content {
        let kind = self.open.last().and_then(|t| t.hide);
        self.flush_hidden(kind);
        let mut title = String::new();
        for word in self.content.title.split_whitespace() {
            if title.len() > limits::TITLE_BYTES_MAX {
                break;
            }
            title.extend([if title.is_empty() { "" } else { " " }, word]);
        }
        self.content.title = title;
        self.content
    }

    /// Determines how an element is shown, from its name and its attributes.
    fn appearance(&self, name: &str, attributes: ElementAttributes) -> Appearance {
        let style = attributes.style.unwrap_or_default();
        let color = style.color.or(attributes.color);
        let background = style.background.or(attributes.background);
        let hide = match name {
            "script" | "style" => Some(HiddenKind::Script),
            "template" | "noscript" | "iframe" | "noembed" | "noframes" | "object" => Some(HiddenKind::Concealed),
            "dialog" if !attributes.open => Some(HiddenKind::Concealed),
            _ if style.hides || attributes.hidden || attributes.aria_hidden == Some(true) => {
                Some(HiddenKind::Concealed)
            }
            _ if attributes.by_class == Some(true) || attributes.by_id == Some(true) => Some(HiddenKind::Concealed),
            _ => None,
        };
        Appearance { hide, colored: color.is_some() || background.is_some(), color, background }
    }

    /// Notes an attribute that affects its element's appearance. Of several attributes with one name the first counts.
    fn note_attribute(&mut self, name: &str, value: &str) {
        let attributes = &mut self.attributes;
        match name {
            "style" => {
                attributes.style.get_or_insert_with(|| css::declarations(value));
            }
            "color" => {
                attributes.color.get_or_insert_with(|| css::color(value));
            }
            "bgcolor" => {
                attributes.background.get_or_insert_with(|| css::color(value));
            }
            "hidden" => attributes.hidden = true,
            "open" => attributes.open = true,
            "aria-hidden" => {
                attributes.aria_hidden.get_or_insert(!value.eq_ignore_ascii_case("false"));
            }
            "class" => {
                let sheet = &self.hidden_selectors;
                let hides = || value.split_ascii_whitespace().any(|class| sheet.contains(&css::selector('.', class)));
                attributes.by_class.get_or_insert_with(|| !sheet.is_empty() && hides());
            }
            "id" => {
                let sheet = &self.hidden_selectors;
                attributes.by_id.get_or_insert_with(|| sheet.contains(&css::selector('#', value)));
            }
            _ => {}
        }
    }
}

impl TokenReceiver for HtmlPage {
    fn text(&mut self, text: &str) {
        HtmlPage::text(self, text);
    }

    fn comment(&mut self, text: &str) {
        self.hide(HiddenKind::Concealed, text);
    }

    fn attribute(&mut self, element: &str, name: &str, value: &str) {
        self.note_attribute(name, value);
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

    fn start_tag(&mut self, name: &str) {
        let attributes = std::mem::take(&mut self.attributes);
        let appearance = self.appearance(name, attributes);
        self.push(name, appearance);
    }

    fn end_tag(&mut self, name: &str) {
        self.end(name);
    }
}

#[derive(Default)]
struct Appearance {
    hide: Option<HiddenKind>,
    /// Whether the element itself sets a colour.
    colored: bool,
    color: Option<Color>,
    background: Option<Color>,
}

/// Attributes that affect an element's appearance.
#[derive(Default)]
struct ElementAttributes {
    style: Option<css::Style>,
    color: Option<Color>,
    background: Option<Color>,
    hidden: bool,
    open: bool,
    aria_hidden: Option<bool>,
    /// Whether the page's style sheets hide one of the element's classes.
    by_class: Option<bool>,
    /// Whether the page's style sheets hide the element's id.
    by_id: Option<bool>,
}

/// Whether the tokenizer reads the element's content as text up to its end tag.
fn is_raw_text(name: &str) -> bool {
    matches!(name, "script" | "style" | "iframe" | "noembed" | "noframes" | "xmp" | "title" | "textarea")
}

/// Number of line ends around an element.
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
