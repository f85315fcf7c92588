//! What a search may cost, from the bytes that it may read. [`kernel::cost`] says where work of that cost runs, and nothing
//! else does: a search on a thread that others wait for has been here.

use crate::query::Plan;
use kernel::{
    Audience, Filter,
    cost::{Cost, DECODED_BYTE, FILTERED_BYTE},
};
use store::{Extent, Snapshot};

/// Of the search itself, from its bitmap to the texts of its winners.
pub(crate) fn of_search(snapshot: &Snapshot, plan: &Plan) -> Cost {
    // What may wait for a page or has to be indexed first, what looks again until caps are filled, and what a word with
    // a star stands for, and what looks again among passages that hold a quotation: nothing bounds these.
    let plain = plan.question().is_none_or(|question| question.expose().chars().all(is_plain));
    if snapshot.rows_at_hand().is_none() || plan.is_capped() || !plain {
        return Cost::UNBOUNDED;
    }
    let (extent, dimensions) = (snapshot.extent(), snapshot.dimensions() as u64);
    of_audience(snapshot, plan.audience())
        .and(plan.filter().map_or(Cost::default(), |filter| of_filter(snapshot, &extent, filter)))
        .and(Cost::steps(dimensions + ROW).times(extent.rows))
        .and(of_words(&extent, plan))
        .and(of_winners(&extent, plan, dimensions))
}

/// Which documents may be met.
fn of_audience(snapshot: &Snapshot, audience: &Audience) -> Cost {
    Cost::steps(LOOKED_UP).times(audience.principals().len() as u64 + 1).times(snapshot.parts())
}

/// A filter: its tables, what its leaves read once each, and bitmaps for every node.
fn of_filter(snapshot: &Snapshot, extent: &Extent, filter: &Filter) -> Cost {
    let nodes = Cost::steps(filter.nodes() as u64);
    let read = Cost::steps(extent.attributes.saturating_add(extent.heads)).times(FILTERED_BYTE);
    Cost::steps(filter.bytes())
        .times(COMPILED_BYTE)
        .times(snapshot.parts() + 1)
        .and(read)
        .and(nodes.times(extent.documents.saturating_mul(4)))
        .and(nodes.times(snapshot.parts().saturating_mul(LOOKED_UP)))
}

/// Whether a character of a question begins or ends words and nothing else: no quotation, no star, neither in their wide
/// forms, and no letter of a script without blanks, of which the last stands for all words that begin with it.
fn is_plain(c: char) -> bool {
    c < FIRST_WITHOUT_BLANKS && c != '"' && c != '*'
}

/// Words by their lists.
fn of_words(extent: &Extent, plan: &Plan) -> Cost {
    let Some(words) = plan.words() else { return Cost::default() };
    // One letter and one blank are the least that a word takes.
    let most = words.len() as u64 / 2 + 1;
    Cost::steps(POSTING).times(extent.rows).and(Cost::steps(LOOKED_UP)).times(most)
}

/// Candidates are put in order, and the best of them read.
fn of_winners(extent: &Extent, plan: &Plan, dimensions: u64) -> Cost {
    let (depth, wanted) = (plan.depth() as u64, plan.wanted() as u64);
    let text = extent.text_max.saturating_mul(if plan.include().highlights { HIGHLIGHTED_BYTE } else { 1 });
    let read =
        Cost::steps(extent.head_max).times(DECODED_BYTE).and(Cost::steps(text.saturating_add(WINNER))).times(wanted);
    let compared = if plan.diversity().is_some() { depth.saturating_mul(plan.top_k() as u64) } else { 0 };
    read.and(Cost::steps(CANDIDATE).times(depth)).and(Cost::steps(dimensions / 2 + 8).times(compared))
}

/// From here on Unicode has scripts without blanks (Thai is the first), quotation marks and wide forms.
const FIRST_WITHOUT_BLANKS: char = '\u{e00}';
/// Steps for each row beside its code: what bitmaps and BM25 read of it.
const ROW: u64 = 64;
/// Steps of looking something up among many: some comparisons.
const LOOKED_UP: u64 = 512;
/// Steps for each byte of a filter that is made ready or looked up: it is copied and hashed.
const COMPILED_BYTE: u64 = 32;
/// Steps for each row in the list of a word.
const POSTING: u64 = 8;
/// Steps for each candidate: ties, fusion, what one retriever thinks of the other's.
const CANDIDATE: u64 = 1_024;
/// Steps for each winner, however short: it is found, taken apart into a dozen strings, weighed, noted in the audit by a
/// keyed hash, and freed.
const WINNER: u64 = 8_192;
/// Steps for each byte of a text in which words are marked.
const HIGHLIGHTED_BYTE: u64 = 64;
