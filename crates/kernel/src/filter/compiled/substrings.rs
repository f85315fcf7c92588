//! Searches one text for many patterns and reports each once, with an Aho-Corasick automaton ("Efficient string
//! matching", 1975). Where a pattern ends, its suffixes are followed only if it was not found before, so that a text
//! costs the sum of its bytes and its patterns and not their product. The automaton takes 13 bytes for each byte of its
//! patterns: a filter may hold megabytes of them.

use super::Bits;
use std::collections::HashMap;

/// Patterns with the leaves that search for them.
pub(super) enum Substrings {
    /// Few patterns, which are faster to find one by one.
    Few(Vec<(String, Bits)>),
    /// More patterns than [`FEW`].
    Many(Box<Automaton>),
}

/// Number of patterns up to which the library's search for one pattern, which compares several bytes at a time, is
/// faster.
const FEW: usize = 4;

/// Patterns that were found in the current text.
#[derive(Default)]
pub(super) struct FoundPatterns {
    /// Number of the last text in which each pattern was found, by pattern.
    last: Vec<u32>,
    text: u32,
}

impl Substrings {
    pub(super) fn new(patterns: HashMap<&str, Bits>) -> Self {
        let mut patterns: Vec<(&str, Bits)> = patterns.into_iter().collect();
        if patterns.len() <= FEW {
            return Substrings::Few(patterns.into_iter().map(|(text, bits)| (text.to_owned(), bits)).collect());
        }
        patterns.sort_unstable();
        Substrings::Many(Box::new(Automaton::new(patterns)))
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Substrings::Few(patterns) if patterns.is_empty())
    }

    pub(super) fn found_patterns(&self) -> FoundPatterns {
        match self {
            Substrings::Few(_) => FoundPatterns::default(),
            Substrings::Many(automaton) => FoundPatterns { last: vec![0; automaton.patterns.len()], text: 0 },
        }
    }

    /// Calls `visit` for each pattern in a text. Returns the cost in steps.
    pub(super) fn search(&self, text: &str, found: &mut FoundPatterns, mut visit: impl FnMut(&Bits)) -> u64 {
        match self {
            Substrings::Few(patterns) => {
                patterns
                    .iter()
                    .filter(|(pattern, _)| text.contains(pattern.as_str()))
                    .for_each(|(_, bits)| visit(bits));
                (text.len() * patterns.len()) as u64
            }
            Substrings::Many(automaton) => automaton.search(text, found, visit),
        }
    }

    /// Calls `visit` for each pattern that a text begins with.
    pub(super) fn prefixes_of(&self, text: &str, mut visit: impl FnMut(&Bits)) {
        match self {
            Substrings::Few(patterns) => {
                patterns.iter().filter(|(pattern, _)| text.starts_with(pattern.as_str())).for_each(|(_, b)| visit(b));
            }
            Substrings::Many(automaton) => automaton.prefixes_of(text, visit),
        }
    }
}

/// States are in the order of their depth. The children of one state are neighbours, and those of the next state follow
/// them.
pub(super) struct Automaton {
    states: Vec<State>,
    /// Last byte of each state's text.
    bytes: Vec<u8>,
    patterns: Vec<Pattern>,
    /// Children of the root by their byte. Most texts are in the root most of the time, so it gets a table.
    first: [u32; 256],
}

#[derive(Clone, Copy)]
struct State {
    /// First child of the state. Its children end where those of the next state begin.
    children: u32,
    /// Failure link: the state of the longest proper suffix of this state's text that is a state.
    fail: u32,
    /// Longest pattern that this state's text ends with.
    pattern: u32,
}

struct Pattern {
    leaves: Bits,
    /// Length of the pattern, bytes.
    length: usize,
    /// Longest other pattern that this one ends with.
    next: u32,
}

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

impl Automaton {
    /// Builds the automaton from sorted, distinct patterns.
    fn new(patterns: Vec<(&str, Bits)>) -> Self {
        let (texts, leaves): (Vec<&str>, Vec<Bits>) = patterns.into_iter().unzip();
        // The vectors are allocated at once: while a vector grows, the old and the new one are both in memory.
        let most = 1 + texts.iter().map(|text| text.len()).sum::<usize>();
        let (mut states, mut bytes) = (Vec::with_capacity(most + 1), Vec::with_capacity(most + 1));
        let mut push = |byte: u8, states: &mut Vec<State>| {
            states.push(State { children: 0, fail: ROOT, pattern: NONE });
            bytes.push(byte);
        };
        push(0, &mut states);
        // Breadth first: for each state of the current depth, the range of patterns that begin with its text.
        let mut level = vec![(0, texts.len())];
        let (mut at, mut depth) = (0, 0);
        while !level.is_empty() {
            for (mut from, to) in std::mem::take(&mut level) {
                if texts.get(from).is_some_and(|text| text.len() == depth) && from < to {
                    states[at].pattern = from as u32;
                    from += 1;
                }
                states[at].children = states.len() as u32;
                while from < to {
                    let byte = texts[from].as_bytes()[depth];
                    let same = texts[from..to].iter().take_while(|text| text.as_bytes()[depth] == byte).count();
                    push(byte, &mut states);
                    level.push((from, from + same));
                    from += same;
                }
                at += 1;
            }
            depth += 1;
        }
        // This sentinel marks where the children of the last state end.
        states.push(State { children: states.len() as u32, fail: ROOT, pattern: NONE });
        let pattern = |(text, leaves): (&str, Bits)| Pattern { leaves, length: text.len(), next: NONE };
        let patterns = texts.into_iter().zip(leaves).map(pattern).collect();
        let mut automaton = Self { states, bytes, patterns, first: [NONE; 256] };
        for child in automaton.children(ROOT) {
            automaton.first[usize::from(automaton.bytes[child as usize])] = child;
        }
        automaton.link();
        automaton
    }

    /// Computes the failure link of each state, and the pattern that its text ends with. A link leads to a shallower
    /// state, which was linked earlier.
    fn link(&mut self) {
        for parent in 0..self.bytes.len() as u32 {
            let fail = self.state(parent).fail;
            for child in self.children(parent) {
                let fail = if parent == ROOT { ROOT } else { self.step(fail, self.bytes[child as usize]) };
                let shorter = self.state(fail).pattern;
                let state = &mut self.states[child as usize];
                state.fail = fail;
                match self.patterns.get_mut(state.pattern as usize) {
                    Some(own) => own.next = shorter,
                    None => state.pattern = shorter,
                }
            }
        }
    }

    fn state(&self, at: u32) -> State {
        self.states[at as usize]
    }

    fn children(&self, of: u32) -> std::ops::Range<u32> {
        self.state(of).children..self.state(of + 1).children
    }

    fn child(&self, of: u32, byte: u8) -> Option<u32> {
        if of == ROOT {
            return Some(self.first[usize::from(byte)]).filter(|child| *child != NONE);
        }
        let range = self.children(of);
        let children = &self.bytes[range.start as usize..range.end as usize];
        children.binary_search(&byte).ok().map(|at| range.start + at as u32)
    }

    /// State that a byte leads to.
    fn step(&self, mut from: u32, byte: u8) -> u32 {
        loop {
            if let Some(child) = self.child(from, byte) {
                return child;
            }
            if from == ROOT {
                return ROOT;
            }
            from = self.state(from).fail;
        }
    }

    fn search(&self, text: &str, found: &mut FoundPatterns, mut visit: impl FnMut(&Bits)) -> u64 {
        found.text = found.text.wrapping_add(1);
        // A counter marks what was found, so that the marks are cleared only when it wraps around.
        if found.text == 0 {
            found.last.fill(0);
            found.text = 1;
        }
        let mut visited = 0;
        let mut report = |at: u32| {
            let mut end = self.state(at).pattern as usize;
            // The suffixes of a pattern that was found before were found with it.
            while let (Some(pattern), Some(last)) = (self.patterns.get(end), found.last.get_mut(end)) {
                if *last == found.text {
                    break;
                }
                *last = found.text;
                visit(&pattern.leaves);
                visited += 1;
                end = pattern.next as usize;
            }
        };
        report(ROOT);
        let mut at = ROOT;
        for byte in text.bytes() {
            at = self.step(at, byte);
            report(at);
        }
        4 * text.len() as u64 + visited
    }

    fn prefixes_of(&self, text: &str, mut visit: impl FnMut(&Bits)) {
        let mut report = |at: u32, depth: usize| {
            let pattern = self.patterns.get(self.state(at).pattern as usize);
            pattern.filter(|pattern| pattern.length == depth).into_iter().for_each(|pattern| visit(&pattern.leaves));
        };
        report(ROOT, 0);
        let mut at = ROOT;
        for (byte, depth) in text.bytes().zip(1..) {
            let Some(child) = self.child(at, byte) else { return };
            at = child;
            report(at, depth);
        }
    }
}
