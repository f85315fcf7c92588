//! Round robin over keys that have work: whose turn it is, not what the work is.

use std::{
    collections::{HashSet, VecDeque},
    hash::Hash,
};

/// Keys in the order of their turns. A key is listed once, however much work it has, so one with a lot of work delays
/// another by one turn.
pub struct Turns<K> {
    order: VecDeque<K>,
    listed: HashSet<K>,
}

impl<K: Copy + Eq + Hash> Turns<K> {
    /// Adds a key that has work, at the end. A key that is listed keeps its place.
    pub fn join(&mut self, key: K) {
        if self.listed.insert(key) {
            self.order.push_back(key);
        }
    }

    /// Returns the first key that may have its turn now. It keeps its place.
    pub fn first(&self, may: impl FnMut(&K) -> bool) -> Option<K> {
        self.order.iter().copied().find(may)
    }

    /// Removes a key that has no work left.
    pub fn leave(&mut self, key: K) {
        if self.listed.remove(&key) {
            self.unlist(key);
        }
    }

    /// Moves a key that had its turn to the end.
    pub fn end_turn(&mut self, key: K) {
        if self.listed.contains(&key) {
            self.unlist(key);
            self.order.push_back(key);
        }
    }

    /// Most keys that have their turn are at the front.
    fn unlist(&mut self, key: K) {
        if let Some(at) = self.order.iter().position(|listed| *listed == key) {
            self.order.remove(at);
        }
    }
}

impl<K> Default for Turns<K> {
    fn default() -> Self {
        Self { order: VecDeque::new(), listed: HashSet::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Debug)]
    enum Op {
        /// A key gets some work.
        Add(u8, u8),
        /// The next key that is not among these does one piece of its work.
        Serve(Vec<u8>),
    }

    fn op() -> impl Strategy<Value = Op> {
        let blocked = prop::collection::vec(0..6_u8, 0..3);
        prop_oneof![
            1 => (0..6_u8, 1..9_u8).prop_map(|(key, work)| Op::Add(key, work)),
            3 => blocked.prop_map(Op::Serve),
        ]
    }

    proptest! {
        #[test]
        fn no_key_waits_for_two_turns_of_another(ops in prop::collection::vec(op(), 1..200)) {
            let mut turns = Turns::default();
            let mut work = HashMap::<u8, u8>::new();
            // For each key with work: turns of each other key since its own last turn, or since it has work.
            let mut waited = HashMap::<u8, HashMap<u8, u32>>::new();
            for op in ops {
                match op {
                    Op::Add(key, more) => {
                        *work.entry(key).or_default() += more.min(20);
                        waited.entry(key).or_default();
                        turns.join(key);
                    }
                    Op::Serve(blocked) => {
                        let served = turns.first(|key| !blocked.contains(key));
                        let can_be_served = work.keys().any(|key| !blocked.contains(key));
                        prop_assert_eq!(served.is_some(), can_be_served, "no thread idles while a key has work");
                        let Some(served) = served else { continue };
                        waited.insert(served, HashMap::new());
                        for (key, others) in waited.iter_mut().filter(|(key, _)| **key != served) {
                            if blocked.contains(key) {
                                // It could not have had this turn.
                                continue;
                            }
                            let turns_of_served = others.entry(served).or_default();
                            *turns_of_served += 1;
                            prop_assert!(*turns_of_served <= 1, "key {key} waits for a second turn of {served}");
                        }
                        let left = work.get_mut(&served).unwrap();
                        *left -= 1;
                        if *left == 0 {
                            work.remove(&served);
                            waited.remove(&served);
                            turns.leave(served);
                        } else {
                            turns.end_turn(served);
                        }
                    }
                }
            }
        }
    }
}
