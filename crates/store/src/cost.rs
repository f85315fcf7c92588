//! Estimates the cost of the store's own work for a request from the bytes that it will read and write.
//! [`kernel::cost`] decides where work of that cost runs.

use crate::state::version::Version;
use kernel::{
    Audience, DocumentId,
    cost::{Cost, DECODED_BYTE},
};

/// Cost of looking up the documents under ids, with their heads.
pub(crate) fn of_heads<'a>(version: &Version, ids: impl IntoIterator<Item = &'a DocumentId>) -> Cost {
    if !version.is_resident() {
        return Cost::UNBOUNDED;
    }
    let mut cost = Cost::default();
    for id in ids {
        cost = cost.and(looked_up(version));
        // Counting is work too: once there are enough heads for the pool, the rest need not be counted.
        if matches!(cost.run_on(), kernel::cost::RunOn::Pool) {
            break;
        }
        // Unsorted: an id may have very many documents, and sorting them here would cost too much.
        let heads = version
            .segments
            .iter()
            .flat_map(|segment| segment.named(id).map(|doc| segment.index.sizes(doc).head))
            .sum();
        cost = cost.and(Cost::steps(heads).times(DECODED_BYTE));
    }
    cost
}

/// Cost of computing the totals that an audience can see.
pub(crate) fn of_totals(version: &Version, audience: &Audience) -> Cost {
    let segments = Cost::steps(COUNTED_SEGMENT).times(version.segments.len() as u64 + 1);
    // Their sums are stored with each segment.
    if *audience == Audience::Everything {
        return segments;
    }
    if !version.is_resident() {
        return Cost::UNBOUNDED;
    }
    let lookups = Cost::steps(LOOKED_UP).times(audience.principals().len() as u64).times(version.segments.len() as u64);
    segments.and(lookups).and(Cost::steps(version.extent().documents).times(COUNTED_DOCUMENT))
}

/// Cost of a search for one id in every segment.
fn looked_up(version: &Version) -> Cost {
    Cost::steps(LOOKED_UP).times(version.segments.len() as u64 + 1)
}

/// Steps to add the sums of one segment, and to count one document with its sizes.
const COUNTED_SEGMENT: u64 = 64;
const COUNTED_DOCUMENT: u64 = 64;
/// Steps to find an id: some string comparisons.
const LOOKED_UP: u64 = 512;
