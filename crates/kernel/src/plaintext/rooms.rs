//! Rooms: mappings for many plain bytes. One that was left is wiped and kept for the next, up to
//! [`limits::ROOMS_KEPT_BYTES_MAX`]: a page that the system has to give costs as much as opening four of them.
//!
//! A room is all zero when it is handed out: a fresh mapping is, and one that comes back was wiped.

use crate::limits;
use memmap2::MmapMut;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The process's own.
pub(super) static ROOMS: Rooms = Rooms::new(limits::ROOMS_KEPT_BYTES_MAX);

/// Rooms that nobody has.
pub(super) struct Rooms {
    kept_max: usize,
    /// Oldest first; all zero.
    kept: Mutex<Vec<MmapMut>>,
}

/// Bytes in a mapping. Wiped and given back when it goes.
pub(super) struct Room {
    /// `None` while it is given back.
    mapping: Option<MmapMut>,
    length: usize,
    /// Bytes that may have been written.
    used: usize,
    rooms: &'static Rooms,
}

impl Rooms {
    pub(super) const fn new(kept_max: usize) -> Self {
        Self { kept_max, kept: Mutex::new(Vec::new()) }
    }

    /// So many zeros; `None` where the system has no such mapping.
    pub(super) fn take(&'static self, length: usize) -> Option<Room> {
        let mapping = self.again(length).or_else(|| map(length))?;
        Some(Room { mapping: Some(mapping), length, used: length, rooms: self })
    }

    /// The smallest kept one that is long enough and not much longer: what is behind the end lies there unused.
    fn again(&self, length: usize) -> Option<MmapMut> {
        let mut kept = self.lock();
        let fits = length..=length + length / 8;
        let fitting = kept.iter().enumerate().filter(|(_, mapping)| fits.contains(&mapping.len()));
        let (place, _) = fitting.min_by_key(|(_, mapping)| mapping.len())?;
        Some(kept.remove(place))
    }

    /// Keeps a wiped mapping, and lets the oldest go while they are too many.
    fn keep(&self, mapping: MmapMut) {
        if mapping.len() > self.kept_max {
            return;
        }
        let mut gone = Vec::new();
        let mut kept = self.lock();
        kept.push(mapping);
        let mut bytes: usize = kept.iter().map(|mapping| mapping.len()).sum();
        while bytes > self.kept_max {
            let oldest = kept.remove(0);
            bytes -= oldest.len();
            gone.push(oldest);
        }
        // Unmapping takes long: nobody waits for it.
        drop(kept);
        drop(gone);
    }

    #[cfg(test)]
    pub(super) fn kept(&self) -> Vec<usize> {
        self.lock().iter().map(|mapping| mapping.len()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<MmapMut>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Room {
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

impl Drop for Room {
    fn drop(&mut self) {
        let Some(mut mapping) = self.mapping.take() else { return };
        super::wipe(&mut mapping[..self.used]);
        self.rooms.keep(mapping);
    }
}

/// Whole small pages, all of them there: whoever takes a room fills it.
fn map(length: usize) -> Option<MmapMut> {
    let mapping = MmapMut::map_anon(length.next_multiple_of(SMALL_PAGE)).ok()?;
    // Wishes: without them, all is as it was.
    #[cfg(target_os = "linux")]
    {
        if length >= LARGE_PAGES_MIN {
            let _small_pages_then = mapping.advise(memmap2::Advice::HugePage);
        }
        let _one_by_one_then = mapping.advise(memmap2::Advice::PopulateWrite);
    }
    Some(mapping)
}

const SMALL_PAGE: usize = 4 << 10;
/// Bytes from which large pages are asked for: two of the common size.
const LARGE_PAGES_MIN: usize = 4 << 20;
