//! Cooperation of work with the pool whose thread it runs on. Work that is about to wait for a network announces it, so
//! that the pool lets another thread compute meanwhile; work that computes for long yields to others.

use crate::STEPS_BETWEEN_CHECKS;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Callbacks of a pool for the work on its threads.
pub trait PoolHooks {
    /// The thread stops computing and releases its slot.
    fn release_slot(&self);
    /// Returns when the thread may compute again.
    fn acquire_slot(&self);
    /// Called by a thread that would continue to compute. If others wait and no thread is free, it blocks until the
    /// thread's turn comes again.
    fn yield_to_others(&self);
}

thread_local! {
    /// Pool of this thread.
    static POOL: RefCell<Option<Rc<dyn PoolHooks>>> = const { RefCell::new(None) };
    /// Steps until the next call of the pool.
    static REMAINING: Cell<u64> = const { Cell::new(STEPS_BETWEEN_CHECKS) };
}

/// Registers the pool of this thread. It is called once, when the thread starts.
pub fn set_pool_hooks(pool: Rc<dyn PoolHooks>) {
    POOL.set(Some(pool));
}

/// Runs `wait`, which waits for something outside this process and computes almost nothing.
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    let pool = POOL.with_borrow(Clone::clone);
    let _guard = pool.map(|pool| {
        pool.release_slot();
        RejoinGuard(pool)
    });
    wait()
}

/// Yields to other work, once in [`STEPS_BETWEEN_CHECKS`] steps; `steps` is the number of steps since the last call. It
/// is for work that takes seconds and holds no lock that another job may wait for.
#[inline]
pub fn yield_to_others(steps: u64) {
    let remaining = REMAINING.get();
    if remaining > steps {
        return REMAINING.set(remaining - steps);
    }
    REMAINING.set(STEPS_BETWEEN_CHECKS);
    if let Some(pool) = POOL.with_borrow(Clone::clone) {
        pool.yield_to_others();
    }
}

/// Rejoins the pool when it is dropped, also if the wait panics.
struct RejoinGuard(Rc<dyn PoolHooks>);

impl Drop for RejoinGuard {
    fn drop(&mut self) {
        self.0.acquire_slot();
    }
}
