//! An object store with the guarantees that the protocol may assume: create-if-absent, GET, DELETE, and a LIST that is
//! not a snapshot.
//!
//! A LIST shows every key whose PUT was complete before the LIST began and that is not deleted before it ends. It may
//! or may not show a key that was created or deleted in between. Faults are in `put.rs`; this module is what the store
//! holds.

use super::{model::Choose, rules::Order};

/// A position in the log: epoch, then slot. Both count from 1; (0, 0) is before everything.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Debug)]
pub(crate) struct Slot {
    /// Epoch.
    pub(crate) e: u8,
    /// Number in the epoch.
    pub(crate) n: u8,
}

/// The position before everything.
pub(crate) const BEFORE_ALL: Slot = Slot { e: 0, n: 0 };

impl Slot {
    /// The next slot of the same epoch.
    pub(crate) fn next(self) -> Self {
        Self { e: self.e, n: self.n + 1 }
    }
}

/// A record of the log. `by` is the writer's nonce, so two processes never write equal bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Rec {
    /// One write of a client: its id, and its number in the history of the keyspace.
    Data { by: u8, id: u8, seq: u8 },
    /// Number of entries so far, the checkpoint object (255: none yet), and the first slot that a replay needs.
    Ckpt { by: u8, last: u8, ptr: u8, floor: Slot },
    /// The end of an epoch.
    Seal { by: u8 },
}

/// A checkpoint object: the entries that it covers and the segments that it names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Manifest {
    /// Name of the object: the slot of the record that was meant to name it.
    pub(crate) name: Slot,
    /// Entries that the checkpoint covers.
    pub(crate) base: Vec<u8>,
    /// Segments that the checkpoint names.
    pub(crate) segs: u64,
}

/// No checkpoint object.
pub(crate) const NO_CKPT: u8 = 255;

/// A key with its contents.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Object {
    /// `claim/<e>`: nonce and node.
    Claim { e: u8, by: u8, node: u8 },
    /// `log/<e>/<n>`.
    Log(Slot, Rec),
    /// `ckpt/<e>-<n>`; the number represents the name.
    Ckpt(u8, Manifest),
    /// `seg/<e>-<uuid>`; the number represents the uuid.
    Seg(u8),
    /// `cut`: something of the log was deleted once.
    Cut,
}

/// A key to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Deletion {
    /// A log slot.
    Log(Slot),
    /// A checkpoint object.
    Ckpt(u8),
    /// A segment.
    Seg(u8),
    /// A claim; deleted only by a mutant.
    Claim(u8),
}

/// Contents of the store.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Store {
    /// Nonce and node per epoch, from epoch 1.
    pub(crate) claims: Vec<Option<(u8, u8)>>,
    /// Slots per epoch, both from 1.
    log: Vec<Vec<Option<Rec>>>,
    /// Checkpoint objects by number.
    pub(crate) ckpts: Vec<Option<Manifest>>,
    /// Set of existing segments.
    pub(crate) segs: u64,
    /// The epoch in the name of each segment.
    pub(crate) seg_epochs: Vec<u8>,
    /// The marker that GC puts before its first deletion.
    pub(crate) cut: bool,
    /// Changes since the start of each process's pending LIST.
    lists: [Option<Vec<(Slot, bool)>>; 5],
}

impl Store {
    /// GET of a log slot.
    pub(crate) fn log(&self, at: Slot) -> Option<Rec> {
        let slots = self.log.get(usize::from(at.e).checked_sub(1)?)?;
        *slots.get(usize::from(at.n).checked_sub(1)?)?
    }

    /// Create-if-absent. Returns `false` if the key was taken.
    pub(crate) fn create(&mut self, object: &Object) -> bool {
        match object {
            Object::Claim { e, by, node } => fill(&mut self.claims, *e - 1, (*by, *node)),
            Object::Log(at, rec) => {
                grow(&mut self.log, at.e - 1);
                let done = fill(&mut self.log[usize::from(at.e - 1)], at.n - 1, *rec);
                if done {
                    self.note(*at, true);
                }
                done
            }
            Object::Ckpt(number, manifest) => fill(&mut self.ckpts, *number, manifest.clone()),
            Object::Seg(number) => {
                let bit = 1 << number;
                let done = self.segs & bit == 0;
                self.segs |= bit;
                done
            }
            Object::Cut => !std::mem::replace(&mut self.cut, true),
        }
    }

    /// GET and comparison of all bytes: `None` if absent, otherwise whether it is this object.
    pub(crate) fn compare(&self, object: &Object) -> Option<bool> {
        match object {
            Object::Claim { e, by, .. } => self.claims.get(usize::from(*e - 1))?.map(|(b, _)| b == *by),
            Object::Log(at, rec) => self.log(*at).map(|r| r == *rec),
            Object::Ckpt(number, manifest) => self.ckpts.get(usize::from(*number))?.as_ref().map(|m| m == manifest),
            Object::Seg(number) => (self.segs & (1 << number) != 0).then_some(true),
            Object::Cut => self.cut.then_some(true),
        }
    }

    /// DELETE.
    pub(crate) fn delete(&mut self, deletions: Deletion) {
        match deletions {
            Deletion::Log(at) => {
                if self.log(at).is_some() {
                    self.log[usize::from(at.e - 1)][usize::from(at.n - 1)] = None;
                    self.note(at, false);
                }
            }
            Deletion::Ckpt(number) => self.ckpts[usize::from(number)] = None,
            Deletion::Seg(number) => self.segs &= !(1 << number),
            Deletion::Claim(e) => self.claims[usize::from(e - 1)] = None,
        }
    }

    /// Every log key at this moment, ascending.
    pub(crate) fn keys(&self) -> Vec<Slot> {
        let mut keys = Vec::with_capacity(16);
        for (e, slots) in (1..).zip(&self.log) {
            keys.extend((1..).zip(slots).filter(|(_, r)| r.is_some()).map(|(n, _)| Slot { e, n }));
        }
        keys
    }

    /// The newest epoch that has a claim or a log key.
    pub(crate) fn newest_epoch(&self) -> u8 {
        let claimed = self.claims.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
        let logged = self.log.iter().rposition(|l| l.iter().any(Option::is_some)).map_or(0, |i| i + 1);
        u8::try_from(claimed.max(logged)).expect("the model is small")
    }

    /// A LIST of the log begins.
    pub(crate) fn list_begins(&mut self, process: usize) {
        self.lists[process] = Some(Vec::new());
    }

    /// Drops the LIST of a process that ended.
    pub(crate) fn list_lost(&mut self, process: usize) {
        self.lists[process] = None;
    }

    /// Ends a LIST and returns the keys that it shows.
    pub(crate) fn list_ends(&mut self, process: usize, order: Order, choose: &mut impl Choose) -> Vec<Slot> {
        let mut keys = self.keys();
        let moved = self.lists[process].take().expect("the model is small");
        if moved.is_empty() {
            return keys;
        }
        let mut touched: Vec<Slot> = moved.iter().map(|(at, _)| *at).collect();
        touched.sort_unstable();
        touched.dedup();
        keys.retain(|k| touched.binary_search(k).is_err());
        let mut moment = 0;
        for at in touched {
            let shown = match order {
                Order::Any => choose.pick(2) == 0,
                Order::Ascending => {
                    moment += choose.pick(moved.len() + 1 - moment);
                    existed(&moved, at, moment)
                }
            };
            if shown {
                keys.push(at);
            }
        }
        keys.sort_unstable();
        keys
    }

    fn note(&mut self, at: Slot, still_exists: bool) {
        for list in self.lists.iter_mut().flatten() {
            list.push((at, still_exists));
        }
    }
}

/// Whether the key existed after the first `moment` changes; its first change implies the state before.
fn existed(moved: &[(Slot, bool)], at: Slot, moment: usize) -> bool {
    let before = moved.iter().take(moment).rev().find(|(k, _)| *k == at).map(|(_, still_exists)| *still_exists);
    before.unwrap_or_else(|| first(moved, at) == Some(false))
}

fn first(moved: &[(Slot, bool)], at: Slot) -> Option<bool> {
    moved.iter().find(|(k, _)| *k == at).map(|(_, still_exists)| *still_exists)
}

fn grow<T: Default>(list: &mut Vec<T>, index: u8) {
    while list.len() <= usize::from(index) {
        list.push(T::default());
    }
}

fn fill<T>(list: &mut Vec<Option<T>>, index: u8, value: T) -> bool {
    grow(list, index);
    let place = &mut list[usize::from(index)];
    if place.is_some() {
        return false;
    }
    *place = Some(value);
    true
}
