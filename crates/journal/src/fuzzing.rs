//! Decoders as plain functions, for fuzzers (feature `fuzzing`) and for the test below. Not part of any shipped build.

use crate::{
    ObjectRef,
    file_log::{
        file_header::{CheckpointRef, FileHeader, LogFileEnd},
        group::{Group, GroupHeader},
    },
    names::{LogFileId, Name},
    object_log::slot::LogSlot,
};
use kernel::{
    ByteReader, FuzzTarget, Incarnation, KeyEpoch, LogEpoch, NamespaceUuid, ObjectUuid, Plaintext, SeededEntropy,
};
use std::sync::{Arc, OnceLock};
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, TenantKeys, WrappedKey};

/// Every decoder of this crate.
pub const TARGETS: &[FuzzTarget] = &[
    ("journal_group", groups, group),
    ("journal_opening", file_headers, file_header),
    ("journal_slot", slots, slot),
    ("journal_object_ref", references, reference),
    ("journal_name", names, name),
    ("journal_header", headers, header),
    ("vault_log", logs, log),
    ("vault_whole", wholes, whole),
    ("vault_object", objects, object),
];

fn id(number: u64) -> LogFileId {
    LogFileId { epoch: LogEpoch(2), number }
}

fn bodies() -> Vec<Plaintext> {
    [&b"one"[..], b"", b"three and more"].map(Plaintext::from).into()
}

fn groups() -> Vec<Vec<u8>> {
    let all =
        [Group::entries(7, &bodies()), Group::entries(1, &[]), Group::drop_keyspace(), Group::file_header(b"opening")];
    all.iter().map(|bytes| bytes.to_vec()).collect()
}

fn group(bytes: &[u8]) {
    let again = match Group::decode(bytes) {
        Ok(Group::FileHeader(encoded)) => Group::file_header(&encoded),
        Ok(Group::Entries(first, bodies)) => Group::entries(first, &bodies),
        Ok(Group::Drop) => Group::drop_keyspace(),
        Err(_) => return,
    };
    assert_eq!(*again, *bytes);
}

fn file_headers() -> Vec<Vec<u8>> {
    let object = CheckpointRef { id: id(1), uuid: Some(ObjectUuid::from_bytes([9; 16])), covers: 5 };
    let here = CheckpointRef { id: id(3), uuid: None, covers: 6 };
    let previous = Some(LogFileEnd { id: id(2), groups: 4, offset: 4_096 });
    let body = bodies().pop();
    let plain = || FileHeader { id: id(3), before: 6, previous: None, checkpoint: None, body: None };
    let all = [
        FileHeader { previous, checkpoint: Some(object), ..plain() },
        FileHeader { previous, checkpoint: Some(here), body, ..plain() },
        plain(),
    ];
    all.iter().map(|file_header| file_header.encode().to_vec()).collect()
}

fn file_header(bytes: &[u8]) {
    if let Ok(file_header) = FileHeader::decode(bytes) {
        assert_eq!(*file_header.encode(), *bytes);
    }
}

fn slots() -> Vec<Vec<u8>> {
    // Fields before the record: version, id, digest of the previous object.
    let head = [&[0][..], &2u32.to_le_bytes(), &3u64.to_le_bytes(), &[7; 32]].concat();
    let pointer = file_headers().remove(1).split_off(1 + 12 + 8 + 29);
    let floor = [&[0][..], &6u64.to_le_bytes(), &2u32.to_le_bytes(), &1u64.to_le_bytes(), &pointer].concat();
    // Entries are encoded as in a group, where their kind has the same number.
    let records = [floor, groups().remove(0), [&[2][..], &4u32.to_le_bytes()].concat(), vec![3]];
    records.iter().map(|record| [&head[..], record].concat()).collect()
}

fn slot(bytes: &[u8]) {
    if let Ok(slot) = LogSlot::decode(bytes) {
        assert_eq!(*slot.encode(), *bytes);
    }
}

fn references() -> Vec<Vec<u8>> {
    let one = |kind, length| {
        let key = WrappedKey { epoch: KeyEpoch(2), bytes: vec![7; length] };
        let uuid = ObjectUuid::from_bytes([9; 16]);
        let mut out = Vec::new();
        ObjectRef { kind, uuid, writer: LogEpoch(3), key, bytes: 77 }.encode(&mut out);
        out
    };
    vec![one(ObjectKind::Segment, 60), one(ObjectKind::AuditChunk, 0), one(ObjectKind::Checkpoint, 60_000)]
}

fn reference(bytes: &[u8]) {
    let mut r = ByteReader::new(bytes, "reference");
    let Ok(read) = ObjectRef::decode(&mut r) else { return };
    let mut again = Vec::new();
    read.encode(&mut again);
    assert_eq!([&again[..], r.rest()].concat(), bytes);
}

fn names() -> Vec<Vec<u8>> {
    let uuid = ObjectUuid::from_bytes([9; 16]);
    let all = [
        Name::Claim(LogEpoch(2)),
        Name::Log(id(3)),
        Name::Checkpoint(id(3)),
        Name::Object(LogEpoch(2), uuid),
        Name::Tombstone,
    ];
    all.iter().map(|name| name.to_string().into_bytes()).collect()
}

fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(name) = Name::parse(text) {
        assert_eq!(Name::parse(&name.to_string()), Some(name));
        assert_eq!(name.to_string(), text, "a name has one spelling");
    }
}

/// A keyspace that has the same keys every time.
fn keyspace() -> &'static Arc<Keyspace> {
    static HOME: OnceLock<Arc<Keyspace>> = OnceLock::new();
    HOME.get_or_init(|| {
        let entropy = Arc::new(SeededEntropy::new(1));
        let make = || {
            let provider = LocalProvider::from_env_value(&"07".repeat(32), entropy.clone())?;
            let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy)?;
            let uuid = NamespaceUuid::from_bytes([5; 16]);
            Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &*entropy)
        };
        Arc::new(make().expect("a key of 32 bytes").0)
    })
}

fn headers() -> Vec<Vec<u8>> {
    vec![GroupHeader { frame: u32::MAX, index: 0, size: 4_096 }.seal(keyspace(), b"prologue", 8).to_vec()]
}

/// Only what was sealed opens, and only at its offset.
fn header(bytes: &[u8]) {
    let sealed = headers().remove(0);
    assert_eq!(GroupHeader::open(keyspace(), b"prologue", 8, bytes).is_some(), bytes.starts_with(&sealed));
    assert!(GroupHeader::open(keyspace(), b"prologue", 9, bytes).is_none());
}

fn logs() -> Vec<Vec<u8>> {
    let entropy = SeededEntropy::new(2);
    let make = || {
        let (mut bytes, mut sealer) = keyspace().start_log(ObjectUuid::from_bytes([1; 16]), LogEpoch(2), &entropy)?;
        for (n, body) in (1..).zip(bodies()) {
            bytes.extend_from_slice(&sealer.seal(n, &body, &entropy)?);
        }
        Ok::<_, vault::Error>(bytes)
    };
    vec![make().expect("small frames")]
}

/// Frames open in order or not at all, and contain what was sealed.
fn log(bytes: &[u8]) {
    let Ok((mut opener, mut at)) = keyspace().open_log(bytes) else { return };
    let mut expected = (1..).zip(bodies());
    while let Ok(Some((seq, body, used))) = opener.open(bytes.get(at..).unwrap_or_default()) {
        assert_eq!(Some((seq, body)), expected.next(), "a frame that was never sealed");
        at += used;
    }
}

fn wholes() -> Vec<Vec<u8>> {
    let uuid = ObjectUuid::from_bytes([1; 16]);
    let sealed = keyspace().seal_whole(ObjectKind::Checkpoint, uuid, b"a checkpoint", &SeededEntropy::new(3));
    vec![sealed.expect("a small object")]
}

fn whole(bytes: &[u8]) {
    if let Ok(opened) = keyspace().open_whole(ObjectKind::Checkpoint, ObjectUuid::from_bytes([1; 16]), bytes) {
        assert_eq!((&*opened, bytes), (&b"a checkpoint"[..], &wholes()[0][..]));
    }
}

fn objects() -> Vec<Vec<u8>> {
    vec![sealed().1.clone()]
}

fn object(bytes: &[u8]) {
    let (key, sealed) = sealed();
    let source = Arc::new(Bytes(bytes.to_vec()));
    let Ok((first, paged)) = keyspace().open_split(ObjectKind::Segment, ObjectUuid::from_bytes([1; 16]), key, source)
    else {
        return;
    };
    assert_eq!(&first[..], FIRST);
    let mut second = vec![0; usize::try_from(kernel::ReadAt::size(&paged)).unwrap_or(0)];
    if kernel::ReadAt::read_at(&paged, 0, &mut second).is_ok() {
        assert_eq!((second, bytes), (vec![3; 20_000], &sealed[..]));
    }
}

fn sealed() -> &'static (WrappedKey, Vec<u8>) {
    static SEALED: OnceLock<(WrappedKey, Vec<u8>)> = OnceLock::new();
    SEALED.get_or_init(|| {
        let (uuid, entropy) = (ObjectUuid::from_bytes([1; 16]), SeededEntropy::new(4));
        let plain = [FIRST, &[3; 20_000]].concat();
        let (sealed, key) =
            keyspace().seal_split(ObjectKind::Segment, uuid, &plain, FIRST.len(), &entropy).expect("small");
        (key, sealed)
    })
}

/// The region of an object that is opened as a whole.
const FIRST: &[u8] = b"the first region";

/// Bytes in memory as a source.
struct Bytes(Vec<u8>);

impl kernel::ReadAt for Bytes {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> std::io::Result<()> {
        let at = usize::try_from(offset).ok().and_then(|at| Some(at..at.checked_add(into.len())?));
        let part = at.and_then(|range| self.0.get(range)).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        into.copy_from_slice(part);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
