//! Wipes what finished work has left on the stacks of threads. The program's allocator wipes freed memory, but a stack
//! is not freed while its thread lives, and a vector register that was saved there may hold the end of a text.

use std::{
    cell::Cell,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

/// Number of requests for a wipe.
static REQUESTED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Value of [`REQUESTED`] at this thread's last wipe.
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// Makes each thread wipe its stack once, at its next call of [`wipe_stack_if_requested`].
pub fn request_stack_wipes() {
    REQUESTED.fetch_add(1, Ordering::Release);
}

/// Wipes the stack if that was requested since this thread's last wipe. Threads that run the work of many tenants call
/// it when they are idle.
pub fn wipe_stack_if_requested() {
    let requested = REQUESTED.load(Ordering::Acquire);
    if DONE.get() != requested {
        DONE.set(requested);
        wipe_stack();
    }
}

/// Overwrites the part of the stack that deeper calls used. Our threads have 2 MiB, and their work goes tens of KiB
/// deep.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0_u8; DEPTH];
    // The compiler must not find out that nothing reads the array.
    black_box(&mut below);
}

/// Bytes of stack that are overwritten.
const DEPTH: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_wipes_once_for_each_request() {
        let done = || DONE.get();
        request_stack_wipes();
        wipe_stack_if_requested();
        let first = done();
        assert!(first >= 1);
        request_stack_wipes();
        assert_eq!(done(), first);
        wipe_stack_if_requested();
        assert!(done() > first);
        std::thread::spawn(move || {
            wipe_stack_if_requested();
            assert!(done() > first);
        })
        .join()
        .unwrap();
    }
}
