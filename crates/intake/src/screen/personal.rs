//! Finds personal data with a recognisable form: mail addresses, payment cards, IBANs, US social security and phone
//! numbers. Rules cannot find names and street addresses, so these are not promised.
//!
//! Works on bytes in one direction with bounded look-back, so the time is linear on any input.

use super::{checks, mask::RuleMatch, rules};

/// Adds every hit in `text`.
pub(super) fn find(text: &str, hits: &mut Vec<RuleMatch>) {
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
        kernel::yield_to_others((next - at) as u64);
        at = next;
    }
}

type ScanStep = (usize, Option<RuleMatch>);

/// Finds a mail address around the `@` at `at`, with the lengths of RFC 5321 and a dotted domain. Only letters below
/// U+0590 count, because scripts written without spaces would include whole sentences.
fn email(text: &str, at: usize) -> ScanStep {
    let letter = |c: char| c.is_alphanumeric() && u32::from(c) < 0x590;
    let local = |c: char| letter(c) || "._%+-'#$!~^{}*".contains(c);
    let before: usize = text[..at].chars().rev().take(256).take_while(|c| local(*c)).map(char::len_utf8).sum();
    // A leading quote or full stop is punctuation.
    let name = text[at - before..at].trim_start_matches(|c: char| !letter(c) && c != '_' && c != '+');
    let rest = &text[at + 1..];
    let after = rest.chars().take(255).take_while(|c| letter(*c) || "-.".contains(*c)).map(char::len_utf8).sum();
    let host = rest[..after].trim_end_matches(['-', '.']);
    if (1..=64).contains(&name.len()) && !name.ends_with('.') && domain(host) {
        let end = at + 1 + host.len();
        (end, Some(RuleMatch::new(&rules::EMAIL, at - name.len(), end)))
    } else {
        (at + 1, None)
    }
}

fn domain(host: &str) -> bool {
    let label = |l: &str| (1..=63).contains(&l.len()) && !l.starts_with('-') && !l.ends_with('-');
    let top = host.rsplit_once('.').map_or("", |(_, top)| top);
    (2..=24).contains(&top.len()) && top.chars().all(char::is_alphabetic) && host.split('.').all(label)
}

/// Whether a number may start here, which is not so inside a word or a longer number.
fn starts_number(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|b| bytes[b]);
    !before.is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Most digits that are read as one run.
const RUN_DIGITS_MAX: usize = 40;

/// Finds cards, social security and phone numbers among the digit groups that start at `at`.
fn numbers(bytes: &[u8], at: usize, hits: &mut Vec<RuleMatch>) -> ScanStep {
    let run = DigitRun::read(bytes, at);
    if run.digits.len() < 7 {
        return (run.end, None);
    }
    if bytes.get(run.end).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_') {
        // It is part of `4111abc`, a hash or a UUID, and so no personal number.
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

/// Groups of digits with one or two separators between them. A run ends at a byte that no written number contains.
struct DigitRun {
    digits: Vec<u8>,
    /// Position of each digit in the text.
    positions: Vec<usize>,
    /// First digit of each group, as an index into `digits`.
    groups: Vec<usize>,
    start: usize,
    end: usize,
    plus: bool,
}

impl DigitRun {
    fn read(bytes: &[u8], start: usize) -> Self {
        let plus = bytes[start] == b'+';
        let mut run = DigitRun { digits: vec![], positions: vec![], groups: vec![], start, end: start + 1, plus };
        let (mut at, mut gap) = (start, 1_usize);
        while at < bytes.len() && run.digits.len() < RUN_DIGITS_MAX {
            let byte = bytes[at];
            if byte.is_ascii_digit() {
                if gap > 0 {
                    run.groups.push(run.digits.len());
                }
                gap = 0;
                run.digits.push(byte);
                run.positions.push(at);
                run.end = at + 1;
            } else if gap < 2 && b" -.()/".contains(&byte) || at == start {
                gap += 1;
            } else {
                break;
            }
            at += 1;
        }
        // The rest of a longer run of digits is skipped, so that no part of it is taken for a number.
        while run.end < bytes.len() && run.digits.len() == RUN_DIGITS_MAX && bytes[run.end].is_ascii_digit() {
            run.end += 1;
        }
        run
    }

    /// Finds a card number that starts with group `from`. Returns it and the index of the group after it.
    fn card(&self, bytes: &[u8], from: usize) -> Option<(RuleMatch, usize)> {
        let first = self.groups[from];
        let called = is_preceded_by(bytes, self.positions[first], &[b"card", b"credit", b"debit", b"cc "]);
        (from..self.groups.len()).rev().find_map(|last| {
            let end = self.groups.get(last + 1).copied().unwrap_or(self.digits.len());
            let evenly = last == from || self.groups[from + 1..=last].windows(2).all(|g| g[1] - g[0] >= 3);
            let hit = RuleMatch::new(&rules::CARD, self.positions[first], self.positions[end - 1] + 1);
            let spread = hit.end() - hit.start() <= (end - first) + (last - from);
            (evenly && spread && checks::card(&self.digits[first..end], called)).then_some((hit, last + 1))
        })
    }

    fn shape(&self) -> Vec<usize> {
        let ends = self.groups.iter().skip(1).copied().chain([self.digits.len()]);
        self.groups.iter().zip(ends).map(|(from, to)| to - from).collect()
    }

    /// Finds a social security number such as `123-45-6789`. One with spaces or without separators must follow words
    /// that announce it.
    fn us_ssn(&self, bytes: &[u8]) -> Option<RuleMatch> {
        let shape = self.shape();
        let dashed = shape == [3, 2, 4] && bytes[self.positions[2] + 1] == b'-' && bytes[self.positions[4] + 1] == b'-';
        let loose =
            (shape == [3, 2, 4] || shape == [9]) && is_preceded_by(bytes, self.start, &[b"ssn", b"social security"]);
        if self.plus || !(dashed || loose) {
            return None;
        }
        let number = |part: &[u8]| part.iter().fold(0_u32, |all, d| all * 10 + u32::from(d - b'0'));
        let d = &self.digits;
        checks::us_ssn(number(&d[..3]), number(&d[3..5]), number(&d[5..]))
            .then(|| RuleMatch::new(&rules::US_SSN, self.positions[0], self.end))
    }

    /// Finds a phone number: `+` with a country code, a North American form with separators, or at least seven digits
    /// after a word such as "phone".
    fn phone(&self, bytes: &[u8]) -> Option<RuleMatch> {
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
        let called = (7..=15).contains(&d.len()) && dotted != 1 && is_preceded_by(bytes, self.start, words);
        let start = if bytes[self.start] == b'(' || self.plus { self.start } else { self.positions[0] };
        (american || international || called).then_some(RuleMatch::new(&rules::PHONE, start, self.end))
    }
}

/// Whether the 32 bytes before `at` contain a word that starts with one of these lower-case words.
fn is_preceded_by(bytes: &[u8], at: usize, words: &[&[u8]]) -> bool {
    let near = bytes[at.saturating_sub(32)..at].to_ascii_lowercase();
    let starts = |n: usize| n == 0 || !near[n - 1].is_ascii_alphabetic();
    (0..near.len()).any(|n| starts(n) && words.iter().any(|word| near[n..].starts_with(word)))
}

/// Finds an IBAN whose country code starts at `at`: it has the registered length, single separators, and passes mod 97.
fn iban(bytes: &[u8], at: usize) -> ScanStep {
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
    if valid { (end, Some(RuleMatch::new(&rules::IBAN, at, end))) } else { none }
}
