//! Splits HTML source into tags, text and comments: the tokenizer of the HTML standard (13.2.5), streaming.
//!
//! Promises that each byte is read a bounded number of times for any input, that memory holds one name, one value or
//! one comment at a time, and that the source may come in pieces divided anywhere but inside a character reference.
//! Attributes are passed on one by one as they end, and are not compared with previous ones. The standard keeps the
//! first of several attributes with one name; here the sink decides which one counts.

mod state;

use super::entities;
use state::{Escape, Raw, State};

/// Receives the tokens.
pub(super) trait TokenReceiver {
    /// Character data, with references decoded where the standard decodes them.
    fn text(&mut self, text: &str);
    /// A comment, or markup that the standard treats as one.
    fn comment(&mut self, text: &str);
    /// An attribute of the start tag that is being read. The tag itself follows with [`TokenReceiver::start_tag`], or
    /// never if the source ends inside it.
    fn attribute(&mut self, element: &str, name: &str, value: &str);
    /// A start tag has ended.
    fn start_tag(&mut self, name: &str);
    /// An end tag has ended.
    fn end_tag(&mut self, name: &str);
}

/// A streaming tokenizer; see the module.
pub(super) struct Tokenizer<S> {
    pub(super) sink: S,
    state: State,
    /// Whether the current tag is an end tag.
    closes: bool,
    tag: String,
    name: String,
    value: String,
    /// A comment, or a name that may turn out to be text.
    buffer: String,
    /// The element whose content is not markup.
    raw_element: String,
    /// Number of consecutive dashes just read, in an escaped script.
    dashes: usize,
}

impl<S: TokenReceiver> Tokenizer<S> {
    pub(super) fn new(sink: S) -> Self {
        Self {
            sink,
            state: State::Data,
            closes: false,
            tag: String::new(),
            name: String::new(),
            value: String::new(),
            buffer: String::new(),
            raw_element: String::new(),
            dashes: 0,
        }
    }

    /// Reads a piece of source without NUL and carriage returns.
    pub(super) fn feed(&mut self, source: &str) {
        let mut rest = source;
        while !rest.is_empty() {
            let used = self.step(rest);
            kernel::yield_to_others(1 + used as u64);
            rest = &rest[used..];
        }
    }

    /// Ends the source. An unfinished token is text or a comment; an unfinished tag is dropped.
    pub(super) fn end(mut self) -> S {
        match self.state {
            State::TagOpen | State::RawLess(_) => self.sink.text("<"),
            State::EndTagOpen | State::RawEndOpen(_) => self.sink.text("</"),
            State::RawEndName(_) => self.flush_name(),
            State::Comment => {
                let begun = ["--!", "--", "-"].into_iter().find(|mark| self.buffer.ends_with(mark));
                self.end_comment(begun.map_or(0, str::len));
            }
            State::Declaration | State::Bogus => self.end_bogus(),
            _ => {}
        }
        self.sink
    }

    /// Continues at the start of `rest`. Returns the number of bytes used, which is 0 if only the state changed.
    fn step(&mut self, rest: &str) -> usize {
        let byte = rest.as_bytes()[0];
        match self.state {
            State::Data => self.data(rest),
            State::Plaintext => {
                self.sink.text(rest);
                rest.len()
            }
            State::Raw(raw) => self.raw(rest, raw),
            State::RawLess(raw) => self.raw_less(byte, raw),
            State::RawEndOpen(raw) => {
                if byte.is_ascii_alphabetic() {
                    self.buffer.clear();
                    return self.to(State::RawEndName(raw), 0);
                }
                self.sink.text("</");
                self.to(State::Raw(raw), 0)
            }
            State::RawEndName(raw) => self.raw_end_name(rest, raw),
            State::ScriptBang | State::ScriptBangDash => self.script_bang(byte),
            State::ScriptOpens => self.script_name(rest, Escape::Once, Escape::Twice),
            State::ScriptCloses => self.script_name(rest, Escape::Twice, Escape::Once),
            State::TagOpen => self.tag_open(byte),
            State::EndTagOpen => self.end_tag_open(byte),
            State::TagName => self.tag_name(rest),
            State::BeforeName => self.before_name(byte, 0),
            State::Name => self.attribute_name(rest),
            State::AfterName => match byte {
                b'=' => self.to(State::BeforeValue, 1),
                _ => self.before_name(byte, 0),
            },
            State::BeforeValue => self.before_value(byte),
            State::Quoted(quote) => {
                let end = rest.as_bytes().iter().position(|b| *b == quote);
                self.value.push_str(&rest[..end.unwrap_or(rest.len())]);
                match end {
                    Some(end) => self.to(State::AfterValue, end + 1),
                    None => rest.len(),
                }
            }
            State::Unquoted => {
                let end = run(rest, |b| !is_blank(b) && b != b'>');
                self.value.push_str(&rest[..end]);
                if end == rest.len() { end } else { self.to(State::BeforeName, end) }
            }
            State::AfterValue => match byte {
                b' ' | b'\t' | b'\n' | 0x0C => self.to(State::BeforeName, 1),
                _ => self.before_name(byte, 0),
            },
            State::SelfClosing => match byte {
                b'>' => self.end_tag(1),
                _ => self.to(State::BeforeName, 0),
            },
            State::Declaration => self.declaration(byte),
            State::Comment => self.comment(rest),
            State::Bogus => {
                let end = rest.as_bytes().iter().position(|b| *b == b'>');
                self.buffer.push_str(&rest[..end.unwrap_or(rest.len())]);
                let Some(end) = end else { return rest.len() };
                self.end_bogus();
                self.to(State::Data, end + 1)
            }
        }
    }

    fn to(&mut self, state: State, used: usize) -> usize {
        self.state = state;
        used
    }

    fn data(&mut self, rest: &str) -> usize {
        let end = run(rest, |b| b != b'<');
        if end > 0 {
            self.decoded(&rest[..end]);
        }
        if end == rest.len() { end } else { self.to(State::TagOpen, end + 1) }
    }

    /// Emits text with its references decoded.
    fn decoded(&mut self, text: &str) {
        match text.contains('&') {
            true => {
                let mut decoded = String::with_capacity(text.len());
                entities::decode(text, entities::ReferenceContext::Text, &mut decoded);
                self.sink.text(&decoded);
            }
            false => self.sink.text(text),
        }
    }

    fn raw(&mut self, rest: &str, raw: Raw) -> usize {
        let escaped = matches!(raw, Raw::Script(Escape::Once | Escape::Twice));
        let end = run(rest, |b| b != b'<' && !(escaped && matches!(b, b'-' | b'>')));
        if end > 0 {
            self.dashes = 0;
            match raw {
                Raw::Escapable => self.decoded(&rest[..end]),
                Raw::Text | Raw::Script(_) => self.sink.text(&rest[..end]),
            }
        }
        match rest.as_bytes().get(end) {
            None => end,
            Some(b'<') => {
                self.dashes = 0;
                self.to(State::RawLess(raw), end + 1)
            }
            Some(b'-') => {
                self.dashes += 1;
                self.sink.text("-");
                end + 1
            }
            Some(_) => {
                let ends = std::mem::take(&mut self.dashes) >= 2;
                self.sink.text(">");
                self.to(State::Raw(if ends { Raw::Script(Escape::None) } else { raw }), end + 1)
            }
        }
    }

    fn raw_less(&mut self, byte: u8, raw: Raw) -> usize {
        match (raw, byte) {
            (Raw::Script(Escape::Twice), b'/') => {
                self.sink.text("</");
                self.buffer.clear();
                self.to(State::ScriptCloses, 1)
            }
            (Raw::Script(Escape::Twice), _) => {
                self.sink.text("<");
                self.to(State::Raw(raw), 0)
            }
            (_, b'/') => self.to(State::RawEndOpen(raw), 1),
            (Raw::Script(Escape::None), b'!') => {
                self.sink.text("<!");
                self.to(State::ScriptBang, 1)
            }
            (Raw::Script(Escape::Once), b'a'..=b'z' | b'A'..=b'Z') => {
                self.sink.text("<");
                self.buffer.clear();
                self.to(State::ScriptOpens, 0)
            }
            _ => {
                self.sink.text("<");
                self.to(State::Raw(raw), 0)
            }
        }
    }

    fn script_bang(&mut self, byte: u8) -> usize {
        match (byte, self.state) {
            (b'-', State::ScriptBang) => {
                self.sink.text("-");
                self.to(State::ScriptBangDash, 1)
            }
            (b'-', _) => {
                self.sink.text("-");
                self.dashes = 2;
                self.to(State::Raw(Raw::Script(Escape::Once)), 1)
            }
            _ => self.to(State::Raw(Raw::Script(Escape::None)), 0),
        }
    }

    /// Reads a name in an escaped script. The name `script` changes the escape state to `then`; another leaves it at
    /// `is`.
    fn script_name(&mut self, rest: &str, is: Escape, then: Escape) -> usize {
        let end = run(rest, |b| b.is_ascii_alphabetic());
        self.sink.text(&rest[..end]);
        self.keep_name(&rest[..end]);
        let Some(byte) = rest.as_bytes().get(end) else { return end };
        let named = ends_name(*byte) && self.buffer.eq_ignore_ascii_case("script");
        let next = State::Raw(Raw::Script(if named { then } else { is }));
        if !ends_name(*byte) {
            return self.to(next, end);
        }
        self.sink.text(&rest[end..=end]);
        self.to(next, end + 1)
    }

    /// Keeps the name only as far as needed to decide whether it is `script`.
    fn keep_name(&mut self, more: &str) {
        let free = "script".len() + 1 - self.buffer.len().min("script".len() + 1);
        self.buffer.push_str(&more[..more.len().min(free)]);
    }

    fn raw_end_name(&mut self, rest: &str, raw: Raw) -> usize {
        let end = run(rest, |b| b.is_ascii_alphabetic());
        self.buffer.push_str(&rest[..end]);
        let Some(byte) = rest.as_bytes().get(end) else { return end };
        if !ends_name(*byte) || !self.buffer.eq_ignore_ascii_case(&self.raw_element) {
            self.flush_name();
            return self.to(State::Raw(raw), end);
        }
        self.closes = true;
        self.tag.clone_from(&self.raw_element);
        self.to(State::BeforeName, end)
    }

    /// Emits as text what looked like an end tag.
    fn flush_name(&mut self) {
        self.sink.text("</");
        self.sink.text(&self.buffer);
        self.buffer.clear();
    }

    fn tag_open(&mut self, byte: u8) -> usize {
        match byte {
            b'!' => {
                self.buffer.clear();
                self.to(State::Declaration, 1)
            }
            b'/' => self.to(State::EndTagOpen, 1),
            b'?' => {
                self.buffer.clear();
                self.to(State::Bogus, 0)
            }
            b'a'..=b'z' | b'A'..=b'Z' => self.begin_tag(false),
            _ => {
                self.sink.text("<");
                self.to(State::Data, 0)
            }
        }
    }

    fn end_tag_open(&mut self, byte: u8) -> usize {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => self.begin_tag(true),
            b'>' => self.to(State::Data, 1),
            _ => {
                self.buffer.clear();
                self.to(State::Bogus, 0)
            }
        }
    }

    fn begin_tag(&mut self, closes: bool) -> usize {
        self.closes = closes;
        self.tag.clear();
        self.to(State::TagName, 0)
    }

    fn tag_name(&mut self, rest: &str) -> usize {
        let end = run(rest, |b| !ends_name(b));
        push_lower(&mut self.tag, &rest[..end]);
        if end == rest.len() { end } else { self.to(State::BeforeName, end) }
    }

    /// Handles a byte before, after or between attributes.
    fn before_name(&mut self, byte: u8, used: usize) -> usize {
        if self.state != State::AfterName || !is_blank(byte) {
            self.end_attribute();
        }
        match byte {
            _ if is_blank(byte) => used + 1,
            b'/' => self.to(State::SelfClosing, used + 1),
            b'>' => self.end_tag(used + 1),
            // This includes `=`, since a name may begin with one.
            _ => self.to(State::Name, used),
        }
    }

    fn attribute_name(&mut self, rest: &str) -> usize {
        let first = usize::from(self.name.is_empty() && rest.starts_with('='));
        let end = first + run(&rest[first..], |b| !ends_name(b) && b != b'=');
        push_lower(&mut self.name, &rest[..end]);
        match rest.as_bytes().get(end) {
            None => end,
            Some(b'=') => self.to(State::BeforeValue, end + 1),
            Some(_) => self.to(State::AfterName, end),
        }
    }

    fn before_value(&mut self, byte: u8) -> usize {
        match byte {
            _ if is_blank(byte) => 1,
            b'"' | b'\'' => self.to(State::Quoted(byte), 1),
            b'>' => self.end_tag(1),
            _ => self.to(State::Unquoted, 0),
        }
    }

    fn end_attribute(&mut self) {
        if self.name.is_empty() {
            return;
        }
        if !self.closes {
            if self.value.contains('&') {
                let mut decoded = String::with_capacity(self.value.len());
                entities::decode(&self.value, entities::ReferenceContext::Attribute, &mut decoded);
                self.value = decoded;
            }
            self.sink.attribute(&self.tag, &self.name, &self.value);
        }
        self.name.clear();
        self.value.clear();
    }

    /// Ends a tag at its `>`.
    fn end_tag(&mut self, used: usize) -> usize {
        self.end_attribute();
        if self.closes {
            self.sink.end_tag(&self.tag);
            return self.to(State::Data, used);
        }
        self.sink.start_tag(&self.tag);
        let raw = match self.tag.as_str() {
            "script" => Raw::Script(Escape::None),
            "style" | "iframe" | "noembed" | "noframes" | "xmp" => Raw::Text,
            "title" | "textarea" => Raw::Escapable,
            "plaintext" => return self.to(State::Plaintext, used),
            _ => return self.to(State::Data, used),
        };
        self.raw_element.clone_from(&self.tag);
        self.to(State::Raw(raw), used)
    }

    fn declaration(&mut self, byte: u8) -> usize {
        match (byte, self.buffer.as_str()) {
            (b'-', "") => {
                self.buffer.push('-');
                1
            }
            (b'-', "-") => {
                self.buffer.clear();
                self.to(State::Comment, 1)
            }
            _ => self.to(State::Bogus, 0),
        }
    }

    fn comment(&mut self, rest: &str) -> usize {
        let end = run(rest, |b| b != b'>');
        self.buffer.push_str(&rest[..end]);
        if end == rest.len() {
            return end;
        }
        let tail = match self.buffer.as_str() {
            "" | "-" => self.buffer.len(),
            text if text.ends_with("--") => 2,
            text if text.ends_with("--!") => 3,
            _ => {
                self.buffer.push('>');
                return end + 1;
            }
        };
        self.end_comment(tail);
        self.to(State::Data, end + 1)
    }

    /// Emits the comment without its last `tail` bytes, which end it.
    fn end_comment(&mut self, tail: usize) {
        let kept = self.buffer.len() - tail;
        self.sink.comment(&self.buffer[..kept]);
        self.buffer.clear();
    }

    /// Ends a bogus comment. A document type contains no text; anything else is emitted as a comment.
    fn end_bogus(&mut self) {
        let is_doctype = self.buffer.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("doctype"));
        if !is_doctype {
            self.sink.comment(&self.buffer);
        }
        self.buffer.clear();
    }
}

/// Number of leading bytes that satisfy the predicate. The predicate must hold for all non-ASCII bytes or for none, so
/// that the result is always a character boundary.
fn run(text: &str, like: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|b| !like(b)).unwrap_or(text.len())
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0C)
}

/// Whether the byte ends the name of a tag.
fn ends_name(byte: u8) -> bool {
    is_blank(byte) || matches!(byte, b'/' | b'>')
}

fn push_lower(to: &mut String, text: &str) {
    to.extend(text.chars().map(|c| c.to_ascii_lowercase()));
}

#[cfg(test)]
mod tests;
