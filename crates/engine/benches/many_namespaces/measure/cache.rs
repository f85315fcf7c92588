//! Drops a folder's pages from the page cache, so that the next reads come from the disk.

#![expect(unsafe_code, reason = "posix_fadvise has no safe face in the libraries at hand")]

use anyhow::Result;
use std::{
    fs::{self, File},
    os::fd::AsRawFd,
    path::Path,
};

/// Drops file contents from the page cache. Names and sizes stay in the system's caches.
pub(crate) fn drop_pages(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            drop_pages(&path)?;
        } else {
            let file = File::open(&path)?;
            // Pages that are not written to the disk yet would stay.
            file.sync_data()?;
            // SAFETY: the descriptor is open while `file` lives, and the call touches no memory of ours.
            let errno = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
            anyhow::ensure!(errno == 0, "posix_fadvise failed with {errno}");
        }
    }
    Ok(())
}
