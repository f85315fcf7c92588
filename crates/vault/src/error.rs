//! What goes wrong with keys and sealed bytes. No variant holds a key or a byte of content.

use crate::Denial;
use std::path::PathBuf;

/// Why a tenant's key cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyTrouble {
    /// Its provider does not answer, or not now.
    Outage,
    /// Its provider answers, and says no.
    Denied(Denial),
}

impl KeyTrouble {
    /// The word for it in records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyTrouble::Outage => "outage",
            KeyTrouble::Denied(why) => why.as_str(),
        }
    }
}

/// This crate's error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key provider does not answer, or not now.
    #[error("key provider {provider} is unavailable: {reason}")]
    Unavailable {
        /// Its name.
        provider: String,
        /// What it said, without secrets.
        reason: String,
    },
    /// A key provider says no: the key is disabled, gone or not for us, or the wrap is another's.
    #[error("key provider {provider} refuses: {remedy}", remedy = why.remedy())]
    Denied {
        /// Its name.
        provider: String,
        /// In which way.
        why: Denial,
    },
    /// No provider of that name is configured.
    #[error("no key provider is called {name:?}; configured are: {known}")]
    NoProvider {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The provider has no key of that name, or can have none.
    #[error("key provider {provider} has no key {name:?}")]
    KeyName {
        /// Its name.
        provider: String,
        /// The key's.
        name: String,
    },
    /// A provider cannot be set up as it is configured.
    #[error("key provider {provider}: {problem}")]
    Provider {
        /// Its name.
        provider: String,
        /// What is wrong and what would be right, without secrets.
        problem: String,
    },
    /// A wrap names a key epoch that the ring does not hold (destroyed, or not loaded).
    #[error("key epoch {0} is not in the tenant's key ring")]
    NoEpoch(kernel::KeyEpoch),
    /// Bytes that do not authenticate as what they should be.
    #[error("sealed {what} {uuid} does not open as version {expected}: {why}", expected = crate::FORMAT_VERSION)]
    Corrupt {
        /// What it should be: `segment`, `place key`, `log frame`.
        what: &'static str,
        /// Which one: the object's or the place's uuid.
        uuid: String,
        /// What did not fit.
        why: &'static str,
    },
    /// The bytes of an object cannot be had.
    #[error("sealed {what} {uuid} cannot be read")]
    Unreadable {
        /// What it should be.
        what: &'static str,
        /// Which one.
        uuid: String,
        /// What the source said.
        #[source]
        source: std::io::Error,
    },
    /// A home was asked for with another tenant's keys, or the other way round.
    #[error("{0} belongs to another place or another life of the tenant")]
    Misplaced(&'static str),
    /// More than one sealed piece may hold.
    #[error("a {what} of {bytes} bytes is over the limit of {max}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// How large.
        bytes: usize,
        /// How large it may be.
        max: usize,
    },
    /// A place's key has wrapped as many keys as it may.
    #[error("the key of place {0} is used up; rotate the tenant's keys with mode reencrypt")]
    PlaceKeyUsedUp(kernel::NamespaceUuid),
    /// A log's key has sealed as many frames as it may.
    #[error("the log's key is used up; start another log")]
    UsedUp,
    /// The root key file cannot be used. `remedy` says what to do.
    #[error("root key file {path}: {problem}; {remedy}", path = path.display())]
    KeyFile {
        /// The file, as it was named.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        remedy: &'static str,
        /// What the system said.
        #[source]
        source: Option<std::io::Error>,
    },
    /// `RINGFENCE_ROOT_KEY` is no key.
    #[error(
        "RINGFENCE_ROOT_KEY must be 32 bytes as 64 hexadecimal digits or as base64; make one with 'openssl rand -hex 32'"
    )]
    KeyValue,
}

impl Error {
    pub(crate) fn no_key(provider: &str, name: &str) -> Self {
        Error::KeyName { provider: provider.to_owned(), name: name.to_owned() }
    }

    /// What stands between a tenant and its keys, if that is what this is.
    pub fn key_trouble(&self) -> Option<KeyTrouble> {
        match self {
            Error::Unavailable { .. } => Some(KeyTrouble::Outage),
            Error::Denied { why, .. } => Some(KeyTrouble::Denied(*why)),
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
                (kernel::Code::KeyUnavailable, "the tenant's key cannot be had: its key provider does not answer")
            }
            Error::Denied { .. } => {
                (kernel::Code::KeyUnavailable, "the tenant's key cannot be had: its key provider refuses it")
            }
            Error::NoEpoch(_) => (kernel::Code::KeyUnavailable, "the tenant's key cannot be had"),
            Error::NoProvider { .. } | Error::KeyName { .. } | Error::Provider { .. } => {
                return kernel::Error::invalid("key", error.to_string());
            }
            Error::TooLarge { .. } => (kernel::Code::TooLarge, "more than one sealed object may hold"),
            Error::Unreadable { .. } => (kernel::Code::Internal, "a sealed object cannot be read"),
            Error::Corrupt { .. } => (kernel::Code::Internal, "a sealed object does not open"),
            Error::Misplaced(_) => (kernel::Code::Internal, "a key does not belong here"),
            Error::UsedUp | Error::PlaceKeyUsedUp(_) => (kernel::Code::Internal, "a key is used up"),
            Error::KeyFile { .. } | Error::KeyValue => (kernel::Code::Internal, "the root key cannot be used"),
        };
        kernel::Error::new(code, message).with_source(error)
    }
}
