//! A process: what it has in memory, what it does next, and how it writes.
//!
//! Each step is at most one request to the store; between two steps the process may stall for
//! ever or for as long as it takes others to do anything at all.

use super::{
    put::{Outcome, Put},
    rules::Mutant,
    scan::Scan,
    store::{Doomed, NO_CKPT, NOWHERE, Object, Rec, Slot},
    upkeep::Plan,
    world::{Choose, World},
};

/// What a process may still do of its own accord. Bounds a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Budget {
    /// Groups of writes.
    pub(crate) writes: u8,
    /// Checkpoints.
    pub(crate) ckpts: u8,
    /// Strong reads.
    pub(crate) reads: u8,
    /// Claims: two claimers may fence each other for ever, so a search needs a bound.
    pub(crate) claims: u8,
    /// Sweeps.
    pub(crate) sweeps: u8,
    /// Evictions.
    pub(crate) evictions: u8,
    /// Segments are part of the checkpoints.
    pub(crate) segments: bool,
}

/// What a process knows of the place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct View {
    /// Entries that the checkpoint object covers.
    pub(crate) base: Vec<u8>,
    /// Entries behind it, with their slots.
    pub(crate) tail: Vec<(Slot, u8)>,
    /// The last slot that was seen, Seals too.
    pub(crate) seen: Slot,
    /// The last slot before the Seal.
    pub(crate) end: Slot,
    /// The newest Ckpt record; nowhere in a new place.
    pub(crate) ckpt: Slot,
    /// The checkpoint object that it points to.
    pub(crate) ptr: u8,
    /// The segments that this one names.
    pub(crate) segs: u64,
}

impl Default for View {
    fn default() -> Self {
        let (base, tail) = (Vec::new(), Vec::new());
        Self { base, tail, seen: NOWHERE, end: NOWHERE, ckpt: NOWHERE, ptr: NO_CKPT, segs: 0 }
    }
}

impl View {
    /// All entries in order.
    pub(crate) fn history(&self) -> Vec<u8> {
        self.base.iter().copied().chain(self.tail.iter().map(|(_, id)| *id)).collect()
    }

    /// How many entries.
    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.base.len() + self.tail.len()).expect("the model is small")
    }
}

/// What a process does next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) enum Next {
    /// Nothing is in memory: begin a recovery.
    #[default]
    Recover,
    /// Recovery, step by step: `recover.rs`.
    RecoverListed,
    RecoverDown,
    RecoverBase,
    RecoverWalk,
    RecoverAnchor,
    /// In memory; does what it likes.
    Open,
    /// Strong reads: `recover.rs`.
    OwnerRead,
    ReaderListed,
    ReaderAnchor,
    /// Taking over: `takeover.rs`.
    Claim,
    SealList,
    SealListed,
    SealDown,
    SealPut,
    Opening,
    /// Data PUTs are in flight.
    Write,
    /// Checkpoint and garbage: `upkeep.rs`.
    CkptSegment,
    CkptObject,
    CkptRecord,
    CkptLate,
    Cut,
    Collect,
    Delete,
}

/// A Data PUT in flight.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Flight {
    /// The request.
    pub(crate) put: Put,
    /// It is known to be stored.
    pub(crate) done: bool,
    /// The client's write.
    pub(crate) id: u8,
}

/// One process.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Process {
    /// Tells its bytes from everybody else's.
    pub(crate) nonce: u8,
    /// The machine it runs on; only a mutant looks.
    pub(crate) node: u8,
    /// What it may still do.
    pub(crate) budget: Budget,
    /// What it does next.
    pub(crate) next: Next,
    /// The epoch it owns, as far as it knows; 0: none.
    pub(crate) epoch: u8,
    /// Its first free slot.
    pub(crate) slot: u8,
    /// What it knows of the place.
    pub(crate) view: View,
    /// Where its log ended when it left the place in peace, owning it.
    pub(crate) left: Option<Slot>,
    /// Segments that this opening has put: no sweep of its own takes them. The next one's may.
    pub(crate) mine: u64,
    /// A strong read waits, that began when so many entries were known.
    pub(crate) reading: Option<usize>,
    /// The one PUT that is no Data.
    pub(crate) put: Option<Put>,
    /// Data PUTs in flight.
    pub(crate) pipe: Vec<Flight>,
    /// A LIST and what was read after it.
    pub(crate) scan: Scan,
    /// A checkpoint under way.
    pub(crate) plan: Plan,
    /// What GC still has to delete, last first.
    pub(crate) doomed: Vec<Doomed>,
}

/// What an open process may do.
#[derive(Clone, Copy)]
enum Act {
    Write,
    Read,
    Checkpoint,
    Sweep,
    Evict,
}

impl Process {
    /// Nothing in memory.
    pub(crate) fn new(nonce: u8, node: u8, budget: Budget) -> Self {
        Self { nonce, node, budget, ..Self::default() }
    }

    /// One step.
    pub(crate) fn step(&mut self, world: &mut World, process: usize, choose: &mut impl Choose) {
        match self.next {
            Next::Recover => self.recover(world, process),
            Next::RecoverListed => self.recover_listed(world, process, choose),
            Next::RecoverDown => self.recover_down(world),
            Next::RecoverBase => self.recover_base(world),
            Next::RecoverWalk => self.recover_walk(world),
            Next::RecoverAnchor => self.recover_anchor(world),
            Next::Open => self.act(world, process, choose),
            Next::OwnerRead => self.owner_read(world),
            Next::ReaderListed => self.reader_listed(world, process, choose),
            Next::ReaderAnchor => self.reader_anchor(world),
            Next::SealList => self.seal_list(world, process),
            Next::SealListed => self.seal_listed(world, process, choose),
            Next::SealDown => self.seal_down(world),
            Next::Write => self.write(world, choose),
            Next::Collect => self.collect(world),
            Next::Delete => self.delete(world, choose),
            Next::Claim
            | Next::SealPut
            | Next::Opening
            | Next::CkptSegment
            | Next::CkptObject
            | Next::CkptRecord
            | Next::CkptLate
            | Next::Cut => self.put_step(world, choose),
        }
    }

    /// Whether it has nothing left to do.
    pub(crate) fn idle(&self) -> bool {
        let b = self.budget;
        self.next == Next::Open && b.writes == 0 && b.reads == 0 && (b.ckpts == 0 || self.epoch == 0)
    }

    /// It owns an epoch, as far as it knows.
    pub(crate) fn owns(&self) -> bool {
        self.epoch != 0
    }

    /// What it owned is lost to it; what it knew may be old.
    pub(crate) fn fenced(&mut self) {
        (self.epoch, self.mine) = (0, 0);
        self.next = Next::Recover;
    }

    /// R9: nothing is on its way and every outcome is known, so where the log ends is enough to come
    /// back as its owner.
    fn leave(&mut self) {
        self.left = self.owns().then_some(self.view.end);
        self.view = View::default();
        self.fenced();
    }

    /// R9: it owns on if the log ends where it was left, and no Seal and no newer epoch was seen.
    pub(crate) fn come_back(&mut self, world: &World) {
        let Some(end) = self.left.take() else { return };
        let same = self.view.end == end && self.view.seen == end;
        if same || world.rules.lacks(Mutant::ResumeUnchecked) {
            (self.epoch, self.slot) = (end.e, self.view.end.n + 1);
        }
    }

    fn put_step(&mut self, world: &mut World, choose: &mut impl Choose) {
        let mut put = self.put.take().expect("this step belongs to a PUT");
        match put.step(world, choose) {
            Outcome::Pending => self.put = Some(put),
            outcome => self.put_ended(world, outcome, choose),
        }
    }

    fn put_ended(&mut self, world: &mut World, outcome: Outcome, choose: &mut impl Choose) {
        match self.next {
            Next::Claim => self.claimed(outcome),
            Next::SealPut => self.seal_answered(outcome, world),
            Next::Opening => self.opened(world, outcome),
            Next::CkptSegment => self.segment_stored(world, outcome),
            Next::CkptObject => self.object_stored(world, outcome),
            Next::CkptRecord => self.record_stored(world, outcome, choose),
            Next::CkptLate => self.late_stored(),
            _ => self.cut_stored(outcome),
        }
    }

    /// Something of its own accord.
    fn act(&mut self, world: &mut World, process: usize, choose: &mut impl Choose) {
        let b = self.budget;
        let sweeper = self.owns() || world.rules.lacks(Mutant::SweepUnclaimed);
        let all = [
            (Act::Write, b.writes > 0, 8),
            (Act::Read, b.reads > 0, 3),
            (Act::Checkpoint, b.ckpts > 0 && self.owns(), 5),
            (Act::Sweep, b.sweeps > 0 && sweeper, 2),
            (Act::Evict, b.evictions > 0, 1),
        ];
        let may: Vec<(Act, u32)> = all.into_iter().filter(|a| a.1).map(|a| (a.0, a.2)).collect();
        if may.is_empty() {
            return;
        }
        let weights: Vec<u32> = may.iter().map(|a| a.1).collect();
        match may[choose.weigh(&weights)].0 {
            Act::Write if self.owns() => self.begin_write(world, choose),
            Act::Write => self.claim(world),
            Act::Read => self.begin_read(world, process),
            Act::Checkpoint => self.begin_checkpoint(world, choose),
            Act::Sweep => self.sweep(world),
            Act::Evict => {
                self.budget.evictions -= 1;
                self.leave();
            }
        }
    }

    /// R2: only the owner writes here, into consecutive slots.
    fn begin_write(&mut self, world: &mut World, choose: &mut impl Choose) {
        self.budget.writes -= 1;
        let width = 1 + choose.pick(usize::from(world.rules.width));
        for i in 0..u8::try_from(width).expect("the model is small") {
            let (id, seq) = (world.new_id(), self.view.len() + 1 + i);
            let at = Slot { e: self.epoch, n: self.slot + i };
            let put = Put::new(Object::Log(at, Rec::Data { by: self.nonce, id, seq }));
            self.pipe.push(Flight { put, done: false, id });
        }
        self.next = Next::Write;
    }

    /// R2: acknowledged when this slot and all lower ones are known to be written.
    fn write(&mut self, world: &mut World, choose: &mut impl Choose) {
        if world.rules.lacks(Mutant::CkptBeforeLower) && self.budget.ckpts > 0 && choose.pick(4) == 0 {
            return self.begin_checkpoint(world, choose);
        }
        let open: Vec<usize> = (0..self.pipe.len()).filter(|i| !self.pipe[*i].done).collect();
        let flight = &mut self.pipe[open[choose.pick(open.len())]];
        match flight.put.step(world, choose) {
            Outcome::Pending => {}
            Outcome::Stored => {
                flight.done = true;
                if world.rules.lacks(Mutant::AckBeforeLower) {
                    world.acked.push(flight.id);
                }
                self.acknowledge(world);
            }
            Outcome::Refused { certain } => {
                if certain {
                    world.deny(flight.id);
                }
                flight.done = true;
                self.stop(world, choose);
            }
            Outcome::Unknown => self.stop(world, choose),
        }
    }

    fn acknowledge(&mut self, world: &mut World) {
        while self.pipe.first().is_some_and(|f| f.done) {
            let flight = self.pipe.remove(0);
            let Object::Log(at, _) = flight.put.object else { unreachable!("only Data is in the pipe") };
            self.view.tail.push((at, flight.id));
            (self.view.seen, self.view.end, self.slot) = (at, at, self.slot.max(at.n + 1));
            world.acknowledge(flight.id, &self.view.history());
        }
        if self.pipe.is_empty() {
            self.next = Next::Open;
        }
    }

    /// All that is not acknowledged has failed or is unknown; the place is opened again.
    pub(crate) fn stop(&mut self, world: &mut World, choose: &mut impl Choose) {
        world.abandon(self, choose);
        self.left = (self.owns() && world.rules.lacks(Mutant::ResumeUnknown)).then_some(self.view.end);
        self.fenced();
    }
}
