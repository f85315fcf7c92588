//! What a builder compares rows by, and how it chooses neighbours: over codes, four rows at a time.

use crate::{
    Spec,
    documents::scale_at,
    simd::{self, Signed},
};
use kernel::{Distance, Plaintext};

/// Similarity between rows, of the kind that orders neighbours. For the inner product that of vectors with one more
/// value that makes all lengths equal (Bachrach et al., RecSys 2014): without it few rows would be neighbours of all.
pub(super) struct Space {
    four: simd::FourDots,
    size: usize,
    /// A copy that begins with a line of the caches, on large pages where there are such.
    codes: Plaintext,
    terms: Vec<Terms>,
}

/// `similarity(a, b) = codes · a.factor · b.factor + a.more · b.more − a.less − b.less`.
#[derive(Clone, Copy, Default)]
pub(super) struct Terms {
    factor: f32,
    more: f32,
    less: f32,
}

/// A row as others are compared with it.
#[derive(Default)]
pub(super) struct Probe {
    code: Signed,
    terms: Terms,
}

impl Space {
    pub(super) fn new(spec: &Spec, codes: &[u8], scales: &[u8], rows: u32) -> Self {
        let longest = (0..rows).map(|row| scale_at(scales, row).1).fold(0.0f32, f32::max);
        let terms = |row: u32| {
            let (scale, length) = scale_at(scales, row);
            match spec.distance {
                Distance::Cosine if length > 0.0 => Terms { factor: scale / length.sqrt(), ..Terms::default() },
                Distance::Cosine => Terms::default(),
                Distance::Dot => Terms { factor: scale, more: (longest - length).max(0.0).sqrt(), less: 0.0 },
                Distance::Euclidean => Terms { factor: scale * std::f32::consts::SQRT_2, more: 0.0, less: length },
            }
        };
        let terms = (0..rows).map(terms).collect();
        Self { four: simd::four_dots(), size: spec.dimensions, codes: codes.into(), terms }
    }

    fn code(&self, row: u32) -> &[u8] {
        let at = row as usize * self.size;
        self.codes.get(at..at + self.size).unwrap_or_default()
    }

    fn terms(&self, row: u32) -> Terms {
        self.terms.get(row as usize).copied().unwrap_or_default()
    }

    /// Makes the probe this row.
    pub(super) fn probe(&self, row: u32, probe: &mut Probe) {
        probe.code.of_code(self.code(row));
        probe.terms = self.terms(row);
    }

    /// How near up to four rows are.
    pub(super) fn similarities(&self, probe: &Probe, rows: &[u32]) -> [f32; 4] {
        let Some(first) = rows.first() else { return [0.0; 4] };
        let four = [0, 1, 2, 3].map(|n| *rows.get(n).unwrap_or(first));
        let products = (self.four)(four.map(|row| self.code(row)), &probe.code);
        let a = probe.terms;
        [0, 1, 2, 3].map(|n| {
            let b = self.terms(four[n]);
            products[n] as f32 * a.factor * b.factor + a.more * b.more - a.less - b.less
        })
    }

    /// Tells how near each of these rows is.
    pub(super) fn each(&self, probe: &Probe, rows: &[u32], mut tell: impl FnMut(u32, f32)) {
        rows.iter().take(AHEAD).for_each(|row| simd::prefetch(self.code(*row)));
        for (at, four) in rows.chunks(4).enumerate() {
            let later = rows.iter().skip(4 * at + AHEAD).take(4);
            later.for_each(|row| simd::prefetch(self.code(*row)));
            four.iter().zip(self.similarities(probe, four)).for_each(|(row, near)| tell(*row, near));
        }
    }

    /// Those of `candidates` (nearest first) that are nearer to the row than to any that was chosen before them.
    pub(super) fn choose(&self, candidates: &[Near], most: usize, chosen: &mut Chosen) {
        chosen.rows.clear();
        chosen.near.clear();
        self.choose_more(candidates, most, chosen);
    }

    /// The same, beside those that are chosen already.
    pub(super) fn choose_more(&self, candidates: &[Near], most: usize, chosen: &mut Chosen) {
        let Chosen { rows, near: list, candidate } = chosen;
        for near in candidates {
            if rows.len() >= most {
                return;
            }
            self.probe(near.row, candidate);
            let apart = rows.chunks(4).all(|four| {
                let between = self.similarities(candidate, four);
                between.iter().take(four.len()).all(|similarity| *similarity < near.similarity)
            });
            if apart {
                rows.push(near.row);
                list.push(*near);
            }
        }
    }
}

/// A row and how near it is.
#[derive(Clone, Copy)]
pub(super) struct Near {
    pub(super) row: u32,
    pub(super) similarity: f32,
}

/// Neighbours in the choosing.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) rows: Vec<u32>,
    pub(super) near: Vec<Near>,
    candidate: Probe,
}

/// Rows whose codes are fetched before they are compared.
const AHEAD: usize = 8;
