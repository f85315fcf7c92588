//! From a LIST to the newest Ckpt record: one GET per key, downwards from the highest.
//!
//! Every GET comes after the end of the LIST. That matters because GC deletes in ascending order: a Ckpt record that
//! can still be read proves that nothing after it had been deleted before.

use super::{
    model::Model,
    store::{BEFORE_ALL, Rec, Slot},
    writer::View,
};

/// The Ckpt record from which a replay starts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ckpt {
    /// Slot of the record.
    pub(crate) at: Slot,
    /// Number of entries before the record.
    pub(crate) last: u8,
    /// Number of its checkpoint object.
    pub(crate) ptr: u8,
    /// First slot that a replay needs.
    pub(crate) floor: Slot,
}

impl Ckpt {
    /// Whether the record still exists. Its bytes decide, not the key: after the record was deleted, a late sealer may
    /// have put a Seal in its slot.
    pub(crate) fn still_exists(&self, model: &Model) -> bool {
        matches!(model.store.log(self.at), Some(Rec::Ckpt { .. }))
    }
}

/// A LIST and the results of the GETs after it.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Scan {
    /// Keys that have not been read yet, ascending.
    pub(crate) keys: Vec<Slot>,
    /// Slots above the newest Ckpt, descending, and whether each is a Seal.
    pub(crate) above: Vec<(Slot, bool)>,
    /// The newest Ckpt.
    pub(crate) ckpt: Option<Ckpt>,
    /// Recovery: the next slot to read.
    pub(crate) at: Slot,
    /// Recovery: what was found so far.
    pub(crate) view: View,
    /// Recovery: number of entries that were known when it began.
    pub(crate) since: usize,
    /// Recovery: whether the numbers of the entries do not follow one another, so that what was read was never a state
    /// of the keyspace.
    pub(crate) inconsistent: bool,
    /// Sealing: where the older epochs end.
    pub(crate) end: Slot,
    /// Sealing, mutants only: slots whose Seal is assumed to exist.
    pub(crate) trusted: Vec<Slot>,
}

/// Result of one step downwards.
pub(crate) enum DownStep {
    /// No Ckpt record found yet.
    More,
    /// A listed key is gone: LIST again.
    Gone,
    /// A Ckpt record was found.
    Found(Ckpt),
    /// No key is left.
    Bottom,
}

impl Scan {
    /// Makes one GET.
    pub(crate) fn read_down(&mut self, model: &Model) -> DownStep {
        let Some(at) = self.keys.pop() else { return DownStep::Bottom };
        match model.store.log(at) {
            None => DownStep::Gone,
            Some(Rec::Ckpt { last, ptr, floor, .. }) => {
                let ckpt = Ckpt { at, last, ptr, floor };
                self.ckpt = Some(ckpt);
                DownStep::Found(ckpt)
            }
            Some(rec) => {
                self.above.push((at, matches!(rec, Rec::Seal { .. })));
                DownStep::More
            }
        }
    }

    /// The epoch of the newest Ckpt; 0 for none.
    pub(crate) fn epoch(&self) -> u8 {
        self.ckpt.map_or(0, |c| c.at.e)
    }

    /// Whether there is Data in an epoch without a Ckpt: the LIST showed records of the epoch but not its opening.
    pub(crate) fn misses_opening(&self) -> bool {
        self.above.iter().any(|(at, seal)| !seal && at.e > self.epoch())
    }

    /// What the LIST showed at a slot above the newest Ckpt: `true` for a Seal, `false` for Data.
    pub(crate) fn above(&self, at: Slot) -> Option<bool> {
        self.above.iter().find(|(k, _)| *k == at).map(|(_, seal)| *seal)
    }

    /// Last slot of the log that is known without a gap, from a Seal through epochs that were claimed and never opened.
    /// The highest key would be wrong: the LIST may show it, but not what was opened, written and sealed in between.
    pub(crate) fn follow_seals(&self, seal: Slot) -> Slot {
        let mut last_known = seal;
        while self.above(Slot { e: last_known.e + 1, n: 1 }) == Some(true) {
            last_known = Slot { e: last_known.e + 1, n: 1 };
        }
        last_known
    }

    /// The first slot after the newest Ckpt's run of Data.
    pub(crate) fn hole(&self) -> Slot {
        let mut at = self.ckpt.map_or(BEFORE_ALL, |c| c.at).next();
        while self.above(at) == Some(false) {
            at = at.next();
        }
        at
    }
}
