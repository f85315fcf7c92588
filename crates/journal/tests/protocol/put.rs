//! A PUT that creates if absent, as a client must implement it (R7).
//!
//! Possible results, and what they mean:
//! - Stored: the object exists.
//! - An error of unknown outcome: the object exists, may be stored later, or never will be. The client sends the same
//!   bytes again under the same key. After some attempts the writer stops, and only a recovery can tell. A Ckpt record
//!   is the exception: the network must never contain a second copy of it, since a late copy could bring a deleted
//!   record back, and recoveries rely on this not happening. One GET decides: the object is ours, or the writer stops.
//! - AlreadyExists: a GET decides, by comparing all bytes. If they are ours, an earlier attempt was stored. If the key
//!   is absent, the 409 meant nothing, and the PUT is repeated. If they are another's, this writer is fenced. The
//!   client may be told "certainly not stored" only if no attempt of unknown outcome came before.

use super::{
    model::{Choose, Model},
    rules::Mutant,
    store::{Object, Rec},
};

/// One PUT until its end.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Put {
    /// Key and bytes.
    pub(crate) object: Object,
    comparing: bool,
    attempts: u8,
    maybe_stored: bool,
}

/// Result of one step of a PUT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    /// The PUT is not finished.
    Pending,
    /// Our object is stored.
    Stored,
    /// Another object has the key. With `certain`, ours was never stored.
    Refused { certain: bool },
    /// The outcome is unknown; the writer stops.
    Unknown,
}

/// Attempts of unknown outcome before a writer stops.
const ATTEMPTS: u8 = 3;

impl Put {
    /// Creates a PUT before its first attempt.
    pub(crate) fn new(object: Object) -> Self {
        Self { object, comparing: false, attempts: 0, maybe_stored: false }
    }

    /// Whether the network may contain a request that could still store something.
    pub(crate) fn under_way(&self) -> bool {
        !self.comparing
    }

    /// Makes one request.
    pub(crate) fn step(&mut self, model: &mut Model, choose: &mut impl Choose) -> Outcome {
        if self.comparing {
            return self.compare(model);
        }
        if model.fault(choose) {
            return self.inject_fault(model, choose);
        }
        if model.store.create(&self.object) { Outcome::Stored } else { self.exists(model) }
    }

    fn inject_fault(&mut self, model: &mut Model, choose: &mut impl Choose) -> Outcome {
        match choose.pick(if model.may_delay_put() { 4 } else { 3 }) {
            // A 409 although no object exists.
            0 => return self.exists(model),
            // The PUT was applied, and its reply was lost.
            1 => drop(model.store.create(&self.object)),
            // The PUT never arrived.
            2 => {}
            // The PUT arrives later.
            _ => model.delayed_puts.push(self.object.clone()),
        }
        self.maybe_stored = true;
        self.attempts += 1;
        if model.rules.lacks(Mutant::UnknownIsSuccess) {
            return Outcome::Stored;
        }
        if model.rules.lacks(Mutant::RetryElsewhere)
            && let Object::Log(at, Rec::Data { .. }) = &mut self.object
        {
            at.n += 1;
        }
        if self.is_ckpt_record() && !model.rules.lacks(Mutant::CkptResent) {
            (self.comparing, self.attempts) = (true, ATTEMPTS);
            return Outcome::Pending;
        }
        if self.attempts >= ATTEMPTS { Outcome::Unknown } else { Outcome::Pending }
    }

    /// Whether this is a Ckpt record: recoveries and readers rely on it not coming back after it is deleted.
    fn is_ckpt_record(&self) -> bool {
        matches!(self.object, Object::Log(_, Rec::Ckpt { .. }))
    }

    fn exists(&mut self, model: &Model) -> Outcome {
        if model.rules.lacks(Mutant::ExistsIsSuccess) {
            return Outcome::Stored;
        }
        if model.rules.lacks(Mutant::ExistsIsFenced) {
            return Outcome::Refused { certain: true };
        }
        self.comparing = true;
        Outcome::Pending
    }

    fn compare(&mut self, model: &Model) -> Outcome {
        match model.store.compare(&self.object) {
            Some(true) => Outcome::Stored,
            Some(false) => Outcome::Refused { certain: !self.maybe_stored },
            None if model.rules.lacks(Mutant::AbsentIsSuccess) => Outcome::Stored,
            None => {
                self.comparing = false;
                self.attempts += 1;
                if self.attempts >= ATTEMPTS { Outcome::Unknown } else { Outcome::Pending }
            }
        }
    }
}
