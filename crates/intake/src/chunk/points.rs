//! Computes spans in bytes and in code points, in one pass over the text.

use super::PassageRange;
use kernel::{Passage, Span};

/// Builds the passages for ranges of a text. Ranges may overlap; their starts and their ends are in ascending order.
pub(super) fn passages(text: &str, ranges: &[PassageRange]) -> Vec<Passage> {
    let mut borders: Vec<usize> = ranges.iter().flat_map(|r| [r.start, r.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let points = count(text, &borders);
    let point = |byte: usize| borders.binary_search(&byte).map_or(0, |n| points[n]);
    let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let passage = |r: &PassageRange| Passage {
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

/// Counts the code points before each of these byte offsets, which are in ascending order.
fn count(text: &str, borders: &[usize]) -> Vec<usize> {
    let (mut at, mut points) = (0, 0);
    let step = |border: &usize| {
        points += text[at..*border].chars().count();
        at = *border;
        points
    };
    borders.iter().map(step).collect()
}
