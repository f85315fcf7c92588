//! Memory for keys: slots of 32 bytes in chunks of pages that are in no core dump, in no child process and, as long as
//! the system lets us lock memory, not in swap. Where the kernel has secret memory (`memfd_secret`, Linux 5.14), the
//! pages are out of the kernel's own map too: no other process reads them, not even root's debugger.
//!
//! A slot is zeroed when it is returned, and then reused; chunks stay mapped for the life of the process. When nothing
//! more can be locked (`RLIMIT_MEMLOCK`), further chunks are ordinary pages, which [`key_memory`] counts: a server with
//! too small a limit still serves, and reports it.

#![expect(
    unsafe_code,
    reason = "slots in pages that this module maps itself; no other module of this crate needs unsafe code"
)]

use crate::crypto::KEY;
use parking_lot::Mutex;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use std::{
    fmt,
    fs::File,
    io,
    os::fd::{FromRawFd, OwnedFd},
    ptr::{NonNull, null_mut},
};
use zeroize::Zeroize;

/// Size of a chunk in bytes: 2,048 keys. A multiple of every page size in use.
const CHUNK: usize = 64 << 10;
const SLOTS: usize = CHUNK / KEY;
/// The smallest page size in use.
const PAGE_MIN: usize = 4 << 10;

/// Kind of memory that holds keys, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyMemoryKind {
    /// `memfd_secret`: locked, and not in the kernel's own map.
    Secret,
    /// Locked by `mlock`.
    Locked,
    /// Ordinary memory, which may be swapped out.
    Plain,
}

impl fmt::Display for KeyMemoryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "secret",
            Self::Locked => "locked",
            Self::Plain => "plain",
        })
    }
}

/// Summary of the memory that holds this process's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMemory {
    /// The best kind that the system has provided.
    pub kind: KeyMemoryKind,
    /// Bytes in secret or locked pages.
    pub bytes_locked: u64,
    /// Bytes in ordinary pages, because no more could be locked.
    pub bytes_unlocked: u64,
}

/// Returns the current memory for keys. The first call maps a chunk if there is none yet.
pub fn key_memory() -> KeyMemory {
    ARENA.memory()
}

/// The arena of the process.
static ARENA: Arena = Arena::new(map);

/// Memory for one key, zero until it is written. It is zeroed and returned when dropped.
pub(crate) struct ArenaSlot {
    address: SlotAddress,
    arena: &'static Arena,
}

impl ArenaSlot {
    pub(crate) fn new() -> Self {
        ARENA.take()
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        // SAFETY: the address points to 32 mapped, initialised bytes that are never unmapped, and until this slot is
        // dropped no other slot has the address; `&self` excludes writers.
        unsafe { self.address.ptr.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; KEY] {
        // SAFETY: as in `bytes`; `&mut self` excludes all other accesses.
        unsafe { self.address.ptr.as_mut() }
    }
}

impl Drop for ArenaSlot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        self.arena.put_back(self.address);
    }
}

/// Address of a slot, and whether its page is locked.
#[derive(Clone, Copy)]
struct SlotAddress {
    ptr: NonNull<[u8; KEY]>,
    locked: bool,
}

// SAFETY: the memory belongs to no thread and is never unmapped. The owner of the only copy of an address (a slot, or
// the free list under its lock) has exclusive use of the bytes; a slot that is shared by reference is only read.
unsafe impl Send for SlotAddress {}
// SAFETY: as above.
unsafe impl Sync for SlotAddress {}

/// Function that maps a chunk of one kind, with all bytes zero and all pages present.
type MapChunk = fn(KeyMemoryKind) -> io::Result<NonNull<u8>>;

struct Arena {
    map_chunk: MapChunk,
    state: Mutex<ArenaState>,
}

struct ArenaState {
    /// Addresses of zeroed free slots. Each list has capacity for all slots of its kind, so returning one never
    /// allocates.
    locked: Vec<SlotAddress>,
    plain: Vec<SlotAddress>,
    memory: KeyMemory,
}

impl Arena {
    const fn new(map_chunk: MapChunk) -> Self {
        let memory = KeyMemory { kind: KeyMemoryKind::Plain, bytes_locked: 0, bytes_unlocked: 0 };
        Self { map_chunk, state: Mutex::new(ArenaState { locked: Vec::new(), plain: Vec::new(), memory }) }
    }

    fn take(&'static self) -> ArenaSlot {
        let mut state = self.state.lock();
        loop {
            // Locked slots are used first: after a peak it is the ordinary pages that become empty.
            if let Some(address) = state.locked.pop().or_else(|| state.plain.pop()) {
                return ArenaSlot { address, arena: self };
            }
            state.grow(self.map_chunk);
        }
    }

    /// Returns a slot's address to its free list. The bytes must be zero already.
    fn put_back(&self, address: SlotAddress) {
        let mut state = self.state.lock();
        if address.locked { state.locked.push(address) } else { state.plain.push(address) }
    }

    fn memory(&self) -> KeyMemory {
        let mut state = self.state.lock();
        if state.memory.bytes_locked + state.memory.bytes_unlocked == 0 {
            state.grow(self.map_chunk);
        }
        state.memory
    }
}

impl ArenaState {
    /// Adds a chunk of the best kind that is available now. The lock is held meanwhile: every other request for a key
    /// would wait for the chunk anyway.
    fn grow(&mut self, map_chunk: MapChunk) {
        use KeyMemoryKind::{Locked, Plain, Secret};
        let chunk = [Secret, Locked, Plain].into_iter().find_map(|kind| Some((kind, map_chunk(kind).ok()?)));
        let Some((kind, start)) = chunk else {
            // As for any allocation, there is no way to continue without memory.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; CHUNK]>());
        };
        let locked = kind != Plain;
        let (list, bytes) = match locked {
            true => (&mut self.locked, &mut self.memory.bytes_locked),
            false => (&mut self.plain, &mut self.memory.bytes_unlocked),
        };
        *bytes += CHUNK as u64;
        list.reserve_exact(*bytes as usize / KEY - list.len());
        // SAFETY: `n` is below the number of slots in the chunk, so each address is inside it.
        let address = |n| SlotAddress { ptr: unsafe { start.cast::<[u8; KEY]>().add(n) }, locked };
        list.extend((0..SLOTS).rev().map(address));
        self.memory.kind = self.memory.kind.min(kind);
    }
}

/// Maps a chunk from the system.
fn map(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let start = match kind {
        KeyMemoryKind::Secret => {
            let file = File::from(memfd_secret()?);
            file.set_len(CHUNK as u64)?;
            // SAFETY: a new mapping at an address of the kernel's choice touches none of our memory. The file is closed
            // afterwards, and the length of a secret file cannot be changed.
            unsafe { mm::mmap(null_mut(), CHUNK, protection, MapFlags::SHARED, &file, 0) }?
        }
        // SAFETY: as above.
        _ => unsafe { mm::mmap_anonymous(null_mut(), CHUNK, protection, MapFlags::PRIVATE) }?,
    };
    if kind == KeyMemoryKind::Locked {
        // SAFETY: the mapping is ours, and locking changes no byte of it.
        if let Err(refused) = unsafe { mm::mlock(start, CHUNK) } {
            // SAFETY: no address in the mapping has been handed out yet.
            unsafe { mm::munmap(start, CHUNK) }?;
            return Err(refused.into());
        }
    }
    // Secret and locked pages are never swapped; these calls also exclude the pages from dumps and from children. A
    // child between fork and exec reads no key; a read would fault. Old kernels may refuse the calls.
    for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
        // SAFETY: both only change what becomes of the pages in dumps and children, and nothing that this process sees.
        let _best_effort = unsafe { mm::madvise(start, CHUNK, advice) };
    }
    let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
    for page in (0..CHUNK).step_by(PAGE_MIN) {
        // SAFETY: the address is inside the mapping, which is writable and whose bytes are zero already. The write
        // makes every page present before the first key, so that no later access waits for a page.
        unsafe { start.add(page).write_volatile(0) };
    }
    Ok(start)
}

fn memfd_secret() -> io::Result<OwnedFd> {
    // SAFETY: the call takes an integer and returns an integer.
    let number = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let number = i32::try_from(number).ok().filter(|n| *n >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel just created the descriptor, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests;
