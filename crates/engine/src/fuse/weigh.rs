//! Weights of the retrievers for one query, computed without relevance judgments.
//!
//! A retriever weighs more the farther its best candidate stands out from the others. Words for which the model has no
//! token of their own (another language, names, codes) shift weight to text, the more so the farther the best text
//! candidate stands out. Words with digits do so too, because models distinguish them badly. ADR 16 documents the
//! measurements.

use super::{BASIS, Candidate, in_basis};
use crate::{FusionSignals, FusionWeights};
use kernel::{Folded, Folding, Tokens};
use segment::TextStats;

/// How familiar a query's words are to the model. Both values are shares of the words' total rarity (idf), 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct QueryFamiliarity {
    /// Share of words that the model splits into several tokens or that contain a digit.
    unfamiliar: f32,
    /// Share of words that contain a digit.
    identifiers: f32,
}

impl QueryFamiliarity {
    /// `held` is the number of eligible passages that contain each term; `places` maps each word to its position among
    /// the terms. Rarity is that of BM25. A word that no eligible passage contains does not count, so that no reply
    /// reveals words of passages that the reader may not see. Without `tokens` no word counts as unfamiliar.
    pub(crate) fn of(
        query: &str,
        (stats, held): (&TextStats, &[u64]),
        places: impl FnOnce(&[&str]) -> Vec<Option<usize>>,
        tokens: Option<&dyn Tokens>,
    ) -> Self {
        // Words are split in the normalized text and then mapped back to the original, so that a soft hyphen does not
        // split a word.
        let folded = Folded::new(query, Folding::Common);
        let start = |word: &str| word.as_ptr() as usize - folded.text().as_ptr() as usize;
        let spans = folded.text().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        let spans: Vec<(usize, usize)> =
            spans.map(|word| folded.original_range(start(word), start(word) + word.len())).collect();
        folded.wipe();
        let words: Vec<&str> = spans.iter().map(|(start, end)| &query[*start..*end]).collect();
        // Tokens are in the order of the text, as the words are.
        let pieces = tokens.map(|tokens| tokens.spans(query)).unwrap_or_default();
        let mut pieces = pieces.iter().peekable();
        let (mut known, mut unfamiliar, mut identifiers) = (0.0f64, 0.0f64, 0.0f64);
        for ((word, (start, end)), place) in words.iter().zip(spans).zip(places(&words)) {
            let mut count = 0;
            while let Some(piece) = pieces.next_if(|piece| piece.start < end) {
                count += usize::from(piece.end > start);
            }
            let Some(place) = place.filter(|place| held.get(*place).is_some_and(|rows| *rows > 0)) else { continue };
            let rarity = idf(stats.document_frequency.get(place).copied().unwrap_or(0), stats.rows);
            let digit = word.contains(|c: char| c.is_numeric());
            known += rarity;
            identifiers += if digit { rarity } else { 0.0 };
            unfamiliar += if tokens.is_some() && (digit || count > 1) { rarity } else { 0.0 };
        }
        let share = |part: f64| if known > 0.0 { (part / known) as f32 } else { 0.0 };
        Self { unfamiliar: share(unfamiliar), identifiers: share(identifiers) }
    }
}

fn idf(held: u64, rows: u64) -> f64 {
    (1.0 + (rows.saturating_sub(held) as f64 + 0.5) / (held as f64 + 0.5)).ln()
}

/// Computes the signals from the [`BASIS`] of both retrievers. The candidates should have the scores of both.
pub(crate) fn signals<T>(candidates: &[Candidate<T>], words: QueryFamiliarity) -> FusionSignals {
    let basis = || candidates.iter().filter(|c| in_basis(c));
    let text: Vec<f64> = basis().map(|c| c.scores[0].unwrap_or(0.0).into()).collect();
    let vector: Vec<f64> = basis().filter_map(|c| c.scores[1]).map(f64::from).collect();
    debug_assert!(text.len() <= 2 * BASIS);
    FusionSignals {
        text_outlier: outlier(&text),
        vector_outlier: outlier(&vector),
        vector_contrast: contrast(&vector),
        unfamiliar: words.unfamiliar,
        identifiers: words.identifiers,
    }
}

/// Distance of the highest score above the mean, in standard deviations; 0 if all scores are equal.
fn outlier(scores: &[f64]) -> f32 {
    let Some((highest, mean)) = highest_and_mean(scores) else { return 0.0 };
    let variance = scores.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / scores.len() as f64;
    if variance > 0.0 { ((highest - mean) / variance.sqrt()) as f32 } else { 0.0 }
}

/// Share of the highest score that the mean lacks. For distances (negative scores): how much nearer the nearest is than
/// the mean.
fn contrast(scores: &[f64]) -> f32 {
    let Some((highest, mean)) = highest_and_mean(scores) else { return 0.0 };
    let lacking = match (highest > 0.0, mean < 0.0) {
        (true, _) => 1.0 - mean / highest,
        (false, true) => 1.0 - highest / mean,
        (false, false) => 0.0,
    };
    lacking.clamp(0.0, 1.0) as f32
}

fn highest_and_mean(scores: &[f64]) -> Option<(f64, f64)> {
    let highest = scores.iter().copied().reduce(f64::max)?;
    Some((highest, scores.iter().sum::<f64>() / scores.len() as f64))
}

/// Computes the retrievers' weights as a logistic function of the signals.
pub(crate) fn weights(signals: &FusionSignals) -> FusionWeights {
    let text = f64::from(signals.text_outlier) * TEXT_OUTLIER + UNFAMILIAR;
    let odds = ALIKE
        + f64::from(signals.vector_outlier) * VECTOR_OUTLIER
        + f64::from(signals.vector_contrast) * VECTOR_CONTRAST
        + f64::from(signals.unfamiliar) * text
        + f64::from(signals.identifiers) * IDENTIFIERS;
    let share = 1.0 / (1.0 + (-odds).exp());
    FusionWeights { text: share as f32, vector: 1.0 - share as f32 }
}

// Coefficients, tuned together on seven collections, each alone and all mixed into one namespace (ADR 16).
const ALIKE: f64 = 1.5;
const VECTOR_OUTLIER: f64 = -0.7;
const VECTOR_CONTRAST: f64 = -2.2;
const UNFAMILIAR: f64 = -2.5;
const TEXT_OUTLIER: f64 = 1.6;
const IDENTIFIERS: f64 = 3.0;
