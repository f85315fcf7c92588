//! Objects in two parts: `RFSP`, version, length of the first message, then two FLOE messages under one object key. The
//! first has segments of 1 MiB and is opened whole; the second is read in pages.
//!
//! The associated data of each message ends with the part's number, so that neither can stand in for the other or for a
//! whole object. The length is in the clear: a wrong one leaves two messages that do not authenticate.

use crate::{
    FORMAT_VERSION, PagedReader,
    crypto::KEY,
    floe::{self, reader},
    identity,
};
use kernel::{Entropy, Plaintext, ReadAt};
use std::{io, sync::Arc};

const MAGIC: &[u8; 4] = b"RFSP";
/// Size of the prologue: magic, version, length.
const PROLOGUE: usize = 4 + 1 + 8;

/// Associated data of one part of an object.
pub(super) fn identity(object: Vec<u8>, part: u8) -> Vec<u8> {
    [object, identity::fields(&[&[part]])].concat()
}

pub(super) fn seal(key: &[u8; KEY], aad: &dyn Fn(u8) -> Vec<u8>, parts: [&[u8]; 2], entropy: &dyn Entropy) -> Vec<u8> {
    let [whole, paged] = parts;
    let length = floe::sealed_len(&floe::OBJECTS, whole.len());
    let mut out = vec![0; PROLOGUE + length + floe::sealed_len(&floe::PAGES, paged.len())];
    let (prologue, messages) = out.split_at_mut(PROLOGUE);
    prologue.copy_from_slice(&[&MAGIC[..], &[FORMAT_VERSION], &(length as u64).to_be_bytes()].concat());
    let (first, second) = messages.split_at_mut(length);
    floe::seal_into(&floe::OBJECTS, key, &aad(1), whole, entropy, first);
    floe::seal_into(&floe::PAGES, key, &aad(2), paged, entropy, second);
    out
}

pub(super) fn open(
    key: &[u8; KEY],
    aad: &dyn Fn(u8) -> Vec<u8>,
    source: Arc<dyn ReadAt>,
) -> io::Result<(Plaintext, PagedReader)> {
    let mut prologue = [0; PROLOGUE];
    source.read_at(0, &mut prologue)?;
    let (stated, length) = prologue.split_at(PROLOGUE - 8);
    let mut bytes = [0; 8];
    bytes.copy_from_slice(length);
    let start = PROLOGUE as u64;
    let boundary = start.checked_add(u64::from_be_bytes(bytes)).filter(|boundary| *boundary <= source.size());
    let boundary = boundary.ok_or(io::ErrorKind::InvalidData)?;
    if stated != [&MAGIC[..], &[FORMAT_VERSION]].concat() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let whole = reader::read(&floe::OBJECTS, key, aad(1), &source, start..boundary)?;
    let end = source.size();
    let paged = PagedReader::open(&floe::PAGES, key, aad(2), source, boundary..end)?;
    Ok((whole, paged))
}

#[cfg(test)]
mod tests;
