//! Errors of keys and sealed bytes. No variant holds a key or a byte of content.

use crate::Denial;
use std::path::PathBuf;

/// Why a tenant's key is unavailable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyFailure {
    /// The key's provider does not answer, or cannot serve requests now.
    Outage,
    /// The key's provider answers with a refusal.
    Denied(Denial),
}

impl KeyFailure {
    /// Name of this value in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyFailure::Outage => "outage",
            KeyFailure::Denied(why) => why.as_str(),
        }
    }
}

/// Error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key provider does not answer, or cannot serve requests now.
    #[error("key provider {provider} is unavailable: {reason}")]
    Unavailable {
        /// Name of the provider.
        provider: String,
        /// What the provider or the transport reported, without secrets.
        reason: String,
    },
    /// A key provider refuses: the key is disabled, gone or not for this server, or the wrap was made by another key.
    #[error("key provider {provider} refuses: {remedy}", remedy = why.remedy())]
    Denied {
        /// Name of the provider.
        provider: String,
        /// Kind of refusal.
        why: Denial,
    },
    /// No provider of that name is configured.
    #[error("no key provider is called {name:?}; the configured providers are: {known}")]
    NoProvider {
        /// The requested name.
        name: String,
        /// The configured names, for the message.
        known: String,
    },
    /// The provider has no key of that name, or can have none.
    #[error("key provider {provider} has no key {name:?}")]
    KeyName {
        /// Name of the provider.
        provider: String,
        /// Name of the key.
        name: String,
    },
    /// A provider cannot be set up as configured.
    #[error("key provider {provider}: {problem}")]
    Provider {
        /// Name of the provider.
        provider: String,
        /// What is wrong and how to fix it, without secrets.
        problem: String,
    },
    /// A wrap names a key epoch that the ring does not hold because it was destroyed or not loaded.
    #[error("key epoch {0} is not in the tenant's key ring")]
    NoEpoch(kernel::KeyEpoch),
    /// Bytes do not authenticate as what they should be.
    #[error("sealed {what} {uuid} does not open as version {expected}: {why}", expected = crate::FORMAT_VERSION)]
    Corrupt {
        /// Kind of the expected bytes: `segment`, `keyspace key`, `log frame`.
        what: &'static str,
        /// Uuid of the object or the keyspace.
        uuid: String,
        /// The check that failed.
        why: &'static str,
    },
    /// The bytes of an object cannot be read.
    #[error("sealed {what} {uuid} cannot be read")]
    Unreadable {
        /// Kind of the object.
        what: &'static str,
        /// Uuid of the object.
        uuid: String,
        /// Error of the source.
        #[source]
        source: std::io::Error,
    },
    /// Keys and data that do not belong together, such as a keyspace and another tenant's key ring.
    #[error("{0} belongs to another keyspace or another incarnation of the tenant")]
    Mismatch(&'static str),
    /// More bytes than one sealed item may hold.
    #[error("a {what} of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// Kind of the item.
        what: &'static str,
        /// Size of the item in bytes.
        bytes: usize,
        /// Maximum size in bytes.
        max: usize,
    },
    /// A keyspace's key has wrapped as many keys as it may.
    #[error("the key of keyspace {0} has reached its limit; rotate the tenant's keys with mode reencrypt")]
    KeyspaceKeyExhausted(kernel::NamespaceUuid),
    /// A log's key has sealed as many frames as it may.
    #[error("the log's key has reached its limit; start another log")]
    LogKeyExhausted,
    /// The root key file cannot be used. `remedy` says how to fix that.
    #[error("root key file {path}: {problem}; {remedy}", path = path.display())]
    KeyFile {
        /// Path of the file as it was given.
        path: PathBuf,
        /// What is wrong with the file.
        problem: &'static str,
        /// How to fix it.
        remedy: &'static str,
        /// Error of the operating system.
        #[source]
        source: Option<std::io::Error>,
    },
    /// `RINGFENCE_ROOT_KEY` does not hold a key.
    #[error(
        "RINGFENCE_ROOT_KEY must be 32 bytes as 64 hexadecimal digits or as base64; create one with 'openssl rand -hex 32'"
    )]
    KeyValue,
}

impl Error {
    pub(crate) fn no_key(provider: &str, name: &str) -> Self {
        Error::KeyName { provider: provider.to_owned(), name: name.to_owned() }
    }

    /// Why the tenant's key is unavailable, if that is what the error is about.
    pub fn key_failure(&self) -> Option<KeyFailure> {
        match self {
            Error::Unavailable { .. } => Some(KeyFailure::Outage),
            Error::Denied { why, .. } => Some(KeyFailure::Denied(*why)),
            _ => None,
        }
    }

    pub(crate) fn corrupt(what: &'static str, uuid: impl std::fmt::Display, why: &'static str) -> Self {
        Error::Corrupt { what, uuid: uuid.to_string(), why }
    }
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let (code, message) = match &error {
            Error::Unavailable { .. } => {
                (kernel::Code::KeyUnavailable, "the tenant's key is unavailable: its key provider does not answer")
            }
            Error::Denied { .. } => {
                (kernel::Code::KeyUnavailable, "the tenant's key is unavailable: its key provider refuses it")
            }
            Error::NoEpoch(_) => (kernel::Code::KeyUnavailable, "the tenant's key is unavailable"),
            Error::NoProvider { .. } | Error::KeyName { .. } | Error::Provider { .. } => {
                return kernel::Error::invalid("key", error.to_string());
            }
            Error::TooLarge { .. } => (kernel::Code::TooLarge, "larger than a sealed object may be"),
            Error::Unreadable { .. } => (kernel::Code::Internal, "a sealed object cannot be read"),
            Error::Corrupt { .. } => (kernel::Code::Internal, "a sealed object does not open"),
            Error::Mismatch(_) => (kernel::Code::Internal, "a key does not belong here"),
            Error::LogKeyExhausted | Error::KeyspaceKeyExhausted(_) => {
                (kernel::Code::Internal, "a key has reached its limit")
            }
            Error::KeyFile { .. } | Error::KeyValue => (kernel::Code::Internal, "the root key cannot be used"),
        };
        kernel::Error::new(code, message).with_source(error)
    }
}
