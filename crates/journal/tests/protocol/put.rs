//! A PUT that creates if absent, as a client has to make it (R7).
//!
//! What can come back, and what it means:
//! - stored: it is there.
//! - an error of unknown outcome: it may be there, may come later, or never: the same bytes again
//!   under the same key. After some attempts the writer stops; only a recovery can tell.
//!   A Ckpt record is the exception: no second copy of it may be in the network, for the late one
//!   could bring a deleted record back, and recoveries trust that this does not happen. One GET:
//!   ours, or the writer stops.
//! - AlreadyExists: a GET decides, by the whole bytes. Ours: an earlier attempt had been stored.
//!   Absent: a 409 without an object, so again. Another's: this writer is fenced. The client may
//!   be told "certainly not stored" only if no attempt of unknown outcome came before.

use super::{
    rules::Mutant,
    store::{Object, Rec},
    world::{Choose, World},
};

/// One PUT until its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Put {
    /// Key and bytes.
    pub(crate) object: Object,
    comparing: bool,
    attempts: u8,
    vague: bool,
}

/// What a step of a PUT led to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// Not finished.
    Pending,
    /// Ours is stored.
    Stored,
    /// Another's object has the key. Certain: ours was never stored.
    Refused { certain: bool },
    /// Nobody knows; the writer stops.
    Unknown,
}

/// Attempts of unknown outcome before a writer stops.
const ATTEMPTS: u8 = 3;

impl Put {
    /// The first attempt is still to come.
    pub(crate) fn new(object: Object) -> Self {
        Self { object, comparing: false, attempts: 0, vague: false }
    }

    /// A request may be in the network that could still store something.
    pub(crate) fn under_way(&self) -> bool {
        !self.comparing
    }

    /// One request.
    pub(crate) fn step(&mut self, world: &mut World, choose: &mut impl Choose) -> Outcome {
        if self.comparing {
            return self.compare(world);
        }
        if world.fault(choose) {
            return self.goes_wrong(world, choose);
        }
        if world.store.create(&self.object) { Outcome::Stored } else { self.exists(world) }
    }

    fn goes_wrong(&mut self, world: &mut World, choose: &mut impl Choose) -> Outcome {
        match choose.pick(if world.ghosts_may_come() { 4 } else { 3 }) {
            // A 409 that stored nothing.
            0 => return self.exists(world),
            // Applied, reply lost.
            1 => drop(world.store.create(&self.object)),
            // Never arrived.
            2 => {}
            // Arrives later.
            _ => world.ghosts.push(self.object.clone()),
        }
        self.vague = true;
        self.attempts += 1;
        if world.rules.lacks(Mutant::UnknownIsSuccess) {
            return Outcome::Stored;
        }
        if world.rules.lacks(Mutant::RetryElsewhere)
            && let Object::Log(at, Rec::Data { .. }) = &mut self.object
        {
            at.n += 1;
        }
        if self.anchors() && !world.rules.lacks(Mutant::CkptResent) {
            (self.comparing, self.attempts) = (true, ATTEMPTS);
            return Outcome::Pending;
        }
        if self.attempts >= ATTEMPTS { Outcome::Unknown } else { Outcome::Pending }
    }

    /// A Ckpt record: recoveries and readers trust that it does not come back once it is deleted.
    fn anchors(&self) -> bool {
        matches!(self.object, Object::Log(_, Rec::Ckpt { .. }))
    }

    fn exists(&mut self, world: &World) -> Outcome {
        if world.rules.lacks(Mutant::ExistsIsSuccess) {
            return Outcome::Stored;
        }
        if world.rules.lacks(Mutant::ExistsIsFenced) {
            return Outcome::Refused { certain: true };
        }
        self.comparing = true;
        Outcome::Pending
    }

    fn compare(&mut self, world: &World) -> Outcome {
        match world.store.compare(&self.object) {
            Some(true) => Outcome::Stored,
            Some(false) => Outcome::Refused { certain: !self.vague },
            None if world.rules.lacks(Mutant::AbsentIsSuccess) => Outcome::Stored,
            None => {
                self.comparing = false;
                self.attempts += 1;
                if self.attempts >= ATTEMPTS { Outcome::Unknown } else { Outcome::Pending }
            }
        }
    }
}
