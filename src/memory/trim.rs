//! Returns freed memory to the system.
//!
//! The allocator keeps freed memory in each of its arenas until the end of an arena is free, so the largest requests of
//! an hour would stay resident for good, and a tenant could make the server hold several times its budgets. Therefore
//! free pages are returned a few times a minute.

#![expect(unsafe_code, reason = "the call to the C library")]

use anyhow::{Context, Result};
use std::time::Duration;

/// Starts a thread that returns freed memory for the life of the process.
///
/// # Errors
/// The system cannot create the thread.
pub(crate) fn start_trimming() -> Result<()> {
    let run = || {
        loop {
            std::thread::park_timeout(PAUSE);
            trim();
        }
    };
    std::thread::Builder::new()
        .name("memory".to_owned())
        .spawn(run)
        .context("cannot start the thread that returns freed memory")?;
    Ok(())
}

/// Takes some milliseconds; one arena at a time is locked while its free pages are returned.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    // SAFETY: `malloc_trim` may be called at any time from any thread, and changes no memory that is in use.
    let _released = unsafe { libc::malloc_trim(KEPT_BYTES) };
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

/// Pause between two calls.
const PAUSE: Duration = Duration::from_secs(10);
/// Bytes left free at the end of the main arena for the next allocations.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT_BYTES: usize = 16 << 20;
