//! A bound on what requests use at once, in requests or in bytes, that one tenant cannot fill alone.

use kernel::{Code, Error, Incarnation};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Counts who is inside, and with how much. Numbers only: it knows tenants as opaque ids.
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
    /// Lets `max` in at once, one tenant at most half of it. `what` is said to who is refused.
    pub(crate) fn new(max: u64, what: &'static str) -> Self {
        Self(Arc::new(Shared { inside: Mutex::default(), max: max.max(2), what }))
    }

    /// Enters with this much or refuses at once: whoever waits holds memory.
    ///
    /// # Errors
    /// `overloaded` when the house is full, `rate_limited` when this tenant fills its share. Who comes alone is let in
    /// with any amount: it could never come otherwise.
    pub(crate) fn enter(&self, who: Incarnation, amount: u64) -> Result<Pass, Error> {
        let mut pass = Pass { house: self.0.clone(), who, amount: 0 };
        pass.grow(amount)?;
        Ok(pass)
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

/// Leaves when dropped.
pub(crate) struct Pass {
    house: Arc<Shared>,
    who: Incarnation,
    amount: u64,
}

impl Pass {
    /// Takes more, under the same rules.
    ///
    /// # Errors
    /// As [`Turnstile::enter`]; what it had it keeps.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), Error> {
        let (max, what) = (self.house.max, self.house.what);
        let mut inside = self.house.lock();
        let others = inside.all - self.amount;
        if more > 0 && others > 0 && inside.all.saturating_add(more) > max {
            return Err(Error::overloaded(format!("too many {what} at once"), RETRY));
        }
        let mine = inside.each.get(&self.who).copied().unwrap_or(0);
        if more > 0 && mine > self.amount && mine.saturating_add(more) > max / 2 {
            let mut error = Error::new(Code::RateLimited, format!("too many {what} of this tenant at once"));
            error.retry_after = Some(RETRY);
            return Err(error);
        }
        *inside.each.entry(self.who).or_default() = mine.saturating_add(more);
        inside.all = inside.all.saturating_add(more);
        self.amount = self.amount.saturating_add(more);
        Ok(())
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.house.lock();
        inside.all = inside.all.saturating_sub(self.amount);
        if let Some(mine) = inside.each.get_mut(&self.who) {
            *mine = mine.saturating_sub(self.amount);
            if *mine == 0 {
                inside.each.remove(&self.who);
            }
        }
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
        let [a, b, _] = tenants();
        let mut mine = gate.enter(a, 30).unwrap();
        mine.grow(30).unwrap();
        let mut other = gate.enter(a, 0).unwrap();
        assert_eq!(other.grow(1).err().unwrap().code, Code::RateLimited);
        let theirs = gate.enter(b, 40).unwrap();
        assert_eq!(mine.grow(1).err().unwrap().code, Code::Overloaded);
        assert_eq!(gate.count(), 100);
        drop(theirs);
        drop(other);
        // Nobody else is there: what a single search needs it gets.
        mine.grow(1_000).unwrap();
        assert_eq!(gate.count(), 1_060);
        drop(mine);
        assert_eq!(gate.count(), 0);
    }
}
