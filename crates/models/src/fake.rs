//! A model for tests: it embeds a text as a hashed bag of roughly stemmed words and reranks by the share of query words
//! that a text contains. It is deterministic on every machine.

use crate::{
    Error, ModelInfo, Reranks, TaskKind,
    embedder::{Embedded, Embedder, Model, normalise},
    pending::Question,
};
use kernel::{TokenSpan, Tokens};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

pub(crate) const NAME: &str = "fake";

/// The fake, as a model named [`NAME`].
pub(crate) fn model(dimensions: usize) -> Model {
    let dimensions = dimensions.max(1);
    Model {
        info: ModelInfo {
            name: NAME.to_owned(),
            dimensions,
            max_tokens: 256,
            reranks: Some(Reranks::CrossEncoder),
            provider: "fake",
            sha256: String::new(),
        },
        tokens: Arc::new(Words),
        batch_max: 8,
        open: Box::new(move || Ok(Box::new(Fake { dimensions }))),
    }
}

struct Fake {
    dimensions: usize,
}

impl Embedder for Fake {
    fn embed(&mut self, _kind: TaskKind, texts: &[&str]) -> Result<Embedded, Error> {
        let mut embedded = Embedded { busy: Duration::from_nanos(texts.len() as u64), ..Embedded::default() };
        for text in texts {
            embedded.tokens += Words.count(text);
            embedded.values.extend(self.vector(text));
        }
        Ok(embedded)
    }

    /// The share of the question's stems that the text contains.
    fn score(&mut self, question: &Question, texts: &[&str]) -> Result<Embedded, Error> {
        let mut scored = Embedded { busy: Duration::from_nanos(texts.len() as u64), ..Embedded::default() };
        let asked = stems(question.text());
        for text in texts {
            scored.tokens += Words.count(question.text()) + Words.count(text);
            let held = stems(text);
            let found = asked.iter().filter(|word| held.contains(word.as_str())).count();
            scored.values.push(found as f32 / asked.len().max(1) as f32);
        }
        Ok(scored)
    }
}

/// Distinct stems of the words that carry meaning.
fn stems(text: &str) -> BTreeSet<String> {
    let words = Words.spans(text).into_iter().map(|span| text[span.start..span.end].to_lowercase());
    let meant = words.filter(|w| !STOP_WORDS.contains(&w.as_str()) && w.starts_with(char::is_alphanumeric));
    meant.map(|word| stem(&word).to_owned()).collect()
}

impl Fake {
    /// Each stem adds ±1 at two positions. All texts without words have the same vector.
    fn vector(&self, text: &str) -> Vec<f32> {
        let mut vector = vec![0.0; self.dimensions];
        for span in Words.spans(text) {
            let word = text[span.start..span.end].to_lowercase();
            if STOP_WORDS.contains(&word.as_str()) || !word.starts_with(char::is_alphanumeric) {
                continue;
            }
            for salt in 0..2 {
                let hash = hash(salt, stem(&word));
                let sign = if hash >> 63 == 0 { 1.0 } else { -1.0 };
                vector[(hash % self.dimensions as u64) as usize] += sign;
            }
        }
        if vector.iter().all(|x| *x == 0.0) {
            vector[0] = 1.0;
        }
        normalise(&mut vector);
        vector
    }
}

/// Splits text into words and single signs: the tokeniser of the fake.
struct Words;

impl Tokens for Words {
    fn spans(&self, text: &str) -> Vec<TokenSpan> {
        let mut spans: Vec<TokenSpan> = Vec::new();
        let mut in_word = false;
        for (start, c) in text.char_indices() {
            let end = start + c.len_utf8();
            match spans.last_mut() {
                Some(word) if in_word && c.is_alphanumeric() => word.end = end,
                _ if !c.is_whitespace() => spans.push(TokenSpan { start, end }),
                _ => {}
            }
            in_word = c.is_alphanumeric();
        }
        spans
    }

    fn name(&self) -> &str {
        "fake"
    }
}

/// Strips common English endings: enough that `keys` matches `key` and `encrypted` matches `encryption`.
fn stem(word: &str) -> &str {
    const ENDINGS: [&str; 9] = ["ations", "ation", "ings", "ing", "ions", "ion", "ed", "es", "s"];
    let cut = ENDINGS.iter().filter_map(|e| word.strip_suffix(e)).find(|rest| rest.len() >= 3);
    cut.unwrap_or(word).trim_end_matches('e')
}

/// FNV-1a with a final mix: the same on every machine and in every release, unlike the standard hasher.
fn hash(salt: u64, word: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for byte in word.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

const STOP_WORDS: [&str; 24] = [
    "a", "an", "and", "are", "as", "at", "be", "by", "do", "does", "for", "how", "in", "is", "it", "of", "on", "or",
    "that", "the", "to", "we", "what", "with",
];

#[cfg(test)]
mod tests;
