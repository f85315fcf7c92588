//! Sections that may be too large to hold in memory: either they are in memory, or they are read from a source page by
//! page.
//!
//! Promises: a read returns exactly the bytes that were requested, or an error, wherever the bytes are. Pages that were
//! read stay in a cache of bounded size, because the hits of one query share pages with those of the next. Plaintext is
//! wiped when it is dropped. Leaves to others: what a page is and whether it is authentic (the source, which is
//! `vault`'s).

use crate::{Error, bytes::Slice};
use kernel::{ReadAt, limits};
use parking_lot::Mutex;
use std::{
    ops::{Deref, Range},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use zeroize::Zeroizing;

const PAGE: u64 = limits::PAGE_BYTES as u64;
/// A read of more pages than this bypasses the cache: it would evict the pages that single rows are read from.
const CACHED_PAGES_MAX: u64 = 8;
/// Pages that one set of the cache holds.
const WAYS: usize = 8;
/// The cache takes at most one part in this number of its source …
const CACHE_SHARE: u64 = 32;
/// … and at most this number of bytes.
const CACHE_BYTES_MAX: u64 = 64 << 20;

/// Bytes that are read range by range.
#[derive(Clone)]
pub(crate) enum Section {
    Memory(Slice),
    Paged { pages: Arc<Pages>, range: Range<u64> },
}

/// Bytes that a read returned.
pub(crate) enum SectionBytes<'a> {
    Borrowed(&'a [u8]),
    Page(Arc<CachedPage>, Range<usize>),
    Owned(Zeroizing<Vec<u8>>),
}

impl Deref for SectionBytes<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            SectionBytes::Borrowed(bytes) => bytes,
            SectionBytes::Page(page, range) => page.0.get(range.clone()).unwrap_or_default(),
            SectionBytes::Owned(bytes) => bytes,
        }
    }
}

impl Section {
    /// The whole of a source. It is read at once when it has at most `resident` bytes.
    pub(crate) fn open(source: Arc<dyn ReadAt>, resident: u64) -> Result<Self, Error> {
        let size = source.size();
        if size > resident {
            return Ok(Section::Paged { pages: Arc::new(Pages::new(source)), range: 0..size });
        }
        let mut bytes = Zeroizing::new(vec![0; size as usize]);
        if size > 0 {
            source.will_read(std::slice::from_ref(&(0..size)));
            source.read_at(0, &mut bytes)?;
        }
        Ok(Section::Memory(Slice::whole(bytes)))
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Section::Memory(slice) => slice.len() as u64,
            Section::Paged { range, .. } => range.end - range.start,
        }
    }

    /// A part of this section; `None` when the range does not lie inside.
    pub(crate) fn sub(&self, part: Range<u64>) -> Option<Self> {
        match self {
            Section::Memory(slice) => slice.sub(memory(part)?).map(Section::Memory),
            Section::Paged { pages, range } => {
                let inside = part.start <= part.end && part.end <= range.end - range.start;
                let range = range.start.checked_add(part.start)?..range.start.checked_add(part.end)?;
                inside.then(|| Section::Paged { pages: pages.clone(), range })
            }
        }
    }

    /// Reads a range.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a range that does not lie inside, [`Error::Unreadable`] when the source fails.
    pub(crate) fn read(&self, part: Range<u64>) -> Result<SectionBytes<'_>, Error> {
        let outside = || Error::corrupt("range of a section", part.start as usize);
        match self {
            Section::Memory(slice) => {
                let bytes = memory(part.clone()).and_then(|part| slice.bytes().get(part));
                bytes.map(SectionBytes::Borrowed).ok_or_else(outside)
            }
            Section::Paged { pages, .. } => match self.sub(part.clone()) {
                Some(Section::Paged { range, .. }) => pages.read(range),
                _ => Err(outside()),
            },
        }
    }

    /// Reads the whole section.
    ///
    /// # Errors
    /// As [`Section::read`].
    pub(crate) fn whole(&self) -> Result<SectionBytes<'_>, Error> {
        self.read(0..self.len())
    }

    /// Announces to the source that these ranges are read next.
    pub(crate) fn will_read(&self, parts: impl Iterator<Item = Range<u64>>) {
        if let Section::Paged { pages, range } = self {
            let ranges: Vec<_> = parts.map(|part| range.start + part.start..range.start + part.end).collect();
            pages.source.will_read(&ranges);
        }
    }

    /// Bytes in memory at the moment.
    pub(crate) fn resident(&self) -> u64 {
        match self {
            Section::Memory(slice) => slice.len() as u64,
            Section::Paged { pages, .. } => pages.cache.held.load(Ordering::Relaxed),
        }
    }
}

fn memory(part: Range<u64>) -> Option<Range<usize>> {
    Some(usize::try_from(part.start).ok()?..usize::try_from(part.end).ok()?)
}

/// A source and its recently used pages.
pub(crate) struct Pages {
    source: Arc<dyn ReadAt>,
    cache: Cache,
}

impl Pages {
    fn new(source: Arc<dyn ReadAt>) -> Self {
        let bytes = (source.size() / CACHE_SHARE).min(CACHE_BYTES_MAX);
        Self { cache: Cache::new(bytes), source }
    }

    fn read(&self, range: Range<u64>) -> Result<SectionBytes<'static>, Error> {
        let length = usize::try_from(range.end - range.start).map_err(|_| Error::corrupt("range of a section", 0))?;
        if length == 0 {
            return Ok(SectionBytes::Borrowed(&[]));
        }
        let (first, last) = (range.start / PAGE, (range.end - 1) / PAGE);
        let inside = (range.start - first * PAGE) as usize;
        // Within one page, the caller shares the cached page; nothing is copied.
        if first == last {
            return Ok(SectionBytes::Page(self.page(first)?, inside..inside + length));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(length));
        // A long read goes straight to the source.
        if last - first >= CACHED_PAGES_MAX {
            bytes.resize(length, 0);
            self.source.read_at(range.start, &mut bytes)?;
            return Ok(SectionBytes::Owned(bytes));
        }
        // A short read across pages is assembled from the cache.
        for number in first..=last {
            let page = self.page(number)?;
            let start = if number == first { inside } else { 0 };
            let end = page.0.len().min(start + length - bytes.len());
            bytes.extend_from_slice(page.0.get(start..end).unwrap_or_default());
        }
        Ok(SectionBytes::Owned(bytes))
    }

    fn page(&self, number: u64) -> Result<Arc<CachedPage>, Error> {
        if let Some(page) = self.cache.get(number) {
            return Ok(page);
        }
        let start = number * PAGE;
        let mut page = CachedPage(vec![0; PAGE.min(self.source.size().saturating_sub(start)) as usize]);
        self.source.read_at(start, &mut page.0)?;
        let page = Arc::new(page);
        self.cache.put(number, page.clone());
        Ok(page)
    }
}

/// An opened page, wiped when its last holder drops it.
pub(crate) struct CachedPage(Vec<u8>);

impl Drop for CachedPage {
    fn drop(&mut self) {
        // Wide stores: wiping a page byte by byte takes as long as opening one.
        self.0.fill(0);
        zeroize::optimization_barrier(self.0.as_slice());
    }
}

/// Pages with their numbers, most recently used first.
type RecentPages = Vec<(u64, Arc<CachedPage>)>;

/// Pages by number, in sets with a lock each; every set keeps its most recently used pages.
struct Cache {
    sets: Vec<Mutex<RecentPages>>,
    held: AtomicU64,
}

impl Cache {
    fn new(bytes: u64) -> Self {
        let sets = (bytes / PAGE / WAYS as u64).max(1);
        Self { sets: (0..sets).map(|_| Mutex::default()).collect(), held: AtomicU64::new(0) }
    }

    /// Runs `act` on the set of a page. Adjacent pages fall into different sets.
    fn with<T>(&self, number: u64, act: impl FnOnce(&mut RecentPages) -> T) -> Option<T> {
        let set = self.sets.get((number % self.sets.len().max(1) as u64) as usize)?;
        // A set is consistent between any two steps, so a panic elsewhere does not spoil it.
        Some(act(&mut set.lock()))
    }

    fn get(&self, number: u64) -> Option<Arc<CachedPage>> {
        self.with(number, |set| {
            let at = set.iter().position(|(n, _)| *n == number)?;
            set[..=at].rotate_right(1);
            Some(set[0].1.clone())
        })?
    }

    fn put(&self, number: u64, page: Arc<CachedPage>) {
        let evicted = self.with(number, |set| {
            if set.iter().any(|(n, _)| *n == number) {
                return None;
            }
            self.held.fetch_add(page.0.len() as u64, Ordering::Relaxed);
            set.insert(0, (number, page));
            let evicted = if set.len() > WAYS { set.pop() } else { None };
            if let Some((_, page)) = &evicted {
                self.held.fetch_sub(page.0.len() as u64, Ordering::Relaxed);
            }
            evicted
        });
        // The evicted page is wiped here, after the lock is released.
        drop(evicted);
    }
}

#[cfg(test)]
mod tests;
