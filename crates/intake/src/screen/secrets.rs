//! Credentials with a form of their own, and values that are assigned to a name that says so.
//!
//! Expressions work on bytes without Unicode classes, so the automaton never falls back to a slow
//! engine on foreign text.

use super::{checks, mask::Hit, rules, rules::Rule};
use regex::bytes::{Captures, Regex, RegexBuilder};
use std::sync::LazyLock;

/// Longest private key block that a mask removes, bytes.
const KEY_BLOCK_BYTES_MAX: usize = 64 << 10;

/// Adds every hit in `text`.
pub(super) fn find(text: &str, hits: &mut Vec<Hit>) {
    let bytes = text.as_bytes();
    for (rule, regex) in RULES.iter() {
        for found in regex.find_iter(bytes) {
            hits.push(Hit { rule, start: found.start(), end: found.end() });
        }
    }
    for found in KEY_BLOCK.find_iter(bytes) {
        hits.push(Hit { rule: &rules::PRIVATE_KEY, start: found.start(), end: key_block_end(bytes, found.end()) });
    }
    hits.extend(ASSIGNED.captures_iter(bytes).filter_map(|found| assigned(&found)));
    // A token inside an assignment or a key block is counted once; the screens keep hits apart.
}

/// End of the block that starts before `from`: after its END line, or after the last of its lines.
fn key_block_end(bytes: &[u8], from: usize) -> usize {
    let body = &bytes[from..bytes.len().min(from + KEY_BLOCK_BYTES_MAX)];
    if let Some(mark) = body.windows(8).position(|w| w == b"-----END") {
        let tail = &body[mark + 8..];
        let dashes = tail.windows(5).take(80).position(|w| w == b"-----").map_or(0, |n| n + 5);
        return from + mark + 8 + dashes;
    }
    let inside = |b: &u8| b.is_ascii_alphanumeric() || b"+/=\n\\:,- ".contains(b);
    from + body.iter().take_while(|b| inside(b)).count()
}

/// Long, mixed and without a pattern: a value rather than a word or a placeholder.
fn assigned(found: &Captures<'_>) -> Option<Hit> {
    let value = found.get(1)?;
    let bytes = value.as_bytes();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    let letters = bytes.iter().filter(|b| b.is_ascii_alphabetic()).count();
    let mixed = digits >= 2 && letters >= 4 && checks::entropy(bytes) >= 3.4;
    mixed.then(|| Hit { rule: &rules::ASSIGNED, start: value.start(), end: value.end() })
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
