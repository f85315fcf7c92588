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

/// An arena that no other test takes from.
fn arena(source: Source) -> &'static Arena {
    Box::leak(Box::new(Arena::new(source)))
}

fn only(kind: KeyMemoryKind, wanted: KeyMemoryKind) -> io::Result<NonNull<u8>> {
    if kind == wanted { map(kind) } else { Err(io::ErrorKind::Unsupported.into()) }
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

/// The kinds that this machine gives this user.
fn sources() -> Vec<Source> {
    let all = [(KeyMemoryKind::Secret, secret_only as Source), (KeyMemoryKind::Locked, locked_only)];
    let had = all.into_iter().filter(|(kind, _)| map(*kind).is_ok()).map(|(_, source)| source);
    had.chain([plain_only as Source]).collect()
}

fn address(slot: &Slot) -> usize {
    slot.place.at.addr().get()
}

/// What stands at a slot's place, whoever has it.
fn look(place: Place) -> [u8; KEY] {
    // SAFETY: chunks are never unmapped, and in these tests nobody writes meanwhile. Read as it is, not as remembered.
    unsafe { place.at.read_volatile() }
}

/// What `/proc/self/mem` shows at a slot's place.
fn from_outside(place: Place) -> io::Result<[u8; KEY]> {
    let mut bytes = [0; KEY];
    File::open("/proc/self/mem")?.read_exact_at(&mut bytes, place.at.addr().get() as u64)?;
    Ok(bytes)
}

#[test]
fn a_slot_is_zeroed_when_dropped_and_handed_out_again() {
    for source in sources() {
        let arena = arena(source);
        let (mut first, second) = (arena.take(), arena.take());
        assert_ne!(address(&first), address(&second));
        assert_eq!(first.bytes(), &[0; KEY]);
        first.bytes_mut().fill(0xA5);
        let place = first.place;
        assert_eq!((look(place), second.bytes()), ([0xA5; KEY], &[0; KEY]));
        drop(first);
        assert_eq!(look(place), [0; KEY]);
        let again = arena.take();
        assert_eq!((again.place.at, again.bytes()), (place.at, &[0; KEY]));
    }
}

#[test]
fn a_key_is_zeroed_where_it_lay() {
    let key = SecretKey::in_slot(arena(map).take(), |bytes| bytes.fill(0x5A));
    let place = key.slot().place;
    assert_eq!((look(place), key.bytes()), ([0x5A; KEY], &[0x5A; KEY]));
    drop(key);
    assert_eq!(look(place), [0; KEY]);
}

#[test]
fn what_was_filled_halfway_is_zeroed_too() {
    static PLACE: Mutex<Option<Place>> = Mutex::new(None);
    let arena = arena(map);
    let told = std::panic::catch_unwind(|| {
        let mut slot = arena.take();
        slot.bytes_mut()[..7].fill(9);
        *PLACE.lock().unwrap() = Some(slot.place);
        panic!("no entropy");
    });
    assert!(told.is_err());
    assert_eq!(look(PLACE.lock().unwrap().unwrap()), [0; KEY]);
}

#[test]
fn two_hundred_thousand_keys_at_once_and_no_more_memory_for_the_next_ones() {
    const KEYS: usize = 200_000;
    let arena = arena(map);
    let expected = |n: usize| (n as u64).to_le_bytes();
    let mut memory = None;
    for _ in 0..2 {
        let mut slots: Vec<Slot> = (0..KEYS).map(|_| arena.take()).collect();
        slots.iter_mut().enumerate().for_each(|(n, slot)| slot.bytes_mut()[..8].copy_from_slice(&expected(n)));
        assert!(slots.iter().enumerate().all(|(n, slot)| slot.bytes()[..8] == expected(n)));
        assert_eq!(slots.iter().map(address).collect::<HashSet<_>>().len(), KEYS);
        let now = arena.memory();
        assert_eq!(now.bytes_locked + now.bytes_unlocked, (KEYS.div_ceil(SLOTS) * CHUNK) as u64);
        assert_eq!(*memory.get_or_insert(now), now);
    }
    let state = arena.lock();
    assert_eq!(state.locked.len() + state.plain.len(), KEYS.div_ceil(SLOTS) * SLOTS, "all came back");
    assert!(state.locked.iter().chain(&state.plain).all(|place| look(*place) == [0; KEY]));
}

#[test]
fn threads_take_and_give_without_meeting() {
    let entropy = SeededEntropy::new(1);
    let (send, receive) = std::sync::mpsc::channel::<(u8, SecretKey)>();
    std::thread::scope(|scope| {
        for mark in 1..=4u8 {
            let (send, entropy) = (send.clone(), &entropy);
            scope.spawn(move || {
                let mut held = Vec::new();
                for n in 0..20_000usize {
                    held.push(SecretKey::filled(|bytes| {
                        assert_eq!(bytes, &[0; KEY], "a fresh slot is zero");
                        bytes.fill(mark);
                    }));
                    drop(SecretKey::random(entropy));
                    if n % 3 == 0 {
                        held.remove(held.len() / 2);
                    }
                    // Given back by another thread than took it.
                    if n % 7 == 6 {
                        send.send((mark, held.remove(0))).unwrap();
                    }
                }
                assert!(held.iter().all(|key| key.bytes() == &[mark; KEY]));
            });
        }
        drop(send);
        scope.spawn(move || receive.iter().for_each(|(mark, key)| assert_eq!(key.bytes(), &[mark; KEY])));
    });
}

#[test]
fn without_anything_to_lock_keys_lie_in_ordinary_memory_that_is_counted() {
    static LOCKS: AtomicUsize = AtomicUsize::new(0);
    fn one_lock(kind: KeyMemoryKind) -> io::Result<NonNull<u8>> {
        let refused = kind != KeyMemoryKind::Plain && LOCKS.fetch_add(1, Relaxed) > 0;
        if refused { Err(io::ErrorKind::OutOfMemory.into()) } else { map(KeyMemoryKind::Plain) }
    }
    let arena = arena(one_lock);
    assert_eq!(arena.memory(), KeyMemory { kind: KeyMemoryKind::Secret, bytes_locked: 65_536, bytes_unlocked: 0 });
    let mut slots: Vec<Slot> = (0..SLOTS + 1).map(|_| arena.take()).collect();
    let full = KeyMemory { kind: KeyMemoryKind::Secret, bytes_locked: 65_536, bytes_unlocked: 65_536 };
    assert_eq!(arena.memory(), full);
    assert_eq!(slots.iter().filter(|slot| !slot.place.locked).count(), 1);
    // What is locked is used first again.
    let (last, first) = (slots.pop(), slots.pop());
    drop((first, last));
    assert!(arena.take().place.locked);
    assert_eq!(arena.memory(), full);

    let nothing_locked = KeyMemory { kind: KeyMemoryKind::Plain, bytes_locked: 0, bytes_unlocked: 65_536 };
    assert_eq!(self::arena(plain_only).memory(), nothing_locked);
}

/// The process's own limit, in a child of its own without the right to pass it.
#[test]
fn under_a_small_limit_on_locked_memory_every_key_still_has_a_place() {
    const MARK: &str = "VAULT_TEST_SMALL_LIMIT";
    if std::env::var_os(MARK).is_none() {
        let name = "arena::tests::under_a_small_limit_on_locked_memory_every_key_still_has_a_place";
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(["--exact", name, "--nocapture"]).env(MARK, "1").output().unwrap();
        let told = String::from_utf8_lossy(&child.stdout);
        assert!(
            child.status.success() && told.contains("1 passed"),
            "{told}{}",
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
    let unlocked = keys.iter().find(|key| !key.slot().place.locked).unwrap().slot().place;
    drop(keys);
    assert_eq!(look(unlocked), [0; KEY]);
}

#[test]
fn a_key_in_secret_memory_cannot_be_read_from_outside_and_one_in_ordinary_memory_is_zeroed() {
    let mut slot = arena(plain_only).take();
    slot.bytes_mut().fill(0xC3);
    let place = slot.place;
    assert_eq!(from_outside(place).unwrap(), [0xC3; KEY], "this test can see what there is to see");
    drop(slot);
    assert_eq!(from_outside(place).unwrap(), [0; KEY]);

    // A kernel without it has nothing to show here.
    if map(KeyMemoryKind::Secret).is_err() {
        return;
    }
    let mut slot = arena(secret_only).take();
    slot.bytes_mut().fill(0xC3);
    let refused = from_outside(slot.place).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EIO), "{refused}");
    assert_eq!(slot.bytes(), &[0xC3; KEY]);
}

#[test]
fn pages_of_keys_are_in_no_dump_and_in_no_child() {
    for source in sources() {
        let slot = arena(source).take();
        let flags = flags_of(address(&slot));
        // The kernel's words: dd, do not dump; dc, do not copy on fork; lo, locked.
        assert!(flags.contains("dd") && flags.contains("dc"), "{flags:?}");
        assert_eq!(flags.contains("lo"), slot.place.locked, "{flags:?}");
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
    panic!("the slot is mapped nowhere")
}
