//! Rows that codes cannot tell apart: near-duplicates, of which more are about equally near than are scored again.
//!
//! Promises that a scan answers with the best whether its segment has many rows or few, most surely: so answers do not
//! depend on the layout. It costs a second scan, and only where that is in doubt. A walk of a graph is approximate
//! anyway, and left alone.

use super::{Query, Rough, Vectors};
use crate::{documents::scale_at, plan::Trace, top::Scored};
use roaring::RoaringBitmap;

/// Candidates of a scan are enough when the last is worse than the `k`th by so many times what codes err, of each.
const CODE_ERRORS: f32 = 4.0;
/// Rows that codes cannot tell apart: so many are scored again at most, as dear as scanning four times as many.
const DOUBTFUL_MAX: usize = 4_096;

impl Vectors {
    /// Candidates of a scan, best first, and whoever else may be among the `k` best: where the last candidate is not
    /// worse than the `k`th by more than codes err, rows were left out that codes cannot tell from it. They are scanned
    /// for once more, so that who answers does not depend on how many rows a segment has.
    pub(super) fn with_doubtful(
        &self,
        query: &Query<'_>,
        rough: &Rough<'_>,
        rows: &RoaringBitmap,
        (k, found): (usize, Vec<Scored>),
        trace: &mut Trace,
    ) -> Vec<Scored> {
        let (Some(kth), Some(last)) = (found.get(k - 1), found.last()) else { return found };
        let doubt = CODE_ERRORS * (self.error(query, kth.row) + self.error(query, last.row));
        if rows.len() == found.len() as u64 || kth.score - last.score > doubt {
            return found;
        }
        let least = kth.score - doubt;
        let mut all = self.scan(rough, rows, found.len().max(DOUBTFUL_MAX), trace);
        all.truncate(all.partition_point(|row| row.score >= least).max(found.len()));
        all
    }

    /// Standard deviation of a row's similarity by codes. What a code leaves of a value lies evenly within a step.
    fn error(&self, query: &Query<'_>, row: u32) -> f32 {
        let (scale, length) = scale_at(self.scales.bytes(), row);
        let factor = self.terms.get(row as usize).map_or(0.0, |term| term.factor);
        let theirs = if scale > 0.0 { query.scale * length.sqrt() / scale } else { 0.0 };
        factor * query.length.sqrt().hypot(theirs) / 12f32.sqrt()
    }
}
