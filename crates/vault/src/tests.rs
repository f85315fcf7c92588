//! Tests across all constructions: known answers, confusion of sealed bytes, nonce uniqueness, and keys in memory.

use kernel::{Entropy, Incarnation, NamespaceUuid, ObjectUuid};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

mod confusion;
mod known;
#[cfg(not(feature = "portable"))]
mod memory;
#[cfg(not(feature = "portable"))]
mod nonces;

/// Entropy that replays given bytes in order, however many are drawn at a time.
#[derive(Clone, Default)]
struct Replay(Arc<Mutex<VecDeque<u8>>>);

impl Replay {
    fn of(draws: &[&[u8]]) -> Self {
        let replay = Self::default();
        replay.add(draws);
        replay
    }

    fn add(&self, draws: &[&[u8]]) {
        self.0.lock().unwrap().extend(draws.concat());
    }

    fn is_used_up(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl Entropy for Replay {
    fn fill(&self, out: &mut [u8]) {
        let mut bytes = self.0.lock().unwrap();
        out.fill_with(|| bytes.pop_front().expect("more bytes are drawn than the known answer has"));
    }
}

fn incarnation_of(n: u8) -> Incarnation {
    Incarnation::from_bytes([n; 16])
}

fn keyspace_id(n: u8) -> NamespaceUuid {
    NamespaceUuid::from_bytes([n; 16])
}

fn object(n: u8) -> ObjectUuid {
    ObjectUuid::from_bytes([n; 16])
}
