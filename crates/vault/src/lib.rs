//! vault: keyspaces, that is, a tenant's keys and everything that is sealed under them.
//!
//! Key providers wrap tenant keys, tenant keys wrap keyspace keys, and keyspace keys wrap one fresh key per object.
//! Objects, log frames and wraps carry their identity as associated data, so that bytes in another position, order or
//! length do not open. No key leaves this crate in the clear, and the crate uses no file or socket except the key
//! provider's. `schemas/sealing.md` specifies the byte layouts. Where sealed bytes are stored is up to the journal.

mod arena;
mod crypto;
mod error;
mod floe;
mod frames;
mod identity;
mod keys;
mod keyspace;
mod provider;
mod ring;
mod signer;
mod wrap;

pub use arena::{KeyMemory, KeyMemoryKind, key_memory};
pub use crypto::sha256;
pub use error::{Error, KeyFailure};
pub use floe::reader::PagedReader;
pub use frames::{FRAME_OVERHEAD_BYTES, FrameOpener, FrameSealer, LOG_PROLOGUE_BYTES};
pub use keys::SecretKey;
pub use keyspace::{Directory, Keyspace, KeyspaceKind, ObjectKind, WRAPS_MAX, epoch_of};
#[cfg(feature = "aws-kms")]
pub use provider::{AwsCredentials, AwsKmsConfig, AwsKmsProvider};
pub use provider::{Denial, DestructionReceipt, Key, KeyDescription, KeyProvider, LocalProvider, Providers, RootKey};
#[cfg(feature = "pkcs11")]
pub use provider::{Pkcs11Config, Pkcs11Provider};
#[cfg(feature = "transit")]
pub use provider::{TransitConfig, TransitProvider, TransitToken};
pub use ring::{TenantKeys, WrappedKey};
pub use signer::{NoteError, PublicKey, Signer};

/// Format version in all layouts of this crate. Any other version is refused.
pub const FORMAT_VERSION: u8 = 0;

/// Result with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

#[cfg(test)]
mod tests;
