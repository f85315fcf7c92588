//! The scores of one search in one segment: what each term of the query adds to the rows that contain it.

use super::{RowSelection, STEPS_A_TERM, Text, score::Weights};
use crate::{Error, analysis::lexicon::title_term, query::Prefix};

/// Accumulates scores.
pub(super) struct ScoreAccumulator<'a> {
    text: &'a Text,
    selection: RowSelection<'a>,
    weights: Weights,
    /// One sum per row, filled term by term in the query's order, so that every layout performs the same additions.
    sums: Vec<f32>,
    touched: Vec<u32>,
    /// Rows whose titles contain the current term, ascending, with the frequency.
    titles: Vec<(u32, u32)>,
}

impl<'a> ScoreAccumulator<'a> {
    pub(super) fn new(text: &'a Text, selection: RowSelection<'a>, weights: Weights, total: u32) -> Self {
        let (sums, touched, titles) = (vec![0.0; total as usize], Vec::new(), Vec::new());
        Self { text, selection, weights, sums, touched, titles }
    }

    /// See [`Weights::weight`].
    pub(super) fn weight(&self, frequency: u64) -> f32 {
        self.weights.weight(frequency)
    }

    /// Calls `visit` once with every row that has a score.
    pub(super) fn each(self, mut visit: impl FnMut(u32, f32)) {
        let Self { sums, touched, .. } = self;
        touched.into_iter().for_each(|row| visit(row, sums.get(row as usize).copied().unwrap_or(0.0)));
    }

    pub(super) fn add_stem(&mut self, stem: &str, weight: f32) -> Result<(), Error> {
        let Self { text, selection, weights, sums, touched, titles } = self;
        titles.clear();
        if weights.titles_differ() {
            text.postings.each(&title_term(stem), selection, |row, times| titles.push((row, times)))?;
        }
        // Both lists ascend, so one pass pairs each row with its frequency in the title.
        let (norms, mut titles) = (text.norms.bytes(), titles.iter().peekable());
        text.postings.each(stem, selection, |row, times| {
            let in_title = titles.next_if(|(titled, _)| *titled == row).map_or(0, |(_, times)| *times);
            add(sums, touched, row, weight * weights.score(norms, row, weights.frequency(times, in_title)));
        })
    }

    pub(super) fn add_written(&mut self, word: &str, weight: f32) -> Result<(), Error> {
        let Self { text, selection, weights, sums, touched, .. } = self;
        let norms = text.norms.bytes();
        text.postings.each(word, selection, |row, times| {
            add(sums, touched, row, weight * weights.score(norms, row, times as f32));
        })
    }

    /// Adds all terms of a prefix as one term.
    pub(super) fn add_prefix(&mut self, prefix: Option<&Prefix>, weight: f32) -> Result<(), Error> {
        let Self { text, selection, weights, sums, touched, .. } = self;
        let norms = text.norms.bytes();
        let (mut frequencies, mut rows) = (vec![0.0f32; sums.len()], Vec::new());
        for term in prefix.map(|prefix| prefix.terms.as_slice()).unwrap_or_default() {
            kernel::checkpoint(STEPS_A_TERM)?;
            // These are small whole numbers: their sum is the same in any order.
            text.postings.each(term, selection, |row, times| add(&mut frequencies, &mut rows, row, times as f32))?;
        }
        for row in rows {
            let frequency = frequencies.get(row as usize).copied().unwrap_or(0.0);
            add(sums, touched, row, weight * weights.score(norms, row, frequency));
        }
        Ok(())
    }
}

/// A row that nothing is added to (a title's word where titles have no weight) is no match.
fn add(sums: &mut [f32], touched: &mut Vec<u32>, row: u32, amount: f32) {
    let Some(sum) = sums.get_mut(row as usize).filter(|_| amount > 0.0) else { return };
    if *sum == 0.0 {
        touched.push(row);
    }
    *sum += amount;
}
