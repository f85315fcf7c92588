//! A limit on what requests use at a time, in requests or in bytes, of which one tenant gets at most half.

use kernel::{Code, Error, Incarnation, WriteMemory, WritePermit};
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Counts what each tenant uses now. It knows tenants as opaque ids only.
#[derive(Clone)]
pub(crate) struct Turnstile(Arc<Shared>);

struct Shared {
    inside: Mutex<Inside>,
    max: u64,
    what: &'static str,
}

#[derive(Default)]
struct Inside {
    all: u64,
    each: HashMap<Incarnation, u64>,
}

impl Turnstile {
    /// Admits `max` at a time, of which one tenant gets at most half. `what` is named in refusals.
    pub(crate) fn new(max: u64, what: &'static str) -> Self {
        Self(Arc::new(Shared { inside: Mutex::default(), max: max.max(2), what }))
    }

    /// Enters with this amount or refuses at once, because a waiting request would hold memory.
    ///
    /// # Errors
    /// `overloaded` when all of it is taken, `rate_limited` when this tenant fills its share, `too_large` for more than
    /// any tenant may have.
    pub(crate) fn enter(&self, who: Incarnation, amount: u64) -> Result<Pass, Error> {
        let mut pass = Pass { house: self.0.clone(), who, amount: 0 };
        pass.grow(amount)?;
        Ok(pass)
    }

    /// Counts what cannot be refused any more: the reply to a write that was done.
    pub(crate) fn hold(&self, who: Incarnation, amount: u64) -> Pass {
        let mut pass = Pass { house: self.0.clone(), who, amount: 0 };
        pass.settle(amount);
        pass
    }

    /// How much is inside.
    pub(crate) fn count(&self) -> u64 {
        self.0.lock().all
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inside {
    fn add(&mut self, who: Incarnation, more: u64) {
        self.all = self.all.saturating_add(more);
        let mine = self.each.entry(who).or_default();
        *mine = mine.saturating_add(more);
    }

    fn take(&mut self, who: Incarnation, less: u64) {
        self.all = self.all.saturating_sub(less);
        if let Some(mine) = self.each.get_mut(&who) {
            *mine = mine.saturating_sub(less);
            if *mine == 0 {
                self.each.remove(&who);
            }
        }
    }
}

/// A permit: a place, or a share of memory, that is given back when it is dropped.
pub struct Pass {
    house: Arc<Shared>,
    who: Incarnation,
    amount: u64,
}

impl fmt::Debug for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pass").field(&self.amount).finish()
    }
}

impl Pass {
    /// How much it holds.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// Whose it is.
    pub(crate) fn who(&self) -> Incarnation {
        self.who
    }

    /// Takes more, under the same rules.
    ///
    /// # Errors
    /// As [`Turnstile::enter`]; what it had it keeps.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), Error> {
        if more == 0 {
            return Ok(());
        }
        let (max, share, what) = (self.house.max, self.house.max / 2, self.house.what);
        let mut inside = self.house.lock();
        if self.amount.saturating_add(more) > share {
            let message = format!("the request takes more {what} than one tenant may have, {share}; ask for less");
            return Err(Error::new(Code::TooLarge, message));
        }
        if inside.all.saturating_add(more) > max {
            return Err(Error::overloaded(format!("too many {what} at once"), RETRY));
        }
        let mine = inside.each.get(&self.who).copied().unwrap_or(0);
        if mine.saturating_add(more) > share {
            let mut error = Error::new(Code::RateLimited, format!("too many {what} of this tenant at once"));
            error.retry_after = Some(RETRY);
            return Err(error);
        }
        inside.add(self.who, more);
        self.amount = self.amount.saturating_add(more);
        Ok(())
    }

    /// Holds this much from now on: gives back the rest, or counts more that cannot be refused any more.
    pub fn settle(&mut self, amount: u64) {
        let mut inside = self.house.lock();
        inside.take(self.who, self.amount.saturating_sub(amount));
        inside.add(self.who, amount.saturating_sub(self.amount));
        self.amount = amount;
    }

    /// A permit of its own for part of what this one holds.
    #[must_use]
    pub fn split(&mut self, amount: u64) -> Pass {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Pass { house: self.house.clone(), who: self.who, amount }
    }
}

impl WriteMemory for Turnstile {
    fn enter(&self, incarnation: Incarnation) -> Box<dyn WritePermit> {
        Box::new(self.hold(incarnation, 0))
    }
}

impl WritePermit for Pass {
    fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        Pass::grow(self, bytes)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.house.lock().take(self.who, self.amount);
    }
}

/// When a refused caller may come back.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> [Incarnation; 3] {
        [1, 2, 3].map(|n| Incarnation::from_bytes([n; 16]))
    }

    #[test]
    fn one_tenant_gets_half_and_leaves_its_place() {
        let gate = Turnstile::new(4, "searches");
        let [a, b, c] = tenants();
        let first = gate.enter(a, 1).unwrap();
        let _second = gate.enter(a, 1).unwrap();
        assert_eq!(gate.enter(a, 1).err().unwrap().code, Code::RateLimited);
        let _third = gate.enter(b, 1).unwrap();
        drop(first);
        let _again = gate.enter(a, 1).unwrap();
        let _fourth = gate.enter(b, 1).unwrap();
        assert_eq!(gate.enter(c, 1).err().unwrap().code, Code::Overloaded);
        assert_eq!(gate.count(), 4);
    }

    #[test]
    fn who_grows_too_large_is_refused_and_keeps_what_it_had() {
        let gate = Turnstile::new(100, "bytes of searches");
        let [a, b, c] = tenants();
        let mut mine = gate.enter(a, 20).unwrap();
        mine.grow(20).unwrap();
        let mut other = gate.enter(a, 0).unwrap();
        assert_eq!(other.grow(11).err().unwrap().code, Code::RateLimited);
        let theirs = [gate.enter(b, 50).unwrap(), gate.enter(c, 10).unwrap()];
        assert_eq!(mine.grow(1).err().unwrap().code, Code::Overloaded);
        assert_eq!((mine.amount(), gate.count()), (40, 100));
        drop(theirs);
        drop(other);
        drop(mine);
        assert_eq!(gate.count(), 0);
    }

    #[test]
    fn who_comes_alone_gets_no_more_than_a_tenants_share() {
        let gate = Turnstile::new(100, "bytes of replies");
        let [a, b, _] = tenants();
        let mut mine = gate.enter(a, 50).unwrap();
        let refused = mine.grow(1).unwrap_err();
        assert!(refused.code == Code::TooLarge && refused.retry_after.is_none(), "a retry would not help: {refused}");
        assert_eq!(gate.enter(b, 51).unwrap_err().code, Code::TooLarge);
        assert_eq!(gate.enter(b, u64::MAX).unwrap_err().code, Code::TooLarge);
        assert_eq!(gate.count(), 50);
    }

    #[test]
    fn a_permit_is_settled_and_split_and_each_piece_gives_back_its_own() {
        let gate = Turnstile::new(100, "bytes of replies");
        let [a, b, _] = tenants();
        let mut permit = gate.enter(a, 40).unwrap();
        permit.settle(10);
        assert_eq!(gate.count(), 10);
        let piece = permit.split(4);
        drop(permit);
        assert_eq!((piece.amount(), gate.count()), (4, 4));
        let held = gate.hold(a, 90);
        assert_eq!(gate.enter(a, 1).unwrap_err().code, Code::RateLimited, "what cannot be refused is counted");
        drop((piece, held));
        assert!(gate.enter(b, 50).is_ok());
        assert_eq!(gate.count(), 0);
    }
}
