//! The page that HTML shows: a small stack of open elements, and two streams for text, visible and hidden. No tree is
//! built, so hostile nesting costs neither stack nor quadratic time.

use super::tokens::Sink;
use crate::parse::{
    Content, HiddenKind,
    css::{self, Color},
    shorten,
};
use kernel::limits;
use std::collections::{HashMap, HashSet};

/// Open elements that are tracked; deeper ones count as their parent, as browsers do.
const DEPTH_MAX: usize = 512;
/// Style text that is read for hidden classes, bytes.
const SHEET_BYTES_MAX: usize = 1 << 20;

struct Open {
    name: Box<str>,
    hide: Option<HiddenKind>,
    color: Option<Color>,
    background: Option<Color>,
}

/// The page so far: open elements, and both streams.
#[derive(Default)]
pub(in crate::parse) struct Page {
    content: Content,
    open: Vec<Open>,
    /// Number of open elements of each name, so that a stray end tag costs nothing.
    names: HashMap<Box<str>, usize>,
    /// What the attributes of the present start tag say.
    said: Said,
    /// An element below [`DEPTH_MAX`] hides text, and where it ends is not tracked: all that follows counts as hidden.
    buried: bool,
    hidden_selectors: HashSet<css::Selector>,
    /// Text of the hidden element that is open.
    hidden: String,
    /// Line ends that are due before the next visible character.
    breaks: usize,
    /// Whether a space is due before the next visible character.
    space: Option<char>,
    heading: bool,
}

impl Page {
    /// Opens an element without attributes.
    pub(in crate::parse) fn start(&mut self, name: &str, hide: Option<HiddenKind>) {
        self.push(name, Looks { hide, ..Looks::default() });
    }

    fn push(&mut self, name: &str, looks: Looks) {
        while self.open.last().is_some_and(|top| implied_end(&top.name, name)) {
            self.pop();
        }
        self.break_before(name);
        if is_void(name) {
            return;
        }
        let parent = self.open.last();
        let inherited = parent.and_then(|p| p.hide);
        let color = looks.color.or_else(|| parent.and_then(|p| p.color));
        let background = looks.background.or_else(|| parent.and_then(|p| p.background));
        let unseen = looks.colored && color.is_some() && color == background;
        let hide = inherited.or(looks.hide).or(unseen.then_some(HiddenKind::Concealed));
        // What is not markup ends at its own end tag and holds no element, so it may lie one deeper.
        if self.open.len() >= DEPTH_MAX && !holds_no_markup(name) {
            self.buried |= hide.is_some();
            return;
        }
        match self.names.get_mut(name) {
            Some(n) => *n += 1,
            None => {
                self.names.insert(name.into(), 1);
            }
        }
        self.open.push(Open { name: name.into(), hide, color, background });
    }

    /// Closes an element and all that it still holds open.
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
        if self.buried || top.is_some_and(|t| t.hide.is_some()) {
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

    /// Adds the line ends and the space that are due before a visible character.
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
        if self.buried || self.open.last().is_some_and(|t| t.hide.is_some()) {
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

    /// How an element is shown, by its name and its attributes.
    fn looks(&self, name: &str, said: Said) -> Looks {
        let style = said.style.unwrap_or_default();
        let color = style.color.or(said.color);
        let background = style.background.or(said.background);
        let hide = match name {
            "script" | "style" => Some(HiddenKind::Script),
            "template" | "noscript" | "iframe" | "noembed" | "noframes" | "object" => Some(HiddenKind::Concealed),
            "dialog" if !said.open => Some(HiddenKind::Concealed),
            _ if style.hides || said.hidden || said.aria_hidden == Some(true) => Some(HiddenKind::Concealed),
            _ if said.by_class == Some(true) || said.by_id == Some(true) => Some(HiddenKind::Concealed),
            _ => None,
        };
        Looks { hide, colored: color.is_some() || background.is_some(), color, background }
    }

    /// What an attribute says of its element's looks. Of several with one name the first counts.
    fn look(&mut self, name: &str, value: &str) {
        let said = &mut self.said;
        match name {
            "style" => {
                said.style.get_or_insert_with(|| css::declarations(value));
            }
            "color" => {
                said.color.get_or_insert_with(|| css::color(value));
            }
            "bgcolor" => {
                said.background.get_or_insert_with(|| css::color(value));
            }
            "hidden" => said.hidden = true,
            "open" => said.open = true,
            "aria-hidden" => {
                said.aria_hidden.get_or_insert(!value.eq_ignore_ascii_case("false"));
            }
            "class" => {
                let sheet = &self.hidden_selectors;
                let hides = || value.split_ascii_whitespace().any(|class| sheet.contains(&css::selector('.', class)));
                said.by_class.get_or_insert_with(|| !sheet.is_empty() && hides());
            }
            "id" => {
                let sheet = &self.hidden_selectors;
                said.by_id.get_or_insert_with(|| sheet.contains(&css::selector('#', value)));
            }
            _ => {}
        }
    }
}

impl Sink for Page {
    fn text(&mut self, text: &str) {
        Page::text(self, text);
    }

    fn comment(&mut self, text: &str) {
        self.hide(HiddenKind::Concealed, text);
    }

    fn attribute(&mut self, element: &str, name: &str, value: &str) {
        self.look(name, value);
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
        let said = std::mem::take(&mut self.said);
        let looks = self.looks(name, said);
        self.push(name, looks);
    }

    fn end_tag(&mut self, name: &str) {
        self.end(name);
    }
}

#[derive(Default)]
struct Looks {
    hide: Option<HiddenKind>,
    /// Whether this element itself sets a colour.
    colored: bool,
    color: Option<Color>,
    background: Option<Color>,
}

/// What attributes say of an element's looks.
#[derive(Default)]
struct Said {
    style: Option<css::Style>,
    color: Option<Color>,
    background: Option<Color>,
    hidden: bool,
    open: bool,
    aria_hidden: Option<bool>,
    /// Whether the page's style sheets hide one of its classes, or its id.
    by_class: Option<bool>,
    by_id: Option<bool>,
}

/// Elements whose content the tokenizer reads as text up to their end tag.
fn holds_no_markup(name: &str) -> bool {
    matches!(name, "script" | "style" | "iframe" | "noembed" | "noframes" | "xmp" | "title" | "textarea")
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
