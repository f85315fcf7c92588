//! Where keys lie: slots of 32 bytes in chunks of pages that are in no core dump, in no child process and, as long as
//! the system lets us lock memory, in no swap. Where the kernel has secret memory (`memfd_secret`, Linux 5.14), the
//! pages are out of its own map too: no other process reads them, root's debugger included.
//!
//! A slot is zeroed when it is given back and handed out again; chunks stay for the life of the process. When nothing
//! more can be locked (`RLIMIT_MEMLOCK`), further chunks are ordinary pages, which [`key_memory`] counts: a server with
//! too small a limit serves, and says so.

#![expect(unsafe_code, reason = "pages of its own, handed out in slots; nothing else in this crate has any")]

use crate::crypto::KEY;
use rustix::mm::{self, Advice, MapFlags, ProtFlags};
use std::{
    fmt,
    fs::File,
    io,
    os::fd::{FromRawFd, OwnedFd},
    ptr::{NonNull, null_mut},
    sync::{Mutex, MutexGuard, PoisonError},
};
use zeroize::Zeroize;

/// Bytes asked of the system at once: 2,048 keys. A multiple of every page size in use.
const CHUNK: usize = 64 << 10;
const SLOTS: usize = CHUNK / KEY;
/// No page is smaller.
const PAGE_MIN: usize = 4 << 10;

/// What keys lie in, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyMemoryKind {
    /// `memfd_secret`: locked, and not in the kernel's own map.
    Secret,
    /// Locked by `mlock`.
    Locked,
    /// Ordinary: it may be swapped out.
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

/// The memory that keys have in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMemory {
    /// The best kind that the system has given.
    pub kind: KeyMemoryKind,
    /// Bytes in secret or locked pages.
    pub bytes_locked: u64,
    /// Bytes in ordinary pages, because no more could be locked.
    pub bytes_unlocked: u64,
}

/// What keys lie in now. The first call asks the system for memory if no key has.
pub fn key_memory() -> KeyMemory {
    ARENA.memory()
}

/// The process's own.
static ARENA: Arena = Arena::new(map);

/// Room for one key, zero until it is written. Zeroed and given back when dropped.
pub(crate) struct Slot {
    place: Place,
    arena: &'static Arena,
}

impl Slot {
    pub(crate) fn new() -> Self {
        ARENA.take()
    }

    pub(crate) fn bytes(&self) -> &[u8; KEY] {
        // SAFETY: the place points to 32 mapped, initialised bytes that stay mapped for ever, and nobody but this slot
        // has it until it is dropped; `&self` keeps writers out.
        unsafe { self.place.at.as_ref() }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8; KEY] {
        // SAFETY: as in `bytes`; `&mut self` keeps everybody else out.
        unsafe { self.place.at.as_mut() }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        self.arena.give(self.place);
    }
}

/// One slot's address, and whether its page is locked.
#[derive(Clone, Copy)]
struct Place {
    at: NonNull<[u8; KEY]>,
    locked: bool,
}

// SAFETY: an address of memory that belongs to no thread and is never unmapped. Whoever holds the only copy of a place
// (a slot, or the free list under its lock) has the bytes for itself; a slot shared by reference is only read.
unsafe impl Send for Place {}
// SAFETY: as above.
unsafe impl Sync for Place {}

/// Maps a chunk of one kind, all zero and present.
type Source = fn(KeyMemoryKind) -> io::Result<NonNull<u8>>;

struct Arena {
    source: Source,
    state: Mutex<State>,
}

struct State {
    /// Zeroed places that nobody has. Each list has room for all places of its kind, so giving one back never allocates.
    locked: Vec<Place>,
    plain: Vec<Place>,
    memory: KeyMemory,
}

impl Arena {
    const fn new(source: Source) -> Self {
        let memory = KeyMemory { kind: KeyMemoryKind::Plain, bytes_locked: 0, bytes_unlocked: 0 };
        Self { source, state: Mutex::new(State { locked: Vec::new(), plain: Vec::new(), memory }) }
    }

    fn take(&'static self) -> Slot {
        let mut state = self.lock();
        loop {
            // What is locked first: after a peak the ordinary pages are the ones left empty.
            if let Some(place) = state.locked.pop().or_else(|| state.plain.pop()) {
                return Slot { place, arena: self };
            }
            state.grow(self.source);
        }
    }

    /// The bytes are zero already.
    fn give(&self, place: Place) {
        let mut state = self.lock();
        if place.locked { state.locked.push(place) } else { state.plain.push(place) }
    }

    fn memory(&self) -> KeyMemory {
        let mut state = self.lock();
        if state.memory.bytes_locked + state.memory.bytes_unlocked == 0 {
            state.grow(self.source);
        }
        state.memory
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// One more chunk, of the best kind to be had now. With the lock held: whoever wants a key waits anyway.
    fn grow(&mut self, source: Source) {
        use KeyMemoryKind::{Locked, Plain, Secret};
        let chunk = [Secret, Locked, Plain].into_iter().find_map(|kind| Some((kind, source(kind).ok()?)));
        let Some((kind, start)) = chunk else {
            // As for any box: without memory there is no way on.
            std::alloc::handle_alloc_error(std::alloc::Layout::new::<[u8; CHUNK]>());
        };
        let locked = kind != Plain;
        let (list, bytes) = match locked {
            true => (&mut self.locked, &mut self.memory.bytes_locked),
            false => (&mut self.plain, &mut self.memory.bytes_unlocked),
        };
        *bytes += CHUNK as u64;
        list.reserve_exact(*bytes as usize / KEY - list.len());
        // SAFETY: the chunk has so many slots, so each address is inside it.
        let place = |n| Place { at: unsafe { start.cast::<[u8; KEY]>().add(n) }, locked };
        list.extend((0..SLOTS).rev().map(place));
        self.memory.kind = self.memory.kind.min(kind);
    }
}

/// Asks the system.
fn map(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    let start = match kind {
        KeyMemoryKind::Secret => {
            let file = File::from(memfd_secret()?);
            file.set_len(CHUNK as u64)?;
            // SAFETY: a fresh mapping at an address of the kernel's choice touches no memory of ours. The file is
            // closed behind it, and nobody can change the length of a secret one.
            unsafe { mm::mmap(null_mut(), CHUNK, protection, MapFlags::SHARED, &file, 0) }?
        }
        // SAFETY: as above.
        _ => unsafe { mm::mmap_anonymous(null_mut(), CHUNK, protection, MapFlags::PRIVATE) }?,
    };
    if kind == KeyMemoryKind::Locked {
        // SAFETY: the mapping is ours, and locking changes no byte of it.
        if let Err(refused) = unsafe { mm::mlock(start, CHUNK) } {
            // SAFETY: nobody has an address in it yet.
            unsafe { mm::munmap(start, CHUNK) }?;
            return Err(refused.into());
        }
    }
    // Secret and locked pages are never swapped; that they are in no dump and in no child is asked for here. A child
    // between fork and exec reads no key; one that did would be stopped by the hardware. Old kernels may refuse.
    for advice in [Advice::LinuxDontDump, Advice::LinuxDontFork] {
        // SAFETY: both change what becomes of the pages elsewhere, and nothing that this process sees.
        let _as_good_as_it_gets = unsafe { mm::madvise(start, CHUNK, advice) };
    }
    let start = NonNull::new(start.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
    for page in (0..CHUNK).step_by(PAGE_MIN) {
        // SAFETY: inside the mapping, which is writable and whose bytes are zero already. So every page is there
        // before the first key, and none is waited for later.
        unsafe { start.add(page).write_volatile(0) };
    }
    Ok(start)
}

fn memfd_secret() -> io::Result<OwnedFd> {
    // SAFETY: the call takes one number and gives one.
    let number = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
    let number = i32::try_from(number).ok().filter(|n| *n >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the kernel has just made it, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

#[cfg(test)]
mod tests;
