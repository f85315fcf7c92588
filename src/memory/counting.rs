//! The program's allocator for unit tests: counts what each thread holds, and the most it held since it was asked.

#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one hands every call on")]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
};

/// Counts around another allocator.
pub(super) struct Counting<A>(pub(super) A);

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// The most bytes that this thread held at once while `work` ran, beyond what it held before.
pub(crate) fn most_held<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST.set(before);
    let done = work();
    (done, (MOST.get() - before).unsigned_abs())
}

fn count(bytes: isize) {
    // A thread that ends frees what it had when its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

// SAFETY: every call is the inner allocator's, with the caller's own promises. Blocks that grow are a new one and the old
// one freed, by the default way of this trait, so both are counted while both are there.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: as above.
        unsafe { self.0.dealloc(pointer, layout) }
    }
}
