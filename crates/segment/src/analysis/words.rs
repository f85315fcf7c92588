//! Text to pieces: words, pairs of characters where a script has no spaces, and codes as a whole.
//!
//! A word is a run of letters, digits and the marks on them. Chinese, Japanese, Korean, Thai and their neighbours are
//! cut into every two characters that stand together, and the last one of a run by itself, so that one character can be
//! asked for too: it begins a pair or ends a run. Words that single joints hold together (`ERR_CONN_42`, `192.168.0.1`,
//! `foo@bar.org`, `well-known`) are a word each and one piece more: the whole.

use unicode_normalization::char::is_combining_mark;

/// A piece that is indexed is shorter, bytes. Room for a SHA-512 in hex; longer runs are no words.
pub(crate) const WORD_BYTES_MAX: usize = 129;

/// What a piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A word of a script with spaces.
    Word,
    /// Two characters of one without.
    Pair,
    /// The last character of a run of such.
    Last,
    /// Words and the joints between them. It comes right behind its words.
    Whole,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    pub(crate) text: &'a str,
    /// Where it begins, bytes.
    pub(crate) at: usize,
}

/// What a character is to words.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Letter,
    Unspaced,
    Joint,
    Other,
}

fn class(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => Class::Letter,
            '_' | '-' | '.' | '/' | '\\' | ':' | '@' | '+' | '&' | '#' => Class::Joint,
            _ => Class::Other,
        };
    }
    if is_unspaced(c) && (c.is_alphanumeric() || is_combining_mark(c)) {
        return Class::Unspaced;
    }
    if c.is_alphanumeric() || is_combining_mark(c) { Class::Letter } else { Class::Other }
}

/// Scripts that do not part words, or part them where one does not ask: Thai, Lao, Myanmar, Khmer, kana, Han, Hangul.
pub(crate) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1100..=0x11FF | 0x1780..=0x17FF
        | 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3021..=0x303C | 0x3040..=0x318F | 0x31A0..=0x31FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xA960..=0xA97F | 0xAC00..=0xD7FF | 0xF900..=0xFAFF | 0xFF66..=0xFFDC
        | 0x1B000..=0x1B16F | 0x20000..=0x323AF)
}

/// Whether a word may contain it.
pub(crate) fn is_letter(c: char) -> bool {
    class(c) == Class::Letter
}

/// Whether it may hold two words together.
pub(crate) fn is_joint(c: char) -> bool {
    class(c) == Class::Joint
}

/// Calls back with each piece, in the order of their ends.
pub(crate) fn pieces<'a>(text: &'a str, mut visit: impl FnMut(Piece<'a>)) {
    let mut cutter = Cutter { text, visit: &mut visit, word: None, whole: None, joint: false, last: None };
    for (at, c) in text.char_indices() {
        match class(c) {
            Class::Letter => cutter.letter(at),
            Class::Unspaced => cutter.unspaced(at, at + c.len_utf8()),
            Class::Joint => cutter.joint(at),
            Class::Other => cutter.ends(at),
        }
    }
    cutter.ends(text.len());
}

/// What is open at one place of the text.
struct Cutter<'a, 'v> {
    text: &'a str,
    visit: &'v mut dyn FnMut(Piece<'a>),
    /// Where the open word began.
    word: Option<usize>,
    /// Where the open whole began, where its last word ended, and how many words it has.
    whole: Option<(usize, usize, usize)>,
    /// Whether the character before is a joint right behind a word.
    joint: bool,
    /// The character before, of a script without spaces.
    last: Option<usize>,
}

impl Cutter<'_, '_> {
    fn letter(&mut self, at: usize) {
        self.end_run(at);
        if self.word.is_none() {
            if !self.joint {
                self.end_whole();
            }
            self.word = Some(at);
        }
        self.joint = false;
    }

    fn unspaced(&mut self, at: usize, end: usize) {
        self.end_word(at);
        self.end_whole();
        if let Some(before) = self.last {
            self.give(Kind::Pair, before, end);
        }
        self.last = Some(at);
        self.joint = false;
    }

    fn joint(&mut self, at: usize) {
        self.end_run(at);
        self.joint = self.word.is_some();
        self.end_word(at);
        if !self.joint {
            self.end_whole();
        }
    }

    fn ends(&mut self, at: usize) {
        self.end_run(at);
        self.end_word(at);
        self.end_whole();
        self.joint = false;
    }

    fn end_word(&mut self, at: usize) {
        let Some(start) = self.word.take() else { return };
        self.give(Kind::Word, start, at);
        let (first, _, words) = self.whole.unwrap_or((start, at, 0));
        self.whole = Some((first, at, words + 1));
    }

    fn end_whole(&mut self) {
        if let Some((start, end, words)) = self.whole.take()
            && words > 1
        {
            self.give(Kind::Whole, start, end);
        }
    }

    fn end_run(&mut self, at: usize) {
        if let Some(start) = self.last.take() {
            self.give(Kind::Last, start, at);
        }
    }

    fn give(&mut self, kind: Kind, start: usize, end: usize) {
        if end - start < WORD_BYTES_MAX
            && let Some(text) = self.text.get(start..end)
        {
            (self.visit)(Piece { kind, text, at: start });
        }
    }
}

#[cfg(test)]
mod tests;
