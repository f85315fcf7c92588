//! Immutable objects: in one part or two, with or without a prologue that carries their own wrapped key.

use super::{Keyspace, ObjectKind, split};
use crate::{
    Error, FORMAT_VERSION, PagedReader, Result, SecretKey, WrappedKey,
    floe::{self, reader},
    frames::LogPrologue,
    identity::WrapKind,
    wrap,
};
use kernel::{Entropy, KeyEpoch, ObjectUuid, Plaintext, ReadAt};
use std::{io, sync::Arc};

const WHOLE_MAGIC: &[u8; 4] = b"RFSO";
/// Size of the prologue of a whole object: magic, version, object kind, object uuid, epoch of the keyspace key, length
/// of the wrap, the wrap.
const WHOLE_PROLOGUE: usize = 4 + 1 + 1 + 16 + 4 + 2 + wrap::ONE_KEY_BYTES;
/// Offset of the epoch in that prologue.
const WHOLE_EPOCH: usize = 4 + 1 + 1 + 16;

impl Keyspace {
    /// Seals an immutable object under a fresh key, and returns that key wrapped.
    ///
    /// # Errors
    /// [`Error::KeyspaceKeyExhausted`] after 2^30 wraps.
    pub fn seal(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, WrappedKey)> {
        self.seal_after_prologue(kind, object, plain, entropy, |_| Vec::new())
    }

    /// Seals an object after a prologue that is built from its wrapped key.
    fn seal_after_prologue(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        entropy: &dyn Entropy,
        prologue: impl FnOnce(&WrappedKey) -> Vec<u8>,
    ) -> Result<(Vec<u8>, WrappedKey)> {
        let key = SecretKey::random(entropy);
        let wrapped = self.wrap_secrets(WrapKind::Object, Some(object), None, &[&key], entropy)?;
        let prologue = prologue(&wrapped);
        let mut out = vec![0; prologue.len() + floe::sealed_len(&floe::OBJECTS, plain.len())];
        let (head, sealed) = out.split_at_mut(prologue.len());
        head.copy_from_slice(&prologue);
        floe::seal_into(&floe::OBJECTS, key.bytes(), &self.identity(kind, object), plain, entropy, sealed);
        Ok((out, wrapped))
    }

    /// Opens an object that [`seal`](Self::seal) sealed.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything but exactly this object of this keyspace.
    pub fn open(&self, kind: ObjectKind, object: ObjectUuid, key: &WrappedKey, sealed: &[u8]) -> Result<Plaintext> {
        let [key] = self.unwrap_secrets(WrapKind::Object, Some(object), None, key)?;
        floe::open(&floe::OBJECTS, key.bytes(), &self.identity(kind, object), sealed)
            .map_err(|_| Error::corrupt(kind.name(), object, "it does not authenticate"))
    }

    /// Like [`open`](Self::open), for all bytes of a source, which are read into the buffer of the plaintext and opened
    /// there. Blocks while the source does.
    ///
    /// # Errors
    /// As [`open`](Self::open); [`Error::Unreadable`] for errors of the source.
    pub fn open_from(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        key: &WrappedKey,
        source: &Arc<dyn ReadAt>,
    ) -> Result<Plaintext> {
        self.open_after_prologue(kind, object, key, source, 0)
    }

    fn open_after_prologue(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        key: &WrappedKey,
        source: &Arc<dyn ReadAt>,
        prologue: u64,
    ) -> Result<Plaintext> {
        let [key] = self.unwrap_secrets(WrapKind::Object, Some(object), None, key)?;
        let (aad, bounds) = (self.identity(kind, object), prologue..source.size());
        reader::read(&floe::OBJECTS, key.bytes(), aad, source, bounds).map_err(|error| unreadable(kind, object, error))
    }

    /// Seals an object in two parts under one fresh key: `plain` up to `split`, to be opened whole, and the rest, to be
    /// read in pages. For objects that are too large to be loaded before use.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when `split` is after the end.
    pub fn seal_split(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        plain: &[u8],
        split: usize,
        entropy: &dyn Entropy,
    ) -> Result<(Vec<u8>, WrappedKey)> {
        let (whole, paged) = plain.split_at_checked(split).ok_or(Error::Mismatch("the boundary between two parts"))?;
        let key = SecretKey::random(entropy);
        let wrapped = self.wrap_secrets(WrapKind::Object, Some(object), None, &[&key], entropy)?;
        let aad = |part| split::identity(self.identity(kind, object), part);
        let sealed = split::seal(key.bytes(), &aad, [whole, paged], entropy);
        Ok((sealed, wrapped))
    }

    /// Opens an object that [`seal_split`](Self::seal_split) sealed: returns the first part, and a reader of the second
    /// that keeps `source`. Reads the first part and two pages. Blocks while the source does.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for anything but exactly this object of this keyspace, [`Error::Unreadable`] for errors of
    /// the source.
    pub fn open_split(
        &self,
        kind: ObjectKind,
        object: ObjectUuid,
        key: &WrappedKey,
        source: Arc<dyn ReadAt>,
    ) -> Result<(Plaintext, PagedReader)> {
        let [key] = self.unwrap_secrets(WrapKind::Object, Some(object), None, key)?;
        let aad = |part| split::identity(self.identity(kind, object), part);
        split::open(key.bytes(), &aad, source).map_err(|error| unreadable(kind, object, error))
    }

    /// Seals an object that carries its own wrapped key in a cleartext prologue.
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
        let prologue = |key: &WrappedKey| [&prologue_head(kind, object, key.epoch)[..], &key.bytes].concat();
        Ok(self.seal_after_prologue(kind, object, plain, entropy, prologue)?.0)
    }

    /// Opens an object that [`seal_whole`](Self::seal_whole) sealed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_whole(&self, kind: ObjectKind, object: ObjectUuid, sealed: &[u8]) -> Result<Plaintext> {
        let (prologue, sealed) = sealed
            .split_first_chunk::<WHOLE_PROLOGUE>()
            .ok_or_else(|| Error::corrupt(kind.name(), object, "it is cut short"))?;
        self.open(kind, object, &whole_key(kind, object, prologue)?, sealed)
    }

    /// Like [`open_whole`](Self::open_whole), for all bytes of a source, as [`open_from`](Self::open_from).
    ///
    /// # Errors
    /// As [`open_from`](Self::open_from).
    pub fn open_whole_from(&self, kind: ObjectKind, object: ObjectUuid, source: &Arc<dyn ReadAt>) -> Result<Plaintext> {
        let mut prologue = [0; WHOLE_PROLOGUE];
        source.read_at(0, &mut prologue).map_err(|error| unreadable(kind, object, error))?;
        let key = whole_key(kind, object, &prologue)?;
        self.open_after_prologue(kind, object, &key, source, WHOLE_PROLOGUE as u64)
    }
}

/// The prologue before the wrap. It is compared as a whole, so that no change of a byte goes undetected.
fn prologue_head(kind: ObjectKind, object: ObjectUuid, epoch: KeyEpoch) -> Vec<u8> {
    let wrapped = u16::try_from(wrap::ONE_KEY_BYTES).expect("a wrap of one key is 61 bytes");
    let (epoch, wrapped) = (epoch.0.to_be_bytes(), wrapped.to_be_bytes());
    [&WHOLE_MAGIC[..], &[FORMAT_VERSION, kind.code()], object.as_bytes(), &epoch, &wrapped].concat()
}

/// The wrapped key in a prologue, if the prologue is this object's.
fn whole_key(kind: ObjectKind, object: ObjectUuid, prologue: &[u8; WHOLE_PROLOGUE]) -> Result<WrappedKey> {
    let (stated, wrapped) = prologue.split_at(WHOLE_PROLOGUE - wrap::ONE_KEY_BYTES);
    let mut epoch = [0; 4];
    epoch.copy_from_slice(&stated[WHOLE_EPOCH..WHOLE_EPOCH + 4]);
    let epoch = KeyEpoch(u32::from_be_bytes(epoch));
    if stated != prologue_head(kind, object, epoch) {
        return Err(Error::corrupt(kind.name(), object, "its prologue names another object or version"));
    }
    Ok(WrappedKey { epoch, bytes: wrapped.to_vec() })
}

/// Error of a source while an object of it was opened.
fn unreadable(kind: ObjectKind, object: ObjectUuid, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            Error::corrupt(kind.name(), object, "it does not authenticate")
        }
        _ => Error::Unreadable { what: kind.name(), uuid: object.to_string(), source },
    }
}

/// The epoch of the keyspace key under which a log or a whole object was sealed, as its prologue states; not
/// authenticated.
pub fn epoch_of(sealed: &[u8]) -> Option<KeyEpoch> {
    if let Some(prologue) = LogPrologue::read(sealed) {
        return Some(prologue.key);
    }
    sealed.strip_prefix(WHOLE_MAGIC)?;
    let epoch = sealed.get(WHOLE_EPOCH..WHOLE_EPOCH + 4)?;
    Some(KeyEpoch(u32::from_be_bytes(*epoch.first_chunk()?)))
}
