//! Scans for invisible characters, and makes the folded copy of a text on which templates are matched.
//!
//! Promises that invisible characters are counted, that text smuggled in them is decoded (tag characters, runs of
//! variation selectors), and that the copy is free of case, width, accents, invisible characters and look-alike
//! letters. NFKC alone removes none of the invisible characters.

use super::mask::RuleMatch;
use unicode_normalization::{UnicodeNormalization, char::canonical_combining_class};

/// Longest word in characters that is folded as a whole. Longer words are folded in pieces.
const WORD_CHARS_MAX: usize = 64;
/// Most bytes of smuggled text that are decoded.
const SMUGGLED_BYTES_MAX: usize = 64 << 10;

/// Result of a scan for invisible characters.
#[derive(Default)]
pub(super) struct UnicodeScan {
    /// Number of invisible characters between ASCII letters or digits, where no script needs them.
    pub(super) invisible: u32,
    /// Number of tag characters outside a flag, and of variation selectors in runs.
    pub(super) carriers: u32,
    /// Text that the carriers encode.
    pub(super) smuggled: String,
}

/// Whether a character is invisible by itself.
pub(super) fn is_invisible(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF9..=0xFFFB
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// Scans every character once.
pub(super) fn scan(text: &str) -> UnicodeScan {
    let mut scan = UnicodeScan::default();
    if text.is_ascii() {
        return scan;
    }
    let mut smuggled = Vec::new();
    let (mut flag, mut before, mut selector_before) = (false, '\u{feff}', None);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next_plain = chars.peek().is_some_and(char::is_ascii_alphanumeric);
        if (0xE0000..=0xE007F).contains(&u32::from(c)) {
            if !flag {
                scan.carriers += 1;
                smuggled.extend(u8::try_from(u32::from(c) - 0xE0000).ok());
            }
            continue;
        }
        flag = c == '\u{1F3F4}';
        let selector = selector_byte(c);
        if let (Some(byte), Some(first)) = (selector, selector_before) {
            // One selector chooses the form of a character; a second one in a row has no function.
            if scan.carriers == 0 {
                smuggled.extend(first);
            }
            scan.carriers += 1;
            smuggled.push(byte);
            selector_before = Some(None);
        } else {
            selector_before = selector.map(Some);
        }
        if selector.is_none() && is_invisible(c) && c != '\u{AD}' && before.is_ascii_alphanumeric() && next_plain {
            scan.invisible += 1;
        }
        before = c;
    }
    smuggled.truncate(SMUGGLED_BYTES_MAX);
    scan.smuggled = String::from_utf8_lossy(&smuggled).into_owned();
    scan
}

/// Byte that a variation selector encodes in the smuggling scheme of 2025.
fn selector_byte(c: char) -> Option<u8> {
    match u32::from(c) {
        n @ 0xFE00..=0xFE0F => u8::try_from(n - 0xFE00).ok(),
        n @ 0xE0100..=0xE01EF => u8::try_from(n - 0xE0100 + 16).ok(),
        _ => None,
    }
}

/// Folded copy of a text, on which templates are matched.
#[derive(Default)]
pub(super) struct FoldedCopy {
    pub(super) text: String,
    /// Whether some word mixes letters with digits.
    pub(super) leet: bool,
}

/// What to fold in addition to case, width and accents.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum FoldLevel {
    Plain,
    /// Also folds `1gn0r3` to `ignore`.
    Leet,
}

/// Makes the folded copy, of at most twice the length. A run of whitespace becomes one space, or one line end if it
/// contains a blank line.
pub(super) fn folded_copy(text: &str, fold: FoldLevel) -> FoldedCopy {
    let mut copy = FoldedCopy::default();
    copy.text.reserve(text.len());
    let FoldedCopy { text: out, leet } = &mut copy;
    *leet = fold_into(text, fold, &mut |c, _| out.push(c));
    copy
}

/// Maps the positions of hits in the copy to those in the source text. The hits are in order and do not overlap. The
/// copy is made a second time for this, because a table with a position for each of its bytes would take eight times
/// its length.
pub(super) fn map_to_source(text: &str, fold: FoldLevel, hits: &mut [RuleMatch]) {
    let mut hits = hits.iter_mut();
    let Some(mut hit) = hits.next() else { return };
    let (mut at_copy, mut from, mut done) = (0, None, false);
    fold_into(text, fold, &mut |c, at| {
        let next = at_copy + c.len_utf8();
        if !done {
            if from.is_none() && next > hit.start() {
                from = Some(at);
            }
            if next >= hit.end() {
                let length = text[at..].chars().next().map_or(0, char::len_utf8);
                *hit = RuleMatch::new(hit.rule, from.take().unwrap_or(at), at + length);
                match hits.next() {
                    Some(other) => hit = other,
                    None => done = true,
                }
            }
        }
        at_copy = next;
    });
}

/// Calls `out` with each character of the copy and its position in the text. Returns whether some word mixes letters
/// with digits.
fn fold_into(text: &str, fold: FoldLevel, out: &mut dyn FnMut(char, usize)) -> bool {
    let mut writer = FoldWriter { out, word: Vec::new(), fold, leet: false };
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
    writer.leet
}

struct FoldWriter<'o> {
    out: &'o mut dyn FnMut(char, usize),
    word: Vec<(char, usize)>,
    fold: FoldLevel,
    leet: bool,
}

impl FoldWriter<'_> {
    fn character(&mut self, c: char, at: usize) {
        if c.is_ascii() {
            return self.folded(c.to_ascii_lowercase(), at);
        }
        // A character that expands to a whole phrase cannot be used to write an order letter by letter.
        let length: usize = std::iter::once(c).nfkd().map(char::len_utf8).sum();
        if length > 2 * c.len_utf8() {
            return self.folded(c, at);
        }
        for part in std::iter::once(c).nfkd().flat_map(char::to_lowercase) {
            if canonical_combining_class(part) == 0 {
                self.folded(part, at);
            }
        }
    }

    fn folded(&mut self, c: char, at: usize) {
        let part_of_word = c.is_alphanumeric() || (self.fold == FoldLevel::Leet && matches!(c, '@' | '$' | '!'));
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
        self.leet |= digits;
        for (c, at) in &word {
            let c = if latin { latin_lookalike(*c) } else { *c };
            let c = if latin && self.fold == FoldLevel::Leet { leet(c) } else { c };
            self.push(c, *at);
        }
        self.word = word;
        self.word.clear();
    }

    fn push(&mut self, c: char, at: usize) {
        (self.out)(c, at);
    }
}

/// Returns the Latin letter that a Cyrillic or Greek letter looks like.
fn latin_lookalike(c: char) -> char {
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

/// Joins runs of single letters such as `i g n o r e`. Returns one line for each run, perhaps with the last letter of
/// the word before it; empty if there are none.
pub(super) fn join_spaced_letters(copy: &str) -> String {
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
