//! A bound on requests at once that one tenant cannot fill alone.

use kernel::{Error, Incarnation};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

/// Counts who is inside. Numbers only: it knows tenants as opaque ids.
#[derive(Clone)]
pub(crate) struct Turnstile {
    inside: Arc<Mutex<Inside>>,
    max: usize,
    what: &'static str,
}

#[derive(Default)]
struct Inside {
    all: usize,
    each: HashMap<Incarnation, usize>,
}

impl Turnstile {
    /// Lets `max` in at once, one tenant at most half of them.
    pub(crate) fn new(max: usize, what: &'static str) -> Self {
        Self { inside: Arc::default(), max: max.max(2), what }
    }

    /// Enters or refuses at once: whoever waits holds memory.
    ///
    /// # Errors
    /// `overloaded` when the house is full, `rate_limited` when this tenant fills its share.
    pub(crate) fn enter(&self, who: Incarnation) -> Result<Pass, Error> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        if inside.all >= self.max {
            return Err(Error::overloaded(format!("too many {} at once", self.what), Duration::from_secs(1)));
        }
        let mine = inside.each.entry(who).or_default();
        if *mine >= self.max / 2 {
            let mut error =
                Error::new(kernel::Code::RateLimited, format!("too many {} of this tenant at once", self.what));
            error.retry_after = Some(Duration::from_secs(1));
            return Err(error);
        }
        *mine += 1;
        inside.all += 1;
        Ok(Pass { inside: self.inside.clone(), who })
    }

    /// How many are inside.
    pub(crate) fn count(&self) -> usize {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).all
    }
}

/// Leaves when dropped.
pub(crate) struct Pass {
    inside: Arc<Mutex<Inside>>,
    who: Incarnation,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        inside.all -= 1;
        if let Some(mine) = inside.each.get_mut(&self.who) {
            *mine -= 1;
            if *mine == 0 {
                inside.each.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_gets_half_and_leaves_its_place() {
        let gate = Turnstile::new(4, "searches");
        let (a, b) = (Incarnation::from_bytes([1; 16]), Incarnation::from_bytes([2; 16]));
        let first = gate.enter(a).unwrap();
        let _second = gate.enter(a).unwrap();
        assert_eq!(gate.enter(a).err().unwrap().code, kernel::Code::RateLimited);
        let _third = gate.enter(b).unwrap();
        drop(first);
        let _again = gate.enter(a).unwrap();
        let _fourth = gate.enter(b).unwrap();
        assert_eq!(gate.enter(Incarnation::from_bytes([3; 16])).err().unwrap().code, kernel::Code::Overloaded);
        assert_eq!(gate.count(), 4);
    }
}
