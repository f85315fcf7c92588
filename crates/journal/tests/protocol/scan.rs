//! From a LIST to the newest Ckpt record: one GET per key, downwards from the highest.
//!
//! Every GET comes after the LIST has ended. That matters: GC deletes in ascending order, so a
//! Ckpt record that can still be read proves that nothing behind it had been deleted before.

use super::{
    store::{NOWHERE, Rec, Slot},
    world::World,
    writer::View,
};

/// The Ckpt record on which a replay stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ckpt {
    /// Where.
    pub(crate) at: Slot,
    /// Entries before it.
    pub(crate) last: u8,
    /// Its checkpoint object.
    pub(crate) ptr: u8,
    /// First slot that replay needs.
    pub(crate) floor: Slot,
}

impl Ckpt {
    /// The record is still there. Its bytes count, not the key: once it has been deleted, a late
    /// sealer may have put a Seal in its place.
    pub(crate) fn stands(&self, world: &World) -> bool {
        matches!(world.store.log(self.at), Some(Rec::Ckpt { .. }))
    }
}

/// A LIST and what was read after it.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Scan {
    /// Keys not read yet, ascending.
    pub(crate) keys: Vec<Slot>,
    /// Slots above the newest Ckpt, descending; true: a Seal.
    pub(crate) above: Vec<(Slot, bool)>,
    /// The newest Ckpt.
    pub(crate) ckpt: Option<Ckpt>,
    /// Recovery: the next slot to be read.
    pub(crate) at: Slot,
    /// Recovery: what was found.
    pub(crate) view: View,
    /// Recovery: entries that were known when it began.
    pub(crate) since: usize,
    /// Recovery: the entries' numbers do not follow, so this was no one state of the place.
    pub(crate) torn: bool,
    /// Sealing: where the older epochs end.
    pub(crate) end: Slot,
    /// Sealing, mutants only: slots whose Seal is taken for granted.
    pub(crate) trusted: Vec<Slot>,
}

/// Where the way down has led.
pub(crate) enum Down {
    /// Not there yet.
    More,
    /// A listed key is gone: LIST again.
    Gone,
    /// At a Ckpt record.
    Found(Ckpt),
    /// Past the last key.
    Bottom,
}

impl Scan {
    /// One GET.
    pub(crate) fn down(&mut self, world: &World) -> Down {
        let Some(at) = self.keys.pop() else { return Down::Bottom };
        match world.store.log(at) {
            None => Down::Gone,
            Some(Rec::Ckpt { last, ptr, floor, .. }) => {
                let ckpt = Ckpt { at, last, ptr, floor };
                self.ckpt = Some(ckpt);
                Down::Found(ckpt)
            }
            Some(rec) => {
                self.above.push((at, matches!(rec, Rec::Seal { .. })));
                Down::More
            }
        }
    }

    /// The epoch of the newest Ckpt; 0: none.
    pub(crate) fn epoch(&self) -> u8 {
        self.ckpt.map_or(0, |c| c.at.e)
    }

    /// Data in an epoch without a Ckpt: the LIST saw an epoch's inside and not its opening.
    pub(crate) fn headless(&self) -> bool {
        self.above.iter().any(|(at, seal)| !seal && at.e > self.epoch())
    }

    /// What stands at a slot above the newest Ckpt, as far as the LIST showed: a Seal or Data.
    pub(crate) fn above(&self, at: Slot) -> Option<bool> {
        self.above.iter().find(|(k, _)| *k == at).map(|(_, seal)| *seal)
    }

    /// How far the log was seen without a gap, from a Seal on: through epochs that were claimed
    /// and never opened. The highest key would not do: the LIST may show it, and not what was
    /// opened, written and sealed in between.
    pub(crate) fn chain(&self, seal: Slot) -> Slot {
        let mut seen = seal;
        while self.above(Slot { e: seen.e + 1, n: 1 }) == Some(true) {
            seen = Slot { e: seen.e + 1, n: 1 };
        }
        seen
    }

    /// The first slot behind the newest Ckpt's run of Data.
    pub(crate) fn hole(&self) -> Slot {
        let mut at = self.ckpt.map_or(NOWHERE, |c| c.at).next();
        while self.above(at) == Some(false) {
            at = at.next();
        }
        at
    }
}
