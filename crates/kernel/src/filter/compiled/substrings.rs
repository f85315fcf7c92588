//! Many patterns in one text, each found once: an automaton after Aho and Corasick ("Efficient string matching", 1975),
//! in which the end of a pattern is followed only where it was not met before, so that a text costs its bytes and its
//! patterns and not their product. Takes 13 bytes for each byte of its patterns: a filter may hold megabytes of them.

use super::Bits;
use std::collections::HashMap;

/// Patterns with the leaves that ask for them.
pub(super) enum Substrings {
    /// As few as are found faster one by one.
    Few(Vec<(String, Bits)>),
    /// More.
    Many(Box<Automaton>),
}

/// Up to here the library's search for one pattern, some bytes at a time, is faster.
const FEW: usize = 4;

/// Which patterns were met in this text.
#[derive(Default)]
pub(super) struct Seen {
    /// By pattern, the number of the text in which it was met last.
    met: Vec<u32>,
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

    pub(super) fn seen(&self) -> Seen {
        match self {
            Substrings::Few(_) => Seen::default(),
            Substrings::Many(automaton) => Seen { met: vec![0; automaton.patterns.len()], text: 0 },
        }
    }

    /// Calls back for each pattern in a text; gives what that cost.
    pub(super) fn inside(&self, text: &str, seen: &mut Seen, mut visit: impl FnMut(&Bits)) -> u64 {
        match self {
            Substrings::Few(patterns) => {
                patterns
                    .iter()
                    .filter(|(pattern, _)| text.contains(pattern.as_str()))
                    .for_each(|(_, bits)| visit(bits));
                (text.len() * patterns.len()) as u64
            }
            Substrings::Many(automaton) => automaton.inside(text, seen, visit),
        }
    }

    /// Calls back for each pattern that a text begins with.
    pub(super) fn prefixes_of(&self, text: &str, mut visit: impl FnMut(&Bits)) {
        match self {
            Substrings::Few(patterns) => {
                patterns.iter().filter(|(pattern, _)| text.starts_with(pattern.as_str())).for_each(|(_, b)| visit(b));
            }
            Substrings::Many(automaton) => automaton.prefixes_of(text, visit),
        }
    }
}

/// States in the order of their depth; the children of one are neighbours, and those of the next state follow them.
pub(super) struct Automaton {
    states: Vec<State>,
    /// The last byte of each state's text.
    bytes: Vec<u8>,
    patterns: Vec<Pattern>,
    /// Children of the root by their byte: it is where most texts are most of the time.
    first: [u32; 256],
}

#[derive(Clone, Copy)]
struct State {
    /// The first of its children, which end where those of the next state begin.
    children: u32,
    /// The state of the longest end of this one's text that is one.
    fail: u32,
    /// The longest pattern that this state's text ends with.
    pattern: u32,
}

struct Pattern {
    leaves: Bits,
    /// Bytes.
    length: usize,
    /// The longest other pattern that this one ends with.
    next: u32,
}

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

impl Automaton {
    /// Of sorted, distinct patterns.
    fn new(patterns: Vec<(&str, Bits)>) -> Self {
        let (texts, leaves): (Vec<&str>, Vec<Bits>) = patterns.into_iter().unzip();
        // At once: while a vector grows both the old and the new one are there.
        let most = 1 + texts.iter().map(|text| text.len()).sum::<usize>();
        let (mut states, mut bytes) = (Vec::with_capacity(most + 1), Vec::with_capacity(most + 1));
        let mut push = |byte: u8, states: &mut Vec<State>| {
            states.push(State { children: 0, fail: ROOT, pattern: NONE });
            bytes.push(byte);
        };
        push(0, &mut states);
        // Patterns that share the text of each state of one depth.
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
        // Where the children of the last state end.
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

    /// Says where each state goes on when no child fits, and which pattern it ends with. Shallower ones come first.
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

    /// Where a byte leads.
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

    fn inside(&self, text: &str, seen: &mut Seen, mut visit: impl FnMut(&Bits)) -> u64 {
        seen.text = seen.text.wrapping_add(1);
        if seen.text == 0 {
            seen.met.fill(0);
            seen.text = 1;
        }
        let mut met = 0;
        let mut tell = |at: u32| {
            let mut end = self.state(at).pattern as usize;
            // What follows a pattern that was met before was met with it.
            while let (Some(pattern), Some(last)) = (self.patterns.get(end), seen.met.get_mut(end)) {
                if *last == seen.text {
                    break;
                }
                *last = seen.text;
                visit(&pattern.leaves);
                met += 1;
                end = pattern.next as usize;
            }
        };
        tell(ROOT);
        let mut at = ROOT;
        for byte in text.bytes() {
            at = self.step(at, byte);
            tell(at);
        }
        4 * text.len() as u64 + met
    }

    fn prefixes_of(&self, text: &str, mut visit: impl FnMut(&Bits)) {
        let mut tell = |at: u32, depth: usize| {
            let pattern = self.patterns.get(self.state(at).pattern as usize);
            pattern.filter(|pattern| pattern.length == depth).into_iter().for_each(|pattern| visit(&pattern.leaves));
        };
        tell(ROOT, 0);
        let mut at = ROOT;
        for (byte, depth) in text.bytes().zip(1..) {
            let Some(child) = self.child(at, byte) else { return };
            at = child;
            tell(at, depth);
        }
    }
}
