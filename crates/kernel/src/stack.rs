//! Wiping what finished work has left on threads' stacks. Freed memory is wiped by the program's allocator; a stack is
//! not freed while its thread lives, and a vector register that was saved there may hold the end of a text.

use std::{
    cell::Cell,
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

/// How often it was asked for.
static ASKED: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static DONE: Cell<u64> = const { Cell::new(0) };
}

/// From now on each thread that comes to [`wipe_stack_if_asked`] wipes once.
pub fn ask_to_wipe_stacks() {
    ASKED.fetch_add(1, Ordering::Release);
}

/// For threads that many tenants' work runs on, when they have nothing to do.
pub fn wipe_stack_if_asked() {
    let asked = ASKED.load(Ordering::Acquire);
    if DONE.get() != asked {
        DONE.set(asked);
        wipe_stack();
    }
}

/// Overwrites the part of the stack that deeper calls used. Our threads have 2 MiB, and their work goes tens of KiB
/// deep.
#[inline(never)]
pub fn wipe_stack() {
    let mut below = [0_u8; DEPTH];
    // The compiler must not see that nobody reads it.
    black_box(&mut below);
}

const DEPTH: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_wipes_once_when_asked() {
        let done = || DONE.get();
        ask_to_wipe_stacks();
        wipe_stack_if_asked();
        let first = done();
        assert!(first >= 1);
        ask_to_wipe_stacks();
        assert_eq!(done(), first);
        wipe_stack_if_asked();
        assert!(done() > first);
        std::thread::spawn(move || {
            wipe_stack_if_asked();
            assert!(done() > first);
        })
        .join()
        .unwrap();
    }
}
