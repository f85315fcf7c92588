//! Cache of blocks of sealed objects that were fetched from a bucket: ciphertext in memory, with one limit for all
//! keyspaces.
//!
//! A block belongs to one reader of one object and is dropped with the reader. An object that is opened again is
//! therefore fetched again, so bytes that were corrupted in transit are not served twice.

use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// Number of the reader, and number of the block in its object.
pub(crate) type BlockId = (u64, u64);

/// Cache of blocks that evicts the least recently used ones; see the module.
pub(crate) struct BlockCache {
    bytes_max: u64,
    readers: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Blocks with the tick of their last use.
    blocks: HashMap<BlockId, (u64, Arc<[u8]>)>,
    /// The same blocks in the order of their last use.
    by_tick: BTreeMap<u64, BlockId>,
    bytes: u64,
    tick: u64,
}

impl BlockCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self { bytes_max, readers: AtomicU64::new(0), state: Mutex::default() }
    }

    /// Returns a number that no other reader has.
    pub(crate) fn new_reader(&self) -> u64 {
        self.readers.fetch_add(1, Ordering::Relaxed)
    }

    /// Returns a cached block and marks it as recently used.
    pub(crate) fn get(&self, id: BlockId) -> Option<Arc<[u8]>> {
        let mut state = self.state.lock();
        let found = state.remove(id)?;
        state.insert(id, found.clone());
        Some(found)
    }

    /// Returns a cached block and removes it from the cache.
    pub(crate) fn take(&self, id: BlockId) -> Option<Arc<[u8]>> {
        self.state.lock().remove(id)
    }

    /// Whether a block is cached; does not count as a use.
    pub(crate) fn contains(&self, id: BlockId) -> bool {
        self.state.lock().blocks.contains_key(&id)
    }

    /// Adds or replaces a block and evicts old ones. A block above the limit is not kept.
    pub(crate) fn put(&self, id: BlockId, block: Arc<[u8]>) {
        let mut state = self.state.lock();
        state.remove(id);
        state.insert(id, block);
        while state.bytes > self.bytes_max {
            let Some((_, oldest)) = state.by_tick.pop_first() else { return };
            state.remove(oldest);
        }
    }

    /// Drops all blocks of a reader.
    pub(crate) fn drop_reader(&self, reader: u64) {
        let mut state = self.state.lock();
        let own: Vec<BlockId> = state.blocks.keys().filter(|(owner, _)| *owner == reader).copied().collect();
        own.into_iter().for_each(|id| drop(state.remove(id)));
    }

    /// Total size of the cached blocks, in bytes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }
}

impl State {
    fn insert(&mut self, id: BlockId, block: Arc<[u8]>) {
        self.tick += 1;
        self.bytes += block.len() as u64;
        self.by_tick.insert(self.tick, id);
        self.blocks.insert(id, (self.tick, block));
    }

    fn remove(&mut self, id: BlockId) -> Option<Arc<[u8]>> {
        let (tick, block) = self.blocks.remove(&id)?;
        self.by_tick.remove(&tick);
        self.bytes -= block.len() as u64;
        Some(block)
    }
}

#[cfg(test)]
mod tests;
