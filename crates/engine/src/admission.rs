//! A limit on what requests use at a time, in requests or in bytes. One tenant gets at most half of it.

use kernel::{Code, Error, Incarnation, WriteMemory, WritePermit};
use parking_lot::Mutex;
use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

/// Counts the amount that each tenant uses now. It knows tenants as opaque ids only.
#[derive(Clone)]
pub(crate) struct AdmissionLimiter(Arc<LimiterState>);

struct LimiterState {
    used: Mutex<AmountsInUse>,
    max: u64,
    what: &'static str,
}

#[derive(Default)]
struct AmountsInUse {
    all: u64,
    each: HashMap<Incarnation, u64>,
}

impl AdmissionLimiter {
    /// Admits `max` requests or bytes at a time. `what` names them in refusals.
    pub(crate) fn new(max: u64, what: &'static str) -> Self {
        Self(Arc::new(LimiterState { used: Mutex::default(), max: max.max(2), what }))
    }

    /// Acquires this amount, or refuses at once: a request that waited would keep what it holds already.
    ///
    /// # Errors
    /// `overloaded` when nothing is free; `rate_limited` when this tenant's half is used; `too_large` for more than
    /// half.
    pub(crate) fn acquire(&self, tenant: Incarnation, amount: u64) -> Result<Permit, Error> {
        let mut permit = Permit { limiter: self.0.clone(), tenant, amount: 0 };
        permit.grow(amount)?;
        Ok(permit)
    }

    /// Counts an amount that cannot be refused any more, such as the reply to a write that was done.
    pub(crate) fn force(&self, tenant: Incarnation, amount: u64) -> Permit {
        let mut permit = Permit { limiter: self.0.clone(), tenant, amount: 0 };
        permit.resize(amount);
        permit
    }

    /// The amount in use.
    pub(crate) fn count(&self) -> u64 {
        self.0.used.lock().all
    }
}

impl LimiterState {}

impl AmountsInUse {
    fn add(&mut self, tenant: Incarnation, more: u64) {
        self.all = self.all.saturating_add(more);
        let own = self.each.entry(tenant).or_default();
        *own = own.saturating_add(more);
    }

    fn subtract(&mut self, tenant: Incarnation, less: u64) {
        self.all = self.all.saturating_sub(less);
        if let Some(own) = self.each.get_mut(&tenant) {
            *own = own.saturating_sub(less);
            if *own == 0 {
                self.each.remove(&tenant);
            }
        }
    }
}

/// The right to use an amount, which is given back when the permit is dropped.
pub struct Permit {
    limiter: Arc<LimiterState>,
    tenant: Incarnation,
    amount: u64,
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.amount).finish()
    }
}

impl Permit {
    /// The amount it covers.
    pub fn amount(&self) -> u64 {
        self.amount
    }

    /// The tenant that uses it.
    pub(crate) fn tenant(&self) -> Incarnation {
        self.tenant
    }

    /// Covers more, under the same rules.
    ///
    /// # Errors
    /// As [`AdmissionLimiter::acquire`]; the permit stays as it was.
    pub(crate) fn grow(&mut self, more: u64) -> Result<(), Error> {
        if more == 0 {
            return Ok(());
        }
        let (max, share, what) = (self.limiter.max, self.limiter.max / 2, self.limiter.what);
        let mut used = self.limiter.used.lock();
        if self.amount.saturating_add(more) > share {
            let message = format!("the request takes more {what} than one tenant may have, {share}; ask for less");
            return Err(Error::new(Code::TooLarge, message));
        }
        if used.all.saturating_add(more) > max {
            return Err(Error::overloaded(format!("too many {what} at once"), RETRY));
        }
        let own = used.each.get(&self.tenant).copied().unwrap_or(0);
        if own.saturating_add(more) > share {
            let mut error = Error::new(Code::RateLimited, format!("too many {what} of this tenant at once"));
            error.retry_after = Some(RETRY);
            return Err(error);
        }
        used.add(self.tenant, more);
        self.amount = self.amount.saturating_add(more);
        Ok(())
    }

    /// Covers exactly this amount from now on: gives the rest back, or counts more that cannot be refused any more.
    pub fn resize(&mut self, amount: u64) {
        let mut used = self.limiter.used.lock();
        used.subtract(self.tenant, self.amount.saturating_sub(amount));
        used.add(self.tenant, amount.saturating_sub(self.amount));
        self.amount = amount;
    }

    /// Moves part of this permit's amount into a permit of its own.
    #[must_use]
    pub fn split(&mut self, amount: u64) -> Permit {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Permit { limiter: self.limiter.clone(), tenant: self.tenant, amount }
    }
}

impl WriteMemory for AdmissionLimiter {
    fn enter(&self, incarnation: Incarnation) -> Box<dyn WritePermit> {
        Box::new(self.force(incarnation, 0))
    }
}

impl WritePermit for Permit {
    fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        Permit::grow(self, bytes)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limiter.used.lock().subtract(self.tenant, self.amount);
    }
}

/// How long a refused caller should wait before it tries again.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants() -> [Incarnation; 3] {
        [1, 2, 3].map(|n| Incarnation::from_bytes([n; 16]))
    }

    #[test]
    fn one_tenant_gets_half_and_releases_it() {
        let limiter = AdmissionLimiter::new(4, "searches");
        let [a, b, c] = tenants();
        let first = limiter.acquire(a, 1).unwrap();
        let _second = limiter.acquire(a, 1).unwrap();
        assert_eq!(limiter.acquire(a, 1).err().unwrap().code, Code::RateLimited);
        let _third = limiter.acquire(b, 1).unwrap();
        drop(first);
        let _again = limiter.acquire(a, 1).unwrap();
        let _fourth = limiter.acquire(b, 1).unwrap();
        assert_eq!(limiter.acquire(c, 1).err().unwrap().code, Code::Overloaded);
        assert_eq!(limiter.count(), 4);
    }

    #[test]
    fn a_permit_that_cannot_grow_stays_as_it_was() {
        let limiter = AdmissionLimiter::new(100, "bytes of searches");
        let [a, b, c] = tenants();
        let mut mine = limiter.acquire(a, 20).unwrap();
        mine.grow(20).unwrap();
        let mut other = limiter.acquire(a, 0).unwrap();
        assert_eq!(other.grow(11).err().unwrap().code, Code::RateLimited);
        let theirs = [limiter.acquire(b, 50).unwrap(), limiter.acquire(c, 10).unwrap()];
        assert_eq!(mine.grow(1).err().unwrap().code, Code::Overloaded);
        assert_eq!((mine.amount(), limiter.count()), (40, 100));
        drop(theirs);
        drop(other);
        drop(mine);
        assert_eq!(limiter.count(), 0);
    }

    #[test]
    fn a_tenant_alone_gets_no_more_than_its_half() {
        let limiter = AdmissionLimiter::new(100, "bytes of replies");
        let [a, b, _] = tenants();
        let mut mine = limiter.acquire(a, 50).unwrap();
        let refused = mine.grow(1).unwrap_err();
        assert!(refused.code == Code::TooLarge && refused.retry_after.is_none(), "a retry would not help: {refused}");
        assert_eq!(limiter.acquire(b, 51).unwrap_err().code, Code::TooLarge);
        assert_eq!(limiter.acquire(b, u64::MAX).unwrap_err().code, Code::TooLarge);
        assert_eq!(limiter.count(), 50);
    }

    #[test]
    fn each_part_of_a_settled_and_split_permit_releases_its_own_amount() {
        let limiter = AdmissionLimiter::new(100, "bytes of replies");
        let [a, b, _] = tenants();
        let mut permit = limiter.acquire(a, 40).unwrap();
        permit.resize(10);
        assert_eq!(limiter.count(), 10);
        let part = permit.split(4);
        drop(permit);
        assert_eq!((part.amount(), limiter.count()), (4, 4));
        let held = limiter.force(a, 90);
        assert_eq!(limiter.acquire(a, 1).unwrap_err().code, Code::RateLimited, "what cannot be refused is counted");
        drop((part, held));
        assert!(limiter.acquire(b, 50).is_ok());
        assert_eq!(limiter.count(), 0);
    }
}
