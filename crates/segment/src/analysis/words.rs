//! Splits text into pieces: words, pairs of characters in scripts without spaces, and codes as a whole.
//!
//! A word is a run of letters, digits and the marks on them. Chinese, Japanese, Korean, Thai and similar scripts are
//! split into every two adjacent characters; the last character of a run is also a piece, so that a single character
//! can be searched for too: it begins a pair or ends a run. Words that single joints connect (`ERR_CONN_42`,
//! `192.168.0.1`, `foo@bar.org`, `well-known`) are a piece each, and the whole is one more.

use unicode_normalization::char::is_combining_mark;

/// Indexed pieces are shorter than this number of bytes, which leaves room for a SHA-512 in hex; longer runs are no
/// words.
pub(crate) const WORD_BYTES_MAX: usize = 129;

/// Kinds of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// A word of a script with spaces.
    Word,
    /// Two characters of a script without spaces.
    Pair,
    /// The last character of a run of such characters.
    Last,
    /// Several words with the joints between them. It comes directly after its words.
    Whole,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WordPiece<'a> {
    pub(crate) kind: PieceKind,
    pub(crate) text: &'a str,
    /// Byte offset at which it begins.
    pub(crate) at: usize,
}

/// Role of a character in a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CharClass {
    Letter,
    Unspaced,
    Joint,
    Other,
}

fn char_class(c: char) -> CharClass {
    if c.is_ascii() {
        return match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' => CharClass::Letter,
            '_' | '-' | '.' | '/' | '\\' | ':' | '@' | '+' | '&' | '#' => CharClass::Joint,
            _ => CharClass::Other,
        };
    }
    if is_unspaced(c) && (c.is_alphanumeric() || is_combining_mark(c)) {
        return CharClass::Unspaced;
    }
    if c.is_alphanumeric() || is_combining_mark(c) { CharClass::Letter } else { CharClass::Other }
}

/// Scripts that do not separate words, or not where words are searched for: Thai, Lao, Myanmar, Khmer, kana, Han,
/// Hangul.
pub(crate) fn is_unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1100..=0x11FF | 0x1780..=0x17FF
        | 0x2E80..=0x2FDF | 0x3005..=0x3007 | 0x3021..=0x303C | 0x3040..=0x318F | 0x31A0..=0x31FF | 0x3400..=0x4DBF
        | 0x4E00..=0x9FFF | 0xA960..=0xA97F | 0xAC00..=0xD7FF | 0xF900..=0xFAFF | 0xFF66..=0xFFDC
        | 0x1B000..=0x1B16F | 0x20000..=0x323AF)
}

/// Whether a word may contain the character.
pub(crate) fn is_letter(c: char) -> bool {
    char_class(c) == CharClass::Letter
}

/// Whether the character may connect two words.
pub(crate) fn is_joint(c: char) -> bool {
    char_class(c) == CharClass::Joint
}

/// Calls `visit` with each piece, ordered by their ends.
pub(crate) fn pieces<'a>(text: &'a str, mut visit: impl FnMut(WordPiece<'a>)) {
    let mut scanner =
        PieceScanner { text, visit: &mut visit, word: None, whole: None, joint: false, unspaced_start: None };
    for (at, c) in text.char_indices() {
        match char_class(c) {
            CharClass::Letter => scanner.letter(at),
            CharClass::Unspaced => scanner.unspaced(at, at + c.len_utf8()),
            CharClass::Joint => scanner.joint(at),
            CharClass::Other => scanner.end_all(at),
        }
    }
    scanner.end_all(text.len());
}

/// The pieces that are open at the current position of the text.
struct PieceScanner<'a, 'v> {
    text: &'a str,
    visit: &'v mut dyn FnMut(WordPiece<'a>),
    /// Start of the open word.
    word: Option<usize>,
    /// Start of the open whole, end of its last word, and number of its words.
    whole: Option<(usize, usize, usize)>,
    /// Whether the previous character is a joint directly after a word.
    joint: bool,
    /// Offset of the previous character, if it belongs to a script without spaces.
    unspaced_start: Option<usize>,
}

impl PieceScanner<'_, '_> {
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
        if let Some(before) = self.unspaced_start {
            self.emit(PieceKind::Pair, before, end);
        }
        self.unspaced_start = Some(at);
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

    fn end_all(&mut self, at: usize) {
        self.end_run(at);
        self.end_word(at);
        self.end_whole();
        self.joint = false;
    }

    fn end_word(&mut self, at: usize) {
        let Some(start) = self.word.take() else { return };
        self.emit(PieceKind::Word, start, at);
        let (first, _, words) = self.whole.unwrap_or((start, at, 0));
        self.whole = Some((first, at, words + 1));
    }

    fn end_whole(&mut self) {
        if let Some((start, end, words)) = self.whole.take()
            && words > 1
        {
            self.emit(PieceKind::Whole, start, end);
        }
    }

    fn end_run(&mut self, at: usize) {
        if let Some(start) = self.unspaced_start.take() {
            self.emit(PieceKind::Last, start, at);
        }
    }

    fn emit(&mut self, kind: PieceKind, start: usize, end: usize) {
        if end - start < WORD_BYTES_MAX
            && let Some(text) = self.text.get(start..end)
        {
            (self.visit)(WordPiece { kind, text, at: start });
        }
    }
}

#[cfg(test)]
mod tests;
