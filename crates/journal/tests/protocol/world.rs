//! The store, the processes, and an observer who remembers what was promised.
//!
//! `truth` is the longest history that anybody was told of: by an acknowledgment, or by a read.
//! All histories ever told must be beginnings of one another, and a recovery at any later moment
//! must begin with `truth`. That one sentence is "nothing lost, nothing twice, nothing back,
//! nothing else": an entry that vanishes, moves, or comes back behind another breaks it.

use super::{
    put::Put,
    rules::Rules,
    store::{NO_CKPT, Object, Rec, Slot, Store},
    writer::{Budget, Process},
};

/// Where every choice comes from: a seeded generator, or a list of all possibilities.
pub(crate) trait Choose {
    /// One of `0..n`; `n` is at least 1.
    fn pick(&mut self, n: usize) -> usize;
    /// One of the weights; none is zero. An exhaustive search takes them all.
    fn weigh(&mut self, weights: &[u32]) -> usize;
    /// A fault, in so many of a thousand cases.
    fn rare(&mut self, per_mille: u32) -> bool;
}

/// Everything, at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct World {
    /// The protocol, or a mutant.
    pub(crate) rules: Rules,
    /// What lies in the object store.
    pub(crate) store: Store,
    /// Who takes part.
    pub(crate) processes: Vec<Process>,
    /// PUTs that timed out for their sender and are still under way.
    pub(crate) ghosts: Vec<Object>,
    /// The longest history that anybody was told of.
    pub(crate) truth: Vec<u8>,
    /// Writes that were acknowledged.
    pub(crate) acked: Vec<u8>,
    /// Writes whose client was told: certainly not stored.
    pub(crate) denied: Vec<u8>,
    /// Faults that may still happen; 255: no bound.
    pub(crate) faults: u8,
    /// How often a PUT goes wrong, in a thousand.
    pub(crate) fault_rate: u32,
    next_id: u8,
    next_nonce: u8,
    next_ckpt: u8,
    /// What was seen to be wrong, first of all.
    pub(crate) wrong: Option<&'static str>,
}

impl World {
    /// An empty store and so many processes. Two neighbours are one node's old and new process.
    pub(crate) fn new(rules: Rules, writers: u8, budget: Budget, faults: u8, fault_rate: u32) -> Self {
        let processes = (0..writers).map(|i| Process::new(i + 1, i / 2, budget)).collect();
        Self {
            rules,
            store: Store::default(),
            processes,
            ghosts: Vec::new(),
            truth: Vec::new(),
            acked: Vec::new(),
            denied: Vec::new(),
            faults,
            fault_rate,
            next_id: 0,
            next_nonce: writers + 1,
            next_ckpt: 0,
            wrong: None,
        }
    }

    /// One process does one thing: at most one request to the store.
    pub(crate) fn step(&mut self, process: usize, choose: &mut impl Choose) {
        let mut me = std::mem::take(&mut self.processes[process]);
        me.step(self, process, choose);
        self.processes[process] = me;
    }

    /// The process dies and another starts in its place, with nothing in memory and a new nonce.
    /// What it had under way may still land.
    pub(crate) fn crash(&mut self, process: usize, choose: &mut impl Choose) {
        let mut old = std::mem::take(&mut self.processes[process]);
        self.abandon(&mut old, choose);
        self.store.list_lost(process);
        self.processes[process] = Process::new(self.next_nonce, old.node, old.budget);
        self.next_nonce += 1;
    }

    /// Whatever the process had under way is left to the network.
    pub(crate) fn abandon(&mut self, process: &mut Process, choose: &mut impl Choose) {
        let pipe = std::mem::take(&mut process.pipe).into_iter().filter(|f| !f.done).map(|f| f.put);
        for put in process.put.take().into_iter().chain(pipe).filter(Put::under_way) {
            if self.ghosts_may_come() && choose.pick(2) == 1 {
                self.ghosts.push(put.object);
            }
        }
    }

    /// A PUT that everybody had given up lands.
    pub(crate) fn ghost_lands(&mut self, choose: &mut impl Choose) {
        let ghost = self.ghosts.swap_remove(choose.pick(self.ghosts.len()));
        self.store.create(&ghost);
    }

    /// Whether a fault happens here.
    pub(crate) fn fault(&mut self, choose: &mut impl Choose) -> bool {
        let happens = self.faults > 0 && choose.rare(self.fault_rate);
        if happens && self.faults != u8::MAX {
            self.faults -= 1;
        }
        happens
    }

    /// A PUT may be left in the network.
    pub(crate) fn ghosts_may_come(&self) -> bool {
        self.rules.ghosts && self.ghosts.len() < 3 && self.faults > 0
    }

    /// A new write of a client.
    pub(crate) fn new_id(&mut self) -> u8 {
        self.next_id += 1;
        self.next_id
    }

    /// A new checkpoint object's number.
    pub(crate) fn new_ckpt(&mut self) -> u8 {
        self.next_ckpt += 1;
        self.next_ckpt - 1
    }

    /// A new segment's number: its name is a uuid behind an epoch.
    pub(crate) fn new_seg(&mut self, epoch: u8) -> u8 {
        self.store.seg_epochs.push(epoch);
        u8::try_from(self.store.seg_epochs.len() - 1).expect("the model is small")
    }

    /// No nonce, number or bit is left for another step of this schedule.
    pub(crate) fn exhausted(&self) -> bool {
        self.store.seg_epochs.len() > 60 || self.next_id > 200 || self.next_nonce > 200 || self.next_ckpt > 200
    }

    /// A write is acknowledged, with all that is before it.
    pub(crate) fn acknowledge(&mut self, id: u8, history: &[u8]) {
        self.acked.push(id);
        self.tell(history);
        self.audit();
    }

    /// A client is told that the write was not stored.
    pub(crate) fn deny(&mut self, id: u8) {
        self.denied.push(id);
        self.audit();
    }

    /// A read that began when `since` entries were known is answered with this history.
    pub(crate) fn answer(&mut self, history: &[u8], since: usize) {
        if history.len() < since {
            self.blame("a read missed an entry that was told of before it began");
        }
        self.tell(history);
    }

    /// Somebody was told this history.
    fn tell(&mut self, history: &[u8]) {
        let shared = history.len().min(self.truth.len());
        if history[..shared] != self.truth[..shared] {
            self.blame("two histories were told that do not agree");
        }
        if history.len() > shared {
            self.truth.extend_from_slice(&history[shared..]);
        }
    }

    /// Notes the first thing that went wrong.
    pub(crate) fn blame(&mut self, what: &'static str) {
        self.wrong.get_or_insert(what);
    }

    /// Recovers from the store as it is, and compares with what was promised.
    pub(crate) fn audit(&mut self) {
        match self.recovered() {
            Err(what) => self.blame(what),
            Ok(history) => {
                if !history.starts_with(&self.truth) || self.acked.iter().any(|id| !history.contains(id)) {
                    self.blame("an entry that somebody was told of is not there");
                }
                if self.denied.iter().any(|id| history.contains(id)) {
                    self.blame("a refused write is there");
                }
                if (1..history.len()).any(|i| history[..i].contains(&history[i])) {
                    self.blame("an entry is there twice");
                }
            }
        }
    }

    /// The history by the plain reading of the store: newest Ckpt, replay from its floor, the run
    /// behind it.
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
