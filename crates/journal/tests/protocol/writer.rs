//! A process: its memory, its next step, and how it writes.
//!
//! Each step makes at most one request to the store. Between two steps the process may stall for ever, or while others
//! do anything at all.

use super::{
    maintenance::CheckpointPlan,
    model::{Choose, Model},
    put::{Outcome, Put},
    rules::Mutant,
    scan::Scan,
    store::{BEFORE_ALL, Deletion, NO_CKPT, Object, Rec, Slot},
};

/// Remaining actions that a process may choose to take. Bounds a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Budget {
    /// Number of write groups.
    pub(crate) writes: u8,
    /// Checkpoints.
    pub(crate) ckpts: u8,
    /// Strong reads.
    pub(crate) reads: u8,
    /// Number of claims: two claimers may fence each other for ever, so a search needs a bound.
    pub(crate) claims: u8,
    /// Sweeps.
    pub(crate) sweeps: u8,
    /// Evictions.
    pub(crate) evictions: u8,
    /// Whether checkpoints contain segments.
    pub(crate) segments: bool,
}

/// What a process knows of the keyspace.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct View {
    /// Entries that the checkpoint object covers.
    pub(crate) base: Vec<u8>,
    /// Entries after the checkpoint, with their slots.
    pub(crate) tail: Vec<(Slot, u8)>,
    /// The last known slot, including Seals.
    pub(crate) last_known: Slot,
    /// The last slot before the Seal.
    pub(crate) end: Slot,
    /// The newest Ckpt record; (0, 0) in a new keyspace.
    pub(crate) ckpt: Slot,
    /// The checkpoint object to which the record points.
    pub(crate) ptr: u8,
    /// Segments that the checkpoint names.
    pub(crate) segs: u64,
}

impl Default for View {
    fn default() -> Self {
        let (base, tail) = (Vec::new(), Vec::new());
        Self { base, tail, last_known: BEFORE_ALL, end: BEFORE_ALL, ckpt: BEFORE_ALL, ptr: NO_CKPT, segs: 0 }
    }
}

impl View {
    /// All entries in order.
    pub(crate) fn history(&self) -> Vec<u8> {
        self.base.iter().copied().chain(self.tail.iter().map(|(_, id)| *id)).collect()
    }

    /// Number of entries.
    pub(crate) fn len(&self) -> u8 {
        u8::try_from(self.base.len() + self.tail.len()).expect("the model is small")
    }
}

/// Next step of a process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) enum Next {
    /// Nothing is in memory: start a recovery.
    #[default]
    Recover,
    /// Steps of a recovery: `recover.rs`.
    RecoverListed,
    RecoverDown,
    RecoverBase,
    RecoverWalk,
    RecoverAnchor,
    /// The keyspace is in memory; the process chooses an action.
    Open,
    /// Steps of strong reads: `recover.rs`.
    OwnerRead,
    ReaderListed,
    ReaderAnchor,
    /// Steps of a take-over: `takeover.rs`.
    Claim,
    SealList,
    SealListed,
    SealDown,
    SealPut,
    Opening,
    /// Data PUTs are in flight.
    Write,
    /// Steps of checkpoints and garbage collection: `maintenance.rs`.
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
pub(crate) struct DataPut {
    /// The request.
    pub(crate) put: Put,
    /// Whether the PUT is known to be stored.
    pub(crate) done: bool,
    /// Id of the client's write.
    pub(crate) id: u8,
}

/// One process.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Process {
    /// Distinguishes the bytes of this process from all others.
    pub(crate) nonce: u8,
    /// Machine on which the process runs; only a mutant uses it.
    pub(crate) node: u8,
    /// Remaining actions.
    pub(crate) budget: Budget,
    /// Next step.
    pub(crate) next: Next,
    /// The epoch that the process owns, as far as it knows; 0 for none.
    pub(crate) epoch: u8,
    /// Its first free slot.
    pub(crate) slot: u8,
    /// What it knows of the keyspace.
    pub(crate) view: View,
    /// Where the log ended when the process detached as its owner.
    pub(crate) session: Option<Slot>,
    /// Segments that this opening has put. Its own sweeps keep them; a sweep of the next opening may delete them.
    pub(crate) own_segs: u64,
    /// If a strong read is in progress, the number of entries that were known when it began.
    pub(crate) reading: Option<usize>,
    /// The PUT in progress that is not Data.
    pub(crate) put: Option<Put>,
    /// Data PUTs in flight.
    pub(crate) in_flight: Vec<DataPut>,
    /// A LIST and the results of the GETs after it.
    pub(crate) scan: Scan,
    /// The checkpoint in progress.
    pub(crate) checkpoint: CheckpointPlan,
    /// What GC still has to delete, in reverse order.
    pub(crate) deletions: Vec<Deletion>,
}

/// Actions of an open process.
#[derive(Clone, Copy)]
enum Action {
    Write,
    Read,
    Checkpoint,
    Sweep,
    Evict,
}

impl Process {
    /// Creates a process with nothing in memory.
    pub(crate) fn new(nonce: u8, node: u8, budget: Budget) -> Self {
        Self { nonce, node, budget, ..Self::default() }
    }

    /// Takes one step.
    pub(crate) fn step(&mut self, model: &mut Model, process: usize, choose: &mut impl Choose) {
        match self.next {
            Next::Recover => self.recover(model, process),
            Next::RecoverListed => self.recover_listed(model, process, choose),
            Next::RecoverDown => self.recover_down(model),
            Next::RecoverBase => self.recover_base(model),
            Next::RecoverWalk => self.recover_walk(model),
            Next::RecoverAnchor => self.recover_anchor(model),
            Next::Open => self.choose_action(model, process, choose),
            Next::OwnerRead => self.owner_read(model),
            Next::ReaderListed => self.reader_listed(model, process, choose),
            Next::ReaderAnchor => self.reader_anchor(model),
            Next::SealList => self.seal_list(model, process),
            Next::SealListed => self.seal_listed(model, process, choose),
            Next::SealDown => self.seal_down(model),
            Next::Write => self.write(model, choose),
            Next::Collect => self.collect(model),
            Next::Delete => self.delete(model, choose),
            Next::Claim
            | Next::SealPut
            | Next::Opening
            | Next::CkptSegment
            | Next::CkptObject
            | Next::CkptRecord
            | Next::CkptLate
            | Next::Cut => self.put_step(model, choose),
        }
    }

    /// Whether the process has nothing left to do.
    pub(crate) fn idle(&self) -> bool {
        let b = self.budget;
        self.next == Next::Open && b.writes == 0 && b.reads == 0 && (b.ckpts == 0 || self.epoch == 0)
    }

    /// Whether it owns an epoch, as far as it knows.
    pub(crate) fn owns(&self) -> bool {
        self.epoch != 0
    }

    /// Gives up ownership and what it knew, which may be outdated.
    pub(crate) fn fenced(&mut self) {
        (self.epoch, self.own_segs) = (0, 0);
        self.next = Next::Recover;
    }

    /// R9: no request is pending and every outcome is known, so the end of the log is enough to resume as its owner.
    fn detach(&mut self) {
        self.session = self.owns().then_some(self.view.end);
        self.view = View::default();
        self.fenced();
    }

    /// R9: the process is still the owner if the log ends where it left it and neither a Seal nor a newer epoch was
    /// found.
    pub(crate) fn resume(&mut self, model: &Model) {
        let Some(end) = self.session.take() else { return };
        let same = self.view.end == end && self.view.last_known == end;
        if same || model.rules.lacks(Mutant::ResumeUnchecked) {
            (self.epoch, self.slot) = (end.e, self.view.end.n + 1);
        }
    }

    fn put_step(&mut self, model: &mut Model, choose: &mut impl Choose) {
        let mut put = self.put.take().expect("this step belongs to a PUT");
        match put.step(model, choose) {
            Outcome::Pending => self.put = Some(put),
            outcome => self.put_ended(model, outcome, choose),
        }
    }

    fn put_ended(&mut self, model: &mut Model, outcome: Outcome, choose: &mut impl Choose) {
        match self.next {
            Next::Claim => self.claimed(outcome),
            Next::SealPut => self.seal_answered(outcome, model),
            Next::Opening => self.opened(model, outcome),
            Next::CkptSegment => self.segment_stored(model, outcome),
            Next::CkptObject => self.object_stored(model, outcome),
            Next::CkptRecord => self.record_stored(model, outcome, choose),
            Next::CkptLate => self.late_stored(),
            _ => self.cut_stored(outcome),
        }
    }

    /// Chooses and starts an action.
    fn choose_action(&mut self, model: &mut Model, process: usize, choose: &mut impl Choose) {
        let b = self.budget;
        let may_sweep = self.owns() || model.rules.lacks(Mutant::SweepUnclaimed);
        let all = [
            (Action::Write, b.writes > 0, 8),
            (Action::Read, b.reads > 0, 3),
            (Action::Checkpoint, b.ckpts > 0 && self.owns(), 5),
            (Action::Sweep, b.sweeps > 0 && may_sweep, 2),
            (Action::Evict, b.evictions > 0, 1),
        ];
        let may: Vec<(Action, u32)> = all.into_iter().filter(|a| a.1).map(|a| (a.0, a.2)).collect();
        if may.is_empty() {
            return;
        }
        let weights: Vec<u32> = may.iter().map(|a| a.1).collect();
        match may[choose.weigh(&weights)].0 {
            Action::Write if self.owns() => self.begin_write(model, choose),
            Action::Write => self.claim(model),
            Action::Read => self.begin_read(model, process),
            Action::Checkpoint => self.begin_checkpoint(model, choose),
            Action::Sweep => self.sweep(model),
            Action::Evict => {
                self.budget.evictions -= 1;
                self.detach();
            }
        }
    }

    /// R2: only the owner writes here, into consecutive slots.
    fn begin_write(&mut self, model: &mut Model, choose: &mut impl Choose) {
        self.budget.writes -= 1;
        let width = 1 + choose.pick(usize::from(model.rules.width));
        for i in 0..u8::try_from(width).expect("the model is small") {
            let (id, seq) = (model.new_id(), self.view.len() + 1 + i);
            let at = Slot { e: self.epoch, n: self.slot + i };
            let put = Put::new(Object::Log(at, Rec::Data { by: self.nonce, id, seq }));
            self.in_flight.push(DataPut { put, done: false, id });
        }
        self.next = Next::Write;
    }

    /// R2: a write is acknowledged when its slot and all lower ones are known to be written.
    fn write(&mut self, model: &mut Model, choose: &mut impl Choose) {
        if model.rules.lacks(Mutant::CkptBeforeLower) && self.budget.ckpts > 0 && choose.pick(4) == 0 {
            return self.begin_checkpoint(model, choose);
        }
        let open: Vec<usize> = (0..self.in_flight.len()).filter(|i| !self.in_flight[*i].done).collect();
        let data_put = &mut self.in_flight[open[choose.pick(open.len())]];
        match data_put.put.step(model, choose) {
            Outcome::Pending => {}
            Outcome::Stored => {
                data_put.done = true;
                if model.rules.lacks(Mutant::AckBeforeLower) {
                    model.acked.push(data_put.id);
                }
                self.acknowledge(model);
            }
            Outcome::Refused { certain } => {
                if certain {
                    model.deny(data_put.id);
                }
                data_put.done = true;
                self.stop(model, choose);
            }
            Outcome::Unknown => self.stop(model, choose),
        }
    }

    fn acknowledge(&mut self, model: &mut Model) {
        while self.in_flight.first().is_some_and(|f| f.done) {
            let data_put = self.in_flight.remove(0);
            let Object::Log(at, _) = data_put.put.object else { unreachable!("only Data PUTs are in flight") };
            self.view.tail.push((at, data_put.id));
            (self.view.last_known, self.view.end, self.slot) = (at, at, self.slot.max(at.n + 1));
            model.acknowledge(data_put.id, &self.view.history());
        }
        if self.in_flight.is_empty() {
            self.next = Next::Open;
        }
    }

    /// Stops: every write without an acknowledgment has failed or is unknown, and the keyspace is opened again.
    pub(crate) fn stop(&mut self, model: &mut Model, choose: &mut impl Choose) {
        model.abandon(self, choose);
        self.session = (self.owns() && model.rules.lacks(Mutant::ResumeUnknown)).then_some(self.view.end);
        self.fenced();
    }
}
