//! Many patterns in one text, each found once: an automaton after Aho and Corasick ("Efficient string matching", 1975),
//! in which the end of a pattern is followed only where it was not met before, so that a text costs its bytes and its
//! patterns and not their product.

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

/// Which ends of patterns were met in this text.
#[derive(Default)]
pub(super) struct Seen {
    /// By state, the number of the text in which it was met last.
    met: Vec<u32>,
    text: u32,
}

impl Substrings {
    pub(super) fn new(patterns: HashMap<String, Bits>) -> Self {
        let mut patterns: Vec<(String, Bits)> = patterns.into_iter().collect();
        if patterns.len() <= FEW {
            return Substrings::Few(patterns);
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
            Substrings::Many(automaton) => Seen { met: vec![0; automaton.states.len()], text: 0 },
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

/// States in the order of their depth; the children of one are neighbours.
pub(super) struct Automaton {
    states: Vec<State>,
    leaves: Vec<Bits>,
    /// Children of the root by their byte: it is where most texts are most of the time.
    first: [u32; 256],
}

#[derive(Clone, Copy)]
struct State {
    children: (u32, u32),
    byte: u8,
    /// The state of the longest end of this one's text that is one.
    fail: u32,
    /// The next state on the way of `fail` that ends a pattern.
    next_end: u32,
    /// In `leaves`, if it ends a pattern.
    pattern: u32,
}

const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

impl Automaton {
    /// Of sorted, distinct patterns.
    fn new(patterns: Vec<(String, Bits)>) -> Self {
        let (texts, leaves): (Vec<String>, Vec<Bits>) = patterns.into_iter().unzip();
        let root = State { children: (0, 0), byte: 0, fail: ROOT, next_end: NONE, pattern: NONE };
        let mut automaton = Self { states: vec![root], leaves, first: [NONE; 256] };
        // Patterns that share the text of a state, and how long that is.
        let mut spans = vec![(0, texts.len(), 0)];
        let mut at = 0;
        while let Some((mut from, to, depth)) = spans.get(at).copied() {
            if texts.get(from).is_some_and(|text| text.len() == depth) && from < to {
                automaton.states[at].pattern = from as u32;
                from += 1;
            }
            let begin = automaton.states.len() as u32;
            while from < to {
                let byte = texts[from].as_bytes()[depth];
                let same = texts[from..to].iter().take_while(|text| text.as_bytes()[depth] == byte).count();
                automaton.states.push(State { byte, ..root });
                spans.push((from, from + same, depth + 1));
                from += same;
            }
            automaton.states[at].children = (begin, automaton.states.len() as u32);
            at += 1;
        }
        for child in 1..automaton.states[0].children.1 {
            automaton.first[usize::from(automaton.states[child as usize].byte)] = child;
        }
        automaton.link();
        automaton
    }

    /// Sets the state to which each state falls back when no child matches. Shallower states come first.
    fn link(&mut self) {
        for parent in 0..self.states.len() as u32 {
            let State { children, fail, .. } = self.state(parent);
            for child in children.0..children.1 {
                let byte = self.state(child).byte;
                let fail = if parent == ROOT { ROOT } else { self.step(fail, byte) };
                let State { pattern, next_end, .. } = self.state(fail);
                let state = &mut self.states[child as usize];
                state.fail = fail;
                state.next_end = if pattern == NONE { next_end } else { fail };
            }
        }
    }

    fn state(&self, at: u32) -> State {
        self.states[at as usize]
    }

    fn child(&self, of: u32, byte: u8) -> Option<u32> {
        if of == ROOT {
            return Some(self.first[usize::from(byte)]).filter(|child| *child != NONE);
        }
        let (from, to) = self.state(of).children;
        let children = &self.states[from as usize..to as usize];
        children.binary_search_by_key(&byte, |state| state.byte).ok().map(|at| from + at as u32)
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

    fn tell(&self, at: u32, visit: &mut impl FnMut(&Bits)) {
        if let Some(bits) = self.leaves.get(self.state(at).pattern as usize) {
            visit(bits);
        }
    }

    fn inside(&self, text: &str, seen: &mut Seen, mut visit: impl FnMut(&Bits)) -> u64 {
        seen.text = seen.text.wrapping_add(1);
        if seen.text == 0 {
            seen.met.fill(0);
            seen.text = 1;
        }
        self.tell(ROOT, &mut visit);
        let (mut at, mut met) = (ROOT, 0);
        for byte in text.bytes() {
            at = self.step(at, byte);
            let mut end = at;
            // What follows an end that was met before was met with it.
            while end != ROOT && end != NONE && seen.met[end as usize] != seen.text {
                seen.met[end as usize] = seen.text;
                self.tell(end, &mut visit);
                met += 1;
                end = self.state(end).next_end;
            }
        }
        4 * text.len() as u64 + met
    }

    fn prefixes_of(&self, text: &str, mut visit: impl FnMut(&Bits)) {
        self.tell(ROOT, &mut visit);
        let mut at = ROOT;
        for byte in text.bytes() {
            let Some(child) = self.child(at, byte) else { return };
            at = child;
            self.tell(at, &mut visit);
        }
    }
}
