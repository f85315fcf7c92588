use super::*;
use crate::SecretKey;
use kernel::SeededEntropy;
use rustix::{
    process::{Resource, Rlimit, getrlimit, setrlimit},
    thread::{CapabilitySet, capabilities, set_capabilities},
};
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::FileExt,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// An arena that no other test uses.
fn arena(map_chunk: MapChunk) -> &'static Arena {
    Box::leak(Box::new(Arena::new(map_chunk)))
}

fn only(kind: KeyMemoryKind, allowed: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    if kind == allowed { map(kind) } else { Err(io::ErrorKind::Unsupported.into()) }
}

fn secret_only(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    only(kind, KeyMemoryKind::Secret)
}

fn locked_only(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    only(kind, KeyMemoryKind::Locked)
}

fn plain_only(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    only(kind, KeyMemoryKind::Plain)
}

/// The kinds of memory that this machine provides to this user.
fn sources() -> Vec<MapChunk> {
    let all = [(KeyMemoryKind::Secret, secret_only as MapChunk), (KeyMemoryKind::Locked, locked_only)];
    let available = all.into_iter().filter(|(kind, _)| map(*kind).is_ok()).map(|(_, map_chunk)| map_chunk);
    available.chain([plain_only as MapChunk]).collect()
}

fn slot_addr(slot: &ArenaSlot) -> usize {
    slot.address.ptr.addr().get()
}

/// The bytes at a slot's address, whether it is in use or free.
fn read_raw(address: SlotAddress) -> [u8; KEY] {
    // SAFETY: chunks are never unmapped, and in these tests no other thread writes to the slot. The read is volatile,
    // so that it sees memory as it is.
    unsafe { address.ptr.read_volatile() }
}

/// The bytes that `/proc/self/mem` shows at a slot's address.
fn read_via_proc(address: SlotAddress) -> io::Result<[u8; KEY]> {
    let mut bytes = [0; KEY];
    File::open("/proc/self/mem")?.read_exact_at(&mut bytes, address.ptr.addr().get() as u64)?;
    Ok(bytes)
}

#[test]
fn a_slot_is_zeroed_when_dropped_and_reused() {
    for map_chunk in sources() {
        let arena = arena(map_chunk);
        let (mut first, second) = (arena.take(), arena.take());
        assert_ne!(slot_addr(&first), slot_addr(&second));
        assert_eq!(first.bytes(), &[0; KEY]);
        first.bytes_mut().fill(0xA5);
        let address = first.address;
        assert_eq!((read_raw(address), second.bytes()), ([0xA5; KEY], &[0; KEY]));
        drop(first);
        assert_eq!(read_raw(address), [0; KEY]);
        let again = arena.take();
        assert_eq!((again.address.ptr, again.bytes()), (address.ptr, &[0; KEY]));
    }
}

#[test]
fn a_key_is_zeroed_in_place() {
    let key = SecretKey::in_slot(arena(map).take(), |bytes| bytes.fill(0x5A));
    let address = key.slot().address;
    assert_eq!((read_raw(address), key.bytes()), ([0x5A; KEY], &[0x5A; KEY]));
    drop(key);
    assert_eq!(read_raw(address), [0; KEY]);
}

#[test]
fn a_half_written_slot_is_zeroed_too() {
    static ADDRESS: Mutex<Option<SlotAddress>> = Mutex::new(None);
    let arena = arena(map);
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut slot = arena.take();
        slot.bytes_mut()[..7].fill(9);
        *ADDRESS.lock() = Some(slot.address);
        panic!("no entropy");
    }));
    assert!(outcome.is_err());
    assert_eq!(read_raw(ADDRESS.lock().unwrap()), [0; KEY]);
}

#[test]
fn memory_of_two_hundred_thousand_keys_is_reused() {
    const KEYS: usize = 200_000;
    let arena = arena(map);
    let expected = |n: usize| (n as u64).to_le_bytes();
    let mut memory = None;
    for _ in 0..2 {
        let mut slots: Vec<ArenaSlot> = (0..KEYS).map(|_| arena.take()).collect();
        slots.iter_mut().enumerate().for_each(|(n, slot)| slot.bytes_mut()[..8].copy_from_slice(&expected(n)));
        assert!(slots.iter().enumerate().all(|(n, slot)| slot.bytes()[..8] == expected(n)));
        assert_eq!(slots.iter().map(slot_addr).collect::<HashSet<_>>().len(), KEYS);
        let now = arena.memory();
        assert_eq!(now.bytes_locked + now.bytes_unlocked, (KEYS.div_ceil(SLOTS) * CHUNK) as u64);
        assert_eq!(*memory.get_or_insert(now), now);
    }
    let state = arena.state.lock();
    assert_eq!(state.locked.len() + state.plain.len(), KEYS.div_ceil(SLOTS) * SLOTS, "all slots were returned");
    assert!(state.locked.iter().chain(&state.plain).all(|address| read_raw(*address) == [0; KEY]));
}

#[test]
fn threads_never_share_a_slot() {
    let entropy = SeededEntropy::new(1);
    let (send, receive) = std::sync::mpsc::channel::<(u8, SecretKey)>();
    std::thread::scope(|scope| {
        for fill in 1..=4u8 {
            let (send, entropy) = (send.clone(), &entropy);
            scope.spawn(move || {
                let mut held = Vec::new();
                for n in 0..20_000usize {
                    held.push(SecretKey::filled(|bytes| {
                        assert_eq!(bytes, &[0; KEY], "a fresh slot is zero");
                        bytes.fill(fill);
                    }));
                    drop(SecretKey::random(entropy));
                    if n % 3 == 0 {
                        held.remove(held.len() / 2);
                    }
                    // Returned by another thread than the one that took it.
                    if n % 7 == 6 {
                        send.send((fill, held.remove(0))).unwrap();
                    }
                }
                assert!(held.iter().all(|key| key.bytes() == &[fill; KEY]));
            });
        }
        drop(send);
        scope.spawn(move || receive.iter().for_each(|(fill, key)| assert_eq!(key.bytes(), &[fill; KEY])));
    });
}

#[test]
fn keys_beyond_the_lock_limit_are_in_ordinary_memory_that_is_counted() {
    static LOCKS: AtomicUsize = AtomicUsize::new(0);
    fn one_lock(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
        let refused = kind != KeyMemoryKind::Plain && LOCKS.fetch_add(1, Relaxed) > 0;
        if refused { Err(io::ErrorKind::OutOfMemory.into()) } else { map(KeyMemoryKind::Plain) }
    }
    let arena = arena(one_lock);
    assert_eq!(arena.memory(), KeyMemory { kind: KeyMemoryKind::Secret, bytes_locked: 65_536, bytes_unlocked: 0 });
    let mut slots: Vec<ArenaSlot> = (0..SLOTS + 1).map(|_| arena.take()).collect();
    let full = KeyMemory { kind: KeyMemoryKind::Secret, bytes_locked: 65_536, bytes_unlocked: 65_536 };
    assert_eq!(arena.memory(), full);
    assert_eq!(slots.iter().filter(|slot| !slot.address.locked).count(), 1);
    // Locked slots are reused first.
    let (last, first) = (slots.pop(), slots.pop());
    drop((first, last));
    assert!(arena.take().address.locked);
    assert_eq!(arena.memory(), full);

    let nothing_locked = KeyMemory { kind: KeyMemoryKind::Plain, bytes_locked: 0, bytes_unlocked: 65_536 };
    assert_eq!(self::arena(plain_only).memory(), nothing_locked);
}

/// The process's own limit, in a child process without the privilege to exceed it.
#[test]
fn keys_are_still_allocated_under_a_small_limit_on_locked_memory() {
    const MARK: &str = "VAULT_TEST_SMALL_LIMIT";
    if std::env::var_os(MARK).is_none() {
        let name = "arena::tests::keys_are_still_allocated_under_a_small_limit_on_locked_memory";
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap();
        let output = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && output.contains("1 passed"),
            "{output}{}",
            String::from_utf8_lossy(&child.stderr)
        );
        return;
    }
    let mut rights = capabilities(None).unwrap();
    rights.effective.remove(CapabilitySet::IPC_LOCK);
    rights.permitted.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, rights).unwrap();
    let limit = 3 * CHUNK as u64;
    let maximum = getrlimit(Resource::Memlock).maximum;
    setrlimit(Resource::Memlock, Rlimit { current: Some(limit), maximum }).unwrap();
    let keys: Vec<SecretKey> = (0..10 * SLOTS).map(|n| SecretKey::filled(|bytes| bytes.fill(n as u8))).collect();
    assert!(keys.iter().enumerate().all(|(n, key)| key.bytes() == &[n as u8; KEY]));
    let memory = key_memory();
    assert_eq!((memory.bytes_locked, memory.bytes_unlocked), (limit, 7 * CHUNK as u64), "{memory:?}");
    let unlocked = keys.iter().find(|key| !key.slot().address.locked).unwrap().slot().address;
    drop(keys);
    assert_eq!(read_raw(unlocked), [0; KEY]);
}

#[test]
fn secret_memory_is_unreadable_through_proc_and_ordinary_memory_is_zeroed() {
    let mut slot = arena(plain_only).take();
    slot.bytes_mut().fill(0xC3);
    let address = slot.address;
    assert_eq!(read_via_proc(address).unwrap(), [0xC3; KEY], "this test detects the key in memory");
    drop(slot);
    assert_eq!(read_via_proc(address).unwrap(), [0; KEY]);

    // A kernel without secret memory has nothing to test here.
    if map(KeyMemoryKind::Secret).is_err() {
        return;
    }
    let mut slot = arena(secret_only).take();
    slot.bytes_mut().fill(0xC3);
    let refused = read_via_proc(slot.address).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EIO), "{refused}");
    assert_eq!(slot.bytes(), &[0xC3; KEY]);
}

#[test]
fn key_pages_are_excluded_from_dumps_and_children() {
    for map_chunk in sources() {
        let slot = arena(map_chunk).take();
        let flags = flags_of(slot_addr(&slot));
        // The kernel's flags: dd, do not dump; dc, do not copy on fork; lo, locked.
        assert!(flags.contains("dd") && flags.contains("dc"), "{flags:?}");
        assert_eq!(flags.contains("lo"), slot.address.locked, "{flags:?}");
    }
}

fn flags_of(address: usize) -> HashSet<String> {
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut inside = false;
    for line in maps.lines() {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        if let Some((Ok(from), Ok(to))) =
            range.map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)))
        {
            inside = (from..to).contains(&address);
        }
        if inside && let Some(flags) = line.strip_prefix("VmFlags:") {
            return flags.split_whitespace().map(str::to_owned).collect();
        }
    }
    panic!("the slot is not mapped")
}
