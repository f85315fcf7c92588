//! A log entry: the commits of one batch of writes. Layout in `schemas/checkpoint.md`.
//!
//! Guarantees that applying the entries in order yields the namespace as it was acknowledged.

use crate::{
    Error,
    state::{
        codec::{self, put_bytes, put_length, put_spec, read_bytes, read_spec},
        tombstones::earlier,
    },
};
use kernel::{ByteReader, CommitNo, Document, DocumentId, Timestamp};
use segment::{Spec, codec::decode_document, codec::encode_document};
use zeroize::Zeroizing;

const WHAT: &str = "log entry";
const VERSION: u8 = 0;

/// Encodes an entry, commit by commit.
pub(crate) struct EntryWriter {
    bytes: Zeroizing<Vec<u8>>,
    commits: u64,
}

/// Changes of one commit, encoded as they are made.
#[derive(Default)]
pub(crate) struct Changes {
    upserts: u64,
    upserted: Zeroizing<Vec<u8>>,
    deletes: u64,
    deleted: Zeroizing<Vec<u8>>,
}

/// A decoded commit.
pub(crate) struct Commit {
    pub(crate) spec: Spec,
    pub(crate) commit: CommitNo,
    /// Time at which it was written.
    pub(crate) at: Timestamp,
    pub(crate) upserts: Vec<Document>,
    pub(crate) deletes: Vec<DocumentId>,
    pub(crate) audit_record: Vec<u8>,
}

impl EntryWriter {
    /// Starts an entry without commits.
    pub(crate) fn new() -> Self {
        let mut bytes = Zeroizing::new(vec![VERSION]);
        // Placeholder: `finish` fills in the number of commits.
        put_length(&mut bytes, 0);
        Self { bytes, commits: 0 }
    }

    /// Adds a commit.
    pub(crate) fn push(&mut self, commit: CommitNo, at: Timestamp, spec: Spec, changes: &Changes, audit_record: &[u8]) {
        self.commits += 1;
        let out = &mut *self.bytes;
        out.extend_from_slice(&commit.0.to_le_bytes());
        out.extend_from_slice(&at.as_millis().to_le_bytes());
        put_spec(out, spec);
        out.extend_from_slice(&changes.upserts.to_le_bytes());
        out.extend_from_slice(&changes.upserted);
        out.extend_from_slice(&changes.deletes.to_le_bytes());
        out.extend_from_slice(&changes.deleted);
        put_bytes(out, audit_record);
    }

    /// The encoded entry; `None` if nothing was committed.
    pub(crate) fn finish(mut self) -> Option<Zeroizing<Vec<u8>>> {
        if self.commits == 0 {
            return None;
        }
        self.bytes[1..9].copy_from_slice(&self.commits.to_le_bytes());
        Some(self.bytes)
    }
}

impl Changes {
    /// Adds a document that is written.
    pub(crate) fn upsert(&mut self, doc: &Document) {
        self.upserts += 1;
        let length_at = self.upserted.len();
        put_length(&mut self.upserted, 0);
        encode_document(doc, &mut self.upserted);
        let length = (self.upserted.len() - length_at - 8) as u64;
        self.upserted[length_at..length_at + 8].copy_from_slice(&length.to_le_bytes());
    }

    /// Adds a document that is deleted.
    pub(crate) fn delete(&mut self, id: &DocumentId) {
        self.deletes += 1;
        put_bytes(&mut self.deleted, id.key().as_bytes());
    }

    /// Bytes of log that the changes take.
    pub(crate) fn bytes(&self) -> u64 {
        (self.upserted.len() + self.deleted.len()) as u64
    }
}

/// Decodes an entry.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Version`]; fails if a document does not decode.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Commit>, Error> {
    let mut fields = codec::open(WHAT, VERSION, bytes)?;
    let commits = fields.u64()?;
    if commits == 0 {
        return Err(fields.malformed().into());
    }
    let mut read = Vec::new();
    for _ in 0..commits {
        read.push(read_commit(&mut fields)?);
    }
    fields.end()?;
    Ok(read)
}

/// Time of the entry's first commit that changed something: nothing can have been deleted by this entry earlier.
/// Nothing else of the entry is decoded.
///
/// # Errors
/// [`Error::Corrupt`], [`Error::Version`].
pub(crate) fn first_change(bytes: &[u8]) -> Result<Option<Timestamp>, Error> {
    let mut fields = codec::open(WHAT, VERSION, bytes)?;
    let mut first = None;
    for _ in 0..fields.u64()? {
        let _commit = fields.u64()?;
        let at = Timestamp::from_millis(fields.i64()?);
        let _spec = read_spec(&mut fields)?;
        // Upserts, then deletes.
        for _ in 0..2 {
            let changes = fields.u64()?;
            first = earlier(first, (changes > 0).then_some(at));
            for _ in 0..changes {
                let _change = read_bytes(&mut fields)?;
            }
        }
        let _audit_record = read_bytes(&mut fields)?;
    }
    fields.end()?;
    Ok(first)
}

fn read_commit(fields: &mut ByteReader<'_>) -> Result<Commit, Error> {
    let commit = CommitNo(fields.u64()?);
    let at = Timestamp::from_millis(fields.i64()?);
    let spec = read_spec(fields)?;
    let mut upserts = Vec::new();
    for _ in 0..fields.u64()? {
        let encoded = read_bytes(fields)?;
        let (doc, used) = decode_document(encoded)?;
        if used != encoded.len() {
            return Err(fields.malformed().into());
        }
        upserts.push(doc);
    }
    let mut deletes = Vec::new();
    for _ in 0..fields.u64()? {
        let id = std::str::from_utf8(read_bytes(fields)?).map_err(|_| fields.malformed())?;
        deletes.push(DocumentId::from_key(id).map_err(|_| fields.malformed())?);
    }
    let audit_record = read_bytes(fields)?.to_vec();
    Ok(Commit { spec, commit, at, upserts, deletes, audit_record })
}
