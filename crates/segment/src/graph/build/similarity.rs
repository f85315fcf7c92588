//! Similarity of rows while a graph is built, and the choice of neighbours: over codes, four rows at a time.

use crate::{
    Spec,
    documents::scale_at,
    simd::{self, Signed},
};
use kernel::{Distance, Plaintext};

/// Similarity between rows, on a scale that orders neighbours. For the inner product it is that of vectors with one
/// more value that makes all lengths equal (Bachrach et al., RecSys 2014): without it, a few rows would be neighbours
/// of all others.
pub(super) struct CodeSimilarity {
    four: simd::FourDots,
    size: usize,
    /// A copy that is aligned with cache lines and uses large pages where they are available.
    codes: Plaintext,
    terms: Vec<SimilarityFactors>,
}

/// `similarity(a, b) = codes · a.factor · b.factor + a.extra · b.extra − a.offset − b.offset`.
#[derive(Clone, Copy, Default)]
pub(super) struct SimilarityFactors {
    factor: f32,
    extra: f32,
    offset: f32,
}

/// A row that others are compared with.
#[derive(Default)]
pub(super) struct Probe {
    code: Signed,
    terms: SimilarityFactors,
}

impl CodeSimilarity {
    pub(super) fn new(spec: &Spec, codes: &[u8], scales: &[u8], rows: u32) -> Self {
        let longest = (0..rows).map(|row| scale_at(scales, row).1).fold(0.0f32, f32::max);
        let terms = |row: u32| {
            let (scale, length) = scale_at(scales, row);
            match spec.distance {
                Distance::Cosine if length > 0.0 => {
                    SimilarityFactors { factor: scale / length.sqrt(), ..SimilarityFactors::default() }
                }
                Distance::Cosine => SimilarityFactors::default(),
                Distance::Dot => {
                    SimilarityFactors { factor: scale, extra: (longest - length).max(0.0).sqrt(), offset: 0.0 }
                }
                Distance::Euclidean => {
                    SimilarityFactors { factor: scale * std::f32::consts::SQRT_2, extra: 0.0, offset: length }
                }
            }
        };
        let terms = (0..rows).map(terms).collect();
        Self { four: simd::four_dots(), size: spec.dimensions, codes: codes.into(), terms }
    }

    fn code(&self, row: u32) -> &[u8] {
        let at = row as usize * self.size;
        self.codes.get(at..at + self.size).unwrap_or_default()
    }

    fn terms(&self, row: u32) -> SimilarityFactors {
        self.terms.get(row as usize).copied().unwrap_or_default()
    }

    /// Sets the probe to this row.
    pub(super) fn probe(&self, row: u32, probe: &mut Probe) {
        probe.code.of_code(self.code(row));
        probe.terms = self.terms(row);
    }

    /// Similarities of up to four rows.
    pub(super) fn similarities(&self, probe: &Probe, rows: &[u32]) -> [f32; 4] {
        let Some(first) = rows.first() else { return [0.0; 4] };
        let four = [0, 1, 2, 3].map(|n| *rows.get(n).unwrap_or(first));
        let products = (self.four)(four.map(|row| self.code(row)), &probe.code);
        let a = probe.terms;
        [0, 1, 2, 3].map(|n| {
            let b = self.terms(four[n]);
            products[n] as f32 * a.factor * b.factor + a.extra * b.extra - a.offset - b.offset
        })
    }

    /// Calls `visit` with each of these rows and its similarity.
    pub(super) fn each(&self, probe: &Probe, rows: &[u32], mut visit: impl FnMut(u32, f32)) {
        rows.iter().take(AHEAD).for_each(|row| simd::prefetch(self.code(*row)));
        for (at, four) in rows.chunks(4).enumerate() {
            let later = rows.iter().skip(4 * at + AHEAD).take(4);
            later.for_each(|row| simd::prefetch(self.code(*row)));
            four.iter().zip(self.similarities(probe, four)).for_each(|(row, near)| visit(*row, near));
        }
    }

    /// Chooses those of `candidates` (nearest first) that are nearer to the row than to any candidate chosen before
    /// them.
    pub(super) fn choose(&self, candidates: &[Neighbour], max: usize, chosen: &mut Chosen) {
        chosen.rows.clear();
        chosen.near.clear();
        self.choose_more(candidates, max, chosen);
    }

    /// Like `choose`, in addition to the rows that are already in `chosen`.
    pub(super) fn choose_more(&self, candidates: &[Neighbour], max: usize, chosen: &mut Chosen) {
        let Chosen { rows, near: list, candidate } = chosen;
        for near in candidates {
            if rows.len() >= max {
                return;
            }
            self.probe(near.row, candidate);
            let is_diverse = rows.chunks(4).all(|four| {
                let between = self.similarities(candidate, four);
                between.iter().take(four.len()).all(|similarity| *similarity < near.similarity)
            });
            if is_diverse {
                rows.push(near.row);
                list.push(*near);
            }
        }
    }
}

/// A row and its similarity.
#[derive(Clone, Copy)]
pub(super) struct Neighbour {
    pub(super) row: u32,
    pub(super) similarity: f32,
}

/// The neighbours that are chosen so far.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) rows: Vec<u32>,
    pub(super) near: Vec<Neighbour>,
    candidate: Probe,
}

/// Rows whose codes are prefetched before they are compared.
const AHEAD: usize = 8;
