//! Quoted phrases of a question: passages that hold a preferred phrase come first, those that hold more before those that
//! hold fewer; a required phrase excludes all other passages (ADR 27).
//!
//! Both retrievers search the passages that hold phrases to the same depth as all passages, so that such a passage comes
//! first even if many others rank before it by words and vector. Fused scores do not change: their scale is taken from
//! what the retrievers find among all passages.

use crate::{
    Mode,
    fuse::{Fused, blend::Asked},
    query::Plan,
};
use kernel::Error;
use segment::TextQuery;
use std::collections::HashSet;
use store::{Address, Eligible, Quoted, Snapshot};

/// A parsed question.
pub(crate) struct Read {
    pub(crate) query: TextQuery,
    pub(crate) eligible: Eligible,
    pub(crate) quoted: Quoted,
}

/// Parses the plan's question, and keeps the eligible rows that it does not exclude. In mode vector no word ranks and no
/// phrase is preferred; required phrases exclude all the same.
///
/// # Errors
/// When a segment does not read.
pub(crate) fn read(snapshot: &Snapshot, plan: &Plan, eligible: Eligible) -> Result<Read, Error> {
    let Some(question) = plan.question() else {
        return Ok(Read { query: TextQuery::nothing(), eligible, quoted: Quoted::default() });
    };
    if plan.mode() != Mode::Vector {
        let (query, eligible, quoted) = snapshot.ask(question.expose(), plan.requires_phrases(), eligible)?;
        return Ok(Read { query, eligible, quoted });
    }
    // Most questions quote nothing; then the text is not parsed.
    if !question.expose().contains(['"', '\u{ff02}']) {
        return Ok(Read { query: TextQuery::nothing(), eligible, quoted: Quoted::default() });
    }
    let (query, eligible, _) = snapshot.ask(question.expose(), plan.requires_phrases(), eligible)?;
    Ok(Read { query: query.without_words(), eligible, quoted: Quoted::default() })
}

/// What the retrievers found, followed by what they find among passages that hold preferred phrases, to the same depth.
///
/// # Errors
/// When a segment does not read.
pub(crate) fn joined(
    snapshot: &Snapshot,
    plan: &Plan,
    asked: &Asked<'_>,
    found: [Vec<(Address, f32)>; 2],
    depth: usize,
) -> Result<[Vec<(Address, f32)>; 2], Error> {
    let [mut text, mut near] = found;
    let mut rows = 0;
    for level in asked.quoted.levels() {
        // The levels with more phrases are enough by themselves.
        if rows >= depth as u64 {
            break;
        }
        rows += level.rows();
        if plan.mode() != Mode::Vector {
            let more = snapshot.text_counted(asked.query, asked.stats, level, depth)?;
            append(&mut text, more.into_iter().map(|hit| (hit.at, hit.score)));
        }
        let (more, _) = snapshot.vector(asked.vector, level, depth)?;
        append(&mut near, more.into_iter().map(|hit| (hit.at, hit.score)));
    }
    Ok([text, near])
}

/// Appends what the list does not hold yet.
fn append(list: &mut Vec<(Address, f32)>, more: impl Iterator<Item = (Address, f32)>) {
    let known: HashSet<Address> = list.iter().map(|(at, _)| *at).collect();
    list.extend(more.filter(|(at, _)| !known.contains(at)));
}

/// The ranking with passages that hold more preferred phrases first, and scores raised accordingly.
pub(crate) fn first(mut ranked: Vec<Fused<Address>>, quoted: &Quoted) -> Vec<Fused<Address>> {
    for candidate in &mut ranked {
        candidate.phrases = quoted.held(candidate.item);
    }
    if ranked.iter().any(|candidate| candidate.phrases > 0) {
        // Stable: else the order stays. Appended candidates of one arm alone may follow lower ones.
        ranked.sort_by(|a, b| b.phrases.cmp(&a.phrases).then(b.score.total_cmp(&a.score)));
        raise(ranked.iter_mut().map(|candidate| (candidate.phrases, &mut candidate.score)).collect());
    }
    ranked
}

/// Raises scores so that none which holds fewer phrases is above one that holds more, and those that hold as many keep
/// their distances. Where all hold as many nothing changes.
pub(crate) fn raise(mut scores: Vec<(usize, &mut f32)>) {
    let (low, high) = scores
        .iter()
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), (_, score)| (low.min(**score), high.max(**score)));
    let least = scores.iter().map(|(phrases, _)| *phrases).min().unwrap_or(0);
    // A little more than the greatest difference, so that equal scores are separated too.
    let step = (high - low) * 1.001 + high.abs().max(low.abs()) * 1e-3 + f32::MIN_POSITIVE;
    for (phrases, score) in &mut scores {
        #[expect(clippy::cast_precision_loss, reason = "a question has a few phrases at most")]
        let levels = (*phrases - least) as f32;
        if levels > 0.0 {
            **score += levels * step;
        }
    }
}

#[cfg(test)]
mod tests;
