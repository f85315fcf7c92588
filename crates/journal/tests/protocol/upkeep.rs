//! R3 and R6: checkpoints, and who may delete what, when.
//!
//! - A checkpoint is three PUTs in this order: segments, the checkpoint object, the Ckpt record.
//!   Until the record is known to be stored nothing that it replaces is deleted.
//! - It may cover less than the last entry; its `floor` is the first slot that replay still needs.
//! - Before the first deletion of a place's life stands the mark `cut`.
//! - Log slots go in ascending order through all epochs, oldest epoch first, each deletion confirmed
//!   before the next begins. Never a claim, never a Seal.
//! - A sweep takes unnamed objects of older epochs, and those of its own epoch that this process
//!   did not put. Never those of newer epochs: their owner's manifest is not known here.

use super::{
    put::{Outcome, Put},
    rules::Mutant,
    store::{Doomed, Manifest, NO_CKPT, Object, Rec, Slot},
    world::{Choose, World},
    writer::{Next, Process},
};

/// A checkpoint under way.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Plan {
    /// Entries that it covers.
    covers: u8,
    /// What it names.
    segs: u64,
    /// What it replaces.
    retired: u64,
    /// The object's number.
    ptr: u8,
    /// The record's slot.
    at: Slot,
    /// Objects still to be put after the record; only a mutant has any.
    late: Vec<Object>,
}

impl Process {
    /// R3: every slot below is acknowledged. Covers any number of the entries, and compacts some of
    /// the segments.
    pub(crate) fn begin_checkpoint(&mut self, world: &mut World, choose: &mut impl Choose) {
        self.budget.ckpts -= 1;
        // All of them as often as some: then GC empties the most.
        let tail = self.view.tail.len();
        let covers = self.view.base.len() + if choose.pick(2) == 0 { tail } else { choose.pick(tail + 1) };
        let segs = self.view.segs;
        let retired = if segs != 0 && choose.pick(2) == 0 { segs & segs.wrapping_neg() } else { 0 };
        let behind = u8::try_from(self.pipe.len()).expect("the model is small");
        self.plan = Plan {
            covers: u8::try_from(covers).expect("the model is small"),
            segs: segs & !retired,
            retired,
            ptr: world.new_ckpt(),
            at: Slot { e: self.epoch, n: self.slot + behind },
            late: Vec::new(),
        };
        if world.rules.lacks(Mutant::RetireEarly) {
            world.store.segs &= !retired;
        }
        if !self.budget.segments {
            return self.put_manifest(world);
        }
        let seg = world.new_seg(self.epoch);
        self.mine |= 1 << seg;
        self.plan.segs |= 1 << seg;
        self.put_next(world, Object::Seg(seg), Next::CkptSegment);
    }

    fn put_next(&mut self, world: &World, object: Object, next: Next) {
        if world.rules.lacks(Mutant::CkptUnconfirmedObject) && next != Next::CkptRecord {
            self.plan.late.push(object);
            return if next == Next::CkptSegment { self.put_manifest(world) } else { self.put_record() };
        }
        self.put = Some(Put::new(object));
        self.next = next;
    }

    fn put_manifest(&mut self, world: &World) {
        let base = self.view.history()[..usize::from(self.plan.covers)].to_vec();
        let manifest = Manifest { name: self.plan.at, base, segs: self.plan.segs };
        self.put_next(world, Object::Ckpt(self.plan.ptr, manifest), Next::CkptObject);
    }

    fn put_record(&mut self) {
        let last = self.view.len() + u8::try_from(self.pipe.len()).expect("the model is small");
        let rec = Rec::Ckpt { by: self.nonce, last, ptr: self.plan.ptr, floor: self.floor() };
        self.put = Some(Put::new(Object::Log(self.plan.at, rec)));
        self.next = Next::CkptRecord;
    }

    /// The first slot that the new checkpoint does not cover.
    fn floor(&self) -> Slot {
        let covered = usize::from(self.plan.covers) - self.view.base.len();
        self.view.tail.get(covered).map_or(self.plan.at, |(slot, _)| *slot)
    }

    /// The segment is stored, or the place stops.
    pub(crate) fn segment_stored(&mut self, world: &World, outcome: Outcome) {
        if outcome == Outcome::Stored { self.put_manifest(world) } else { self.fenced() }
    }

    /// The object is stored, or the place stops.
    pub(crate) fn object_stored(&mut self, _: &World, outcome: Outcome) {
        if outcome == Outcome::Stored { self.put_record() } else { self.fenced() }
    }

    /// The record is stored: from here the new checkpoint counts.
    pub(crate) fn record_stored(&mut self, world: &mut World, outcome: Outcome, choose: &mut impl Choose) {
        let reckless = world.rules.lacks(Mutant::GcUnconfirmed) && outcome == Outcome::Unknown;
        if outcome != Outcome::Stored && !reckless {
            return self.stop(world, choose);
        }
        let (floor, plan) = (self.floor(), &mut self.plan);
        let covered = usize::from(plan.covers) - self.view.base.len();
        self.view.base.extend(self.view.tail.drain(..covered).map(|(_, id)| id));
        (self.view.ptr, self.view.segs, self.view.ckpt) = (plan.ptr, plan.segs, plan.at);
        (self.view.seen, self.view.end, self.slot) = (plan.at, plan.at, plan.at.n + 1);
        self.scan.at = floor;
        self.late_stored();
    }

    /// The mutant's objects come behind the record; then GC begins with its mark.
    pub(crate) fn late_stored(&mut self) {
        let late = self.plan.late.pop();
        self.next = if late.is_some() { Next::CkptLate } else { Next::Cut };
        self.put = Some(Put::new(late.unwrap_or(Object::Cut)));
    }

    /// R6: the mark stands before anything is deleted.
    pub(crate) fn cut_stored(&mut self, outcome: Outcome) {
        self.next = if outcome == Outcome::Stored { Next::Collect } else { self.resting() };
    }

    fn resting(&self) -> Next {
        if self.pipe.is_empty() { Next::Open } else { Next::Write }
    }

    /// LISTs what may go. Each key is judged alone, so one moment stands for the LIST.
    pub(crate) fn collect(&mut self, world: &World) {
        let floor = if world.rules.lacks(Mutant::GcIgnoresFloor) { self.plan.at } else { self.scan.at };
        let keys = world.store.keys();
        let mut slots: Vec<Slot> = keys.iter().copied().filter(|at| self.may_go(world, &keys, *at, floor)).collect();
        if world.rules.lacks(Mutant::GcUnordered) {
            slots.reverse();
        }
        if world.rules.lacks(Mutant::GcOwnFirst) {
            slots.sort_by_key(|at| (at.e != self.epoch, *at));
        }
        let mut doomed: Vec<Doomed> = slots.into_iter().map(Doomed::Log).collect();
        let ckpts = (0..).zip(&world.store.ckpts).filter_map(|(i, m)| m.as_ref().map(|m| (i, m.name)));
        doomed.extend(
            ckpts.filter(|(_, name)| *name < self.plan.at && self.plan.ptr != NO_CKPT).map(|(i, _)| Doomed::Ckpt(i)),
        );
        doomed.extend((0..64).filter(|i| self.plan.retired & (1 << i) != 0).map(Doomed::Seg));
        if world.rules.lacks(Mutant::GcDeletesClaims) {
            doomed.extend((1..self.epoch).map(Doomed::Claim));
        }
        doomed.reverse();
        self.doomed = doomed;
        self.next = Next::Delete;
    }

    /// In its own epoch: below the floor. In an epoch that the floor has left: all but Seals.
    fn may_go(&self, world: &World, keys: &[Slot], at: Slot, floor: Slot) -> bool {
        let seal = matches!(world.store.log(at), Some(Rec::Seal { .. }));
        if at.e == self.epoch {
            return at < floor;
        }
        if at.e > self.epoch || at.e >= floor.e {
            return false;
        }
        if world.rules.lacks(Mutant::GcKeepsHighest) {
            return keys.iter().any(|k| k.e == at.e && k.n > at.n);
        }
        !seal || world.rules.lacks(Mutant::GcDeletesSeals)
    }

    /// One deletion. An error ends the round: what is left is for the next one.
    pub(crate) fn delete(&mut self, world: &mut World, choose: &mut impl Choose) {
        let Some(doomed) = self.doomed.pop() else {
            self.next = self.resting();
            return;
        };
        if world.fault(choose) {
            if choose.pick(2) == 0 {
                world.store.delete(doomed);
            }
            self.doomed.clear();
            return;
        }
        world.store.delete(doomed);
    }

    /// Takes unnamed objects away; only an owner whose epoch is open does this.
    pub(crate) fn sweep(&mut self, world: &World) {
        self.budget.sweeps -= 1;
        let epochs = &world.store.seg_epochs;
        let newest = if self.owns() { self.epoch } else { self.view.end.e };
        let goes = |i: &u8| {
            let (bit, epoch) = (1u64 << i, epochs[usize::from(*i)]);
            let kept = (self.view.segs | self.mine) & bit != 0;
            let old = epoch <= newest || world.rules.lacks(Mutant::SweepNewer);
            world.store.segs & bit != 0 && !kept && old
        };
        let count = u8::try_from(epochs.len()).expect("the model is small");
        self.doomed = (0..count).filter(goes).map(Doomed::Seg).collect();
        self.next = Next::Delete;
    }
}
