//! R3 and R6: checkpoints, and which process may delete what, and when.
//!
//! - A checkpoint consists of PUTs in this order: segments, the checkpoint object, the Ckpt record. Until the record is
//!   known to be stored nothing that it replaces is deleted.
//! - It may cover less than the last entry; its `floor` is the first slot that a replay still needs.
//! - The marker `cut` is put before the first deletion in the history of a keyspace.
//! - Log slots are deleted in ascending order through all epochs, oldest epoch first, each deletion confirmed before
//!   the next begins. Claims and Seals are never deleted.
//! - A sweep deletes unnamed objects of older epochs, and those of its own epoch that this process did not put. It
//!   never deletes those of newer epochs, whose owner's manifest is unknown here.

use super::{
    model::{Choose, Model},
    put::{Outcome, Put},
    rules::Mutant,
    store::{Deletion, Manifest, NO_CKPT, Object, Rec, Slot},
    writer::{Next, Process},
};

/// A checkpoint in progress.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct CheckpointPlan {
    /// Number of entries that the checkpoint covers.
    covers: u8,
    /// Segments that the checkpoint names.
    segs: u64,
    /// Segments that the checkpoint replaces.
    retired: u64,
    /// Number of the checkpoint object.
    ptr: u8,
    /// Slot of the Ckpt record.
    at: Slot,
    /// Objects that are put after the record; only a mutant has any.
    late: Vec<Object>,
}

impl Process {
    /// R3: every slot below is acknowledged. The checkpoint covers any number of the entries, and compacts some of the
    /// segments.
    pub(crate) fn begin_checkpoint(&mut self, model: &mut Model, choose: &mut impl Choose) {
        self.budget.ckpts -= 1;
        // Covering all entries is as likely as covering some, since GC deletes the most then.
        let tail = self.view.tail.len();
        let covers = self.view.base.len() + if choose.pick(2) == 0 { tail } else { choose.pick(tail + 1) };
        let segs = self.view.segs;
        let retired = if segs != 0 && choose.pick(2) == 0 { segs & segs.wrapping_neg() } else { 0 };
        let pending = u8::try_from(self.in_flight.len()).expect("the model is small");
        self.checkpoint = CheckpointPlan {
            covers: u8::try_from(covers).expect("the model is small"),
            segs: segs & !retired,
            retired,
            ptr: model.new_ckpt(),
            at: Slot { e: self.epoch, n: self.slot + pending },
            late: Vec::new(),
        };
        if model.rules.lacks(Mutant::RetireEarly) {
            model.store.segs &= !retired;
        }
        if !self.budget.segments {
            return self.put_manifest(model);
        }
        let seg = model.new_seg(self.epoch);
        self.own_segs |= 1 << seg;
        self.checkpoint.segs |= 1 << seg;
        self.put_next(model, Object::Seg(seg), Next::CkptSegment);
    }

    fn put_next(&mut self, model: &Model, object: Object, next: Next) {
        if model.rules.lacks(Mutant::CkptUnconfirmedObject) && next != Next::CkptRecord {
            self.checkpoint.late.push(object);
            return if next == Next::CkptSegment { self.put_manifest(model) } else { self.put_record() };
        }
        self.put = Some(Put::new(object));
        self.next = next;
    }

    fn put_manifest(&mut self, model: &Model) {
        let base = self.view.history()[..usize::from(self.checkpoint.covers)].to_vec();
        let manifest = Manifest { name: self.checkpoint.at, base, segs: self.checkpoint.segs };
        self.put_next(model, Object::Ckpt(self.checkpoint.ptr, manifest), Next::CkptObject);
    }

    fn put_record(&mut self) {
        let last = self.view.len() + u8::try_from(self.in_flight.len()).expect("the model is small");
        let rec = Rec::Ckpt { by: self.nonce, last, ptr: self.checkpoint.ptr, floor: self.floor() };
        self.put = Some(Put::new(Object::Log(self.checkpoint.at, rec)));
        self.next = Next::CkptRecord;
    }

    /// The first slot that the new checkpoint does not cover.
    fn floor(&self) -> Slot {
        let covered = usize::from(self.checkpoint.covers) - self.view.base.len();
        self.view.tail.get(covered).map_or(self.checkpoint.at, |(slot, _)| *slot)
    }

    /// Continues once the segment is stored; otherwise the process stops.
    pub(crate) fn segment_stored(&mut self, model: &Model, outcome: Outcome) {
        if outcome == Outcome::Stored { self.put_manifest(model) } else { self.fenced() }
    }

    /// Continues once the object is stored; otherwise the process stops.
    pub(crate) fn object_stored(&mut self, _: &Model, outcome: Outcome) {
        if outcome == Outcome::Stored { self.put_record() } else { self.fenced() }
    }

    /// Once the record is stored the new checkpoint counts.
    pub(crate) fn record_stored(&mut self, model: &mut Model, outcome: Outcome, choose: &mut impl Choose) {
        let unconfirmed = model.rules.lacks(Mutant::GcUnconfirmed) && outcome == Outcome::Unknown;
        if outcome != Outcome::Stored && !unconfirmed {
            return self.stop(model, choose);
        }
        let (floor, checkpoint) = (self.floor(), &mut self.checkpoint);
        let covered = usize::from(checkpoint.covers) - self.view.base.len();
        self.view.base.extend(self.view.tail.drain(..covered).map(|(_, id)| id));
        (self.view.ptr, self.view.segs, self.view.ckpt) = (checkpoint.ptr, checkpoint.segs, checkpoint.at);
        (self.view.last_known, self.view.end, self.slot) = (checkpoint.at, checkpoint.at, checkpoint.at.n + 1);
        self.scan.at = floor;
        self.late_stored();
    }

    /// Puts the mutant's objects after the record; then GC begins with its marker.
    pub(crate) fn late_stored(&mut self) {
        let late = self.checkpoint.late.pop();
        self.next = if late.is_some() { Next::CkptLate } else { Next::Cut };
        self.put = Some(Put::new(late.unwrap_or(Object::Cut)));
    }

    /// R6: the marker exists before anything is deleted.
    pub(crate) fn cut_stored(&mut self, outcome: Outcome) {
        self.next = if outcome == Outcome::Stored { Next::Collect } else { self.idle_step() };
    }

    fn idle_step(&self) -> Next {
        if self.in_flight.is_empty() { Next::Open } else { Next::Write }
    }

    /// Collects what may be deleted. Each key is judged alone, so reading one moment is equivalent to a LIST.
    pub(crate) fn collect(&mut self, model: &Model) {
        let floor = if model.rules.lacks(Mutant::GcIgnoresFloor) { self.checkpoint.at } else { self.scan.at };
        let keys = model.store.keys();
        let mut slots: Vec<Slot> =
            keys.iter().copied().filter(|at| self.may_delete(model, &keys, *at, floor)).collect();
        if model.rules.lacks(Mutant::GcUnordered) {
            slots.reverse();
        }
        if model.rules.lacks(Mutant::GcOwnFirst) {
            slots.sort_by_key(|at| (at.e != self.epoch, *at));
        }
        let mut deletions: Vec<Deletion> = slots.into_iter().map(Deletion::Log).collect();
        let ckpts = (0..).zip(&model.store.ckpts).filter_map(|(i, m)| m.as_ref().map(|m| (i, m.name)));
        deletions.extend(
            ckpts
                .filter(|(_, name)| *name < self.checkpoint.at && self.checkpoint.ptr != NO_CKPT)
                .map(|(i, _)| Deletion::Ckpt(i)),
        );
        deletions.extend((0..64).filter(|i| self.checkpoint.retired & (1 << i) != 0).map(Deletion::Seg));
        if model.rules.lacks(Mutant::GcDeletesClaims) {
            deletions.extend((1..self.epoch).map(Deletion::Claim));
        }
        deletions.reverse();
        self.deletions = deletions;
        self.next = Next::Delete;
    }

    /// Whether GC may delete a slot: below the floor in its own epoch; everything but Seals in epochs entirely below
    /// the floor.
    fn may_delete(&self, model: &Model, keys: &[Slot], at: Slot, floor: Slot) -> bool {
        let seal = matches!(model.store.log(at), Some(Rec::Seal { .. }));
        if at.e == self.epoch {
            return at < floor;
        }
        if at.e > self.epoch || at.e >= floor.e {
            return false;
        }
        if model.rules.lacks(Mutant::GcKeepsHighest) {
            return keys.iter().any(|k| k.e == at.e && k.n > at.n);
        }
        !seal || model.rules.lacks(Mutant::GcDeletesSeals)
    }

    /// Makes one deletion. After an error GC stops, and the next one deletes the rest.
    pub(crate) fn delete(&mut self, model: &mut Model, choose: &mut impl Choose) {
        let Some(deletion) = self.deletions.pop() else {
            self.next = self.idle_step();
            return;
        };
        if model.fault(choose) {
            if choose.pick(2) == 0 {
                model.store.delete(deletion);
            }
            self.deletions.clear();
            return;
        }
        model.store.delete(deletion);
    }

    /// Deletes unnamed objects; only the owner of an epoch does this.
    pub(crate) fn sweep(&mut self, model: &Model) {
        self.budget.sweeps -= 1;
        let epochs = &model.store.seg_epochs;
        let newest = if self.owns() { self.epoch } else { self.view.end.e };
        let is_orphan = |i: &u8| {
            let (bit, epoch) = (1u64 << i, epochs[usize::from(*i)]);
            let kept = (self.view.segs | self.own_segs) & bit != 0;
            let old = epoch <= newest || model.rules.lacks(Mutant::SweepNewer);
            model.store.segs & bit != 0 && !kept && old
        };
        let count = u8::try_from(epochs.len()).expect("the model is small");
        self.deletions = (0..count).filter(is_orphan).map(Deletion::Seg).collect();
        self.next = Next::Delete;
    }
}
