//! Sealed objects as sources that are read in pieces: a file that stays open, or an object of a bucket, of which ranges
//! are fetched.
//!
//! Reads block and must not run on the runtime's own threads: callers run in a thread pool. A wait for a bucket
//! announces itself ([`kernel::blocking`]), so that the other work of the pool continues, and ends when its request
//! does ([`kernel::Interrupt`]). Errors: `InvalidData` for an object whose size differs from what was put; `NotFound`
//! when it was deleted; `TimedOut` when the object store fails, with its error inside; otherwise the system's error.

use crate::{Error, block_cache::BlockCache, bucket::Bucket, disk::DiskFile};
use futures::{StreamExt, TryStreamExt};
use kernel::{Interrupt, Interrupted, ReadAt, limits};
use std::{io, ops::Range, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// A file as a source. Its bytes stay readable after its name is removed.
pub(crate) struct FileSource {
    file: Box<dyn DiskFile>,
    size: u64,
}

impl FileSource {
    pub(crate) fn new(file: Box<dyn DiskFile>) -> io::Result<Self> {
        let size = file.size()?;
        Ok(Self { file, size })
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        check_bounds(offset, into.len(), self.size)?;
        self.file.read_at(into, offset).map_err(|error| match error.kind() {
            // The file was longer when it was opened, so it has been truncated since.
            io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
            _ => error,
        })
    }
}

/// An object of a bucket as a source.
pub(crate) struct BucketSource {
    bucket: Arc<Bucket>,
    name: String,
    /// Size of the object in bytes when it was put.
    size: u64,
    runtime: Handle,
    cache: Arc<BlockCache>,
    reader: u64,
}

impl BucketSource {
    pub(crate) fn new(bucket: Arc<Bucket>, name: String, size: u64, runtime: Handle, cache: Arc<BlockCache>) -> Self {
        let reader = cache.new_reader();
        Self { bucket, name, size, runtime, cache, reader }
    }

    /// Fetches blocks (ascending numbers), adjacent ones in one request, and returns them with their numbers.
    fn fetch(&self, numbers: &[u64]) -> io::Result<Vec<(u64, Arc<[u8]>)>> {
        let requests: Vec<_> = group_adjacent(numbers).into_iter().map(|run| self.request(run)).collect();
        let all = futures::stream::iter(requests).buffer_unordered(REQUESTS_AT_ONCE).try_collect::<Vec<_>>();
        let wait = async {
            tokio::select! {
                biased;
                fetched = all => fetched,
                why = interrupted() => Err(io::Error::other(why)),
            }
        };
        // Outside the runtime this call only waits; inside, the runtime first moves its other tasks to other threads.
        let fetched = kernel::blocking(|| tokio::task::block_in_place(|| self.runtime.block_on(wait)))?;
        let blocks = fetched.iter().flat_map(|(first, bytes)| (*first..).zip(bytes.chunks(BLOCK_BYTES as usize)));
        Ok(blocks.map(|(number, block)| (number, Arc::from(block))).collect())
    }

    async fn request(&self, run: Range<u64>) -> io::Result<(u64, Vec<u8>)> {
        let range = run.start * BLOCK_BYTES..(run.end * BLOCK_BYTES).min(self.size);
        let expected = range.end - range.start;
        let found = self.bucket.range(&self.name, range, "reading a range of an object").await.map_err(to_io_error)?;
        let (bytes, size) = found.ok_or(io::ErrorKind::NotFound)?;
        if size != self.size || bytes.len() as u64 != expected {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok((run.start, bytes))
    }
}

impl ReadAt for BucketSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        check_bounds(offset, into.len(), self.size)?;
        if into.is_empty() {
            return Ok(());
        }
        let numbers = offset / BLOCK_BYTES..(offset + into.len() as u64).div_ceil(BLOCK_BYTES);
        // Blocks that a long read covers completely are unlikely to be read again soon, so they do not take cache
        // space.
        let is_long = numbers.end - numbers.start > LONG_READ_BLOCKS;
        let (first, last) = (numbers.start, numbers.end - 1);
        let is_transient = |number| is_long && number != first && number != last;
        // Copy what is cached, and fetch the rest in as few requests as possible.
        let mut missing = Vec::new();
        for number in numbers {
            let id = (self.reader, number);
            match if is_transient(number) { self.cache.take(id) } else { self.cache.get(id) } {
                Some(block) => copy_block(number, &block, offset, into),
                None => missing.push(number),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        for (number, block) in self.fetch(&missing)? {
            copy_block(number, &block, offset, into);
            if !is_transient(number) {
                self.cache.put((self.reader, number), block);
            }
        }
        Ok(())
    }

    fn will_read(&self, ranges: &[Range<u64>]) {
        let blocks = |range: &Range<u64>| range.start / BLOCK_BYTES..range.end.min(self.size).div_ceil(BLOCK_BYTES);
        let mut numbers: Vec<u64> = ranges.iter().flat_map(blocks).take(PREFETCH_BLOCKS_MAX).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| !self.cache.contains((self.reader, *number)));
        if numbers.is_empty() {
            return;
        }
        // On an error nothing is cached; the next read repeats the request and reports the error.
        for (number, block) in self.fetch(&numbers).unwrap_or_default() {
            self.cache.put((self.reader, number), block);
        }
    }
}

impl Drop for BucketSource {
    fn drop(&mut self) {
        self.cache.drop_reader(self.reader);
    }
}

/// Completes when the request for which this thread works is to end.
async fn interrupted() -> Interrupted {
    let Some(interrupt) = Interrupt::current() else { return std::future::pending().await };
    loop {
        if let Err(why) = interrupt.check() {
            return why;
        }
        tokio::time::sleep(INTERRUPT_POLL).await;
    }
}

/// Converts the error of a source to this crate's error.
pub(crate) fn from_io_error(what: &'static str, source: io::Error) -> Error {
    source.downcast::<Error>().unwrap_or_else(|source| crate::error::io_error(what, source))
}

fn to_io_error(error: Error) -> io::Error {
    let kind = if matches!(error, Error::Store { .. }) { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

fn check_bounds(offset: u64, length: usize, size: u64) -> io::Result<()> {
    let end = offset.checked_add(length as u64).filter(|end| *end <= size);
    end.map(drop).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Copies the bytes that a block contributes to a read at `offset`.
fn copy_block(number: u64, block: &[u8], offset: u64, into: &mut [u8]) {
    let start = number * BLOCK_BYTES;
    let from = offset.max(start);
    let until = (offset + into.len() as u64).min(start + block.len() as u64);
    let source = block.get((from - start) as usize..until.saturating_sub(start) as usize);
    let target = into.get_mut((from - offset) as usize..until.saturating_sub(offset) as usize);
    if let Some((source, target)) = source.zip(target) {
        target.copy_from_slice(source);
    }
}

/// Groups adjacent numbers, up to the length of one request.
fn group_adjacent(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == *number && run.end - run.start < REQUEST_BLOCKS_MAX => run.end += 1,
            _ => runs.push(*number..number + 1),
        }
    }
    runs
}

/// Interval at which a wait checks whether its request has ended.
const INTERRUPT_POLL: Duration = Duration::from_millis(10);
/// Smallest fetch in bytes: four pages. A request takes as long for a single page.
const BLOCK_BYTES: u64 = limits::REMOTE_BLOCK_BYTES as u64;
/// Maximum number of blocks per request: 2 MiB.
const REQUEST_BLOCKS_MAX: u64 = 32;
/// Maximum number of concurrent requests per read.
const REQUESTS_AT_ONCE: usize = 16;
/// A read of more blocks than this caches only the blocks that it covers in part.
const LONG_READ_BLOCKS: u64 = 8;
/// Maximum number of blocks that are prefetched: 16 MiB and the authentication tags in between.
const PREFETCH_BLOCKS_MAX: usize = 264;

#[cfg(test)]
mod tests;
