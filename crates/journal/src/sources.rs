//! Sealed objects as something to read pieces of: a file that stays open, or an object of a bucket, of which ranges
//! are fetched.
//!
//! Blocking, and not for the runtime's own threads: callers run in a pool. A wait for a bucket says so
//! ([`kernel::blocking`]), so that the pool's other work continues, and waits no longer than its request does
//! ([`kernel::Interrupt`]). Errors: `InvalidData` for
//! an object that is not what was put (its size); `NotFound` when it went away; `TimedOut` when the object store does
//! not answer as it should, with its answer inside; else what the system says.

use crate::{Error, blocks::Blocks, bucket::Bucket, disk::DiskFile};
use futures::{StreamExt, TryStreamExt};
use kernel::{Interrupt, Interrupted, ReadAt, limits};
use std::{io, ops::Range, sync::Arc, time::Duration};
use tokio::runtime::Handle;

/// A file. Its bytes stay readable when its name is gone.
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
        inside(offset, into.len(), self.size)?;
        self.file.read_at(into, offset).map_err(|error| match error.kind() {
            // It was longer when it was opened: it has been truncated since.
            io::ErrorKind::UnexpectedEof => io::ErrorKind::InvalidData.into(),
            _ => error,
        })
    }
}

/// An object of a bucket.
pub(crate) struct BucketSource {
    bucket: Arc<Bucket>,
    name: String,
    /// As it was when it was put.
    size: u64,
    runtime: Handle,
    blocks: Arc<Blocks>,
    reader: u64,
}

impl BucketSource {
    pub(crate) fn new(bucket: Arc<Bucket>, name: String, size: u64, runtime: Handle, blocks: Arc<Blocks>) -> Self {
        let reader = blocks.reader();
        Self { bucket, name, size, runtime, blocks, reader }
    }

    /// Fetches blocks (ascending), neighbours in one request; gives them with their numbers.
    fn fetch(&self, numbers: &[u64]) -> io::Result<Vec<(u64, Arc<[u8]>)>> {
        let requests: Vec<_> = runs(numbers).into_iter().map(|run| self.request(run)).collect();
        let all = futures::stream::iter(requests).buffer_unordered(REQUESTS_AT_ONCE).try_collect::<Vec<_>>();
        let wait = async {
            tokio::select! {
                biased;
                fetched = all => fetched,
                why = interrupted() => Err(io::Error::other(why)),
            }
        };
        // Off the runtime this only waits; on it, the runtime first moves its other tasks away.
        let fetched = kernel::blocking(|| tokio::task::block_in_place(|| self.runtime.block_on(wait)))?;
        let blocks = fetched.iter().flat_map(|(first, bytes)| (*first..).zip(bytes.chunks(BLOCK as usize)));
        Ok(blocks.map(|(number, block)| (number, Arc::from(block))).collect())
    }

    async fn request(&self, run: Range<u64>) -> io::Result<(u64, Vec<u8>)> {
        let range = run.start * BLOCK..(run.end * BLOCK).min(self.size);
        let wanted = range.end - range.start;
        let found = self.bucket.range(&self.name, range, "reading a part of an object").await.map_err(io_of)?;
        let (bytes, size) = found.ok_or(io::ErrorKind::NotFound)?;
        if size != self.size || bytes.len() as u64 != wanted {
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
        inside(offset, into.len(), self.size)?;
        if into.is_empty() {
            return Ok(());
        }
        let numbers = offset / BLOCK..(offset + into.len() as u64).div_ceil(BLOCK);
        // What a long read has all of is not read again soon: it makes room for others.
        let long = numbers.end - numbers.start > LONG_READ;
        let (first, last) = (numbers.start, numbers.end - 1);
        let spent = |number| long && number != first && number != last;
        let mut missing = Vec::new();
        for number in numbers {
            match self.blocks.get((self.reader, number), spent(number)) {
                Some(block) => copy(number, &block, offset, into),
                None => missing.push(number),
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        for (number, block) in self.fetch(&missing)? {
            copy(number, &block, offset, into);
            if !spent(number) {
                self.blocks.put((self.reader, number), block);
            }
        }
        Ok(())
    }

    fn will_read(&self, ranges: &[Range<u64>]) {
        let blocks = |range: &Range<u64>| range.start / BLOCK..range.end.min(self.size).div_ceil(BLOCK);
        let mut numbers: Vec<u64> = ranges.iter().flat_map(blocks).take(AHEAD_MAX).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.retain(|number| !self.blocks.has((self.reader, *number)));
        if numbers.is_empty() {
            return;
        }
        // The next reader gets the error.
        for (number, block) in self.fetch(&numbers).unwrap_or_default() {
            self.blocks.put((self.reader, number), block);
        }
    }
}

impl Drop for BucketSource {
    fn drop(&mut self) {
        self.blocks.forget(self.reader);
    }
}

/// Comes when the request that this thread works for is to end.
async fn interrupted() -> Interrupted {
    let Some(interrupt) = Interrupt::current() else { return std::future::pending().await };
    loop {
        if let Err(why) = interrupt.check() {
            return why;
        }
        tokio::time::sleep(INTERRUPT_LOOK).await;
    }
}

/// What such a source said, as this crate's error.
pub(crate) fn error_of(what: &'static str, source: io::Error) -> Error {
    source.downcast::<Error>().unwrap_or_else(|source| crate::error::io_error(what, source))
}

fn io_of(error: Error) -> io::Error {
    let kind = if matches!(error, Error::Store { .. }) { io::ErrorKind::TimedOut } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

fn inside(offset: u64, length: usize, size: u64) -> io::Result<()> {
    let end = offset.checked_add(length as u64).filter(|end| *end <= size);
    end.map(drop).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// Copies what a block has of a read.
fn copy(number: u64, block: &[u8], offset: u64, into: &mut [u8]) {
    let start = number * BLOCK;
    let from = offset.max(start);
    let until = (offset + into.len() as u64).min(start + block.len() as u64);
    let source = block.get((from - start) as usize..until.saturating_sub(start) as usize);
    let target = into.get_mut((from - offset) as usize..until.saturating_sub(offset) as usize);
    if let Some((source, target)) = source.zip(target) {
        target.copy_from_slice(source);
    }
}

/// Neighbours together, up to the length of one request.
fn runs(numbers: &[u64]) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some(run) if run.end == *number && run.end - run.start < RUN_MAX => run.end += 1,
            _ => runs.push(*number..number + 1),
        }
    }
    runs
}

/// How often a wait looks whether its request has ended.
const INTERRUPT_LOOK: Duration = Duration::from_millis(10);
/// What is fetched at least, bytes: four pages. A request takes as long for one.
const BLOCK: u64 = limits::REMOTE_BLOCK_BYTES as u64;
/// Blocks of one request: 2 MiB.
const RUN_MAX: u64 = 32;
/// Requests of one read that are under way at once.
const REQUESTS_AT_ONCE: usize = 16;
/// A read of more blocks leaves those behind that it has a part of, no others.
const LONG_READ: u64 = 8;
/// Blocks that are fetched before they are asked for: 16 MiB and the seals between.
const AHEAD_MAX: usize = 264;

#[cfg(test)]
mod tests;
