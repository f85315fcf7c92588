//! Pools that callers share: memory for request bodies, and connections that serve requests.
//!
//! A caller may hold as much as it leaves free, which is the dynamic threshold of shared switch buffers: a single
//! caller gets half of the pool, two get a third each, and so on. However many callers use their full share, something
//! is left for the next one.

use kernel::{Incarnation, OperatorName};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// The owner of the credential that a request carries.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) enum ShareHolder {
    /// One incarnation of a tenant, through any of its API keys.
    Tenant(Incarnation),
    /// An operator.
    Operator(OperatorName),
}

/// A pool of bytes or of connections.
pub(crate) struct SharePool {
    max: usize,
    /// Amount that a caller which holds nothing always gets, as long as the pool has it.
    initial_max: usize,
    held: Mutex<Allocations>,
}

#[derive(Default)]
struct Allocations {
    total: usize,
    by_caller: HashMap<ShareHolder, usize>,
}

/// Why a share cannot grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// The caller's other requests already hold its share.
    Share,
    /// Other callers hold so much that this request alone does not fit.
    Pool,
}

/// The amount that one request holds of a pool, until it is dropped.
pub(crate) struct Share {
    pool: Arc<SharePool>,
    caller: ShareHolder,
    amount: usize,
}

impl SharePool {
    /// A pool of `max`, in which a caller that holds nothing gets `initial_max` as long as that is free.
    pub(crate) fn new(max: usize, initial_max: usize) -> Arc<Self> {
        Arc::new(Self { max, initial_max, held: Mutex::default() })
    }

    /// Creates an empty share for this caller.
    pub(crate) fn share_for(self: &Arc<Self>, caller: ShareHolder) -> Share {
        Share { pool: self.clone(), caller, amount: 0 }
    }

    /// Amount that all callers hold together.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.lock().total
    }
}

impl Share {
    /// Sets the held amount to `amount`; a smaller one returns the difference to the pool.
    ///
    /// # Errors
    /// The pool does not have enough left for this caller; the share keeps its previous amount.
    pub(crate) fn resize(&mut self, amount: usize) -> Result<(), Exhausted> {
        let mut held = self.pool.held.lock();
        let mine = held.by_caller.get(&self.caller).copied().unwrap_or(0);
        let (other_requests, others) = (mine - self.amount, held.total - self.amount);
        let (mine, total) = (other_requests + amount, others + amount);
        if amount > self.amount && mine > self.pool.max.saturating_sub(total).max(self.pool.initial_max) {
            return Err(if other_requests > 0 { Exhausted::Share } else { Exhausted::Pool });
        }
        if amount > self.amount && total > self.pool.max {
            return Err(Exhausted::Pool);
        }
        if mine == 0 {
            held.by_caller.remove(&self.caller);
        } else {
            held.by_caller.insert(self.caller.clone(), mine);
        }
        held.total = total;
        self.amount = amount;
        Ok(())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Shrinking is never refused.
        let _ = self.resize(0);
    }
}

#[cfg(test)]
mod tests;
