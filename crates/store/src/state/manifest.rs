//! Body of a checkpoint: the objects that make up the namespace, and which of their documents are deleted. Layout in
//! `schemas/checkpoint.md`.
//!
//! A small segment may be stored in the manifest itself instead of in an object: a small namespace is just its log
//! file. The memtable is not in the manifest: log entries after those that the checkpoint covers are replayed.

use crate::{
    Error,
    state::{
        codec::{self, put_bytes, put_length, put_moment, put_spec, read_bytes, read_moment, read_spec},
        live_segment::{Durability, LiveSegment},
        tombstones::earlier,
        version::Version,
    },
};
use journal::ObjectRef;
use kernel::{AuditPosition, ByteReader, CommitNo, Timestamp};
use roaring::RoaringBitmap;
use segment::Spec;
use zeroize::Zeroizing;

const WHAT: &str = "manifest";
const VERSION: u8 = 0;

/// Decoded manifest; see the module documentation.
#[derive(Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) spec: Spec,
    /// Newest commit that it covers.
    pub(crate) commit: CommitNo,
    /// Digest over the audit records up to that commit.
    pub(crate) digest: [u8; 16],
    /// Since when the log files that are older than this checkpoint, if any are left, may hold something deleted.
    pub(crate) log_deleted_since: Option<Timestamp>,
    pub(crate) segments: Vec<ObjectEntry>,
    pub(crate) inline: Option<InlineSegment>,
}

/// A segment whose plain bytes are in the manifest, with its deleted documents.
#[derive(Debug, PartialEq)]
pub(crate) struct InlineSegment {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) tombstones: Tombstones,
}

/// An object with its deleted documents.
#[derive(Debug, PartialEq)]
pub(crate) struct ObjectEntry {
    pub(crate) object: ObjectRef,
    pub(crate) documents: u32,
    pub(crate) rows: u32,
    pub(crate) tombstones: Tombstones,
}

/// Deleted documents of a segment, and since when.
#[derive(Debug, PartialEq)]
pub(crate) struct Tombstones {
    pub(crate) documents: RoaringBitmap,
    /// When the earliest of them was deleted.
    pub(crate) tombstoned_at: Option<Timestamp>,
    /// When the earliest document of the segment expires, or did.
    pub(crate) expires: Option<Timestamp>,
}

impl Tombstones {
    /// Since when, or from when on, a document in the segment is deleted or expired.
    pub(crate) fn deleted_since(&self) -> Option<Timestamp> {
        earlier(self.tombstoned_at, self.expires)
    }
}

impl Manifest {
    /// Replaces deletion times in the future by `now`: the clock was wrong when they were recorded, or is wrong now.
    /// Otherwise documents deleted then would stay stored until that time.
    pub(crate) fn clamped_to(mut self, now: Timestamp) -> Self {
        let inline = self.inline.iter_mut().map(|inline| &mut inline.tombstones.tombstoned_at);
        let segments = self.segments.iter_mut().map(|entry| &mut entry.tombstones.tombstoned_at);
        let all = segments.chain(inline).chain([&mut self.log_deleted_since]);
        all.flatten().for_each(|tombstoned_at| *tombstoned_at = now.min(*tombstoned_at));
        self
    }
}

/// Writes the manifest of a version: its objects and its inline segment. `mark` says what the checkpoint covers.
///
/// # Errors
/// [`Error::Corrupt`] for an inline segment whose bytes are not in memory, which would be a bug.
pub(crate) fn write(version: &Version, mark: AuditPosition) -> Result<Zeroizing<Vec<u8>>, Error> {
    let segment = version.segments.iter().find(|segment| segment.durability == Durability::Inline);
    let inline = segment.map(|segment| Ok::<_, Error>((segment, bytes_of(segment)?))).transpose()?;
    // Reserves enough capacity for everything, because the allocator does not zeroise buffers that it discards while
    // growing.
    let mut out = Zeroizing::new(Vec::with_capacity(inline.map_or(0, |(_, bytes)| bytes.len()) + (64 << 10)));
    out.push(VERSION);
    put_spec(&mut out, version.spec);
    out.extend_from_slice(&mark.commit.0.to_le_bytes());
    out.extend_from_slice(&mark.digest);
    put_moment(&mut out, version.log.earliest());
    let sealed: Vec<_> = version.segments.iter().filter_map(|segment| Some((segment, segment.object()?))).collect();
    put_length(&mut out, sealed.len());
    for (segment, object) in sealed {
        let mut name = Vec::new();
        object.encode(&mut name);
        put_bytes(&mut out, &name);
        out.extend_from_slice(&segment.index.documents().to_le_bytes());
        out.extend_from_slice(&segment.index.rows().to_le_bytes());
        put_tombstones(&mut out, segment);
    }
    out.push(inline.is_some().into());
    if let Some((segment, bytes)) = inline {
        put_tombstones(&mut out, segment);
        put_bytes(&mut out, bytes);
    }
    Ok(out)
}

fn bytes_of(segment: &LiveSegment) -> Result<&[u8], Error> {
    segment.index.written().ok_or(Error::Corrupt { what: "inline segment", at: 0 })
}

fn put_tombstones(out: &mut Vec<u8>, segment: &LiveSegment) {
    put_moment(out, segment.tombstoned_at);
    put_moment(out, segment.expires);
    put_length(out, segment.deleted.serialized_size());
    segment.deleted.serialize_into(out).expect("writing to memory does not fail");
}

/// Reads a manifest.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Version`].
pub(crate) fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    let mut fields = codec::open(WHAT, VERSION, bytes)?;
    let spec = read_spec(&mut fields)?;
    let commit = CommitNo(fields.u64()?);
    let digest = fields.array()?;
    let log_deleted_since = read_moment(&mut fields)?;
    let mut segments = Vec::new();
    for _ in 0..fields.u64()? {
        segments.push(read_object_entry(&mut fields)?);
    }
    let inline = match fields.u8()? {
        0 => None,
        1 => {
            let tombstones = read_tombstones(&mut fields)?;
            Some(InlineSegment { tombstones, bytes: Zeroizing::new(read_bytes(&mut fields)?.to_vec()) })
        }
        _ => return Err(fields.malformed().into()),
    };
    fields.end()?;
    Ok(Manifest { spec, commit, digest, log_deleted_since, segments, inline })
}

fn read_tombstones(fields: &mut ByteReader<'_>) -> Result<Tombstones, Error> {
    let (tombstoned_at, expires) = (read_moment(fields)?, read_moment(fields)?);
    let raw = read_bytes(fields)?;
    let documents = RoaringBitmap::deserialize_from(raw).map_err(|_| fields.malformed())?;
    Ok(Tombstones { documents, tombstoned_at, expires })
}

fn read_object_entry(fields: &mut ByteReader<'_>) -> Result<ObjectEntry, Error> {
    let mut name = ByteReader::new(read_bytes(fields)?, "reference to an object");
    let object = ObjectRef::decode(&mut name)?;
    name.end()?;
    let documents = fields.u32()?;
    let rows = fields.u32()?;
    let tombstones = read_tombstones(fields)?;
    if tombstones.documents.max().is_some_and(|doc| doc >= documents) {
        return Err(fields.malformed().into());
    }
    Ok(ObjectEntry { object, documents, rows, tombstones })
}
