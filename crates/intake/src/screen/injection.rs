//! Finds text that tries to instruct a model: templates are matched on the folded copy, then text is searched that
//! obfuscation, invisible characters or an encoding hide. Each takes one pass, and every layer reports under a rule of
//! its own.

use super::{
    Stream, encoded,
    mask::RuleMatch,
    phrases::{HIDDEN_ORDER, PATTERNS, PHRASES},
    rules::{self, Rule},
    unicode::{self, FoldLevel, FoldedCopy},
};
use crate::parse::HiddenKind;
use aho_corasick::{AhoCorasick, MatchKind};
use kernel::Severity;
use regex::bytes::{Regex, RegexBuilder};
use std::sync::LazyLock;

/// Invisible characters inside words from which on they are a finding.
const INVISIBLE_MIN: u32 = 3;
/// Tag or selector characters from which on they are a finding.
const CARRIERS_MIN: u32 = 4;

/// Finds every hit in `text`. Hits have positions in the text only if `mapped`.
pub(super) fn find(text: &str, stream: Stream, mapped: bool) -> Vec<RuleMatch> {
    let copy = unicode::folded_copy(text, FoldLevel::Plain);
    let mut hits = templates(&copy);
    let known = hits.iter().filter(|hit| hit.rule.severity == Severity::High).count();
    if mapped {
        unicode::map_to_source(text, FoldLevel::Plain, &mut hits);
    } else {
        clear_positions(&mut hits);
    }
    if copy.leet {
        let mut grave = templates(&unicode::folded_copy(text, FoldLevel::Leet));
        grave.retain(|hit| hit.rule.severity == Severity::High);
        // This copy also contains the hits of the plain copy, so only the surplus is new.
        grave.drain(..known.min(grave.len()));
        if mapped {
            unicode::map_to_source(text, FoldLevel::Leet, &mut grave);
        } else {
            clear_positions(&mut grave);
        }
        hits.extend(grave.into_iter().map(|hit| RuleMatch::new(&rules::OBFUSCATED, hit.start(), hit.end())));
    }
    spaced_letter_hits(&copy, &mut hits);
    unicode_hits(text, &mut hits);
    for blob in encoded::blobs(text) {
        kernel::yield_to_others((blob.end - blob.start) as u64);
        if is_order(&blob.text) {
            hits.push(RuleMatch::new(&rules::ENCODED, blob.start, blob.end));
        }
    }
    match stream {
        Stream::Visible | Stream::Field => {}
        Stream::Hidden(kind) => hidden(kind, &copy, &mut hits),
    }
    hits
}

/// Removes positions, because those in the copy are not valid in the text.
fn clear_positions(hits: &mut [RuleMatch]) {
    hits.iter_mut().for_each(|hit| *hit = RuleMatch::without_position(hit.rule));
}

/// Matches phrases and expressions on the folded copy. The hits are in order, do not overlap, and have positions in the
/// copy.
fn templates(copy: &FoldedCopy) -> Vec<RuleMatch> {
    let bytes = copy.text.as_bytes();
    let mut hits: Vec<RuleMatch> = Vec::new();
    for found in MATCHERS.phrases.find_iter(bytes) {
        if is_word_bounded(bytes, found.start(), found.end()) {
            let rule = contextual_rule(MATCHERS.rules[found.pattern().as_usize()], bytes, found.end());
            hits.push(RuleMatch::new(rule, found.start(), found.end()));
        }
    }
    for (rule, regex) in &MATCHERS.patterns {
        kernel::yield_to_others(bytes.len() as u64);
        let one = |found: regex::bytes::Match<'_>| {
            RuleMatch::new(contextual_rule(rule, bytes, found.end()), found.start(), found.end())
        };
        hits.extend(regex.find_iter(bytes).map(one));
    }
    // Overlapping hits are merged into one with the most severe rule, so that each stretch counts once.
    hits.sort_by_key(|hit| (hit.start(), std::cmp::Reverse(hit.rule.severity), std::cmp::Reverse(hit.end())));
    hits.dedup_by(|hit, last| {
        let overlaps = hit.start() < last.end();
        if overlaps {
            let rule = if hit.rule.severity > last.rule.severity { hit.rule } else { last.rule };
            *last = RuleMatch::new(rule, last.start(), last.end().max(hit.end()));
        }
        overlaps
    });
    hits
}

/// Lowers an override to a weak one by the words after it: "previous instructions that forbid smoking" are those of
/// some text, whereas those "that you got" or "that bind you" are the model's.
fn contextual_rule(rule: &'static Rule, bytes: &[u8], end: usize) -> &'static Rule {
    let after = &bytes[end..bytes.len().min(end + 60)];
    let restricted = after.starts_with(b" that ") || after.starts_with(b" which ");
    let to_model = after.windows(4).any(|w| w == b" you");
    if rule.name == rules::OVERRIDE.name && restricted && !to_model { &rules::WEAK_OVERRIDE } else { rule }
}

/// Whether a match is not inside a longer Latin word.
fn is_word_bounded(bytes: &[u8], start: usize, end: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let continues = |edge: usize, beyond: Option<usize>| word(Some(edge)) && word(beyond);
    !continues(start, start.checked_sub(1)) && !continues(end - 1, Some(end))
}

/// Finds phrases whose letters are separated by spaces or punctuation.
fn spaced_letter_hits(copy: &FoldedCopy, hits: &mut Vec<RuleMatch>) {
    let joined = unicode::join_spaced_letters(&copy.text);
    if !joined.is_empty() {
        let found = MATCHERS.unspaced.find_iter(joined.as_bytes()).count();
        hits.extend((0..found).map(|_| RuleMatch::without_position(&rules::OBFUSCATED)));
    }
}

/// Finds invisible characters and the text that they encode.
fn unicode_hits(text: &str, hits: &mut Vec<RuleMatch>) {
    let scan = unicode::scan(text);
    let mut note = |rule| hits.push(RuleMatch::without_position(rule));
    if scan.carriers >= CARRIERS_MIN {
        note(if is_order(&scan.smuggled) { &rules::SMUGGLED } else { &rules::UNICODE_TAGS });
    }
    if scan.invisible >= INVISIBLE_MIN {
        note(&rules::INVISIBLE);
    }
}

/// Whether text that was hidden in an encoding is an order to a model.
fn is_order(text: &str) -> bool {
    let copy = unicode::folded_copy(text, FoldLevel::Plain);
    let ordered = MATCHERS.hidden_order.iter().any(|regex| regex.is_match(copy.text.as_bytes()));
    ordered || templates(&copy).iter().any(|hit| hit.rule.severity >= Severity::Medium)
}

/// Applies the stricter rules for hidden text.
fn hidden(kind: HiddenKind, copy: &FoldedCopy, hits: &mut Vec<RuleMatch>) {
    let bytes = copy.text.as_bytes();
    let strict = match kind {
        HiddenKind::Concealed | HiddenKind::Label => {
            hits.iter().any(|hit| hit.rule.severity >= Severity::Medium)
                || MATCHERS.hidden_order.iter().any(|regex| regex.is_match(bytes))
        }
        HiddenKind::Script | HiddenKind::Link | HiddenKind::Image => false,
    };
    let link = match kind {
        HiddenKind::Link | HiddenKind::Image if ACTIVE.iter().any(|scheme| copy.text.starts_with(scheme)) => {
            Some(&rules::ACTIVE_LINK)
        }
        HiddenKind::Image if MATCHERS.placeholder.is_match(bytes) => Some(&rules::EXFILTRATION),
        _ => None,
    };
    let rule = link.or(strict.then_some(&rules::HIDDEN));
    hits.extend(rule.map(RuleMatch::without_position));
}

/// URL schemes that run code when followed.
const ACTIVE: [&str; 3] = ["javascript:", "vbscript:", "data:text/html"];

struct Matchers {
    phrases: AhoCorasick,
    rules: Vec<&'static Rule>,
    unspaced: AhoCorasick,
    patterns: Vec<(&'static Rule, Regex)>,
    hidden_order: Vec<Regex>,
    placeholder: Regex,
}

static MATCHERS: LazyLock<Matchers> = LazyLock::new(Matchers::build);

impl Matchers {
    fn build() -> Self {
        let all = || PHRASES.iter().flat_map(|(rule, list)| list.iter().map(move |phrase| (*rule, *phrase)));
        let folded: Vec<String> =
            all().map(|(_, phrase)| unicode::folded_copy(phrase, FoldLevel::Plain).text).collect();
        let grave = all().filter(|(rule, _)| rule.severity == Severity::High);
        let solid: Vec<String> = grave
            .map(|(_, phrase)| {
                unicode::folded_copy(phrase, FoldLevel::Plain).text.chars().filter(|c| c.is_alphanumeric()).collect()
            })
            .filter(|phrase: &String| phrase.len() >= 12)
            .collect();
        Self {
            phrases: automaton(&folded),
            rules: all().map(|(rule, _)| rule).collect(),
            unspaced: automaton(&solid),
            patterns: PATTERNS.iter().map(|(rule, pattern)| (*rule, expression(pattern))).collect(),
            hidden_order: HIDDEN_ORDER.iter().map(|pattern| expression(pattern)).collect(),
            placeholder: expression(r"^https?://[^\s]{1,300}[?&/=](?:\{|%7b|\[|%5b|<|%3c|\$\{|\$\()"),
        }
    }
}

fn automaton(phrases: &[String]) -> AhoCorasick {
    AhoCorasick::builder()
        .match_kind(MatchKind::LeftmostLongest)
        .build(phrases)
        .expect("a few hundred short phrases fit an automaton")
}

fn expression(pattern: &str) -> Regex {
    RegexBuilder::new(pattern).unicode(false).build().expect("the table's expressions are tested")
}
