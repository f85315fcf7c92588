//! An allocator for tests that counts, for each thread, the bytes that are held and the allocations. A test binary
//! makes it its global allocator, and measures with [`measure`].

#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one forwards every call")]

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
};

/// Wraps another allocator and counts its calls.
pub struct Counting<A>(pub A);

/// Memory use of a piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Most bytes that its thread held at once, beyond those that it held before.
    pub peak: usize,
    /// Number of allocations. A block that grows counts as another one.
    pub allocations: usize,
}

thread_local! {
    /// Bytes that this thread holds.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `work` and returns its memory use on this thread. Measurements do not nest.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Measured) {
    let (held, allocations) = (HELD.get(), ALLOCATIONS.get());
    PEAK.set(held);
    let result = work();
    let peak = (PEAK.get() - held).unsigned_abs();
    (result, Measured { peak, allocations: ALLOCATIONS.get() - allocations })
}

fn count(bytes: isize) {
    // A thread that ends frees its last memory after its counters are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
    if bytes > 0 {
        let _ = ALLOCATIONS.try_with(|all| all.set(all.get() + 1));
    }
}

// SAFETY: every call goes to the inner allocator with the caller's own guarantees. A block grows by this trait's
// default: a new block is allocated and the old one freed, so both are counted while both exist. The product's
// allocator, which wipes what it frees, does the same.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[global_allocator]
    static ALLOCATOR: Counting<System> = Counting(System);

    #[test]
    fn a_growing_block_counts_twice_for_a_moment() {
        let (block, measured) = measure(|| {
            let mut block: Vec<u8> = Vec::with_capacity(1_000);
            block.reserve_exact(3_000);
            block
        });
        assert_eq!(measured, Measured { peak: 4_000, allocations: 2 });
        assert_eq!(measure(|| drop(block)).1, Measured { peak: 0, allocations: 0 });
        assert_eq!(measure(|| vec![0u8; 500].len()).1, Measured { peak: 500, allocations: 1 });
    }
}
