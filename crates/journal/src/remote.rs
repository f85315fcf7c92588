//! From an address and options to an object store: S3 and what speaks like it, Google, Azure.
//!
//! What comes back refuses to create an object twice (`If-None-Match: *` on S3) and sees nothing
//! outside its prefix. Nothing is asked of the store here; whether it keeps that promise is for
//! [`crate::probe`]. Which backends exist is chosen when this is built: features `s3`, `gcs`, `azure`.

mod options;
mod url;

pub use options::{
    CONNECT_TIMEOUT, Credentials, REQUEST_TIMEOUT, RETRIES_MAX, RETRY_TIMEOUT, ROLE_VARIABLES, RemoteOptions, Retry,
};
pub use url::{Backend, RemoteUrl};

use object_store::{ObjectStore, memory::InMemory, prefix::PrefixStore};
use std::{path::PathBuf, sync::Arc};

/// Why there is no store to be had. Names the option; holds no secret.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// An address that is none.
    #[error("not the address of an object store: {reason}")]
    Url {
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// This build leaves the backend out.
    #[error("this build cannot speak to {backend}; build it with --features {feature}")]
    NotBuilt {
        /// Whom it names.
        backend: Backend,
        /// The feature.
        feature: &'static str,
    },
    /// An option that is missing or does not fit.
    #[error("{option}: {reason}")]
    Option {
        /// Its name in [`RemoteOptions`], as in the configuration.
        option: &'static str,
        /// What is wrong, and what would be right.
        reason: &'static str,
    },
    /// A file that an option names.
    #[error("{option}: cannot use {}; give a readable file of certificates in PEM", path.display())]
    File {
        /// The option.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's or the parser's answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The client library refused the whole of it.
    #[error("the options for {backend} do not fit together; check the endpoint and the credentials")]
    Refused {
        /// For whom.
        backend: Backend,
        /// Its reason.
        #[source]
        source: object_store::Error,
    },
}

/// Makes the store. Connects to nothing yet.
///
/// # Errors
/// As [`RemoteError`] says.
pub fn connect(url: &RemoteUrl, options: &RemoteOptions) -> Result<Arc<dyn ObjectStore>, RemoteError> {
    let store: Arc<dyn ObjectStore> = match url.backend() {
        Backend::Memory => {
            // Nothing to reach; and all there is where no backend is built.
            let _ = options;
            Arc::new(InMemory::new())
        }
        #[cfg(feature = "s3")]
        Backend::S3 => clouds::s3(url, options)?,
        #[cfg(feature = "gcs")]
        Backend::Gcs => clouds::gcs(url, options)?,
        #[cfg(feature = "azure")]
        Backend::Azure => clouds::azure(url, options)?,
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
