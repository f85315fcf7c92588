//! Rows that codes cannot tell apart: near-duplicates, of which more are about equally near than are rescored.
//!
//! This makes it most likely that a scan returns the best rows whether its segment has many rows or few, so that
//! results do not depend on the layout. It costs a second scan, only where the order is ambiguous. A walk of a graph is
//! approximate anyway and left as it is.

use super::{QuantizedScorer, Query, Vectors};
use crate::{documents::scale_at, plan::SearchStats, top::Scored};
use roaring::RoaringBitmap;

/// The candidates of a scan suffice when the last is worse than the `k`th by this many times the sum of both rows' code
/// errors.
const CODE_ERRORS: f32 = 4.0;
/// Maximum number of ambiguous rows that are rescored: as expensive as scanning four times as many.
const AMBIGUOUS_MAX: usize = 4_096;

impl Vectors {
    /// Candidates of a scan, best first, and all other rows that may be among the `k` best. When the last candidate is
    /// not worse than the `k`th by more than the error of codes, the scan left out rows that codes cannot tell from it.
    /// They are collected by a second scan, so that the result does not depend on how many rows a segment has.
    pub(super) fn with_ambiguous(
        &self,
        query: &Query<'_>,
        quantized: &QuantizedScorer<'_>,
        rows: &RoaringBitmap,
        k: usize,
        found: Vec<Scored>,
        trace: &mut SearchStats,
    ) -> Vec<Scored> {
        let (Some(kth), Some(last)) = (found.get(k - 1), found.last()) else { return found };
        let margin = CODE_ERRORS * (self.error(query, kth.row) + self.error(query, last.row));
        if rows.len() == found.len() as u64 || kth.score - last.score > margin {
            return found;
        }
        // Keep at least the first candidates, and every row that may be as near as the `k`th.
        let lowest = kth.score - margin;
        let mut all = self.scan(quantized, rows, found.len().max(AMBIGUOUS_MAX), trace);
        all.truncate(all.partition_point(|row| row.score >= lowest).max(found.len()));
        all
    }

    /// Standard deviation of a row's similarity by codes. The residual of a value is uniformly distributed within a
    /// step.
    fn error(&self, query: &Query<'_>, row: u32) -> f32 {
        let (scale, length) = scale_at(self.scales.bytes(), row);
        let factor = self.terms.get(row as usize).map_or(0.0, |term| term.factor);
        let row_error = if scale > 0.0 { query.scale * length.sqrt() / scale } else { 0.0 };
        factor * query.length.sqrt().hypot(row_error) / 12f32.sqrt()
    }
}
