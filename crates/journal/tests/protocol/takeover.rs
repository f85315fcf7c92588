//! R1, R4 and the end of R5: claim an epoch, seal every older one, look again, open.
//!
//! Order is everything here:
//! - The claim comes first, so that whoever is slower than a newer claimer finds its own epoch sealed.
//! - A Seal counts only where the run behind the *newest* Ckpt ends, as shown by a LIST that began
//!   after the Seal was put: GC may have emptied the slot that an older LIST called the end.
//! - Epochs are sealed in ascending order, so a Seal in one means that all older ones are sealed.
//! - What was recovered before the claim is used only if the sealed log ends where it ended.

use super::{
    put::{Outcome, Put},
    rules::Mutant,
    scan::{Down, Scan},
    store::{NOWHERE, Object, Rec, Slot},
    world::{Choose, World},
    writer::{Next, Process},
};

impl Process {
    /// R1: the epoch after the newest of all claims and log epochs. The LIST is one moment here:
    /// claims only become more, so what it may show lies between its start and its end.
    pub(crate) fn claim(&mut self, world: &mut World) {
        let newest = world.store.newest_epoch();
        if world.rules.lacks(Mutant::EpochReused) && self.own_old_epoch(world, newest) {
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

    fn own_old_epoch(&self, world: &World, newest: u8) -> bool {
        let claim = usize::from(newest).checked_sub(1).and_then(|i| world.store.claims[i]);
        claim.is_some_and(|(_, node)| node == self.node) && self.view.end.e == newest && self.view.seen == self.view.end
    }

    /// Whoever cannot have this epoch begins again with a newer one.
    pub(crate) fn claimed(&mut self, outcome: Outcome) {
        self.scan.trusted.clear();
        if outcome == Outcome::Stored { self.next = Next::SealList } else { self.fenced() }
    }

    /// LIST begins.
    pub(crate) fn seal_list(&mut self, world: &mut World, process: usize) {
        world.store.list_begins(process);
        let trusted = std::mem::take(&mut self.scan.trusted);
        self.scan = Scan { trusted, ..Scan::default() };
        self.next = Next::SealListed;
    }

    /// LIST ends. A key in this epoch or a newer one is a newer claimer's: without this look a slow
    /// claimer might search for ever among epochs that were emptied behind its back.
    pub(crate) fn seal_listed(&mut self, world: &mut World, process: usize, choose: &mut impl Choose) {
        let keys = world.store.list_ends(process, world.rules.order, choose);
        if keys.last().is_some_and(|k| k.e >= self.epoch) {
            return self.fenced();
        }
        self.scan.at = keys.first().copied().unwrap_or(NOWHERE);
        self.scan.keys = keys;
        self.next = Next::SealDown;
    }

    /// Downwards to the newest Ckpt, then judge.
    pub(crate) fn seal_down(&mut self, world: &World) {
        match self.scan.down(world) {
            Down::More => {}
            Down::Gone => self.next = Next::SealList,
            Down::Found(_) | Down::Bottom if self.scan.headless() => self.next = Next::SealList,
            // No Ckpt, but something was deleted once: the LIST missed it.
            Down::Bottom if world.store.cut && !world.rules.lacks(Mutant::EmptyByList) => self.next = Next::SealList,
            Down::Found(_) | Down::Bottom => self.seal_or_go_on(world),
        }
    }

    fn seal_or_go_on(&mut self, world: &World) {
        let scan = &self.scan;
        let wanted = self.wanted(world);
        let missing = wanted.into_iter().find(|at| scan.above(*at) != Some(true) && !scan.trusted.contains(at));
        if let Some(at) = missing {
            self.scan.end = at;
            self.put = Some(Put::new(Object::Log(at, Rec::Seal { by: self.nonce })));
            self.next = Next::SealPut;
        } else {
            self.sealed(world);
        }
    }

    /// Where Seals must stand: behind the run of the newest Ckpt, and at slot 1 of every epoch
    /// between that one and ours.
    fn wanted(&self, world: &World) -> Vec<Slot> {
        let (scan, first) = (&self.scan, self.scan.epoch());
        let mut wanted = Vec::new();
        if world.rules.lacks(Mutant::HoleFromOldest) {
            wanted.extend(self.hole_from_oldest(world));
        } else if first > 0 {
            wanted.push(self.hole(world));
        }
        wanted.extend((first + 1..self.epoch).map(|e| Slot { e, n: 1 }));
        if world.rules.lacks(Mutant::SealNewestOnly) {
            wanted.retain(|at| at.e + 1 == self.epoch);
        }
        if world.rules.lacks(Mutant::AnySealCounts) {
            wanted.retain(|at| !scan.above.iter().any(|(k, seal)| *seal && k.e == at.e));
        }
        wanted
    }

    /// A mutant: up from the oldest key of the epoch. `None`: a Seal came first.
    fn hole_from_oldest(&self, world: &World) -> Option<Slot> {
        let ckpt = self.scan.ckpt?.at;
        let mut at = self.scan.keys.iter().copied().find(|k| k.e == ckpt.e).unwrap_or(ckpt);
        loop {
            match world.store.log(at) {
                None => return Some(at),
                Some(Rec::Seal { .. }) => return None,
                Some(_) => at = at.next(),
            }
        }
    }

    fn hole(&self, world: &World) -> Slot {
        let scan = &self.scan;
        let max = scan.above.iter().map(|(k, _)| *k).filter(|k| k.e == scan.epoch()).max();
        match max {
            Some(max) if world.rules.lacks(Mutant::SealAtMax) && scan.above(scan.hole()) != Some(true) => max.next(),
            _ => scan.hole(),
        }
    }

    /// Whatever came back, the next LIST tells.
    pub(crate) fn seal_answered(&mut self, outcome: Outcome, world: &World) {
        if world.rules.lacks(Mutant::NoRelist) && outcome == Outcome::Stored {
            self.scan.trusted.push(self.scan.end);
            return self.seal_or_go_on(world);
        }
        self.next = Next::SealList;
    }

    /// Everything older is closed. What was recovered must be all of it.
    fn sealed(&mut self, world: &World) {
        let scan = &self.scan;
        let ckpt = scan.ckpt.map_or(NOWHERE, |c| c.at);
        let end = if ckpt == NOWHERE { NOWHERE } else { Slot { e: ckpt.e, n: scan.hole().n - 1 } };
        let same = (ckpt, end) == (self.view.ckpt, self.view.end);
        if !same && !world.rules.lacks(Mutant::ClaimUnchecked) {
            return self.fenced();
        }
        let at = Slot { e: self.epoch, n: 1 };
        let floor = self.view.tail.first().map_or(at, |(slot, _)| *slot);
        let rec = Rec::Ckpt { by: self.nonce, last: self.view.len(), ptr: self.view.ptr, floor };
        self.put = Some(Put::new(Object::Log(at, rec)));
        self.next = Next::Opening;
    }

    /// R5: `log/<e>/1` is the race between the claimer and all newer ones. Only with it does an
    /// epoch begin.
    pub(crate) fn opened(&mut self, world: &World, outcome: Outcome) {
        if outcome != Outcome::Stored && !world.rules.lacks(Mutant::OpeningUnchecked) {
            return self.fenced();
        }
        let at = Slot { e: self.epoch, n: 1 };
        (self.slot, self.view.ckpt, self.view.seen, self.view.end) = (2, at, at, at);
        self.next = Next::Open;
    }
}
