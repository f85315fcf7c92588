//! R5 and R8: reading, by one who has not claimed, and by the owner.
//!
//! A recovery claims nothing and writes nothing. It is itself a strong read: it shows every entry
//! that was acknowledged before it began. Why, although its LIST is no snapshot and GC goes on:
//! 1. The newest listed Ckpt is K. A newer one that was complete before the LIST began is missing
//!    only if it was deleted meanwhile.
//! 2. GC deletes in ascending order through all epochs, so K was deleted before it.
//! 3. So K, read again at the end, proves that no slot above K was deleted: the GETs saw them all.
//! 4. Without K there is nothing to read again; then the mark `cut`, which GC puts before its first
//!    deletion, is absent if nothing was deleted, and the LIST was complete.
//!
//! A 404 on the way means: LIST again. It is no damage even if K itself still stands: a newer
//! checkpoint may have replaced K's object, or the slots that K's replay needs, while its floor
//! is still below K. Damage is the same 404 under the same newest Ckpt of a later LIST.

use super::{
    rules::Mutant,
    scan::{Down, Scan},
    store::{NO_CKPT, NOWHERE, Rec, Slot},
    world::{Choose, World},
    writer::{Next, Process},
};

impl Process {
    /// LIST begins.
    pub(crate) fn recover(&mut self, world: &mut World, process: usize) {
        world.store.list_begins(process);
        self.scan = Scan { since: world.truth.len(), ..Scan::default() };
        self.next = Next::RecoverListed;
    }

    /// LIST ends.
    pub(crate) fn recover_listed(&mut self, world: &mut World, process: usize, choose: &mut impl Choose) {
        self.scan.keys = world.store.list_ends(process, world.rules.order, choose);
        self.next = Next::RecoverDown;
    }

    /// Downwards to the newest Ckpt.
    pub(crate) fn recover_down(&mut self, world: &World) {
        let scan = &mut self.scan;
        match scan.down(world) {
            Down::More => {}
            Down::Gone => self.next = Next::Recover,
            Down::Found(_) | Down::Bottom if scan.headless() => self.next = Next::Recover,
            Down::Bottom => {
                scan.view.seen = scan.chain(NOWHERE);
                self.next = Next::RecoverAnchor;
            }
            Down::Found(ckpt) => {
                scan.at = ckpt.floor;
                (scan.view.ckpt, scan.view.ptr) = (ckpt.at, ckpt.ptr);
                self.next = if ckpt.ptr == NO_CKPT { Next::RecoverWalk } else { Next::RecoverBase };
            }
        }
    }

    /// The checkpoint object. Gone: a newer checkpoint has replaced it.
    pub(crate) fn recover_base(&mut self, world: &World) {
        let view = &mut self.scan.view;
        let manifest = world.store.ckpts.get(usize::from(view.ptr)).and_then(Option::as_ref);
        self.next = Next::RecoverWalk;
        match manifest {
            Some(m) => (view.base, view.segs) = (m.base.clone(), m.segs),
            None => self.next = Next::Recover,
        }
    }

    /// From the floor to the Ckpt, and on through the run of Data behind it. One GET.
    pub(crate) fn recover_walk(&mut self, world: &World) {
        let ckpt = self.scan.ckpt.expect("the walk begins at a Ckpt");
        let (at, rec) = (self.scan.at, world.store.log(self.scan.at));
        let scan = &mut self.scan;
        scan.at = at.next();
        if let Some(Rec::Data { id, seq, .. }) = rec {
            if seq != scan.view.len() + 1 {
                scan.torn = true;
            }
            scan.view.tail.push((at, id));
        }
        if at == ckpt.at && scan.view.len() != ckpt.last {
            scan.torn = true;
        }
        match rec {
            Some(Rec::Seal { .. }) if at.e < ckpt.at.e => scan.at = Slot { e: at.e + 1, n: 1 },
            None | Some(Rec::Seal { .. }) if at < ckpt.at => self.next = Next::Recover,
            None => self.walked(at, false),
            Some(Rec::Seal { .. }) => self.walked(at, true),
            // Newer than the newest: LIST again.
            Some(Rec::Ckpt { .. }) if at > ckpt.at => self.next = Next::Recover,
            Some(_) => (scan.view.seen, scan.view.end) = (at, at),
        }
    }

    fn walked(&mut self, at: Slot, sealed: bool) {
        let scan = &mut self.scan;
        if sealed {
            scan.view.seen = scan.chain(at);
        }
        self.next = Next::RecoverAnchor;
    }

    /// The Ckpt record again; in a place without one, the mark that GC leaves.
    pub(crate) fn recover_anchor(&mut self, world: &mut World) {
        let scan = &mut self.scan;
        let moved = match scan.ckpt {
            Some(ckpt) => !ckpt.stands(world) && !world.rules.lacks(Mutant::RecoverNoAnchor),
            None => world.store.cut && !world.rules.lacks(Mutant::EmptyByList),
        };
        if moved || scan.torn {
            self.next = Next::Recover;
            return;
        }
        let since = scan.since;
        self.view = std::mem::take(&mut scan.view);
        self.scan = Scan::default();
        world.answer(&self.view.history(), since);
        if let Some(began) = self.reading.take() {
            world.answer(&self.view.history(), began);
        }
        self.come_back(world);
        self.next = Next::Open;
    }

    /// A strong read begins.
    pub(crate) fn begin_read(&mut self, world: &mut World, process: usize) {
        self.budget.reads -= 1;
        self.reading = Some(world.truth.len());
        if self.owns() {
            self.next = Next::OwnerRead;
        } else if world.rules.lacks(Mutant::ReaderGetsNext) {
            self.next = Next::ReaderAnchor;
        } else {
            world.store.list_begins(process);
            self.next = Next::ReaderListed;
        }
    }

    /// The owner asks for its own next slot. Absent: no newer epoch can have been opened before
    /// this moment, for its claimer would have sealed there first, and Seals are never deleted.
    pub(crate) fn owner_read(&mut self, world: &mut World) {
        let next = world.store.log(Slot { e: self.epoch, n: self.slot });
        if next.is_none() || world.rules.lacks(Mutant::OwnerReadUnchecked) {
            self.answered(world);
        } else {
            self.fenced();
        }
    }

    /// A reader LISTs behind the last slot that it saw.
    pub(crate) fn reader_listed(&mut self, world: &mut World, process: usize, choose: &mut impl Choose) {
        let keys = world.store.list_ends(process, world.rules.order, choose);
        if keys.last().is_some_and(|k| *k > self.view.seen) {
            self.next = Next::Recover;
        } else if world.rules.lacks(Mutant::ReaderNoAnchor) {
            self.answered(world);
        } else {
            self.next = Next::ReaderAnchor;
        }
    }

    /// And then asks for its Ckpt record, as a recovery does and for the same reason.
    pub(crate) fn reader_anchor(&mut self, world: &mut World) {
        let ckpt = self.view.ckpt;
        let moved = if world.rules.lacks(Mutant::ReaderGetsNext) {
            world.store.log(self.view.seen.next()).is_some()
        } else if ckpt.e == 0 {
            world.store.cut
        } else {
            !matches!(world.store.log(ckpt), Some(Rec::Ckpt { .. }))
        };
        if moved { self.next = Next::Recover } else { self.answered(world) }
    }

    fn answered(&mut self, world: &mut World) {
        let began = self.reading.take().expect("a read waits");
        world.answer(&self.view.history(), began);
        self.next = Next::Open;
    }
}
