//! Gives the system back what was freed.
//!
//! The allocator keeps freed memory in each of its arenas until the end of an arena is free, so the largest requests of
//! an hour would stay resident for good: a tenant could make the server hold several times its budgets. Pages that hold
//! nothing are handed back a few times a minute instead.

#![expect(unsafe_code, reason = "the call to the C library")]

use anyhow::{Context, Result};
use std::time::Duration;

/// Starts a thread that does so for the life of the process.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn start() -> Result<()> {
    let trim = || {
        loop {
            std::thread::park_timeout(PAUSE);
            give_back();
        }
    };
    std::thread::Builder::new().name("memory".to_owned()).spawn(trim).context("a thread for freed memory")?;
    Ok(())
}

/// Takes some milliseconds; an arena is locked while its free pages are handed back, one after the other.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn give_back() {
    // SAFETY: it may be called at any time from any thread, and changes nothing that is in use.
    let _released = unsafe { libc::malloc_trim(KEPT_BYTES) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn give_back() {}

/// Between two times.
const PAUSE: Duration = Duration::from_secs(10);
/// Left free at the end of the main arena for what comes next.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: usize = 16 << 20;
