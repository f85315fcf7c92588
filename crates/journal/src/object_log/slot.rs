//! One object of the log: a sealed record that says where it stands and what came before it.
//!
//! Every object is sealed under a key of its own, with fresh randomness: two that two processes
//! made are never equal, and that is how each knows its own.

use crate::{
    Error,
    file_log::{
        group::{put_entries, take_entries},
        opening::{Pointer, put_checkpoint, put_id, take_checkpoint, take_id},
    },
    log::{Place, corrupt},
    names::{Name, PartId},
    objects::take,
};
use kernel::{LogEpoch, ObjectUuid, Plaintext};
use zeroize::Zeroizing;

/// What an object of the log says.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Its name.
    pub(crate) id: PartId,
    /// [`digest`] of the object before it in the place's life; zeroes for the first and for a seal.
    pub(crate) previous: Digest,
    /// And the rest.
    pub(crate) record: Record,
}

/// Binds an object to the one before it.
pub(crate) type Digest = [u8; 32];

/// The kinds of objects.
#[derive(Debug)]
pub(crate) enum Record {
    /// Where replay begins. The first object of every epoch, and every later checkpoint.
    Point {
        /// Last entry before it.
        before: u64,
        /// The first object that a replay from here needs; may lie in an older epoch.
        floor: PartId,
        /// The newest checkpoint.
        checkpoint: Option<Pointer>,
        /// Its body, if it stands here.
        body: Option<Plaintext>,
    },
    /// Entries, the first with this number.
    Entries(u64, Vec<Plaintext>),
    /// This epoch ends here: that one has taken over.
    Seal(LogEpoch),
    /// The place is to be destroyed.
    Drop,
}

impl Slot {
    /// The object's bytes.
    pub(crate) fn seal(&self, place: &Place) -> Result<Vec<u8>, Error> {
        let object = ObjectUuid::random(&*place.entropy);
        let (mut bytes, mut sealer) = place.home.start_log(object, self.id.epoch, &*place.entropy)?;
        bytes.extend_from_slice(&sealer.seal(self.id.part, &self.encode(), &*place.entropy)?);
        Ok(bytes)
    }

    /// Reads what stands under `id`.
    ///
    /// # Errors
    /// `Corrupt` for anything but what a writer of this place put there.
    pub(crate) fn open(place: &Place, id: PartId, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |why| corrupt(place, Name::Log(id), id.epoch, 0, why);
        let (mut opener, prologue) = place.home.open_log(bytes).map_err(|_| wrong("the prologue does not open"))?;
        let frame = bytes.get(prologue..).unwrap_or_default();
        let opened = opener.open(frame).ok().flatten().ok_or_else(|| wrong("it does not authenticate"))?;
        let (seq, body, used) = opened;
        if opener.epoch() != id.epoch || seq != id.part || used != frame.len() {
            return Err(wrong("it belongs under another name"));
        }
        Self::decode(&body).filter(|slot| slot.id == id).ok_or_else(|| wrong("it has another form"))
    }

    /// `version u8 ‖ id 12 ‖ previous 32 ‖ kind u8 ‖ …`, in one allocation of the right size: what the
    /// allocator throws away is not zeroised.
    pub(crate) fn encode(&self) -> Plaintext {
        let inside = match &self.record {
            Record::Point { body, .. } => body.as_ref().map_or(0, |body| body.len()),
            Record::Entries(_, bodies) => bodies.iter().map(|body| 4 + body.len()).sum(),
            Record::Seal(_) | Record::Drop => 0,
        };
        let mut out = Zeroizing::new(Vec::with_capacity(HEAD_MOST + inside));
        out.push(VERSION);
        put_id(&mut out, self.id);
        out.extend_from_slice(&self.previous);
        match &self.record {
            Record::Point { before, floor, checkpoint, body } => {
                out.push(POINT);
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

    /// `None` when the bytes are no record of this version, whole and alone.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)?[0] != VERSION {
            return None;
        }
        let id = take_id(rest)?;
        let previous = take(rest)?;
        let record = match take::<1>(rest)?[0] {
            POINT => {
                let before = u64::from_le_bytes(take(rest)?);
                let floor = take_id(rest)?;
                let (checkpoint, body) = take_checkpoint(rest, id)?;
                Record::Point { before, floor, checkpoint, body }
            }
            ENTRIES => {
                let (first, bodies) = take_entries(rest)?;
                Record::Entries(first, bodies)
            }
            SEAL => Record::Seal(LogEpoch(u32::from_le_bytes(take(rest)?))),
            DROP => Record::Drop,
            _ => return None,
        };
        rest.is_empty().then_some(Self { id, previous, record })
    }
}

/// What the next object carries of this one.
pub(crate) fn digest(place: &Place, bytes: &[u8]) -> Digest {
    place.home.mac(b"log slot", &[bytes])
}

const VERSION: u8 = 0;
const POINT: u8 = 0;
const ENTRIES: u8 = 1;
const SEAL: u8 = 2;
const DROP: u8 = 3;
/// Everything but bodies, at most.
const HEAD_MOST: usize = 160;
