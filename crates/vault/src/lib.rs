//! vault: a tenant's home: its keys and its sealed bytes.
//!
//! Key providers wrap tenant keys, tenant keys wrap place keys, place keys wrap one fresh key per
//! object; objects, log frames and wraps carry their identity as associated data, so that bytes in
//! another place, another order or another length do not open. No key leaves this crate in the
//! clear, and no file or socket is touched but the key provider's. The byte layouts stand in
//! `schemas/sealing.md`. Where sealed bytes lie is the journal's business.

mod arena;
mod crypto;
mod error;
mod floe;
mod frames;
mod home;
mod identity;
mod keys;
mod provider;
mod ring;
mod signer;
mod wrap;

pub use arena::{KeyMemory, KeyMemoryKind, key_memory};
pub use crypto::sha256;
pub use error::{Error, KeyTrouble};
pub use floe::reader::PagedReader;
pub use frames::{FRAME_OVERHEAD_BYTES, FrameOpener, FrameSealer, LOG_PROLOGUE_BYTES};
pub use home::{Directory, Home, ObjectKind, PlaceKind, WRAPS_MAX, epoch_of};
pub use keys::SecretKey;
#[cfg(feature = "aws-kms")]
pub use provider::{AwsCredentials, AwsKmsConfig, AwsKmsProvider};
pub use provider::{Denial, Key, KeyFacts, KeyProvider, LocalProvider, Providers, Receipt, RootKey};
#[cfg(feature = "pkcs11")]
pub use provider::{Pkcs11Config, Pkcs11Provider};
#[cfg(feature = "transit")]
pub use provider::{TransitConfig, TransitProvider, TransitToken};
pub use ring::{TenantKeys, WrappedKey};
pub use signer::{NoteError, PublicKey, Signer};

/// The format version that all layouts of this crate carry. Any other is refused.
pub const FORMAT_VERSION: u8 = 0;

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
