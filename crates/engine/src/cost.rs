//! Upper bounds on the cost of a search, from the bytes that it may read. [`kernel::cost`] alone decides where work of
//! that cost runs, so every search that runs on its request's thread was bounded here.

use crate::query::SearchPlan;
use kernel::{
    Audience, Filter,
    cost::{Cost, DECODED_BYTE, FILTERED_BYTE},
};
use store::{Extent, Snapshot};

/// Cost of the search itself, from its bitmap to the texts of its hits.
pub(crate) fn search_cost(snapshot: &Snapshot, plan: &SearchPlan) -> Cost {
    // These have no bound: a search that may wait for a page or must index first, one that retrieves again until caps
    // are filled, the words that a word with a star stands for, and a second search among passages that contain a
    // quotation.
    let plain = plan.question().is_none_or(|question| question.expose().chars().all(is_plain));
    if snapshot.rows_in_memory().is_none() || plan.is_capped() || !plain {
        return Cost::UNBOUNDED;
    }
    let (extent, dimensions) = (snapshot.extent(), snapshot.dimensions() as u64);
    audience_cost(snapshot, plan.audience())
        .and(plan.filter().map_or(Cost::default(), |filter| filter_cost(snapshot, &extent, filter)))
        .and(Cost::steps(dimensions + ROW).times(extent.rows))
        .and(words_cost(&extent, plan))
        .and(winners_cost(&extent, plan, dimensions))
}

/// Cost of finding the documents that the audience may see.
fn audience_cost(snapshot: &Snapshot, audience: &Audience) -> Cost {
    Cost::steps(LOOKUP).times(audience.principals().len() as u64 + 1).times(snapshot.parts())
}

/// Cost of a filter: its tables, what its leaves read once each, and a bitmap for every node.
fn filter_cost(snapshot: &Snapshot, extent: &Extent, filter: &Filter) -> Cost {
    let nodes = Cost::steps(filter.nodes() as u64);
    let read = Cost::steps(extent.attributes.saturating_add(extent.heads)).times(FILTERED_BYTE);
    Cost::steps(filter.bytes())
        .times(COMPILED_BYTE)
        .times(snapshot.parts() + 1)
        .and(read)
        .and(nodes.times(extent.documents.saturating_mul(4)))
        .and(nodes.times(snapshot.parts().saturating_mul(LOOKUP)))
}

/// Whether a character of a question is part of words or separates them, and does nothing else. Quotation marks and
/// stars, also in their wide forms, are not plain. Nor are letters of scripts without spaces, because the last one
/// stands for all words that begin with it.
fn is_plain(c: char) -> bool {
    c < FIRST_WITHOUT_BLANKS && c != '"' && c != '*'
}

/// Cost of reading the posting lists of the question's words.
fn words_cost(extent: &Extent, plan: &SearchPlan) -> Cost {
    let Some(words) = plan.words() else { return Cost::default() };
    // A word takes at least one letter and one space.
    let words_max = words.len() as u64 / 2 + 1;
    Cost::steps(POSTING).times(extent.rows).and(Cost::steps(LOOKUP)).times(words_max)
}

/// Cost of ordering the candidates and reading the best of them.
fn winners_cost(extent: &Extent, plan: &SearchPlan, dimensions: u64) -> Cost {
    let (depth, candidates_needed) = (plan.depth() as u64, plan.candidates_needed() as u64);
    let text = extent.text_max.saturating_mul(if plan.include().highlights { HIGHLIGHTED_BYTE } else { 1 });
    let read = Cost::steps(extent.head_max)
        .times(DECODED_BYTE)
        .and(Cost::steps(text.saturating_add(WINNER)))
        .times(candidates_needed);
    let compared = if plan.diversity().is_some() { depth.saturating_mul(plan.top_k() as u64) } else { 0 };
    read.and(Cost::steps(CANDIDATE).times(depth)).and(Cost::steps(dimensions / 2 + 8).times(compared))
}

/// From here on Unicode has scripts without spaces (Thai is the first), quotation marks and wide forms.
const FIRST_WITHOUT_BLANKS: char = '\u{e00}';
/// Steps for each row in addition to its code: what bitmaps and BM25 read of it.
const ROW: u64 = 64;
/// Steps of a lookup in a sorted list or map: some comparisons.
const LOOKUP: u64 = 512;
/// Steps for each byte of a filter that is compiled or looked up: it is copied and hashed.
const COMPILED_BYTE: u64 = 32;
/// Steps for each row in the posting list of a word.
const POSTING: u64 = 8;
/// Steps for each candidate: ties, fusion, and its score by the retriever that did not find it.
const CANDIDATE: u64 = 1_024;
/// Steps for each hit, however short: it is located, decoded into a dozen strings, measured, recorded in the audit by a
/// keyed hash, and freed.
const WINNER: u64 = 8_192;
/// Steps for each byte of a text in which words are highlighted.
const HIGHLIGHTED_BYTE: u64 = 64;
