//! R1, R4 and the end of R5: claim an epoch, seal every older one, check again, open.
//!
//! The order is essential:
//! - The claim comes first, so that a process that is slower than a newer claimer finds its own epoch sealed.
//! - A Seal counts only where the run after the *newest* Ckpt ends, as shown by a LIST that began after the Seal was
//!   put: GC may have deleted the slot that an older LIST showed as the end.
//! - Epochs are sealed in ascending order, so a Seal in one means that all older ones are sealed.
//! - What was recovered before the claim is used only if the sealed log ends where it ended.

use super::{
    model::{Choose, Model},
    put::{Outcome, Put},
    rules::Mutant,
    scan::{DownStep, Scan},
    store::{BEFORE_ALL, Object, Rec, Slot},
    writer::{Next, Process},
};

impl Process {
    /// R1: the epoch after the newest of all claims and log epochs. The LIST is modelled as one moment: claims are only
    /// added, so what it may show lies between its start and its end.
    pub(crate) fn claim(&mut self, model: &mut Model) {
        let newest = model.store.newest_epoch();
        if model.rules.lacks(Mutant::EpochReused) && self.own_old_epoch(model, newest) {
            (self.epoch, self.slot) = (newest, self.view.end.n + 1);
            return;
        }
        if self.budget.claims == 0 {
            self.budget.writes = 0;
            return;
        }
        self.budget.claims -= 1;
        let object = Object::Claim { e: newest + 1, by: self.nonce, node: self.node };
        self.put = Some(Put::new(object));
        self.epoch = newest + 1;
        self.next = Next::Claim;
    }

    fn own_old_epoch(&self, model: &Model, newest: u8) -> bool {
        let claim = usize::from(newest).checked_sub(1).and_then(|i| model.store.claims[i]);
        claim.is_some_and(|(_, node)| node == self.node)
            && self.view.end.e == newest
            && self.view.last_known == self.view.end
    }

    /// A process that cannot have this epoch starts again with a newer one.
    pub(crate) fn claimed(&mut self, outcome: Outcome) {
        self.scan.trusted.clear();
        if outcome == Outcome::Stored { self.next = Next::SealList } else { self.fenced() }
    }

    /// LIST begins.
    pub(crate) fn seal_list(&mut self, model: &mut Model, process: usize) {
        model.store.list_begins(process);
        let trusted = std::mem::take(&mut self.scan.trusted);
        self.scan = Scan { trusted, ..Scan::default() };
        self.next = Next::SealListed;
    }

    /// LIST ends. A key in this epoch or a newer one belongs to a newer claimer. Without this check a slow claimer
    /// might search for ever among epochs that GC empties at the same time.
    pub(crate) fn seal_listed(&mut self, model: &mut Model, process: usize, choose: &mut impl Choose) {
        let keys = model.store.list_ends(process, model.rules.order, choose);
        if keys.last().is_some_and(|k| k.e >= self.epoch) {
            return self.fenced();
        }
        self.scan.at = keys.first().copied().unwrap_or(BEFORE_ALL);
        self.scan.keys = keys;
        self.next = Next::SealDown;
    }

    /// Reads downwards to the newest Ckpt, then decides.
    pub(crate) fn seal_down(&mut self, model: &Model) {
        match self.scan.read_down(model) {
            DownStep::More => {}
            DownStep::Gone => self.next = Next::SealList,
            DownStep::Found(_) | DownStep::Bottom if self.scan.misses_opening() => self.next = Next::SealList,
            // There is no Ckpt, but something was deleted once: the LIST missed it.
            DownStep::Bottom if model.store.cut && !model.rules.lacks(Mutant::EmptyByList) => {
                self.next = Next::SealList
            }
            DownStep::Found(_) | DownStep::Bottom => self.seal_or_open(model),
        }
    }

    fn seal_or_open(&mut self, model: &Model) {
        let scan = &self.scan;
        let required_seals = self.required_seals(model);
        let missing = required_seals.into_iter().find(|at| scan.above(*at) != Some(true) && !scan.trusted.contains(at));
        if let Some(at) = missing {
            self.scan.end = at;
            self.put = Some(Put::new(Object::Log(at, Rec::Seal { by: self.nonce })));
            self.next = Next::SealPut;
        } else {
            self.sealed(model);
        }
    }

    /// Slots that must contain a Seal: the one after the run of the newest Ckpt, and slot 1 of every epoch between that
    /// one and ours.
    fn required_seals(&self, model: &Model) -> Vec<Slot> {
        let (scan, first) = (&self.scan, self.scan.epoch());
        let mut required_seals = Vec::new();
        if model.rules.lacks(Mutant::HoleFromOldest) {
            required_seals.extend(self.hole_from_oldest(model));
        } else if first > 0 {
            required_seals.push(self.hole(model));
        }
        required_seals.extend((first + 1..self.epoch).map(|e| Slot { e, n: 1 }));
        if model.rules.lacks(Mutant::SealNewestOnly) {
            required_seals.retain(|at| at.e + 1 == self.epoch);
        }
        if model.rules.lacks(Mutant::AnySealCounts) {
            required_seals.retain(|at| !scan.above.iter().any(|(k, seal)| *seal && k.e == at.e));
        }
        required_seals
    }

    /// A mutant: searches upwards from the oldest key of the epoch. `None` if a Seal comes first.
    fn hole_from_oldest(&self, model: &Model) -> Option<Slot> {
        let ckpt = self.scan.ckpt?.at;
        let mut at = self.scan.keys.iter().copied().find(|k| k.e == ckpt.e).unwrap_or(ckpt);
        loop {
            match model.store.log(at) {
                None => return Some(at),
                Some(Rec::Seal { .. }) => return None,
                Some(_) => at = at.next(),
            }
        }
    }

    fn hole(&self, model: &Model) -> Slot {
        let scan = &self.scan;
        let max = scan.above.iter().map(|(k, _)| *k).filter(|k| k.e == scan.epoch()).max();
        match max {
            Some(max) if model.rules.lacks(Mutant::SealAtMax) && scan.above(scan.hole()) != Some(true) => max.next(),
            _ => scan.hole(),
        }
    }

    /// Whatever the outcome, the next LIST decides.
    pub(crate) fn seal_answered(&mut self, outcome: Outcome, model: &Model) {
        if model.rules.lacks(Mutant::NoRelist) && outcome == Outcome::Stored {
            self.scan.trusted.push(self.scan.end);
            return self.seal_or_open(model);
        }
        self.next = Next::SealList;
    }

    /// Every older epoch is sealed. What was recovered must be the whole log.
    fn sealed(&mut self, model: &Model) {
        let scan = &self.scan;
        let ckpt = scan.ckpt.map_or(BEFORE_ALL, |c| c.at);
        let end = if ckpt == BEFORE_ALL { BEFORE_ALL } else { Slot { e: ckpt.e, n: scan.hole().n - 1 } };
        let same = (ckpt, end) == (self.view.ckpt, self.view.end);
        if !same && !model.rules.lacks(Mutant::ClaimUnchecked) {
            return self.fenced();
        }
        let at = Slot { e: self.epoch, n: 1 };
        let floor = self.view.tail.first().map_or(at, |(slot, _)| *slot);
        let rec = Rec::Ckpt { by: self.nonce, last: self.view.len(), ptr: self.view.ptr, floor };
        self.put = Some(Put::new(Object::Log(at, rec)));
        self.next = Next::Opening;
    }

    /// R5: the claimer and all newer ones compete for `log/<e>/1`. The epoch begins only with this record.
    pub(crate) fn opened(&mut self, model: &Model, outcome: Outcome) {
        if outcome != Outcome::Stored && !model.rules.lacks(Mutant::OpeningUnchecked) {
            return self.fenced();
        }
        let at = Slot { e: self.epoch, n: 1 };
        (self.slot, self.view.ckpt, self.view.last_known, self.view.end) = (2, at, at, at);
        self.next = Next::Open;
    }
}
