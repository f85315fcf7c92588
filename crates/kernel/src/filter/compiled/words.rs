//! All `match` leaves of one field: the words of a value are looked up once for all of them.

use super::{
    super::{MatchWords, folded_words},
    Bits, set,
};
use crate::fold::{Folding, folded};
use std::collections::HashMap;

/// Words of the leaves, with the leaves that each of them may satisfy.
#[derive(Default)]
pub(super) struct WordTable {
    /// Numbers of the words that leaves require. The words that most leaves require have the lowest numbers, so that
    /// words which many leaves share are close together in their sets.
    numbers: HashMap<Box<str>, u32>,
    /// Leaves with all their words, by the number of their rarest word.
    by_rarest: HashMap<u32, Vec<(usize, Bits)>>,
}

/// Words of the table that the current value has, as a bitmap.
#[derive(Default)]
pub(super) struct FoundWords {
    blocks: Vec<u64>,
    /// Numbers of the words that were found, for clearing the bitmap.
    found: Vec<u32>,
}

impl WordTable {
    /// Builds the table from leaves with their words.
    pub(super) fn new(leaves: &[(usize, &MatchWords)]) -> Self {
        let mut frequency: HashMap<&str, u32> = HashMap::new();
        leaves.iter().flat_map(|(_, words)| words.iter()).for_each(|word| *frequency.entry(word).or_default() += 1);
        let mut order: Vec<(&str, u32)> = frequency.into_iter().collect();
        order.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let numbers: HashMap<Box<str>, u32> = (0..).zip(order).map(|(n, (word, _))| (word.into(), n)).collect();
        let mut by_rarest: HashMap<u32, Vec<(usize, Bits)>> = HashMap::new();
        let mut word_numbers: Vec<u32> = Vec::new();
        for (leaf, words) in leaves {
            word_numbers.clear();
            word_numbers.extend(words.iter().filter_map(|word| numbers.get(word).copied()));
            word_numbers.sort_unstable();
            let mut bits = Bits::new();
            word_numbers.iter().for_each(|number| set(&mut bits, *number as usize));
            bits.shrink_to_fit();
            if let Some(rarest) = word_numbers.last() {
                by_rarest.entry(*rarest).or_default().push((*leaf, bits));
            }
        }
        Self { numbers, by_rarest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(super) fn found_words(&self) -> FoundWords {
        FoundWords { blocks: vec![0; self.numbers.len().div_ceil(64)], ..FoundWords::default() }
    }

    /// Calls `visit` for the leaves all of whose words are in a value. Returns the cost in steps.
    pub(super) fn search(&self, text: &str, found: &mut FoundWords, mut visit: impl FnMut(usize)) -> u64 {
        let FoundWords { blocks, found } = found;
        let folded = folded(text, Folding::Common);
        for word in folded_words(&folded) {
            let Some(number) = self.numbers.get(word) else { continue };
            let (block, mask) = (*number as usize / 64, 1 << (number % 64));
            if let Some(block) = blocks.get_mut(block).filter(|block| **block & mask == 0) {
                *block |= mask;
                found.push(*number);
            }
        }
        // Only leaves whose rarest word was found can match: the others are not looked at.
        let mut steps = text.len() as u64;
        for number in found.iter() {
            for (leaf, bits) in self.by_rarest.get(number).map(Vec::as_slice).unwrap_or_default() {
                let mut tried = 0;
                let holds = |(block, mask): &(u32, u64)| {
                    tried += 1;
                    blocks.get(*block as usize).is_some_and(|word_numbers| word_numbers & mask == *mask)
                };
                if bits.iter().all(holds) {
                    visit(*leaf);
                }
                steps += tried;
            }
        }
        for number in found.drain(..) {
            if let Some(block) = blocks.get_mut(number as usize / 64) {
                *block = 0;
            }
        }
        steps
    }
}
