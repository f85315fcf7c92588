//! Pools that callers share: memory for request bodies, connections that serve requests.
//!
//! A caller may hold as much as it leaves free (the dynamic threshold of switches' buffers): one alone gets half of the
//! pool, two get a third each, and so on. However many callers fill their share, something is left for the next.

use kernel::{Incarnation, OperatorName};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Whose credential a request carries.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum Caller {
    /// One life of a tenant, by any of its API keys.
    Tenant(Incarnation),
    /// An operator.
    Operator(OperatorName),
}

/// A pool of bytes or of places.
pub(crate) struct Pool {
    max: usize,
    /// What a caller that holds nothing always gets, as long as the pool has it.
    first: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    each: HashMap<Caller, usize>,
}

/// Why nothing more was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The caller's other requests hold its share.
    Share,
    /// Others hold so much that this request alone does not fit.
    Pool,
}

/// What one request holds of a pool, until it is dropped.
pub(crate) struct Share {
    pool: Arc<Pool>,
    caller: Caller,
    amount: usize,
}

impl Pool {
    /// A pool of `max`, of which a caller that holds nothing gets `first`, as long as that is free.
    pub(crate) fn new(max: usize, first: usize) -> Arc<Self> {
        Arc::new(Self { max, first, held: Mutex::default() })
    }

    /// A share of nothing yet.
    pub(crate) fn enter(self: &Arc<Self>, caller: Caller) -> Share {
        Share { pool: self.clone(), caller, amount: 0 }
    }

    /// What all callers hold.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.lock().all
    }

    /// Nothing panics while holding this lock.
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Holds `amount` in all; less than before is given back.
    ///
    /// # Errors
    /// The pool is too full for it; what was held stays held.
    pub(crate) fn resize(&mut self, amount: usize) -> Result<(), Full> {
        let mut held = self.pool.lock();
        let mine = held.each.get(&self.caller).copied().unwrap_or(0);
        let (others_of_mine, others) = (mine - self.amount, held.all - self.amount);
        let (mine, all) = (others_of_mine + amount, others + amount);
        if amount > self.amount && mine > self.pool.max.saturating_sub(all).max(self.pool.first) {
            return Err(if others_of_mine > 0 { Full::Share } else { Full::Pool });
        }
        if amount > self.amount && all > self.pool.max {
            return Err(Full::Pool);
        }
        if mine == 0 {
            held.each.remove(&self.caller);
        } else {
            held.each.insert(self.caller.clone(), mine);
        }
        held.all = all;
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Giving back is never refused.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests;
