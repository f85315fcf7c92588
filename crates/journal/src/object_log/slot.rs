//! One object of the log: a sealed record that states its own name and the digest of the object before it.
//!
//! Every object is sealed under a fresh key with fresh randomness. Objects of two processes are therefore never equal,
//! and each process recognizes its own.

use crate::{
    Error,
    file_log::{
        file_header::{CheckpointRef, put_checkpoint, put_id, read_checkpoint, read_id},
        group::{put_entries, read_entries},
    },
    log::{JournalEnv, corrupt},
    names::{LogFileId, Name},
};
use kernel::{ByteReader, LogEpoch, MalformedBytes, ObjectUuid, Plaintext};
use zeroize::Zeroizing;

/// Content of an object of the log.
#[derive(Debug)]
pub(crate) struct LogSlot {
    /// Name of the object.
    pub(crate) id: LogFileId,
    /// [`digest`] of the previous object in the history of the keyspace; zeroes for the first one and for a seal.
    pub(crate) previous: Digest,
    /// The record.
    pub(crate) record: Record,
}

/// Digest that binds an object to the one before it.
pub(crate) type Digest = [u8; 32];

/// Kinds of objects.
#[derive(Debug)]
pub(crate) enum Record {
    /// A checkpoint record, at which replay begins: the first object of every epoch, and every later checkpoint.
    Checkpoint {
        /// Number of the last entry before this record.
        before: u64,
        /// The first object that a replay from here needs; it may belong to an older epoch.
        floor: LogFileId,
        /// The newest checkpoint.
        checkpoint: Option<CheckpointRef>,
        /// Body of that checkpoint, if this record holds it.
        body: Option<Plaintext>,
    },
    /// Number of the first entry, and the entries.
    Entries(u64, Vec<Plaintext>),
    /// The end of this epoch: a writer with the given epoch has taken over.
    Seal(LogEpoch),
    /// The keyspace is to be destroyed.
    Drop,
}

impl LogSlot {
    /// Sealed bytes of the object.
    pub(crate) fn seal(&self, env: &JournalEnv) -> Result<Vec<u8>, Error> {
        let object = ObjectUuid::random(&*env.entropy);
        let (mut bytes, mut sealer) = env.keyspace.start_log(object, self.id.epoch, &*env.entropy)?;
        bytes.extend_from_slice(&sealer.seal(self.id.number, &self.encode(), &*env.entropy)?);
        Ok(bytes)
    }

    /// Opens the bytes that are stored under `id`.
    ///
    /// # Errors
    /// `Corrupt` for anything but what a writer of this keyspace put under this name.
    pub(crate) fn open(env: &JournalEnv, id: LogFileId, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |why| corrupt(env, Name::Log(id), id.epoch, 0, why);
        let (mut opener, prologue) = env.keyspace.open_log(bytes).map_err(|_| wrong("the prologue does not open"))?;
        let frame = bytes.get(prologue..).unwrap_or_default();
        let opened = opener.open(frame).ok().flatten().ok_or_else(|| wrong("it does not authenticate"))?;
        let (seq, body, used) = opened;
        if opener.epoch() != id.epoch || seq != id.number || used != frame.len() {
            return Err(wrong("it belongs to another name"));
        }
        Self::decode(&body).ok().filter(|slot| slot.id == id).ok_or_else(|| wrong("it has an unknown form"))
    }

    /// Encodes `version u8 ‖ id 12 ‖ previous 32 ‖ kind u8 ‖ …` with one allocation of sufficient size: memory that a
    /// reallocation frees is not zeroised.
    pub(crate) fn encode(&self) -> Plaintext {
        let body_bytes = match &self.record {
            Record::Checkpoint { body, .. } => body.as_ref().map_or(0, |body| body.len()),
            Record::Entries(_, bodies) => bodies.iter().map(|body| 4 + body.len()).sum(),
            Record::Seal(_) | Record::Drop => 0,
        };
        let mut out = Zeroizing::new(Vec::with_capacity(HEAD_BYTES_MAX + body_bytes));
        out.push(VERSION);
        put_id(&mut out, self.id);
        out.extend_from_slice(&self.previous);
        match &self.record {
            Record::Checkpoint { before, floor, checkpoint, body } => {
                out.push(CHECKPOINT);
                out.extend_from_slice(&before.to_le_bytes());
                put_id(&mut out, *floor);
                put_checkpoint(&mut out, checkpoint.as_ref(), body.as_ref());
            }
            Record::Entries(first, bodies) => {
                out.push(ENTRIES);
                put_entries(&mut out, *first, bodies);
            }
            Record::Seal(epoch) => {
                out.push(SEAL);
                out.extend_from_slice(&epoch.0.to_le_bytes());
            }
            Record::Drop => out.push(DROP),
        }
        out.into()
    }

    /// Decodes bytes that are exactly one record of this version.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MalformedBytes> {
        let mut r = ByteReader::new(bytes, "object of the log");
        if r.u8()? != VERSION {
            return Err(r.malformed());
        }
        let id = read_id(&mut r)?;
        let previous = r.array()?;
        let record = match r.u8()? {
            CHECKPOINT => {
                let before = r.u64()?;
                let floor = read_id(&mut r)?;
                let (checkpoint, body) = read_checkpoint(&mut r, id)?;
                Record::Checkpoint { before, floor, checkpoint, body }
            }
            ENTRIES => {
                let (first, bodies) = read_entries(&mut r)?;
                Record::Entries(first, bodies)
            }
            SEAL => Record::Seal(LogEpoch(r.u32()?)),
            DROP => Record::Drop,
            _ => return Err(r.malformed()),
        };
        r.end()?;
        Ok(Self { id, previous, record })
    }
}

/// Digest of this object, which the next object contains.
pub(crate) fn digest(env: &JournalEnv, bytes: &[u8]) -> Digest {
    env.keyspace.mac(b"log slot", &[bytes])
}

const VERSION: u8 = 0;
const CHECKPOINT: u8 = 0;
const ENTRIES: u8 = 1;
const SEAL: u8 = 2;
const DROP: u8 = 3;
/// Maximum encoded size without bodies, in bytes.
const HEAD_BYTES_MAX: usize = 160;
