//! Text that tries to instruct a model: the Unicode gate, the templates on the folded copy, then
//! what obfuscation and encoding hide. One pass each; every layer reports under its own rule.

use super::{
    Stream, encoded,
    mask::Hit,
    phrases::{HIDDEN_ORDER, PATTERNS, PHRASES},
    rules::{self, Rule},
    unicode::{self, Fold, Folded},
};
use crate::parse::HiddenKind;
use aho_corasick::{AhoCorasick, MatchKind};
use kernel::Severity;
use regex::bytes::{Regex, RegexBuilder};
use std::sync::LazyLock;

/// Invisible characters inside words that are worth a finding.
const INVISIBLE_MIN: u32 = 3;
/// Tag or selector characters that carry something.
const CARRIERS_MIN: u32 = 4;

/// Every finding in `text`. Places are given when `mapped`; decoded text has none of its own.
pub(super) fn find(text: &str, stream: Stream, mapped: bool) -> Vec<Hit> {
    let copy = unicode::folded(text, Fold::Plain);
    let mut hits = templates(&copy);
    let known = hits.iter().filter(|hit| hit.rule.severity == Severity::High).count();
    if mapped {
        unicode::origins(text, Fold::Plain, &mut hits);
    } else {
        unplaced(&mut hits);
    }
    if copy.leet {
        let mut grave = templates(&unicode::folded(text, Fold::Leet));
        grave.retain(|hit| hit.rule.severity == Severity::High);
        // What the plain copy shows shows here again, so only the surplus is news.
        grave.drain(..known.min(grave.len()));
        if mapped {
            unicode::origins(text, Fold::Leet, &mut grave);
        } else {
            unplaced(&mut grave);
        }
        hits.extend(grave.into_iter().map(|hit| Hit::new(&rules::OBFUSCATED, hit.start(), hit.end())));
    }
    squashed(&copy, &mut hits);
    hidden_gate(text, &mut hits);
    for blob in encoded::blobs(text) {
        kernel::give_way((blob.end - blob.start) as u64);
        if is_order(&blob.text) {
            hits.push(Hit::new(&rules::ENCODED, blob.start, blob.end));
        }
    }
    match stream {
        Stream::Visible | Stream::Field => {}
        Stream::Hidden(kind) => hidden(kind, &copy, &mut hits),
    }
    hits
}

/// Places of the copy are none of the text.
fn unplaced(hits: &mut [Hit]) {
    hits.iter_mut().for_each(|hit| *hit = Hit::somewhere(hit.rule));
}

/// Phrases and expressions on the folded copy, in order and apart, with their places in the copy.
fn templates(copy: &Folded) -> Vec<Hit> {
    let bytes = copy.text.as_bytes();
    let mut hits: Vec<Hit> = Vec::new();
    for found in MATCHERS.phrases.find_iter(bytes) {
        if stands_alone(bytes, found.start(), found.end()) {
            let rule = weighed(MATCHERS.rules[found.pattern().as_usize()], bytes, found.end());
            hits.push(Hit::new(rule, found.start(), found.end()));
        }
    }
    for (rule, regex) in &MATCHERS.patterns {
        kernel::give_way(bytes.len() as u64);
        let one =
            |found: regex::bytes::Match<'_>| Hit::new(weighed(rule, bytes, found.end()), found.start(), found.end());
        hits.extend(regex.find_iter(bytes).map(one));
    }
    // The gravest of what overlaps; then each stretch counts once.
    hits.sort_by_key(|hit| (hit.start(), std::cmp::Reverse(hit.rule.severity), std::cmp::Reverse(hit.end())));
    hits.dedup_by(|hit, last| {
        let overlaps = hit.start() < last.end();
        if overlaps {
            let rule = if hit.rule.severity > last.rule.severity { hit.rule } else { last.rule };
            *last = Hit::new(rule, last.start(), last.end().max(hit.end()));
        }
        overlaps
    });
    hits
}

/// "Previous instructions that forbid smoking" are some text's; those "that you got" or "that
/// bind you" are the model's.
fn weighed(rule: &'static Rule, bytes: &[u8], end: usize) -> &'static Rule {
    let after = &bytes[end..bytes.len().min(end + 60)];
    let restricted = after.starts_with(b" that ") || after.starts_with(b" which ");
    let to_model = after.windows(4).any(|w| w == b" you");
    if rule.name == rules::OVERRIDE.name && restricted && !to_model { &rules::WEAK_OVERRIDE } else { rule }
}

/// Not inside a longer Latin word.
fn stands_alone(bytes: &[u8], start: usize, end: usize) -> bool {
    let word = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let goes_on = |edge: usize, beyond: Option<usize>| word(Some(edge)) && word(beyond);
    !goes_on(start, start.checked_sub(1)) && !goes_on(end - 1, Some(end))
}

/// Letters set apart by blanks or signs, put together again.
fn squashed(copy: &Folded, hits: &mut Vec<Hit>) {
    let joined = unicode::squashed(&copy.text);
    if !joined.is_empty() {
        let found = MATCHERS.squashed.find_iter(joined.as_bytes()).count();
        hits.extend((0..found).map(|_| Hit::somewhere(&rules::OBFUSCATED)));
    }
}

/// Characters that show nothing, and what they spell.
fn hidden_gate(text: &str, hits: &mut Vec<Hit>) {
    let gate = unicode::gate(text);
    let mut note = |rule| hits.push(Hit::somewhere(rule));
    if gate.carriers >= CARRIERS_MIN {
        note(if is_order(&gate.smuggled) { &rules::SMUGGLED } else { &rules::UNICODE_TAGS });
    }
    if gate.invisible >= INVISIBLE_MIN {
        note(&rules::INVISIBLE);
    }
}

/// Whether text that came out of a hiding place orders a model about.
fn is_order(text: &str) -> bool {
    let copy = unicode::folded(text, Fold::Plain);
    let ordered = MATCHERS.hidden_order.iter().any(|regex| regex.is_match(copy.text.as_bytes()));
    ordered || templates(&copy).iter().any(|hit| hit.rule.severity >= Severity::Medium)
}

/// Hidden text is judged more strictly than text that readers see.
fn hidden(kind: HiddenKind, copy: &Folded, hits: &mut Vec<Hit>) {
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
    hits.extend(rule.map(Hit::somewhere));
}

/// Schemes that run when followed.
const ACTIVE: [&str; 3] = ["javascript:", "vbscript:", "data:text/html"];

struct Matchers {
    phrases: AhoCorasick,
    rules: Vec<&'static Rule>,
    squashed: AhoCorasick,
    patterns: Vec<(&'static Rule, Regex)>,
    hidden_order: Vec<Regex>,
    placeholder: Regex,
}

static MATCHERS: LazyLock<Matchers> = LazyLock::new(Matchers::build);

impl Matchers {
    fn build() -> Self {
        let all = || PHRASES.iter().flat_map(|(rule, list)| list.iter().map(move |phrase| (*rule, *phrase)));
        let folded: Vec<String> = all().map(|(_, phrase)| unicode::folded(phrase, Fold::Plain).text).collect();
        let grave = all().filter(|(rule, _)| rule.severity == Severity::High);
        let solid: Vec<String> = grave
            .map(|(_, phrase)| {
                unicode::folded(phrase, Fold::Plain).text.chars().filter(|c| c.is_alphanumeric()).collect()
            })
            .filter(|phrase: &String| phrase.len() >= 12)
            .collect();
        Self {
            phrases: automaton(&folded),
            rules: all().map(|(rule, _)| rule).collect(),
            squashed: automaton(&solid),
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
