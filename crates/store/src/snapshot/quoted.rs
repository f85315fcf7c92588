//! Which eligible rows hold the phrases that a question quotes.

use super::{Address, Eligible, EligiblePart, Snapshot};
use crate::Error;
use roaring::RoaringBitmap;
use segment::TextQuery;

/// Rows that may answer a question, by how many of its preferred phrases they hold.
#[derive(Default)]
pub struct Quoted {
    /// Rows that hold exactly this number of phrases, most phrases first. Levels without rows are left out.
    levels: Vec<(usize, Eligible)>,
}

impl Quoted {
    /// Rows that hold preferred phrases, those that hold the most first.
    pub fn levels(&self) -> impl Iterator<Item = &Eligible> {
        self.levels.iter().map(|(_, rows)| rows)
    }

    /// How many preferred phrases a row holds.
    pub fn held(&self, at: Address) -> usize {
        let holds = |level: &&(usize, Eligible)| {
            level.1.parts.get(at.segment as usize).is_some_and(|part| part.rows().contains(at.row))
        };
        self.levels.iter().find(holds).map_or(0, |(phrases, _)| *phrases)
    }
}

impl Snapshot {
    /// Leaves in `eligible` what holds every demanded phrase, and says what of it holds the others.
    pub(super) fn quoted(&self, query: &mut TextQuery, eligible: &mut Eligible) -> Result<Quoted, Error> {
        if query.phrases() == 0 {
            return Ok(Quoted::default());
        }
        // Per phrase and part, before any phrase narrows what another is looked for in.
        let mut held: Vec<Vec<RoaringBitmap>> = Vec::new();
        for phrase in 0..query.phrases() {
            let mut rows = Vec::new();
            for (part, here) in self.view.parts.iter().zip(&eligible.parts) {
                rows.push(match here.rows().is_empty() {
                    true => RoaringBitmap::new(),
                    false => self.noted(part.index.holding(query, phrase, here.rows()))?,
                });
            }
            if rows.iter().all(RoaringBitmap::is_empty) {
                query.warn_unheld(phrase);
            }
            held.push(rows);
        }
        let (demanded, preferred): (Vec<usize>, Vec<usize>) =
            (0..query.phrases()).partition(|phrase| query.requires(*phrase));
        for phrase in demanded {
            for (here, rows) in eligible.parts.iter_mut().zip(&held[phrase]) {
                let rows = here.rows() & rows;
                *here = EligiblePart::Some { docs: here.docs().clone(), rows };
            }
        }
        // Row by row counting would cost their number; bitmaps of "at least n phrases" cost one pass a phrase.
        let parts = eligible.parts.iter().enumerate();
        let counted: Vec<Vec<RoaringBitmap>> = parts
            .map(|(part, here)| {
                let mut at_least = vec![here.rows().clone()];
                for phrase in &preferred {
                    let rows = &held[*phrase][part];
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
            let one = |(here, at_least): (&EligiblePart, &Vec<RoaringBitmap>)| {
                let more = at_least.get(phrases + 1);
                let rows = more.map_or_else(|| at_least[phrases].clone(), |more| &at_least[phrases] - more);
                EligiblePart::Some { docs: here.docs().clone(), rows }
            };
            let parts = eligible.parts.iter().zip(&counted).map(one).collect();
            (
                phrases,
                Eligible { parts, view: eligible.view.clone(), audience: eligible.audience.clone(), now: eligible.now },
            )
        };
        let levels = (1..=preferred.len()).rev().map(level).filter(|(_, rows)| rows.rows() > 0).collect();
        Ok(Quoted { levels })
    }
}
