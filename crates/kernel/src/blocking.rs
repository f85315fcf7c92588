//! Threads that compute for many: work that is about to wait for a network says so, and the pool that lent the thread
//! lets another thread compute meanwhile; work that computes for long lets others have their turn.

use crate::STEPS_BETWEEN_CHECKS;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// What a pool does around a wait of one of its threads.
pub trait HandBack {
    /// The thread stops computing and gives up its slot.
    fn leave(&self);
    /// Returns when the thread may compute again.
    fn rejoin(&self);
    /// The thread would compute on. Where others wait and no thread is free, it waits until its turn has come again.
    fn give_way(&self);
}

thread_local! {
    static POOL: RefCell<Option<Rc<dyn HandBack>>> = const { RefCell::new(None) };
    static LEFT: Cell<u64> = const { Cell::new(STEPS_BETWEEN_CHECKS) };
}

/// Registers the pool of this thread. Called once, when the thread starts.
pub fn on_blocking(pool: Rc<dyn HandBack>) {
    POOL.set(Some(pool));
}

/// Runs `wait`, which waits for something outside of this process and computes almost nothing.
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    let pool = POOL.with_borrow(Clone::clone);
    let _rejoins = pool.map(|pool| {
        pool.leave();
        Rejoins(pool)
    });
    wait()
}

/// Lets others have their turn, once in [`STEPS_BETWEEN_CHECKS`]; `steps` is what was looked at since the last call. For
/// work that takes seconds, and holds no lock that another job may wait for.
#[inline]
pub fn give_way(steps: u64) {
    let left = LEFT.get();
    if left > steps {
        return LEFT.set(left - steps);
    }
    LEFT.set(STEPS_BETWEEN_CHECKS);
    if let Some(pool) = POOL.with_borrow(Clone::clone) {
        pool.give_way();
    }
}

/// Rejoins also when the wait panics.
struct Rejoins(Rc<dyn HandBack>);

impl Drop for Rejoins {
    fn drop(&mut self) {
        self.0.rejoin();
    }
}
