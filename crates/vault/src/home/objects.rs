//! Immutable objects: in one part or two, with or without their own wrapped key in front.

use super::{Home, ObjectKind, split};
use crate::{
    Error, FORMAT_VERSION, PagedReader, Result, SecretKey, WrappedKey,
    floe::{self, reader},
    frames::Prologue,
    identity::Wrap,
    wrap,
};
use kernel::{Entropy, KeyEpoch, ObjectUuid, Plaintext, ReadAt};
use std::{io, sync::Arc};

const WHOLE_MAGIC: &[u8; 4] = b"RFSO";
/// Magic, version, object kind, object uuid, the place key's epoch, the wrap's length, the wrap.
const WHOLE_PROLOGUE: usize = 4 + 1 + 1 + 16 + 4 + 2 + wrap::ONE;
/// Where in it the epoch stands.
const WHOLE_EPOCH: usize = 4 + 1 + 1 + 16;

impl Home {
    /// Seals an immutable object under a fresh key, which comes back wrapped.
    ///
    /// # Errors
    /// [`Error::PlaceKeyUsedUp`] after 2^30 wraps.
    pub fn seal(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, WrappedKey)> {
        self.seal_behind(kind, object, plain, entropy, |_| Vec::new())
    }

    /// Seals an object behind bytes that are made once its wrapped key is known.
    fn seal_behind(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        entropy: &dyn Entropy,
        prologue: impl FnOnce(&WrappedKey) -> Vec<u8>,
    ) -> Result<(Vec<u8>, WrappedKey)> {
        let key = SecretKey::random(entropy);
        let wrapped = self.wrap_one(Wrap::Object, Some(object), None, &[&key], entropy)?;
        let prologue = prologue(&wrapped);
        let mut out = vec![0; prologue.len() + floe::sealed_len(&floe::OBJECTS, plain.len())];
        let (head, sealed) = out.split_at_mut(prologue.len());
        head.copy_from_slice(&prologue);
        floe::seal_into(&floe::OBJECTS, key.bytes(), &self.identity(kind, object), plain, entropy, sealed);
        Ok((out, wrapped))
    }

    /// Opens what [`seal`](Self::seal) made.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything but this very object of this very place.
    pub fn open(&self, kind: ObjectKind, object: ObjectUuid, key: &WrappedKey, sealed: &[u8]) -> Result<Plaintext> {
        let [key] = self.unwrap_one(Wrap::Object, Some(object), None, key)?;
        floe::open(&floe::OBJECTS, key.bytes(), &self.identity(kind, object), sealed)
            .map_err(|_| Error::corrupt(kind.name(), object, "it does not authenticate"))
    }

    /// The same of all bytes of a source, which are read to where the plain ones are to stand and opened there. Blocks as
    /// the source does.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Unreadable`] for what the source says.
    pub fn open_from(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        key: &WrappedKey,
        source: &Arc<dyn ReadAt>,
    ) -> Result<Plaintext> {
        self.open_behind(kind, object, key, source, 0)
    }

    fn open_behind(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        key: &WrappedKey,
        source: &Arc<dyn ReadAt>,
        prologue: u64,
    ) -> Result<Plaintext> {
        let [key] = self.unwrap_one(Wrap::Object, Some(object), None, key)?;
        let (aad, place) = (self.identity(kind, object), prologue..source.size());
        reader::read(&floe::OBJECTS, key.bytes(), aad, source, place).map_err(|error| unreadable(kind, object, error))
    }

    /// Seals an object in two parts under one fresh key: `plain` up to `split`, to be opened whole, and what
    /// follows, to be read in pages. For objects that are too large to be read before they are of use.
    ///
    /// # Errors
    /// [`Error::Misplaced`] when `split` lies behind the end.
    pub fn seal_split(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        split: usize,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, WrappedKey)> {
        let (whole, paged) = plain.split_at_checked(split).ok_or(Error::Misplaced("the border between two parts"))?;
        let key = SecretKey::random(entropy);
        let wrapped = self.wrap_one(Wrap::Object, Some(object), None, &[&key], entropy)?;
        let aad = |part| split::identity(self.identity(kind, object), part);
        let sealed = split::seal(key.bytes(), &aad, [whole, paged], entropy);
        Ok((sealed, wrapped))
    }

    /// Opens what [`seal_split`](Self::seal_split) made: the first part, and a reader of the second that holds on
    /// to `source`. Reads the first part and two pages. Blocks as the source does.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything but this very object of this very place, [`Error::Unreadable`] for what the
    /// source says.
    pub fn open_split(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        key: &WrappedKey,
        source: Arc<dyn ReadAt>,
    ) -> Result<(Plaintext, PagedReader)> {
        let [key] = self.unwrap_one(Wrap::Object, Some(object), None, key)?;
        let aad = |part| split::identity(self.identity(kind, object), part);
        split::open(key.bytes(), &aad, source).map_err(|error| unreadable(kind, object, error))
    }

    /// Seals an object that carries its own wrapped key in a clear prologue.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_whole(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<Vec<u8>> {
        let prologue = |key: &WrappedKey| [&whole_head(kind, object, key.epoch)[..], &key.bytes].concat();
        Ok(self.seal_behind(kind, object, plain, entropy, prologue)?.0)
    }

    /// Opens what [`seal_whole`](Self::seal_whole) made.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_whole(&self, kind: ObjectKind, object: ObjectUuid, sealed: &[u8]) -> Result<Plaintext> {
        let (prologue, sealed) = sealed
            .split_first_chunk::<WHOLE_PROLOGUE>()
            .ok_or_else(|| Error::corrupt(kind.name(), object, "it is cut short"))?;
        self.open(kind, object, &whole_key(kind, object, prologue)?, sealed)
    }

    /// The same of all bytes of a source, as [`open_from`](Self::open_from).
    ///
    /// # Errors
    /// As there.
    pub fn open_whole_from(&self, kind: ObjectKind, object: ObjectUuid, source: &Arc<dyn ReadAt>) -> Result<Plaintext> {
        let mut prologue = [0; WHOLE_PROLOGUE];
        source.read_at(0, &mut prologue).map_err(|error| unreadable(kind, object, error))?;
        let key = whole_key(kind, object, &prologue)?;
        self.open_behind(kind, object, &key, source, WHOLE_PROLOGUE as u64)
    }
}

/// Everything of the prologue before the wrap. It is compared whole, so no byte of it can change unseen.
fn whole_head(kind: ObjectKind, object: ObjectUuid, epoch: KeyEpoch) -> Vec<u8> {
    let wrapped = u16::try_from(wrap::ONE).expect("a wrap of one key is 61 bytes");
    let (epoch, wrapped) = (epoch.0.to_be_bytes(), wrapped.to_be_bytes());
    [&WHOLE_MAGIC[..], &[FORMAT_VERSION, kind.code()], object.as_bytes(), &epoch, &wrapped].concat()
}

/// The wrapped key that a prologue holds, if it is this object's.
fn whole_key(kind: ObjectKind, object: ObjectUuid, prologue: &[u8; WHOLE_PROLOGUE]) -> Result<WrappedKey> {
    let (stated, wrapped) = prologue.split_at(WHOLE_PROLOGUE - wrap::ONE);
    let mut epoch = [0; 4];
    epoch.copy_from_slice(&stated[WHOLE_EPOCH..WHOLE_EPOCH + 4]);
    let epoch = KeyEpoch(u32::from_be_bytes(epoch));
    if stated != whole_head(kind, object, epoch) {
        return Err(Error::corrupt(kind.name(), object, "its prologue names another object or version"));
    }
    Ok(WrappedKey { epoch, bytes: wrapped.to_vec() })
}

/// What a source said while an object of it was opened.
fn unreadable(kind: ObjectKind, object: ObjectUuid, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::corrupt(kind.name(), object, "it does not authenticate")
        }
        _ => Error::Unreadable { what: kind.name(), uuid: object.to_string(), source },
    }
}

/// The epoch of the place's key that a log or a whole object stands under, as its prologue says; not authenticated.
pub fn epoch_of(sealed: &[u8]) -> Option<KeyEpoch> {
    if let Some(prologue) = Prologue::read(sealed) {
        return Some(prologue.key);
    }
    sealed.strip_prefix(WHOLE_MAGIC)?;
    let epoch = sealed.get(WHOLE_EPOCH..WHOLE_EPOCH + 4)?;
    Some(KeyEpoch(u32::from_be_bytes(*epoch.first_chunk()?)))
}
