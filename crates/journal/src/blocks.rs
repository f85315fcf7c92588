//! Blocks of sealed objects that were fetched from a bucket: ciphertext, in memory, bounded over all places.
//!
//! A block belongs to one reader of one object and goes with it. So an object that is opened again is fetched
//! again: bytes that were spoilt on their way are not met twice.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Whose block, and which one of its object.
pub(crate) type BlockId = (u64, u64);

/// See the module. Those that were asked for longest ago go first.
pub(crate) struct Blocks {
    bytes_max: u64,
    readers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// With the turn in which each was asked for last.
    blocks: HashMap<BlockId, (u64, Arc<[u8]>)>,
    order: BTreeMap<u64, BlockId>,
    bytes: u64,
    turn: u64,
}

impl Blocks {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, readers: AtomicU64::new(0), state: Mutex::default() }
    }

    /// A number that no other reader has.
    pub(crate) fn reader(&self) -> u64 {
        self.readers.fetch_add(1, Ordering::Relaxed)
    }

    /// A block, if it is here; with `take` it is here no longer.
    pub(crate) fn get(&self, id: BlockId, take: bool) -> Option<Arc<[u8]>> {
        let mut state = self.state();
        let found = state.remove(id)?;
        if !take {
            state.insert(id, found.clone());
        }
        Some(found)
    }

    pub(crate) fn has(&self, id: BlockId) -> bool {
        self.state().blocks.contains_key(&id)
    }

    pub(crate) fn put(&self, id: BlockId, block: Arc<[u8]>) {
        let mut state = self.state();
        state.remove(id);
        state.insert(id, block);
        while state.bytes > self.bytes_max {
            let Some(oldest) = state.order.first_key_value().map(|(_, id)| *id) else { return };
            state.remove(oldest);
        }
    }

    /// A reader has gone.
    pub(crate) fn forget(&self, reader: u64) {
        let mut state = self.state();
        let its: Vec<BlockId> = state.blocks.keys().filter(|(whose, _)| *whose == reader).copied().collect();
        its.into_iter().for_each(|id| drop(state.remove(id)));
    }

    /// Bytes that are here now.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What a panic could leave between two steps costs a fetch or some room.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn insert(&mut self, id: BlockId, block: Arc<[u8]>) {
        self.turn += 1;
        self.bytes += block.len() as u64;
        self.order.insert(self.turn, id);
        self.blocks.insert(id, (self.turn, block));
    }

    fn remove(&mut self, id: BlockId) -> Option<Arc<[u8]>> {
        let (turn, block) = self.blocks.remove(&id)?;
        self.order.remove(&turn);
        self.bytes -= block.len() as u64;
        Some(block)
    }
}

#[cfg(test)]
mod tests;
