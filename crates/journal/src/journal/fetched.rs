//! An object in two steps: its sealed bytes are fetched first, and opened where there is a thread to compute.

use super::{Inner, Journal};
use crate::{Error, ObjectRef, sources::error_of};
use kernel::{Plaintext, ReadAt};
use std::sync::Arc;

/// A sealed object that is at hand: its bytes in memory if it came from a bucket, else its open file.
pub struct Fetched {
    inner: Arc<Inner>,
    object: ObjectRef,
    source: Arc<dyn ReadAt>,
}

impl Journal {
    /// Fetches an object without opening it.
    ///
    /// # Errors
    /// As [`Journal::get`].
    pub async fn fetch(&self, object: &ObjectRef) -> Result<Fetched, Error> {
        let place = &self.0.place;
        let source = place.storage.whole(&place.name(object.name()), "reading an object").await?;
        let Some(source) = source else { return Err(self.gone(object).await) };
        Ok(Fetched { inner: Arc::clone(&self.0), object: object.clone(), source })
    }
}

impl Fetched {
    /// The plain bytes. Computes, and reads a local file; no network.
    ///
    /// # Errors
    /// `Corrupt` when it does not open; `Io` when its file does not read.
    pub fn open(self) -> Result<Plaintext, Error> {
        let Self { inner, object, source } = self;
        match inner.place.home.open_from(object.kind, object.uuid, &object.key, &source) {
            Err(vault::Error::Unreadable { source, .. }) => Err(error_of("reading an object", source)),
            opened => opened.map_err(|_| inner.corrupt_object(&object, "the object does not open")),
        }
    }
}
