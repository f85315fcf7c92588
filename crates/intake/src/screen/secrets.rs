//! Finds credentials with a recognisable form, and values that are assigned to a name such as `password`.
//!
//! Expressions work on bytes without Unicode classes, so that the automaton never falls back to a slow engine on
//! non-ASCII text.

use super::{checks, mask::RuleMatch, rules, rules::Rule};
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::sync::LazyLock;

/// Longest private key block in bytes that a mask removes.
const KEY_BLOCK_BYTES_MAX: usize = 64 << 10;

/// Adds every hit in `text`.
pub(super) fn find(text: &str, hits: &mut Vec<RuleMatch>) {
    let bytes = text.as_bytes();
    for (rule, regex) in RULES.iter() {
        kernel::yield_to_others(bytes.len() as u64);
        for found in regex.find_iter(bytes) {
            hits.push(RuleMatch::new(rule, found.start(), found.end()));
        }
    }
    let mut blocks = KeyBlocks::new(bytes);
    for found in KEY_BLOCK.find_iter(bytes) {
        hits.push(RuleMatch::new(&rules::PRIVATE_KEY, found.start(), blocks.end(found.end())));
    }
    hits.extend(ASSIGNED.captures_iter(bytes).filter_map(|found| assigned(&found)));
    // A token inside an assignment or a key block is counted once, because overlapping hits are merged later.
}

/// Finds the ends of private key blocks. Callers ask in the order of the text, and no byte is scanned again for the
/// next block, because a text may begin thousands of blocks and end none.
struct KeyBlocks<'a> {
    bytes: &'a [u8],
    /// Offset of the first END line at or after the last position asked for; the length of the text if there is none.
    end_line: usize,
    /// Offset of the first byte after the last position asked for that cannot be part of a key.
    outside: usize,
    /// Bytes scanned, for tests.
    bytes_scanned: usize,
}

impl<'a> KeyBlocks<'a> {
    const END: &'static [u8] = b"-----END";

    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, end_line: 0, outside: 0, bytes_scanned: 0 }
    }

    /// Returns the end of the block whose first line ends at `from`: after its END line, or after the last of its
    /// lines.
    fn end(&mut self, from: usize) -> usize {
        let most = self.bytes.len().min(from + KEY_BLOCK_BYTES_MAX);
        if self.end_line < from {
            let rest = &self.bytes[from..];
            let found = rest.windows(Self::END.len()).position(|w| w == Self::END);
            self.end_line = found.map_or(self.bytes.len(), |at| from + at);
            self.bytes_scanned += found.unwrap_or(rest.len());
        }
        if self.end_line + Self::END.len() <= most {
            let after = self.end_line + Self::END.len();
            let tail = &self.bytes[after..most];
            return after + tail.windows(5).take(80).position(|w| w == b"-----").map_or(0, |n| n + 5);
        }
        if self.outside < from {
            let inside = |b: &u8| b.is_ascii_alphanumeric() || b"+/=\n\\:,- ".contains(b);
            self.outside = from + self.bytes[from..].iter().take_while(|b| inside(b)).count();
            self.bytes_scanned += self.outside - from;
        }
        self.outside.min(most)
    }
}

/// Returns a hit if an assigned value is long, mixed and random enough to be a credential rather than a word or a
/// placeholder.
fn assigned(found: &Captures<'_>) -> Option<RuleMatch> {
    let value = found.get(1)?;
    let bytes = value.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let mixed = digits >= 2 && letters >= 4 && checks::entropy(bytes) >= 3.4;
    mixed.then(|| RuleMatch::new(&rules::ASSIGNED, value.start(), value.end()))
}

fn compile(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).build().expect("the table's expressions are tested")
}

static KEY_BLOCK: LazyLock<Regex> =
    LazyLock::new(|| compile(r"-----BEGIN (?:[A-Z0-9]{2,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----"));

static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
    compile(concat!(
        r"(?i)(?:api[_ -]?key|apikey|secret[_ -]?key|access[_ -]?key|client[_ -]?secret|auth[_ -]?token|access[_ -]?token|",
        r"secret[_ -]?access[_ -]?key|password|passwd|bearer|secret|token)",
        r#"["'`]?[ \t]{0,4}(?:=>|:=|=|:| )[ \t]{0,4}["'`]?([a-z0-9_./+~=-]{16,200})"#,
    ))
});

static RULES: LazyLock<Vec<(&'static Rule, Regex)>> =
    LazyLock::new(|| TABLE.iter().map(|(rule, pattern)| (*rule, compile(pattern))).collect());

const TABLE: &[(&Rule, &str)] = &[
    (&rules::AWS_KEY, r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    (&rules::GITHUB_TOKEN, r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
    (&rules::SLACK_TOKEN, r"\b(?:xox[abeoprs]-[A-Za-z0-9-]{10,250}|xapp-[0-9]-[A-Za-z0-9-]{10,250})"),
    (&rules::GOOGLE_KEY, r"\bAIza[A-Za-z0-9_-]{35}"),
    (&rules::STRIPE_KEY, r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,250}\b"),
    (
        &rules::MODEL_KEY,
        r"\bsk-(?:proj-|ant-|svcacct-)[A-Za-z0-9_-]{20,250}|\bsk-[A-Za-z0-9]{32,64}\b|\bhf_[A-Za-z0-9]{30,60}\b",
    ),
    (&rules::JWT, r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}"),
    (&rules::RINGFENCE_TOKEN, r"\b(?:rf|rfop)_[A-Za-z0-9]{50}\b"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_blocks_that_never_end_are_looked_at_once() {
        for unit in
            ["-----BEGIN PRIVATE KEY-----", "-----BEGIN PRIVATE KEY-----!", "-----BEGIN PRIVATE KEY-----\n-----EN"]
        {
            let text = unit.repeat(5_000);
            let mut blocks = KeyBlocks::new(text.as_bytes());
            for found in KEY_BLOCK.find_iter(text.as_bytes()) {
                let end = blocks.end(found.end());
                assert!(end >= found.end() && end <= text.len());
            }
            assert!(blocks.bytes_scanned <= 2 * text.len(), "{unit:?}: {} of {}", blocks.bytes_scanned, text.len());
        }
    }

    #[test]
    fn a_key_block_is_covered_to_its_end() {
        let covered = |text: &str| {
            let mut hits = Vec::new();
            find(text, &mut hits);
            let keys = hits.iter().filter(|hit| hit.rule.name == rules::PRIVATE_KEY.name);
            keys.map(|hit| text[hit.start()..hit.end()].to_owned()).collect::<Vec<_>>()
        };
        let key = "-----BEGIN RSA PRIVATE KEY-----\nabc+/=\n-----END RSA PRIVATE KEY-----";
        assert_eq!(covered(&format!("a {key} b {key}!")), [key, key]);
        assert_eq!(covered("x -----BEGIN PRIVATE KEY-----\nabc=\n. tail"), ["-----BEGIN PRIVATE KEY-----\nabc=\n"]);
    }
}
