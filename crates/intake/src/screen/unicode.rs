//! The Unicode gate, and the copy of a text that templates are matched on.
//!
//! Promises that characters which show nothing are counted, that text smuggled in them is decoded
//! (tag characters, runs of variation selectors), and that the copy is free of case, width,
//! accents, invisible characters and look-alike letters. NFKC alone removes none of the invisible
//! ones.

use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// Longest word that is folded as a whole, characters. Longer ones are folded in pieces.
const WORD_CHARS_MAX: usize = 64;
/// Smuggled text that is decoded, bytes.
const SMUGGLED_BYTES_MAX: usize = 64 << 10;

/// What the gate saw.
#[derive(Default)]
pub(super) struct Gate {
    /// Invisible characters between plain letters, where no script needs them.
    pub(super) invisible: u32,
    /// Tag characters outside a flag, and runs of variation selectors.
    pub(super) carriers: u32,
    /// What the carriers spell.
    pub(super) smuggled: String,
}

/// Whether a character shows nothing by itself.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF9..=0xFFFB
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// Looks at every character once.
pub(super) fn gate(text: &str) -> Gate {
    let mut gate = Gate::default();
    if text.is_ascii() {
        return gate;
    }
    let mut smuggled = Vec::new();
    let (mut flag, mut before, mut selector_before) = (false, '\u{feff}', None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next_plain = chars.peek().is_some_and(char::is_ascii_alphanumeric);
        if (0xE0000..=0xE007F).contains(&u32::from(c)) {
            if !flag {
                gate.carriers += 1;
                smuggled.extend(u8::try_from(u32::from(c) - 0xE0000).ok());
            }
            continue;
        }
        flag = c == '\u{1F3F4}';
        let selector = selector_byte(c);
        if let (Some(byte), Some(first)) = (selector, selector_before) {
            // One selector shapes a character; a second one in a row shapes nothing.
            if gate.carriers == 0 {
                smuggled.extend(first);
            }
            gate.carriers += 1;
            smuggled.push(byte);
            selector_before = Some(None);
        } else {
            selector_before = selector.map(Some);
        }
        if selector.is_none() && is_invisible(c) && c != '\u{AD}' && before.is_ascii_alphanumeric() && next_plain {
            gate.invisible += 1;
        }
        before = c;
    }
    smuggled.truncate(SMUGGLED_BYTES_MAX);
    gate.smuggled = String::from_utf8_lossy(&smuggled).into_owned();
    gate
}

/// The byte that a variation selector stands for in the smuggling scheme of 2025.
fn selector_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        n @ 0xFE00..=0xFE0F => u8::try_from(n - 0xFE00).ok(),
        n @ 0xE0100..=0xE01EF => u8::try_from(n - 0xE0100 + 16).ok(),
        _ => None,
    }
}

/// A text as templates see it.
#[derive(Default)]
pub(super) struct Folded {
    pub(super) text: String,
    /// For every byte of `text`, where it stood in the original; empty unless asked for.
    places: Vec<usize>,
    /// Some word mixes letters with digits or signs that look like letters.
    pub(super) leet: bool,
}

/// What to fold beyond case, width and accents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    Plain,
    /// Also `1gn0r3` to `ignore`.
    Leet,
}

/// Makes the copy. Runs of blanks become one space; a blank line becomes one line end.
pub(super) fn folded(text: &str, fold: Fold, with_places: bool) -> Folded {
    let mut writer = Writer { copy: Folded::default(), word: Vec::new(), with_places, fold };
    writer.copy.text.reserve(text.len());
    let (mut blank_from, mut line_ends) = (None, 0);
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            blank_from.get_or_insert(at);
            line_ends += usize::from(c == '\n');
            continue;
        }
        if is_invisible(c) {
            continue;
        }
        if let Some(from) = blank_from.take() {
            writer.blank(if line_ends > 1 { '\n' } else { ' ' }, from);
            line_ends = 0;
        }
        writer.character(c, at);
    }
    writer.end_word();
    writer.copy
}

struct Writer {
    copy: Folded,
    word: Vec<(char, usize)>,
    with_places: bool,
    fold: Fold,
}

impl Writer {
    fn character(&mut self, c: char, at: usize) {
        if c.is_ascii() {
            return self.folded(c.to_ascii_lowercase(), at);
        }
        for part in std::iter::once(c).nfkd().flat_map(char::to_lowercase) {
            if canonical_combining_class(part) == 0 {
                self.folded(part, at);
            }
        }
    }

    fn folded(&mut self, c: char, at: usize) {
        let part_of_word = c.is_alphanumeric() || (self.fold == Fold::Leet && matches!(c, '@' | '$' | '!'));
        if !part_of_word {
            self.end_word();
            return self.push(c, at);
        }
        self.word.push((c, at));
        if self.word.len() >= WORD_CHARS_MAX {
            self.end_word();
        }
    }

    fn blank(&mut self, c: char, at: usize) {
        self.end_word();
        self.push(c, at);
    }

    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        let latin = word.iter().any(|(c, _)| c.is_ascii_lowercase());
        let digits = latin && word.iter().any(|(c, _)| c.is_ascii_digit());
        self.copy.leet |= digits;
        for (c, at) in &word {
            let c = if latin { alike(*c) } else { *c };
            let c = if latin && self.fold == Fold::Leet { leet(c) } else { c };
            self.push(c, *at);
        }
        self.word = word;
        self.word.clear();
    }

    fn push(&mut self, c: char, at: usize) {
        self.copy.text.push(c);
        if self.with_places {
            self.copy.places.resize(self.copy.text.len(), at);
        }
    }
}

impl Folded {
    /// The part of `original` that a part of the copy came from; empty when places were not kept.
    pub(super) fn origin(&self, original: &str, start: usize, end: usize) -> (usize, usize) {
        let place = |at: usize| self.places.get(at).copied();
        let (Some(from), Some(last)) = (place(start), end.checked_sub(1).and_then(place)) else { return (0, 0) };
        let length = original[last..].chars().next().map_or(0, char::len_utf8);
        (from, last + length)
    }
}

/// The Latin letter that a Cyrillic or Greek one looks like.
fn alike(c: char) -> char {
    const FOREIGN: &str = "аеорсухіјѕһԁкмтнвԛԝαοεριντυκηχϲıɑɡ";
    const LATIN: &str = "aeopcyxijshdkmthbqwaoepivtuknxciag";
    if c.is_ascii() {
        return c;
    }
    FOREIGN.chars().zip(LATIN.chars()).find(|(foreign, _)| *foreign == c).map_or(c, |(_, latin)| latin)
}

fn leet(c: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        _ => c,
    }
}

/// Runs of single letters, `i g n o r e`, joined; one line each, perhaps with the last letter of
/// the word before. Empty when there are none.
pub(super) fn squashed(copy: &str) -> String {
    const LETTERS_MIN: usize = 10;
    let mut out = String::new();
    let mut run = String::new();
    let mut gap = 2;
    for c in copy.chars().chain(['\n']) {
        let joins = c.is_alphanumeric() && gap == 1;
        if joins {
            run.push(c);
            gap = 0;
        } else if !c.is_alphanumeric() && c != '\n' && gap == 0 {
            gap = 1;
        } else if c != ' ' || gap > 1 {
            if gap == 0 && c.is_alphanumeric() {
                // Two letters in a row: the last one belongs to a word.
                run.pop();
            }
            if run.chars().count() >= LETTERS_MIN {
                out.push_str(&run);
                out.push('\n');
            }
            run.clear();
            gap = 2;
            if c.is_alphanumeric() {
                run.push(c);
                gap = 0;
            }
        }
    }
    out
}
