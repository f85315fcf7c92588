//! One normal form of text for everything that compares words: NFKC with full case folding and without invisible
//! characters (Unicode's `NFKC_Casefold`), and the mapping from it back to the original text.
//!
//! Texts that read the same have the same form: composed and decomposed; wide, narrow and half-width; ligatures and
//! their letters; upper and lower case; with or without soft hyphens, word joiners and zero-width characters. Time and
//! memory are linear. It departs from the standard once: `İ` becomes a plain `i` unless the language says otherwise.

use unicode_normalization::{IsNormalized, UnicodeNormalization, char::canonical_combining_class, is_nfc_quick};

/// Rule for the lower case of the letter I.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Folding {
    /// `I` and `i` are one letter.
    #[default]
    Common,
    /// `I` is the upper case of `ı`, and `İ` that of `i`.
    Turkish,
}

/// A text in its normal form, with the offsets of its parts in the original.
#[derive(Clone, Debug)]
pub struct Folded {
    text: String,
    /// Points where the offset between both texts changes, in order. Empty if the two texts have equal offsets
    /// throughout.
    steps: Vec<OffsetStep>,
    /// Length of the original text, bytes.
    length: usize,
}

/// Offsets that hold from here up to the next step.
#[derive(Clone, Copy, Debug)]
struct OffsetStep {
    folded: u32,
    written: u32,
    /// Whether bytes correspond one to one. Otherwise all bytes up to the next step come from one piece of the
    /// original.
    even: bool,
}

impl Folded {
    /// Brings a text to its normal form.
    pub fn new(text: &str, folding: Folding) -> Self {
        if folding == Folding::Common && text.is_ascii() {
            return Self { text: text.to_ascii_lowercase(), steps: Vec::new(), length: text.len() };
        }
        let mut folder = Folder { out: String::with_capacity(text.len()), steps: Vec::new(), even: false, folding };
        // Only text between two boundaries composes, so the segments can be folded one by one.
        let mut start = 0;
        for (at, c) in text.char_indices() {
            if at > start && is_boundary(c) {
                folder.segment(&text[start..at], start);
                start = at;
            }
        }
        if start < text.len() {
            folder.segment(&text[start..], start);
        }
        Self { text: folder.out, steps: folder.steps, length: text.len() }
    }

    /// Text in its normal form.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Byte range of the original text that a part of the normal form came from. The original's indivisible pieces (a
    /// ligature, a letter with its marks) are never cut.
    pub fn original_range(&self, start: usize, end: usize) -> (usize, usize) {
        if self.steps.is_empty() {
            return (start, end);
        }
        // Within an uneven step no byte has a counterpart: the range covers the whole piece.
        let from = match self.step(start) {
            Some((_, step)) if step.even => step.written as usize + (start - step.folded as usize),
            Some((_, step)) => step.written as usize,
            None => start,
        };
        let to = match end.checked_sub(1).and_then(|last| self.step(last)) {
            Some((_, step)) if step.even => step.written as usize + (end - step.folded as usize),
            Some((n, _)) => self.steps.get(n + 1).map_or(self.length, |next| next.written as usize),
            None => end,
        };
        (from.min(self.length), to.clamp(from, self.length))
    }

    /// Wipes the text: it belongs to a customer, like its original.
    pub fn wipe(mut self) {
        zeroize::Zeroize::zeroize(&mut self.text);
    }

    /// Step that a byte of the normal form belongs to, with its index.
    fn step(&self, at: usize) -> Option<(usize, OffsetStep)> {
        let n = self.steps.partition_point(|step| step.folded as usize <= at).checked_sub(1)?;
        Some((n, *self.steps.get(n)?))
    }
}

/// Normal form of a text, without the offsets.
pub fn folded(text: &str, folding: Folding) -> String {
    Folded::new(text, folding).text
}

/// Whether a character is invisible and part of no word (Unicode's `Default_Ignorable_Code_Point`).
pub fn is_ignorable(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x34F | 0x61C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F | 0x200B..=0x200F
        | 0x202A..=0x202E | 0x2060..=0x206F | 0x3164 | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFF8
        | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF)
}

/// Whether a character composes with nothing before it, so that the text may be split in front of it.
fn is_boundary(c: char) -> bool {
    if c.is_ascii() || is_plain(c) || matches!(c, '\u{c0}'..='\u{2af}') {
        return true;
    }
    let first = std::iter::once(c).nfkd().next().unwrap_or(c);
    !is_ignorable(c)
        && canonical_combining_class(first) == 0
        && is_nfc_quick(std::iter::once(first)) == IsNormalized::Yes
}

/// Whether only case folding may change a letter: the common ones of Cyrillic, kana, Han and Hangul.
fn is_plain(c: char) -> bool {
    matches!(u32::from(c), 0x410..=0x44F | 0x3041..=0x3096 | 0x30A1..=0x30FA | 0x4E00..=0x9FFF | 0xAC00..=0xD7A3)
}

struct Folder {
    out: String,
    steps: Vec<OffsetStep>,
    /// Value of `even` in the last step.
    even: bool,
    folding: Folding,
}

impl Folder {
    /// Appends a piece that composes with nothing around it.
    fn segment(&mut self, segment: &str, at: usize) {
        let before = self.out.len();
        let mut chars = segment.chars();
        let single = chars.next().filter(|_| chars.next().is_none());
        match single {
            Some(c) if c.is_ascii() && self.folding == Folding::Common => self.out.push(c.to_ascii_lowercase()),
            Some(c) if is_plain(c) => self.out.extend(c.to_lowercase()),
            _ => self.normalise(segment),
        }
        let same = single.is_some() && self.out.len() - before == segment.len() && self.is_single(before);
        // One step covers a whole run of bytes whose offset does not change.
        let moved =
            |step: &OffsetStep| at.wrapping_sub(step.written as usize) != before.wrapping_sub(step.folded as usize);
        if !same || !self.even || self.steps.last().is_none_or(moved) {
            let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
            self.steps.push(OffsetStep { folded: small(before), written: small(at), even: same });
            self.even = same;
        }
    }

    /// Whether at most one character was appended since.
    fn is_single(&self, before: usize) -> bool {
        self.out.get(before..).is_some_and(|added| added.chars().nth(1).is_none())
    }

    fn normalise(&mut self, segment: &str) {
        let kept = segment.chars().filter(|c| !is_ignorable(*c));
        match self.folding {
            Folding::Common => self.compose(kept.nfkd()),
            Folding::Turkish => {
                let letter = |c: char| match c {
                    'I' => 'ı',
                    'İ' => 'i',
                    c => c,
                };
                self.compose(kept.nfkc().map(letter).nfd());
            }
        }
    }

    fn compose(&mut self, decomposed: impl Iterator<Item = char>) {
        let mut last = '\0';
        // A combining dot above an i belongs to the i.
        let dotless = decomposed.flat_map(folded_char).filter(move |c| {
            let dot = *c == '\u{307}' && last == 'i';
            last = *c;
            !dot && !is_ignorable(*c)
        });
        self.out.extend(dotless.nfc());
    }
}

/// Full case folding of one character: the lower case of its upper case, so that `ß` becomes `ss` and both sigmas
/// become one.
fn folded_char(c: char) -> impl Iterator<Item = char> {
    let keeps = c == 'ı';
    let kept = keeps.then_some(c).into_iter();
    let folded = (!keeps).then(|| c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase));
    kept.chain(folded.into_iter().flatten()).map(|c| if c == 'ς' { 'σ' } else { c })
}

#[cfg(test)]
mod tests;
