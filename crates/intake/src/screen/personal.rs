//! Personal data with a form of its own: mail addresses, payment cards, IBANs, US social security
//! and phone numbers. Names and street addresses are beyond rules, and are not promised.
//!
//! Works on bytes in one direction with bounded look-back, so time is linear on any input.

use super::{checks, mask::Hit, rules};

/// Adds every hit in `text`.
pub(super) fn find(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let (next, hit) = match bytes[at] {
            b'@' => email(text, at),
            b'0'..=b'9' | b'+' | b'(' if starts_number(bytes, at) => numbers(bytes, at, hits),
            b'A'..=b'Z' | b'a'..=b'z' if !at.checked_sub(1).is_some_and(|b| bytes[b].is_ascii_alphanumeric()) => {
                iban(bytes, at)
            }
            _ => (at + 1, None),
        };
        hits.extend(hit);
        let next = next.max(at + 1);
        kernel::give_way((next - at) as u64);
        at = next;
    }
}

type Step = (usize, Option<Hit>);

/// A mail address around the `@` at `at` (RFC 5321's lengths, a dotted domain). Letters of the
/// alphabets below U+0590 count; scripts written without spaces would drag whole sentences in.
fn email(text: &str, at: usize) -> Step {
    let letter = |c: char| c.is_alphanumeric() && u32::from(c) < 0x590;
    let local = |c: char| letter(c) || "._%+-'#$!~^{}*".contains(c);
    let before: usize = text[..at].chars().rev().take(256).take_while(|c| local(*c)).map(char::len_utf8).sum();
    // A quote or a full stop in front is punctuation.
    let name = text[at - before..at].trim_start_matches(|c: char| !letter(c) && c != '_' && c != '+');
    let rest = &text[at + 1..];
    let after = rest.chars().take(255).take_while(|c| letter(*c) || "-.".contains(*c)).map(char::len_utf8).sum();
    let host = rest[..after].trim_end_matches(['-', '.']);
    if (1..=64).contains(&name.len()) && !name.ends_with('.') && domain(host) {
        let end = at + 1 + host.len();
        (end, Some(Hit::new(&rules::EMAIL, at - name.len(), end)))
    } else {
        (at + 1, None)
    }
}

fn domain(host: &str) -> bool {
    let label = |l: &str| (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-');
    let top = host.rsplit_once('.').map_or("", |(_, top)| top);
    (2..=24).contains(&top.len()) && top.chars().all(char::is_alphabetic) && host.split('.').all(label)
}

/// Whether a number may start here: not in the middle of a word or of a longer number.
fn starts_number(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|b| bytes[b]);
    !before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Digits of a run with where each stands. A run ends at what no written number contains.
const RUN_DIGITS_MAX: usize = 40;

/// Cards, social security and phone numbers among the digit groups that start at `at`.
fn numbers(bytes: &[u8], at: usize, hits: &mut Vec<Hit>) -> Step {
    let run = Run::read(bytes, at);
    if run.digits.len() < 7 {
        return (run.end, None);
    }
    if bytes.get(run.end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        // 4111abc, a hash, a UUID: no number of a person.
        return (run.end, None);
    }
    let before = hits.len();
    let mut group = 0;
    while group < run.groups.len() {
        match run.card(bytes, group) {
            Some((hit, next)) => {
                hits.push(hit);
                group = next;
            }
            None => group += 1,
        }
    }
    if hits.len() == before {
        hits.extend(run.us_ssn(bytes).or_else(|| run.phone(bytes)));
    }
    (run.end, None)
}

/// Groups of digits with single separators between them.
struct Run {
    digits: Vec<u8>,
    /// Where each digit stands.
    places: Vec<usize>,
    /// First digit of each group, as an index into `digits`.
    groups: Vec<usize>,
    start: usize,
    end: usize,
    plus: bool,
}

impl Run {
    fn read(bytes: &[u8], start: usize) -> Self {
        let plus = bytes[start] == b'+';
        let mut run = Run { digits: vec![], places: vec![], groups: vec![], start, end: start + 1, plus };
        let (mut at, mut gap) = (start, 1_usize);
        while at < bytes.len() && run.digits.len() < RUN_DIGITS_MAX {
            let byte = bytes[at];
            if byte.is_ascii_digit() {
                if gap > 0 {
                    run.groups.push(run.digits.len());
                }
                gap = 0;
                run.digits.push(byte);
                run.places.push(at);
                run.end = at + 1;
            } else if gap < 2 && b" -.()/".contains(&byte) || at == start {
                gap += 1;
            } else {
                break;
            }
            at += 1;
        }
        // All of a longer run of digits is passed at once, so that no part of it is taken for a number.
        while run.end < bytes.len() && run.digits.len() == RUN_DIGITS_MAX && bytes[run.end].is_ascii_digit() {
            run.end += 1;
        }
        run
    }

    /// A card that starts with group `from`, and the group after it.
    fn card(&self, bytes: &[u8], from: usize) -> Option<(Hit, usize)> {
        let first = self.groups[from];
        let called = named(bytes, self.places[first], &[b"card", b"credit", b"debit", b"cc "]);
        (from..self.groups.len()).rev().find_map(|last| {
            let end = self.groups.get(last + 1).copied().unwrap_or(self.digits.len());
            let evenly = last == from || self.groups[from + 1..=last].windows(2).all(|g| g[1] - g[0] >= 3);
            let hit = Hit::new(&rules::CARD, self.places[first], self.places[end - 1] + 1);
            let spread = hit.end() - hit.start() <= (end - first) + (last - from);
            (evenly && spread && checks::card(&self.digits[first..end], called)).then_some((hit, last + 1))
        })
    }

    fn shape(&self) -> Vec<usize> {
        let ends = self.groups.iter().skip(1).copied().chain([self.digits.len()]);
        self.groups.iter().zip(ends).map(|(from, to)| to - from).collect()
    }

    /// `123-45-6789`; with spaces or without separators only where the words before say so.
    fn us_ssn(&self, bytes: &[u8]) -> Option<Hit> {
        let shape = self.shape();
        let dashed = shape == [3, 2, 4] && bytes[self.places[2] + 1] == b'-' && bytes[self.places[4] + 1] == b'-';
        let loose = (shape == [3, 2, 4] || shape == [9]) && named(bytes, self.start, &[b"ssn", b"social security"]);
        if self.plus || !(dashed || loose) {
            return None;
        }
        let number = |part: &[u8]| part.iter().fold(0_u32, |all, d| all * 10 + u32::from(d - b'0'));
        let d = &self.digits;
        checks::us_ssn(number(&d[..3]), number(&d[3..5]), number(&d[5..]))
            .then(|| Hit::new(&rules::US_SSN, self.places[0], self.end))
    }

    /// `+` with a country's digits, the North American forms with separators, or seven digits and
    /// more that the words before call a phone number.
    fn phone(&self, bytes: &[u8]) -> Option<Hit> {
        let (d, shape) = (&self.digits, self.shape());
        let national = match shape.as_slice() {
            [1, 3, 3, 4] if d[0] == b'1' => &d[1..],
            [3, 3, 4] => &d[..],
            _ => &[],
        };
        let dotted = bytes[self.start..self.end].iter().filter(|b| **b == b'.').count();
        let american = national.len() == 10 && national[0] >= b'2' && national[3] >= b'2';
        let international = self.plus && (8..=15).contains(&d.len()) && d[0] != b'0';
        let words: &[&[u8]] = &[b"phone", b"mobile", b"tel", b"fax", b"hotline", b"call me"];
        let called = (7..=15).contains(&d.len()) && dotted != 1 && named(bytes, self.start, words);
        let start = if bytes[self.start] == b'(' || self.plus { self.start } else { self.places[0] };
        (american || international || called).then_some(Hit::new(&rules::PHONE, start, self.end))
    }
}

/// Whether a word that starts with one of these, in lower case, stands in the 32 bytes before.
fn named(bytes: &[u8], at: usize, words: &[&[u8]]) -> bool {
    let near = bytes[at.saturating_sub(32)..at].to_ascii_lowercase();
    let starts = |n: usize| n == 0 || !near[n - 1].is_ascii_alphabetic();
    (0..near.len()).any(|n| starts(n) && words.iter().any(|word| near[n..].starts_with(word)))
}

/// An IBAN whose country code starts at `at`: registered length, single spaces, mod 97.
fn iban(bytes: &[u8], at: usize) -> Step {
    let none = (at + 1, None);
    let Some(head) = bytes.get(at..at + 4) else { return none };
    if !head[2].is_ascii_digit() || !head[3].is_ascii_digit() {
        return none;
    }
    let country = [head[0].to_ascii_uppercase(), head[1].to_ascii_uppercase()];
    let Some(length) = checks::iban_length(country) else { return none };
    let (mut compact, mut end) = (Vec::with_capacity(34), at);
    while end < bytes.len() && compact.len() < length {
        match bytes[end] {
            b if b.is_ascii_alphanumeric() => compact.push(b),
            b' ' | b'-' if bytes[end - 1].is_ascii_alphanumeric() => {}
            _ => break,
        }
        end += 1;
    }
    let ends = !bytes.get(end).is_some_and(u8::is_ascii_alphanumeric);
    let valid = compact.len() == length && ends && checks::iban(&compact);
    if valid { (end, Some(Hit::new(&rules::IBAN, at, end))) } else { none }
}
