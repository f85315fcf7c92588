//! Quoted phrases of a question: passages that contain a preferred phrase rank first, those with more phrases before
//! those with fewer; a required phrase excludes all other passages (ADR 27).
//!
//! Both retrievers search the passages that contain phrases to the same depth as all passages, so that such a passage
//! ranks first even if many others rank before it by words and vector. Fused scores do not change, because their scale
//! is taken from the retrievers' candidates among all passages.

use crate::{
    Mode,
    fuse::{FusedCandidate, blend::RetrieverInput},
    query::SearchPlan,
};
use kernel::Error;
use segment::TextQuery;
use std::collections::HashSet;
use store::{Address, Eligible, PhraseMatches, Snapshot};

/// A parsed question.
pub(crate) struct ParsedQuestion {
    pub(crate) query: TextQuery,
    pub(crate) eligible: Eligible,
    pub(crate) quoted: PhraseMatches,
}

/// Parses the plan's question, and keeps the eligible rows that it does not exclude. In mode vector no word ranks and
/// no phrase is preferred, but required phrases still exclude.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn parse_question(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    eligible: Eligible,
) -> Result<ParsedQuestion, Error> {
    let Some(question) = plan.question() else {
        return Ok(ParsedQuestion { query: TextQuery::nothing(), eligible, quoted: PhraseMatches::default() });
    };
    if plan.mode() != Mode::Vector {
        let (query, eligible, quoted) = snapshot.ask(question.expose(), plan.requires_phrases(), eligible)?;
        return Ok(ParsedQuestion { query, eligible, quoted });
    }
    // Most questions quote nothing and need not be parsed.
    if !question.expose().contains(['"', '\u{ff02}']) {
        return Ok(ParsedQuestion { query: TextQuery::nothing(), eligible, quoted: PhraseMatches::default() });
    }
    let (query, eligible, _) = snapshot.ask(question.expose(), plan.requires_phrases(), eligible)?;
    Ok(ParsedQuestion { query: query.without_words(), eligible, quoted: PhraseMatches::default() })
}

/// Appends to the retrievers' candidates those that they find among passages with preferred phrases, to the same depth.
///
/// # Errors
/// When a segment cannot be read.
pub(crate) fn append_phrase_candidates(
    snapshot: &Snapshot,
    plan: &SearchPlan,
    input: &RetrieverInput<'_>,
    found: [Vec<(Address, f32)>; 2],
    depth: usize,
) -> Result<[Vec<(Address, f32)>; 2], Error> {
    let [mut text, mut near] = found;
    let mut rows = 0;
    for level in input.quoted.levels() {
        // The levels with more phrases already contain enough passages.
        if rows >= depth as u64 {
            break;
        }
        rows += level.rows();
        if plan.mode() != Mode::Vector {
            let more = snapshot.text_counted(input.query, input.stats, level, depth)?;
            append(&mut text, more.into_iter().map(|hit| (hit.at, hit.score)));
        }
        let (more, _) = snapshot.vector(input.vector, level, depth)?;
        append(&mut near, more.into_iter().map(|hit| (hit.at, hit.score)));
    }
    Ok([text, near])
}

/// Appends the candidates that the list does not contain yet.
fn append(list: &mut Vec<(Address, f32)>, more: impl Iterator<Item = (Address, f32)>) {
    let known: HashSet<Address> = list.iter().map(|(at, _)| *at).collect();
    list.extend(more.filter(|(at, _)| !known.contains(at)));
}

/// Puts passages with more preferred phrases first, and raises their scores accordingly.
pub(crate) fn rank_phrases_first(
    mut ranked: Vec<FusedCandidate<Address>>,
    quoted: &PhraseMatches,
) -> Vec<FusedCandidate<Address>> {
    for candidate in &mut ranked {
        candidate.phrases = quoted.held(candidate.item);
    }
    if ranked.iter().any(|candidate| candidate.phrases > 0) {
        // The sort is stable, so the order stays otherwise. It also sorts by score, because appended candidates of a
        // single retriever may follow lower ones.
        ranked.sort_by(|a, b| b.phrases.cmp(&a.phrases).then(b.score.total_cmp(&a.score)));
        raise_scores(ranked.iter_mut().map(|candidate| (candidate.phrases, &mut candidate.score)).collect());
    }
    ranked
}

/// Raises scores so that no passage with fewer phrases is above one with more, and passages with equally many keep
/// their distances. Nothing changes if all contain equally many.
pub(crate) fn raise_scores(mut scores: Vec<(usize, &mut f32)>) {
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
