//! The body of a checkpoint: which objects make the namespace, and what is dead in them.
//! Layout in `schemas/checkpoint.md`.
//!
//! A small segment may stand whole in it instead of in an object: a small namespace is its log file
//! and nothing else. The memtable is not in it: entries after what the checkpoint covers are replayed.

use crate::{
    Error,
    age::earlier,
    codec::{Fields, put_bytes, put_length, put_moment, put_spec},
    part::{Durable, Part},
    view::View,
};
use journal::ObjectRef;
use kernel::{AuditMark, CommitNo, Timestamp};
use roaring::RoaringBitmap;
use segment::Spec;
use zeroize::Zeroizing;

const WHAT: &str = "manifest";
const VERSION: u8 = 0;

/// See the module.
#[derive(Debug, PartialEq)]
pub(crate) struct Manifest {
    pub(crate) spec: Spec,
    /// Newest commit that it covers.
    pub(crate) commit: CommitNo,
    /// Over the audit lines up to it.
    pub(crate) digest: [u8; 16],
    /// Since when the log's files may hold something dead, if any but the newest are left.
    pub(crate) log_dead_from: Option<Timestamp>,
    pub(crate) segments: Vec<Named>,
    pub(crate) inline: Option<Inline>,
}

/// A segment whose plain bytes stand here, and its dead documents.
#[derive(Debug, PartialEq)]
pub(crate) struct Inline {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) dead: Dead,
}

/// One object and its dead documents.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) object: ObjectRef,
    pub(crate) documents: u32,
    pub(crate) rows: u32,
    pub(crate) dead: Dead,
}

/// Which documents of a segment are dead, and since when one is.
#[derive(Debug, PartialEq)]
pub(crate) struct Dead {
    pub(crate) documents: RoaringBitmap,
    /// When the earliest of them died.
    pub(crate) since: Option<Timestamp>,
    /// When the earliest document of the segment expires, or has.
    pub(crate) expires: Option<Timestamp>,
}

impl Dead {
    /// Since when, or from when on, something in it is dead.
    pub(crate) fn from(&self) -> Option<Timestamp> {
        earlier(self.since, self.expires)
    }
}

impl Manifest {
    /// The same without deaths that are still to come: the clock was wrong when they were noted, or is now. Else what died
    /// then would stay until then.
    pub(crate) fn before(mut self, now: Timestamp) -> Self {
        let inline = self.inline.iter_mut().map(|inline| &mut inline.dead.since);
        let segments = self.segments.iter_mut().map(|named| &mut named.dead.since);
        let all = segments.chain(inline).chain([&mut self.log_dead_from]);
        all.flatten().for_each(|since| *since = now.min(*since));
        self
    }
}

/// Writes the manifest of a view's objects and of its inline part. `mark` says what the checkpoint covers.
///
/// # Errors
/// [`Error::Corrupt`] for an inline part whose bytes are not at hand: a fault of ours.
pub(crate) fn write(view: &View, mark: AuditMark) -> Result<Zeroizing<Vec<u8>>, Error> {
    let part = view.parts.iter().find(|part| part.durable == Durable::Inline);
    let inline = part.map(|part| Ok::<_, Error>((part, bytes_of(part)?))).transpose()?;
    // Room for all of it: what the allocator throws away is not zeroised.
    let mut out = Zeroizing::new(Vec::with_capacity(inline.map_or(0, |(_, bytes)| bytes.len()) + (64 << 10)));
    out.push(VERSION);
    put_spec(&mut out, view.spec);
    out.extend_from_slice(&mark.commit.0.to_le_bytes());
    out.extend_from_slice(&mark.digest);
    put_moment(&mut out, view.log.first());
    let sealed: Vec<_> = view.parts.iter().filter_map(|part| Some((part, part.object()?))).collect();
    put_length(&mut out, sealed.len());
    for (part, object) in sealed {
        let mut name = Vec::new();
        object.encode(&mut name);
        put_bytes(&mut out, &name);
        out.extend_from_slice(&part.index.documents().to_le_bytes());
        out.extend_from_slice(&part.index.rows().to_le_bytes());
        put_dead(&mut out, part);
    }
    out.push(inline.is_some().into());
    if let Some((part, bytes)) = inline {
        put_dead(&mut out, part);
        put_bytes(&mut out, bytes);
    }
    Ok(out)
}

fn bytes_of(part: &Part) -> Result<&[u8], Error> {
    part.index.written().ok_or(Error::Corrupt { what: "inline segment", at: 0 })
}

fn put_dead(out: &mut Vec<u8>, part: &Part) {
    put_moment(out, part.since);
    put_moment(out, part.expires);
    put_length(out, part.dead.serialized_size());
    part.dead.serialize_into(out).expect("writing to memory does not fail");
}

/// Reads a manifest.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Version`].
pub(crate) fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    let mut fields = Fields::open(WHAT, VERSION, bytes)?;
    let spec = fields.spec()?;
    let commit = CommitNo(fields.u64()?);
    let mut digest = [0; 16];
    digest.copy_from_slice(fields.take(16)?);
    let log_dead_from = fields.moment()?;
    let mut segments = Vec::new();
    for _ in 0..fields.u64()? {
        segments.push(read_named(&mut fields)?);
    }
    let inline = match fields.byte()? {
        0 => None,
        1 => {
            let dead = read_dead(&mut fields)?;
            Some(Inline { dead, bytes: Zeroizing::new(fields.sized()?.to_vec()) })
        }
        _ => return Err(fields.corrupt()),
    };
    fields.end()?;
    Ok(Manifest { spec, commit, digest, log_dead_from, segments, inline })
}

fn read_dead(fields: &mut Fields<'_>) -> Result<Dead, Error> {
    let (since, expires) = (fields.moment()?, fields.moment()?);
    let raw = fields.sized()?;
    let documents = RoaringBitmap::deserialize_from(raw).map_err(|_| fields.corrupt())?;
    Ok(Dead { documents, since, expires })
}

fn read_named(fields: &mut Fields<'_>) -> Result<Named, Error> {
    let mut name = fields.sized()?;
    let object = ObjectRef::decode(&mut name).filter(|_| name.is_empty()).ok_or_else(|| fields.corrupt())?;
    let documents = fields.u32()?;
    let rows = fields.u32()?;
    let dead = read_dead(fields)?;
    if dead.documents.max().is_some_and(|doc| doc >= documents) {
        return Err(fields.corrupt());
    }
    Ok(Named { object, documents, rows, dead })
}
