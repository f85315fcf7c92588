//! Protects the process's memory: freed memory is zeroed first, and neither a core dump nor another process of the same
//! user can read it. What this process cannot protect by itself is reported by [`exposures`].
//!
//! Not covered: memory of C libraries (ONNX Runtime), stacks, and the administrator of the machine.

mod exposure;
mod trim;

pub(crate) use exposure::{Exposure, exposures};
pub(crate) use trim::start_trimming;

use anyhow::{Context, Result};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};
use std::alloc::System;
use zeroizing_alloc::ZeroAlloc;

/// Zeroes each block before it is freed. A block that grows or shrinks is replaced by a new one and the old one is
/// freed, so no copy remains. Large blocks are zeroed too: the system allocator returns them to the kernel or keeps
/// them, by a threshold that moves with use and cannot be predicted (`cargo bench --bench wiping` measures the cost).
#[cfg(not(test))]
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: counting::Counting<ZeroAlloc<System>> = counting::Counting(ZeroAlloc(System));

/// Protects this process's memory for its whole life. Must run before the root key is read.
///
/// Both calls are needed: where dumps go to a program (a pipe in `core_pattern`), the limit alone has no effect. A
/// process that is not dumpable cannot be traced by other processes of its user either, and its `/proc` files belong to
/// root.
///
/// # Errors
/// The system refuses a call, which no Linux does.
pub(crate) fn protect() -> Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable).context("PR_SET_DUMPABLE is refused")?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) }).context("RLIMIT_CORE is refused")?;
    // Allow as much locked memory for keys as the environment permits this process.
    let Rlimit { maximum, .. } = getrlimit(Resource::Memlock);
    setrlimit(Resource::Memlock, Rlimit { current: maximum, maximum }).context("RLIMIT_MEMLOCK is refused")
}

/// Logs the kind of memory that holds keys, and one warning for each exposure.
pub(crate) fn log_protection() {
    let keys = vault::key_memory();
    let limit = exposure::lock_limit();
    tracing::info!(kind = %keys.kind, limit, "key memory");
    for Exposure { setting, found, remedy } in exposures() {
        tracing::warn!(setting, found, remedy, "memory is exposed");
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, os::unix::fs::FileExt};

    /// Reads the bytes at an address, allocated or not. The allocator may keep its own data in the first bytes of a
    /// free block.
    fn read_at(address: usize, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        let memory = File::open("/proc/self/mem").unwrap();
        // Pages that were returned to the kernel cannot be read.
        memory.read_exact_at(&mut bytes, address as u64).ok().map(|()| bytes)
    }

    fn holds(address: usize, length: usize, byte: u8) -> bool {
        read_at(address, length).is_some_and(|bytes| bytes.windows(16).any(|piece| piece == [byte; 16]))
    }

    #[test]
    fn freed_memory_is_zero() {
        for length in [64, 500, 5_000, 70_000, 1 << 20, 3 << 20] {
            let block = vec![0xB7u8; length];
            let address = block.as_ptr().addr();
            assert!(holds(address, length, 0xB7), "the test can read the block");
            drop(block);
            assert!(!holds(address, length, 0xB7), "{length} bytes");
        }
    }

    #[test]
    fn a_block_that_grows_or_shrinks_leaves_no_copy() {
        for (length, then) in [(64, 4_000), (5_000, 400_000), (3 << 20, 30 << 20), (400_000, 70), (3 << 20, 100)] {
            let mut block = vec![0xC9u8; length];
            let address = block.as_ptr().addr();
            if then > length {
                block.reserve_exact(then - length);
            } else {
                block.truncate(then);
                block.shrink_to_fit();
            }
            let kept = if block.as_ptr().addr() == address { then } else { 0 };
            assert!(!holds(address + kept, length.saturating_sub(kept), 0xC9), "{length} bytes to {then}");
        }
    }
}
