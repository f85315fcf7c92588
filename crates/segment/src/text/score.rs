//! BM25 with the weights of one query: the weight of a term, and the score of a frequency in a row of a given length.
//!
//! k1 is 1.5 and b is 0.75. Tantivy's k1 of 1.2 was worse on both sets of judged queries here, at every weight of
//! titles: nDCG@10 .486 against .489 on adi, .429 against .433 on Cranfield.

use super::TextStats;
use tantivy::fieldnorm::FieldNormReader;

const K1: f32 = 1.5;
const B: f32 = 0.75;

/// BM25 parameters of one query.
pub(super) struct Weights {
    /// Number of live rows.
    rows: u64,
    /// Weight of an occurrence in a title beyond that of one in a passage.
    more: f32,
    /// For each norm of all terms and for each norm of the title's terms, its part of the denominator.
    lengths: [f32; 256],
    titles: [f32; 256],
}

impl Weights {
    pub(super) fn new(stats: &TextStats, title_weight: f32) -> Self {
        let more = title_weight - 1.0;
        let tokens = stats.tokens as f32 + more * stats.title_tokens as f32;
        let average = (tokens / stats.rows.max(1) as f32).max(1.0);
        let (mut lengths, mut titles) = ([0.0; 256], [0.0; 256]);
        for ((id, all), title) in (0..=u8::MAX).zip(&mut lengths).zip(&mut titles) {
            let length = FieldNormReader::id_to_fieldnorm(id) as f32 / average;
            *all = K1 * (1.0 - B + B * length);
            *title = K1 * B * more * length;
        }
        Self { rows: stats.rows, more, lengths, titles }
    }

    /// Whether terms of titles and of passages have different weights.
    pub(super) fn titles_differ(&self) -> bool {
        self.more != 0.0
    }

    /// Weight of a term that this number of live rows contains; it is never negative (Robertson & Zaragoza, 2009).
    pub(super) fn weight(&self, frequency: u64) -> f32 {
        let (rows, frequency) = (self.rows as f32, frequency.min(self.rows) as f32);
        (1.0 + (rows - frequency + 0.5) / (frequency + 0.5)).ln() * (K1 + 1.0)
    }

    /// Frequency of a term in a row, with the weight of titles.
    pub(super) fn frequency(&self, all: u32, in_title: u32) -> f32 {
        all as f32 + self.more * in_title as f32
    }

    /// Score of a frequency in a row, from 0 to 1.
    pub(super) fn score(&self, norms: &[u8], row: u32, frequency: f32) -> f32 {
        let norm = |at| norms.get(row as usize * 2 + at).copied().unwrap_or(0) as usize;
        let below = frequency + self.lengths[norm(0)] + self.titles[norm(1)];
        // With a title weight of 0, nothing may remain of a frequency.
        if frequency > 0.0 && below > 0.0 { frequency / below } else { 0.0 }
    }
}
