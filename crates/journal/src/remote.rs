//! Object stores from an address and options: S3 and compatible stores, Google Cloud Storage and Azure.
//!
//! The returned store refuses to create an object twice (`If-None-Match: *` on S3) and has no access outside its
//! prefix. No request is sent here; [`crate::probe`] checks whether the store keeps that promise. Features select the
//! backends at build time: `s3`, `gcs`, `azure`.

mod options;
mod url;

pub use options::{
    CONNECT_TIMEOUT, REQUEST_TIMEOUT, RETRIES_MAX, RETRY_TIMEOUT, ROLE_VARIABLES, RemoteOptions, RetryLimits,
    StorageCredentials,
};
pub use url::{RemoteBackend, RemoteUrl};

use object_store::{ObjectStore, memory::InMemory, prefix::PrefixStore};
use std::{path::PathBuf, sync::Arc};

/// Why no store could be created. Names the option; contains no secret.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The address is invalid.
    #[error("not the address of an object store: {reason}")]
    Url {
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// This build does not contain the backend.
    #[error("this build does not support {backend}; build it with --features {feature}")]
    NotBuilt {
        /// Backend that the address names.
        backend: RemoteBackend,
        /// Cargo feature that adds the backend.
        feature: &'static str,
    },
    /// An option is missing or invalid.
    #[error("{option}: {reason}")]
    Option {
        /// Name of the option in [`RemoteOptions`], as in the configuration.
        option: &'static str,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// A file that an option names cannot be used.
    #[error("{option}: cannot use {}; give a readable file of certificates in PEM", path.display())]
    File {
        /// Name of the option.
        option: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// Error of the system or the parser.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client library rejected the combination of options.
    #[error("the options for {backend} do not fit together; check the endpoint and the credentials")]
    Refused {
        /// Backend of the address.
        backend: RemoteBackend,
        /// Error of the library.
        #[source]
        source: object_store::Error,
    },
}

/// Creates the store without connecting to it.
///
/// # Errors
/// See [`RemoteError`].
pub fn connect(url: &RemoteUrl, options: &RemoteOptions) -> Result<Arc<dyn ObjectStore>, RemoteError> {
    let store: Arc<dyn ObjectStore> = match url.backend() {
        RemoteBackend::Memory => {
            // The memory store takes no options, and without any backend they would be unused.
            let _ = options;
            Arc::new(InMemory::new())
        }
        #[cfg(feature = "s3")]
        RemoteBackend::S3 => clouds::s3(url, options)?,
        #[cfg(feature = "gcs")]
        RemoteBackend::Gcs => clouds::gcs(url, options)?,
        #[cfg(feature = "azure")]
        RemoteBackend::Azure => clouds::azure(url, options)?,
        #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
        backend => return Err(RemoteError::NotBuilt { backend, feature: backend.feature() }),
    };
    if url.prefix().as_ref().is_empty() {
        return Ok(store);
    }
    Ok(Arc::new(PrefixStore::new(store, url.prefix().clone())))
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod clouds;

#[cfg(test)]
mod tests;
