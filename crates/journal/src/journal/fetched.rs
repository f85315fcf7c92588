//! Reading an object in two steps: fetch its sealed bytes first, then open them on a thread that may compute.

use super::{Journal, JournalInner};
use crate::{Error, ObjectRef, sources::from_io_error};
use kernel::{Plaintext, ReadAt};
use std::sync::Arc;

/// A sealed object that has been fetched: its bytes in memory if it came from a bucket, otherwise its open file.
pub struct Fetched {
    inner: Arc<JournalInner>,
    object: ObjectRef,
    source: Arc<dyn ReadAt>,
}

impl Journal {
    /// Fetches an object without opening it.
    ///
    /// # Errors
    /// As [`Journal::get`].
    pub async fn fetch(&self, object: &ObjectRef) -> Result<Fetched, Error> {
        let env = &self.0.env;
        let source = env.storage.full_source(&env.name(object.name()), "reading an object").await?;
        let Some(source) = source else { return Err(self.missing_object(object).await) };
        Ok(Fetched { inner: Arc::clone(&self.0), object: object.clone(), source })
    }
}

impl Fetched {
    /// Plain bytes of the object. Computes, and reads a local file; never uses the network.
    ///
    /// # Errors
    /// `Corrupt` when the object does not open; `Io` when its file cannot be read.
    pub fn open(self) -> Result<Plaintext, Error> {
        let Self { inner, object, source } = self;
        match inner.env.keyspace.open_from(object.kind, object.uuid, &object.key, &source) {
            Err(vault::Error::Unreadable { source, .. }) => Err(from_io_error("reading an object", source)),
            opened => opened.map_err(|_| inner.corrupt_object(&object, "the object does not open")),
        }
    }
}
