//! Waits inside computing threads: code that is about to wait for a network says so, and the thread's pool lets another
//! thread compute meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

/// What a pool does around a wait of one of its threads.
pub trait HandBack {
    /// The thread stops computing and gives up its slot.
    fn leave(&self);
    /// Returns when the thread may compute again.
    fn rejoin(&self);
}

thread_local! {
    static POOL: RefCell<Option<Rc<dyn HandBack>>> = const { RefCell::new(None) };
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

/// Rejoins also when the wait panics.
struct Rejoins(Rc<dyn HandBack>);

impl Drop for Rejoins {
    fn drop(&mut self) {
        self.0.rejoin();
    }
}
