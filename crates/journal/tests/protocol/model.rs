//! The model: the store, the processes, and an observer that remembers what clients were told.
//!
//! `observed` is the longest history that any client was told of, by an acknowledgment or by a read. All histories ever
//! returned must be prefixes of one another, and a recovery at any later moment must begin with `observed`. This one
//! condition means that nothing is lost, duplicated, revived or invented: an entry that vanishes, moves, or reappears
//! after another violates it.

use super::{
    put::Put,
    rules::Rules,
    store::{NO_CKPT, Object, Rec, Slot, Store},
    writer::{Budget, Process},
};

/// Source of all choices: a seeded generator, or an enumeration of all possibilities.
pub(crate) trait Choose {
    /// Returns one of `0..n`; `n` is at least 1.
    fn pick(&mut self, n: usize) -> usize;
    /// Returns the index of one of the weights, none of which is zero. An exhaustive search takes every index.
    fn weigh(&mut self, weights: &[u32]) -> usize;
    /// Whether a fault happens, with a probability in thousandths.
    fn rare(&mut self, per_mille: u32) -> bool;
}

/// Complete state at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Model {
    /// The protocol, or a mutant.
    pub(crate) rules: Rules,
    /// Contents of the object store.
    pub(crate) store: Store,
    /// All processes.
    pub(crate) processes: Vec<Process>,
    /// PUTs that timed out for their sender and may still arrive.
    pub(crate) delayed_puts: Vec<Object>,
    /// The longest history that any client was told of.
    pub(crate) observed: Vec<u8>,
    /// Writes that were acknowledged.
    pub(crate) acked: Vec<u8>,
    /// Writes whose client was told that they are certainly not stored.
    pub(crate) denied: Vec<u8>,
    /// Faults that may still happen; 255 for no bound.
    pub(crate) faults: u8,
    /// Probability that a PUT fails, in thousandths.
    pub(crate) fault_rate: u32,
    next_id: u8,
    next_nonce: u8,
    next_ckpt: u8,
    /// The first violation that was found.
    pub(crate) violation: Option<&'static str>,
}

impl Model {
    /// Creates an empty store and `writers` processes. Each pair of neighbours is the old and the new process of one
    /// node.
    pub(crate) fn new(rules: Rules, writers: u8, budget: Budget, faults: u8, fault_rate: u32) -> Self {
        let processes = (0..writers).map(|i| Process::new(i + 1, i / 2, budget)).collect();
        Self {
            rules,
            store: Store::default(),
            processes,
            delayed_puts: Vec::new(),
            observed: Vec::new(),
            acked: Vec::new(),
            denied: Vec::new(),
            faults,
            fault_rate,
            next_id: 0,
            next_nonce: writers + 1,
            next_ckpt: 0,
            violation: None,
        }
    }

    /// Lets one process take one step, with at most one request to the store.
    pub(crate) fn step(&mut self, process: usize, choose: &mut impl Choose) {
        let mut me = std::mem::take(&mut self.processes[process]);
        me.step(self, process, choose);
        self.processes[process] = me;
    }

    /// Crashes the process and starts another in its place, with nothing in memory and a new nonce. Its pending PUTs
    /// may still arrive.
    pub(crate) fn crash(&mut self, process: usize, choose: &mut impl Choose) {
        let mut old = std::mem::take(&mut self.processes[process]);
        self.abandon(&mut old, choose);
        self.store.list_lost(process);
        self.processes[process] = Process::new(self.next_nonce, old.node, old.budget);
        self.next_nonce += 1;
    }

    /// Drops the pending PUTs of the process; each may still arrive.
    pub(crate) fn abandon(&mut self, process: &mut Process, choose: &mut impl Choose) {
        let in_flight = std::mem::take(&mut process.in_flight).into_iter().filter(|f| !f.done).map(|f| f.put);
        for put in process.put.take().into_iter().chain(in_flight).filter(Put::under_way) {
            if self.may_delay_put() && choose.pick(2) == 1 {
                self.delayed_puts.push(put.object);
            }
        }
    }

    /// A PUT that its sender has given up arrives.
    pub(crate) fn delayed_put_arrives(&mut self, choose: &mut impl Choose) {
        let put = self.delayed_puts.swap_remove(choose.pick(self.delayed_puts.len()));
        self.store.create(&put);
    }

    /// Whether a fault happens here.
    pub(crate) fn fault(&mut self, choose: &mut impl Choose) -> bool {
        let happens = self.faults > 0 && choose.rare(self.fault_rate);
        if happens && self.faults != u8::MAX {
            self.faults -= 1;
        }
        happens
    }

    /// Whether a PUT may be delayed in the network.
    pub(crate) fn may_delay_put(&self) -> bool {
        self.rules.delayed_puts && self.delayed_puts.len() < 3 && self.faults > 0
    }

    /// Id of a new write of a client.
    pub(crate) fn new_id(&mut self) -> u8 {
        self.next_id += 1;
        self.next_id
    }

    /// Number of a new checkpoint object.
    pub(crate) fn new_ckpt(&mut self) -> u8 {
        self.next_ckpt += 1;
        self.next_ckpt - 1
    }

    /// Number of a new segment, whose name contains an epoch and a uuid.
    pub(crate) fn new_seg(&mut self, epoch: u8) -> u8 {
        self.store.seg_epochs.push(epoch);
        u8::try_from(self.store.seg_epochs.len() - 1).expect("the model is small")
    }

    /// Whether the nonces, numbers or bits are used up, so that the schedule must end.
    pub(crate) fn exhausted(&self) -> bool {
        self.store.seg_epochs.len() > 60 || self.next_id > 200 || self.next_nonce > 200 || self.next_ckpt > 200
    }

    /// Acknowledges a write together with everything before it.
    pub(crate) fn acknowledge(&mut self, id: u8, history: &[u8]) {
        self.acked.push(id);
        self.observe(history);
        self.verify();
    }

    /// Tells a client that the write was not stored.
    pub(crate) fn deny(&mut self, id: u8) {
        self.denied.push(id);
        self.verify();
    }

    /// Answers a read, which began when `since` entries were known, with this history.
    pub(crate) fn read_returned(&mut self, history: &[u8], since: usize) {
        if history.len() < since {
            self.report_violation("a read missed an entry that a client already knew");
        }
        self.observe(history);
    }

    /// Records a history that a client was told.
    fn observe(&mut self, history: &[u8]) {
        let shared = history.len().min(self.observed.len());
        if history[..shared] != self.observed[..shared] {
            self.report_violation("clients were given two histories that do not agree");
        }
        if history.len() > shared {
            self.observed.extend_from_slice(&history[shared..]);
        }
    }

    /// Records the first violation.
    pub(crate) fn report_violation(&mut self, what: &'static str) {
        self.violation.get_or_insert(what);
    }

    /// Recovers from the current store and compares the result with what clients were told.
    pub(crate) fn verify(&mut self) {
        match self.recovered() {
            Err(what) => self.report_violation(what),
            Ok(history) => {
                if !history.starts_with(&self.observed) || self.acked.iter().any(|id| !history.contains(id)) {
                    self.report_violation("an entry that a client knew is missing");
                }
                if self.denied.iter().any(|id| history.contains(id)) {
                    self.report_violation("a refused write is there");
                }
                if (1..history.len()).any(|i| history[..i].contains(&history[i])) {
                    self.report_violation("an entry is there twice");
                }
            }
        }
    }

    /// The history according to a direct reading of the store: the newest Ckpt, the replay from its floor, and the run
    /// after it.
    fn recovered(&self) -> Result<Vec<u8>, &'static str> {
        let keys = self.store.keys();
        let newest = keys.iter().rev().find_map(|at| match self.store.log(*at) {
            Some(Rec::Ckpt { last, ptr, floor, .. }) => Some((*at, last, ptr, floor)),
            _ => None,
        });
        let Some((ckpt, last, ptr, floor)) = newest else { return Ok(Vec::new()) };
        let mut history = self.manifest(ptr)?;
        let mut at = floor;
        while at < ckpt {
            match self.store.log(at) {
                None => return Err("a slot that replay needs is gone"),
                Some(Rec::Seal { .. }) => at = Slot { e: at.e + 1, n: 0 },
                Some(Rec::Data { id, seq, .. }) if usize::from(seq) == history.len() + 1 => history.push(id),
                Some(Rec::Data { .. }) => return Err("the numbers of the entries do not follow"),
                Some(Rec::Ckpt { .. }) => {}
            }
            at = at.next();
        }
        if history.len() != usize::from(last) {
            return Err("the Ckpt record counts other entries");
        }
        let mut at = ckpt.next();
        while let Some(Rec::Data { id, .. }) = self.store.log(at) {
            history.push(id);
            at = at.next();
        }
        Ok(history)
    }

    fn manifest(&self, ptr: u8) -> Result<Vec<u8>, &'static str> {
        if ptr == NO_CKPT {
            return Ok(Vec::new());
        }
        let manifest = self.store.ckpts.get(usize::from(ptr)).and_then(Option::as_ref);
        let manifest = manifest.ok_or("the checkpoint object is gone")?;
        if manifest.segs & !self.store.segs != 0 {
            return Err("a segment that the checkpoint names is gone");
        }
        Ok(manifest.base.clone())
    }
}
