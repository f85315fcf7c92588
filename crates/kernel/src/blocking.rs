//! Waiting inside computing threads: whoever is about to wait for a network says so, and the pool that lent the thread
//! lets another thread compute meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

/// What a pool does around a wait of one of its threads.
pub trait HandBack {
    /// The thread stops computing.
    fn leave(&self);
    /// The thread wants to compute again; returns when it may.
    fn rejoin(&self);
}

thread_local! {
    static POOL: RefCell<Option<Rc<dyn HandBack>>> = const { RefCell::new(None) };
}

/// Has waits on this thread tell its pool. Once, when the thread starts.
pub fn on_blocking(pool: Rc<dyn HandBack>) {
    POOL.set(Some(pool));
}

/// Runs `wait`, which waits for something outside of this process and computes next to nothing.
pub fn blocking<T>(wait: impl FnOnce() -> T) -> T {
    let pool = POOL.with_borrow(Clone::clone);
    let _rejoins = pool.map(|pool| {
        pool.leave();
        Rejoins(pool)
    });
    wait()
}

/// Rejoins also when the wait panics.
struct Rejoins(Rc<dyn HandBack>);

impl Drop for Rejoins {
    fn drop(&mut self) {
        self.0.rejoin();
    }
}
