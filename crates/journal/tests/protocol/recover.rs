//! R5 and R8: reading, by a process without a claim and by the owner.
//!
//! A recovery claims nothing and writes nothing. It is itself a strong read: it returns every entry that was
//! acknowledged before it began. This holds although its LIST is not a snapshot and GC runs at the same time:
//! 1. Let K be the newest listed Ckpt. A newer one that was complete before the LIST began is missing only if it was
//!    deleted during the LIST.
//! 2. GC deletes in ascending order through all epochs, so K was deleted before that one.
//! 3. So if K can be read again at the end, no slot above K was deleted, and the GETs found all of them.
//! 4. Without any K there is nothing to read again. Then the marker `cut`, which GC puts before its first deletion, is
//!    absent only if nothing was deleted, in which case the LIST was complete.
//!
//! After a 404 in between, the process LISTs again. A 404 does not mean damage, even if K itself still exists: a newer
//! checkpoint may have replaced K's object, or the slots that K's replay needs, while its floor is still below K.
//! Damage is the same 404 under the same newest Ckpt of a later LIST.

use super::{
    model::{Choose, Model},
    rules::Mutant,
    scan::{DownStep, Scan},
    store::{BEFORE_ALL, NO_CKPT, Rec, Slot},
    writer::{Next, Process},
};

impl Process {
    /// LIST begins.
    pub(crate) fn recover(&mut self, model: &mut Model, process: usize) {
        model.store.list_begins(process);
        self.scan = Scan { since: model.observed.len(), ..Scan::default() };
        self.next = Next::RecoverListed;
    }

    /// LIST ends.
    pub(crate) fn recover_listed(&mut self, model: &mut Model, process: usize, choose: &mut impl Choose) {
        self.scan.keys = model.store.list_ends(process, model.rules.order, choose);
        self.next = Next::RecoverDown;
    }

    /// Reads downwards to the newest Ckpt.
    pub(crate) fn recover_down(&mut self, model: &Model) {
        let scan = &mut self.scan;
        match scan.read_down(model) {
            DownStep::More => {}
            DownStep::Gone => self.next = Next::Recover,
            DownStep::Found(_) | DownStep::Bottom if scan.misses_opening() => self.next = Next::Recover,
            DownStep::Bottom => {
                scan.view.last_known = scan.follow_seals(BEFORE_ALL);
                self.next = Next::RecoverAnchor;
            }
            DownStep::Found(ckpt) => {
                scan.at = ckpt.floor;
                (scan.view.ckpt, scan.view.ptr) = (ckpt.at, ckpt.ptr);
                self.next = if ckpt.ptr == NO_CKPT { Next::RecoverWalk } else { Next::RecoverBase };
            }
        }
    }

    /// Reads the checkpoint object. If it is gone, a newer checkpoint has replaced it.
    pub(crate) fn recover_base(&mut self, model: &Model) {
        let view = &mut self.scan.view;
        let manifest = model.store.ckpts.get(usize::from(view.ptr)).and_then(Option::as_ref);
        self.next = Next::RecoverWalk;
        match manifest {
            Some(m) => (view.base, view.segs) = (m.base.clone(), m.segs),
            None => self.next = Next::Recover,
        }
    }

    /// Reads from the floor to the Ckpt, and on through the run of Data after it, with one GET per step.
    pub(crate) fn recover_walk(&mut self, model: &Model) {
        let ckpt = self.scan.ckpt.expect("the walk begins at a Ckpt");
        let (at, rec) = (self.scan.at, model.store.log(self.scan.at));
        let scan = &mut self.scan;
        scan.at = at.next();
        if let Some(Rec::Data { id, seq, .. }) = rec {
            if seq != scan.view.len() + 1 {
                scan.inconsistent = true;
            }
            scan.view.tail.push((at, id));
        }
        if at == ckpt.at && scan.view.len() != ckpt.last {
            scan.inconsistent = true;
        }
        match rec {
            Some(Rec::Seal { .. }) if at.e < ckpt.at.e => scan.at = Slot { e: at.e + 1, n: 1 },
            None | Some(Rec::Seal { .. }) if at < ckpt.at => self.next = Next::Recover,
            None => self.walked(at, false),
            Some(Rec::Seal { .. }) => self.walked(at, true),
            // This Ckpt is newer than the newest listed one: LIST again.
            Some(Rec::Ckpt { .. }) if at > ckpt.at => self.next = Next::Recover,
            Some(_) => (scan.view.last_known, scan.view.end) = (at, at),
        }
    }

    fn walked(&mut self, at: Slot, sealed: bool) {
        let scan = &mut self.scan;
        if sealed {
            scan.view.last_known = scan.follow_seals(at);
        }
        self.next = Next::RecoverAnchor;
    }

    /// Reads the Ckpt record again, or in a keyspace without one the marker of GC.
    pub(crate) fn recover_anchor(&mut self, model: &mut Model) {
        let scan = &mut self.scan;
        let moved = match scan.ckpt {
            Some(ckpt) => !ckpt.still_exists(model) && !model.rules.lacks(Mutant::RecoverNoAnchor),
            None => model.store.cut && !model.rules.lacks(Mutant::EmptyByList),
        };
        if moved || scan.inconsistent {
            self.next = Next::Recover;
            return;
        }
        let since = scan.since;
        self.view = std::mem::take(&mut scan.view);
        self.scan = Scan::default();
        model.read_returned(&self.view.history(), since);
        if let Some(began) = self.reading.take() {
            model.read_returned(&self.view.history(), began);
        }
        self.resume(model);
        self.next = Next::Open;
    }

    /// A strong read begins.
    pub(crate) fn begin_read(&mut self, model: &mut Model, process: usize) {
        self.budget.reads -= 1;
        self.reading = Some(model.observed.len());
        if self.owns() {
            self.next = Next::OwnerRead;
        } else if model.rules.lacks(Mutant::ReaderGetsNext) {
            self.next = Next::ReaderAnchor;
        } else {
            model.store.list_begins(process);
            self.next = Next::ReaderListed;
        }
    }

    /// The owner requests its own next slot. If it is absent, no newer epoch can have been opened before this moment:
    /// its claimer would have sealed there first, and Seals are never deleted.
    pub(crate) fn owner_read(&mut self, model: &mut Model) {
        let next = model.store.log(Slot { e: self.epoch, n: self.slot });
        if next.is_none() || model.rules.lacks(Mutant::OwnerReadUnchecked) {
            self.answered(model);
        } else {
            self.fenced();
        }
    }

    /// A reader LISTs what follows its last known slot.
    pub(crate) fn reader_listed(&mut self, model: &mut Model, process: usize, choose: &mut impl Choose) {
        let keys = model.store.list_ends(process, model.rules.order, choose);
        if keys.last().is_some_and(|k| *k > self.view.last_known) {
            self.next = Next::Recover;
        } else if model.rules.lacks(Mutant::ReaderNoAnchor) {
            self.answered(model);
        } else {
            self.next = Next::ReaderAnchor;
        }
    }

    /// Then it reads its Ckpt record again, as a recovery does and for the same reason.
    pub(crate) fn reader_anchor(&mut self, model: &mut Model) {
        let ckpt = self.view.ckpt;
        let moved = if model.rules.lacks(Mutant::ReaderGetsNext) {
            model.store.log(self.view.last_known.next()).is_some()
        } else if ckpt.e == 0 {
            model.store.cut
        } else {
            !matches!(model.store.log(ckpt), Some(Rec::Ckpt { .. }))
        };
        if moved { self.next = Next::Recover } else { self.answered(model) }
    }

    fn answered(&mut self, model: &mut Model) {
        let began = self.reading.take().expect("a read waits");
        model.read_returned(&self.view.history(), began);
        self.next = Next::Open;
    }
}
