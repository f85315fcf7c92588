//! What the store's own work for a request may cost, from the bytes that it will read and write. [`kernel::cost`] says
//! where work of that cost runs.

use crate::{
    plan::{Act, Deed},
    request::Selection,
    stage::Write,
    view::View,
};
use kernel::{
    Audience, DocumentId,
    cost::{Cost, DECODED_BYTE},
};

/// Of looking up what stands under ids, with its head.
pub(crate) fn of_heads<'a>(view: &View, ids: impl IntoIterator<Item = &'a DocumentId>) -> Cost {
    if !view.is_resident() {
        return Cost::UNBOUNDED;
    }
    let mut cost = Cost::default();
    for id in ids {
        cost = cost.and(looked_up(view));
        // Counting is work too: who has that many heads to read is for the pool before the last is found.
        if matches!(cost.run_on(), kernel::cost::RunOn::Pool) {
            break;
        }
        // In no order: there may be very many of one id, and then they are not put in order here.
        let heads = view.parts.iter().flat_map(|part| part.named(id).map(|doc| part.index.sizes(doc).head)).sum();
        cost = cost.and(Cost::steps(heads).times(DECODED_BYTE));
    }
    cost
}

/// Of counting what an audience sees.
pub(crate) fn of_totals(view: &View, audience: &Audience) -> Cost {
    let parts = Cost::steps(COUNTED_PART).times(view.parts.len() as u64 + 1);
    // Their sums are kept.
    if *audience == Audience::Everything {
        return parts;
    }
    if !view.is_resident() {
        return Cost::UNBOUNDED;
    }
    let lookups = Cost::steps(LOOKED_UP).times(audience.principals().len() as u64).times(view.parts.len() as u64);
    parts.and(lookups).and(Cost::steps(view.extent().documents).times(COUNTED_DOCUMENT))
}

/// Of staging a batch of writes.
pub(crate) fn of_batch<'a>(view: &View, batch: impl IntoIterator<Item = &'a Write>) -> Cost {
    let batch = batch.into_iter().map(|write| of_deed(view, &write.deed));
    batch.fold(of_publishing(view), Cost::and)
}

fn of_deed(view: &View, deed: &Deed) -> Cost {
    match &deed.act {
        Act::Append(upserts, _) => {
            let brought: u64 = upserts.iter().map(|upsert| upsert.admitted.bytes() + 512).sum();
            let heads = of_heads(view, upserts.iter().map(|upsert| upsert.admitted.id()));
            heads.and(Cost::steps(brought).times(STAGED_BYTE))
        }
        Act::Delete(Selection::Ids(ids)) => of_heads(view, ids).and(Cost::steps(ids.len() as u64).times(512)),
        Act::Delete(Selection::Filter(_)) | Act::Patch(..) | Act::Decide(..) | Act::Shorten => Cost::UNBOUNDED,
    }
}

/// A search for one id in every part.
fn looked_up(view: &View) -> Cost {
    Cost::steps(LOOKED_UP).times(view.parts.len() as u64 + 1)
}

/// What every batch does: deaths are marked, and small tails joined.
fn of_publishing(view: &View) -> Cost {
    let extent = view.extent();
    let joined: u64 =
        view.parts.iter().filter_map(|part| part.index.tail()).map(|tail| u64::from(tail.documents())).sum();
    Cost::steps(extent.documents / 8).and(Cost::steps(joined.min(JOINED_DOCUMENTS_MAX)).times(JOINED_DOCUMENT))
}

/// Steps of adding the sums of one part, and of counting one document with its sizes.
const COUNTED_PART: u64 = 64;
const COUNTED_DOCUMENT: u64 = 64;
/// Steps of a search for an id: some comparisons of strings.
const LOOKED_UP: u64 = 512;
/// Steps for each byte that is brought: it is checked, encoded and copied.
const STAGED_BYTE: u64 = 64;
/// Documents of tails that one batch joins at most, and the steps of one: see `working`.
const JOINED_DOCUMENTS_MAX: u64 = 4_096;
const JOINED_DOCUMENT: u64 = 128;
