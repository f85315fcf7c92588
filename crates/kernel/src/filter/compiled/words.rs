//! All `match` leaves of one field: the words of a value are looked up once for all of them.

use super::{
    super::{MatchWords, folded_words},
    Bits, set,
};
use crate::fold::{Folding, folded};
use std::collections::HashMap;

/// See the module.
#[derive(Default)]
pub(super) struct Words {
    /// Numbers of the words that leaves ask for; those that the most leaves ask for have the lowest, so that what many
    /// leaves have in common stands close together in their sets.
    numbers: HashMap<Box<str>, u32>,
    /// By the number of their rarest word, the leaves that ask for it, each with all its words.
    by_rarest: HashMap<u32, Vec<(usize, Bits)>>,
}

/// Which of the words a value has.
#[derive(Default)]
pub(super) struct Found {
    blocks: Vec<u64>,
    /// Those that were found, to be cleared again.
    found: Vec<u32>,
}

impl Words {
    /// Of leaves with their words.
    pub(super) fn new(leaves: &[(usize, &MatchWords)]) -> Self {
        let mut frequency: HashMap<&str, u32> = HashMap::new();
        leaves.iter().flat_map(|(_, words)| words.iter()).for_each(|word| *frequency.entry(word).or_default() += 1);
        let mut order: Vec<(&str, u32)> = frequency.into_iter().collect();
        order.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        let numbers: HashMap<Box<str>, u32> = (0..).zip(order).map(|(n, (word, _))| (word.into(), n)).collect();
        let mut by_rarest: HashMap<u32, Vec<(usize, Bits)>> = HashMap::new();
        let mut mine: Vec<u32> = Vec::new();
        for (leaf, words) in leaves {
            mine.clear();
            mine.extend(words.iter().filter_map(|word| numbers.get(word).copied()));
            mine.sort_unstable();
            let mut bits = Bits::new();
            mine.iter().for_each(|number| set(&mut bits, *number as usize));
            bits.shrink_to_fit();
            if let Some(rarest) = mine.last() {
                by_rarest.entry(*rarest).or_default().push((*leaf, bits));
            }
        }
        Self { numbers, by_rarest }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    pub(super) fn found(&self) -> Found {
        Found { blocks: vec![0; self.numbers.len().div_ceil(64)], ..Found::default() }
    }

    /// Calls back with the leaves all of whose words stand in a value; gives what that cost.
    pub(super) fn look(&self, text: &str, found: &mut Found, mut visit: impl FnMut(usize)) -> u64 {
        let Found { blocks, found } = found;
        let folded = folded(text, Folding::Common);
        for word in folded_words(&folded) {
            let Some(number) = self.numbers.get(word) else { continue };
            let (block, mask) = (*number as usize / 64, 1 << (number % 64));
            if let Some(block) = blocks.get_mut(block).filter(|block| **block & mask == 0) {
                *block |= mask;
                found.push(*number);
            }
        }
        let mut steps = text.len() as u64;
        for number in found.iter() {
            for (leaf, bits) in self.by_rarest.get(number).map(Vec::as_slice).unwrap_or_default() {
                let mut tried = 0;
                let holds = |(block, mask): &(u32, u64)| {
                    tried += 1;
                    blocks.get(*block as usize).is_some_and(|mine| mine & mask == *mask)
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
