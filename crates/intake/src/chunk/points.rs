//! Spans in bytes and in code points, counted in one pass over the text.

use super::Range;
use kernel::{Passage, Span};

/// Passages for ranges of a text. Ranges may overlap; both their ends grow.
pub(super) fn passages(text: &str, ranges: &[Range]) -> Vec<Passage> {
    let mut borders: Vec<usize> = ranges.iter().flat_map(|r| [r.start, r.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let points = count(text, &borders);
    let point = |byte: usize| borders.binary_search(&byte).map_or(0, |n| points[n]);
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let passage = |r: &Range| Passage {
        span: Span {
            byte_start: small(r.start),
            byte_end: small(r.end),
            point_start: small(point(r.start)),
            point_end: small(point(r.end)),
        },
        tokens: r.tokens,
    };
    ranges.iter().map(passage).collect()
}

/// Code points before each of these bytes, which are in order.
fn count(text: &str, borders: &[usize]) -> Vec<usize> {
    let (mut at, mut points) = (0, 0);
    let step = |border: &usize| {
        points += text[at..*border].chars().count();
        at = *border;
        points
    };
    borders.iter().map(step).collect()
}
