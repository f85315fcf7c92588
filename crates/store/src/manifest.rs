//! The body of a checkpoint: which objects make the namespace, and what is dead in them.
//! Layout in `schemas/checkpoint.md`.
//!
//! The memtable is not in it: entries behind what the checkpoint covers are replayed.

use crate::{
    Error,
    codec::{Fields, put_bytes, put_length, put_spec},
    view::View,
};
use journal::ObjectRef;
use kernel::CommitNo;
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
    pub(crate) segments: Vec<Named>,
}

/// One object and its dead documents.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) object: ObjectRef,
    pub(crate) documents: u32,
    pub(crate) rows: u32,
    pub(crate) dead: RoaringBitmap,
}

/// Writes the manifest of a view's objects. `commit` is the newest that the checkpoint covers.
pub(crate) fn write(view: &View, commit: CommitNo) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(vec![VERSION]);
    put_spec(&mut out, view.spec);
    out.extend_from_slice(&commit.0.to_le_bytes());
    let sealed: Vec<_> = view.parts.iter().filter_map(|part| Some((part, part.object.as_ref()?))).collect();
    put_length(&mut out, sealed.len());
    for (part, object) in sealed {
        let mut name = Vec::new();
        object.encode(&mut name);
        put_bytes(&mut out, &name);
        out.extend_from_slice(&part.segment.documents().to_le_bytes());
        out.extend_from_slice(&part.segment.rows().to_le_bytes());
        let mut dead = Vec::with_capacity(part.dead.serialized_size());
        part.dead.serialize_into(&mut dead).expect("writing to memory does not fail");
        put_bytes(&mut out, &dead);
    }
    out
}

/// Reads a manifest.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Version`].
pub(crate) fn read(bytes: &[u8]) -> Result<Manifest, Error> {
    let mut fields = Fields::open(WHAT, VERSION, bytes)?;
    let spec = fields.spec()?;
    let commit = CommitNo(fields.u64()?);
    let mut segments = Vec::new();
    for _ in 0..fields.u64()? {
        segments.push(read_named(&mut fields)?);
    }
    fields.end()?;
    Ok(Manifest { spec, commit, segments })
}

fn read_named(fields: &mut Fields<'_>) -> Result<Named, Error> {
    let mut name = fields.sized()?;
    let object = ObjectRef::decode(&mut name).filter(|_| name.is_empty()).ok_or_else(|| fields.corrupt())?;
    let documents = fields.u32()?;
    let rows = fields.u32()?;
    let raw = fields.sized()?;
    let dead = RoaringBitmap::deserialize_from(raw).map_err(|_| fields.corrupt())?;
    if dead.max().is_some_and(|doc| doc >= documents) {
        return Err(fields.corrupt());
    }
    Ok(Named { object, documents, rows, dead })
}
