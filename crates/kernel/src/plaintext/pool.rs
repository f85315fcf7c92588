//! A pool of memory mappings for large plaintext buffers. A mapping whose buffer was dropped is wiped and kept for the
//! next one, up to [`limits::POOLED_BYTES_MAX`] bytes: a new page from the system costs as much as decrypting four
//! of them.
//!
//! A buffer is all zero when it is handed out: a new mapping is zero, and a reused one was wiped.

use crate::limits;
use memmap2::MmapMut;
use parking_lot::Mutex;

/// The pool of the process.
pub(super) static POOL: BufferPool = BufferPool::new(limits::POOLED_BYTES_MAX);

/// Mappings that no buffer uses.
pub(super) struct BufferPool {
    kept_max: usize,
    /// The mappings, oldest first. All their bytes are zero.
    kept: Mutex<Vec<MmapMut>>,
}

/// A buffer in a mapping. It is wiped and returned to the pool when it is dropped.
pub(super) struct PooledBuffer {
    /// `None` while the mapping is returned.
    mapping: Option<MmapMut>,
    length: usize,
    /// Length of the part that may have been written.
    used: usize,
    pool: &'static BufferPool,
}

impl BufferPool {
    pub(super) const fn new(kept_max: usize) -> Self {
        Self { kept_max, kept: Mutex::new(Vec::new()) }
    }

    /// Takes a buffer of `length` zeros; `None` if the system provides no such mapping.
    pub(super) fn take(&'static self, length: usize) -> Option<PooledBuffer> {
        let mapping = self.take_kept(length).or_else(|| map(length))?;
        Some(PooledBuffer { mapping: Some(mapping), length, used: length, pool: self })
    }

    /// Takes the smallest kept mapping that is long enough and at most an eighth longer, since the bytes after the end
    /// stay unused.
    fn take_kept(&self, length: usize) -> Option<MmapMut> {
        let mut kept = self.kept.lock();
        let fits = length..=length + length / 8;
        let fitting = kept.iter().enumerate().filter(|(_, mapping)| fits.contains(&mapping.len()));
        let (index, _) = fitting.min_by_key(|(_, mapping)| mapping.len())?;
        Some(kept.remove(index))
    }

    /// Keeps a wiped mapping, and drops the oldest ones while too many bytes are kept.
    fn keep(&self, mapping: MmapMut) {
        if mapping.len() > self.kept_max {
            return;
        }
        let mut dropped = Vec::new();
        let mut kept = self.kept.lock();
        kept.push(mapping);
        let mut bytes: usize = kept.iter().map(|mapping| mapping.len()).sum();
        while bytes > self.kept_max {
            let oldest = kept.remove(0);
            bytes -= oldest.len();
            dropped.push(oldest);
        }
        // Unmapping takes long, so it is done after the lock is released.
        drop(kept);
        drop(dropped);
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<usize> {
        self.kept.lock().iter().map(|mapping| mapping.len()).collect()
    }
}

impl PooledBuffer {
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.mapping.as_deref().and_then(|bytes| bytes.get(..self.length)).unwrap_or_default()
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        let length = self.length;
        self.mapping.as_deref_mut().and_then(|bytes| bytes.get_mut(..length)).unwrap_or_default()
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let Some(mut mapping) = self.mapping.take() else { return };
        super::wipe(&mut mapping[..self.used]);
        self.pool.keep(mapping);
    }
}

/// Maps whole small pages. They are populated at once, because a buffer's user fills it.
fn map(length: usize) -> Option<MmapMut> {
    let mapping = MmapMut::map_anon(length.next_multiple_of(SMALL_PAGE)).ok()?;
    // These are hints. If the system refuses them, the mapping works all the same.
    #[cfg(target_os = "linux")]
    {
        if length >= HUGE_PAGES_MIN {
            let _small_pages_otherwise = mapping.advise(memmap2::Advice::HugePage);
        }
        let _populated_on_first_access_otherwise = mapping.advise(memmap2::Advice::PopulateWrite);
    }
    Some(mapping)
}

/// Size of a small page, bytes.
const SMALL_PAGE: usize = 4 << 10;
/// Length from which huge pages are requested, bytes: two of the common size.
const HUGE_PAGES_MIN: usize = 4 << 20;
