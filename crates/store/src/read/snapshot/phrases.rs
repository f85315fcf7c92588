//! Finds the eligible rows that contain the phrases quoted in a question.

use super::{Address, Eligible, EligibleSegment, Snapshot};
use crate::Error;
use roaring::RoaringBitmap;
use segment::TextQuery;

/// Rows that may answer a question, by the number of its preferred phrases that they contain.
#[derive(Default)]
pub struct PhraseMatches {
    /// Rows that contain exactly this number of phrases, most phrases first. Levels without rows are left out.
    levels: Vec<(usize, Eligible)>,
}

impl PhraseMatches {
    /// Rows that contain preferred phrases, those with the most first.
    pub fn levels(&self) -> impl Iterator<Item = &Eligible> {
        self.levels.iter().map(|(_, rows)| rows)
    }

    /// Number of preferred phrases that a row contains.
    pub fn held(&self, at: Address) -> usize {
        let holds = |level: &&(usize, Eligible)| {
            level.1.segments.get(at.segment as usize).is_some_and(|segment| segment.rows().contains(at.row))
        };
        self.levels.iter().find(holds).map_or(0, |(phrases, _)| *phrases)
    }
}

impl Snapshot {
    /// Keeps in `eligible` the rows that contain every required phrase, and groups them by their preferred phrases.
    pub(super) fn match_phrases(&self, query: &mut TextQuery, eligible: &mut Eligible) -> Result<PhraseMatches, Error> {
        if query.phrases() == 0 {
            return Ok(PhraseMatches::default());
        }
        // Per phrase and segment, before one phrase narrows the rows in which another is looked up.
        let mut held: Vec<Vec<RoaringBitmap>> = Vec::new();
        for phrase in 0..query.phrases() {
            let mut rows = Vec::new();
            for (segment, allowed) in self.version.segments.iter().zip(&eligible.segments) {
                rows.push(match allowed.rows().is_empty() {
                    true => RoaringBitmap::new(),
                    false => self.checked(segment.index.holding(query, phrase, allowed.rows()))?,
                });
            }
            if rows.iter().all(RoaringBitmap::is_empty) {
                query.warn_phrase_not_found(phrase);
            }
            held.push(rows);
        }
        let (required, preferred): (Vec<usize>, Vec<usize>) =
            (0..query.phrases()).partition(|phrase| query.requires(*phrase));
        for phrase in required {
            for (allowed, rows) in eligible.segments.iter_mut().zip(&held[phrase]) {
                let rows = allowed.rows() & rows;
                *allowed = EligibleSegment::Some { docs: allowed.docs().clone(), rows };
            }
        }
        // Counting row by row would cost their number; bitmaps of "at least n phrases" cost one pass per phrase.
        let segments = eligible.segments.iter().enumerate();
        let at_least_by_segment: Vec<Vec<RoaringBitmap>> = segments
            .map(|(segment, allowed)| {
                let mut at_least = vec![allowed.rows().clone()];
                for phrase in &preferred {
                    let rows = &held[*phrase][segment];
                    at_least.push(RoaringBitmap::new());
                    for level in (1..at_least.len()).rev() {
                        let more = &at_least[level - 1] & rows;
                        at_least[level] |= more;
                    }
                }
                at_least
            })
            .collect();
        let level = |phrases: usize| {
            let one = |(allowed, at_least): (&EligibleSegment, &Vec<RoaringBitmap>)| {
                let more = at_least.get(phrases + 1);
                let rows = more.map_or_else(|| at_least[phrases].clone(), |more| &at_least[phrases] - more);
                EligibleSegment::Some { docs: allowed.docs().clone(), rows }
            };
            let segments = eligible.segments.iter().zip(&at_least_by_segment).map(one).collect();
            (
                phrases,
                Eligible {
                    segments,
                    version: eligible.version.clone(),
                    audience: eligible.audience.clone(),
                    now: eligible.now,
                },
            )
        };
        let levels = (1..=preferred.len()).rev().map(level).filter(|(_, rows)| rows.rows() > 0).collect();
        Ok(PhraseMatches { levels })
    }
}
