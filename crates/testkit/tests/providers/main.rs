//! Key providers against what they are for: a token of SoftHSM's, and Amazon's KMS as moto plays it.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod pkcs11;

use kernel::{OsEntropy, SeededEntropy};
use std::sync::Arc;
use vault::{Denial, Error, LocalProvider, Result, RootKey, SecretKey};

fn secret() -> SecretKey {
    SecretKey::random(&OsEntropy)
}

/// Bytes that two keys have in common only if they are one.
fn print(key: &SecretKey) -> Vec<u8> {
    let local = LocalProvider::from_env_value(&"07".repeat(32), Arc::new(SeededEntropy::new(7))).unwrap();
    local.wrap(b"print", key).unwrap()
}

/// Why it was refused; not an outage, and not granted.
fn denial<T>(result: Result<T>) -> Denial {
    match result {
        Ok(_) => panic!("it was granted"),
        Err(Error::Denied { why, .. }) => why,
        Err(error) => panic!("{error}"),
    }
}

/// What it said to be out of order.
fn outage<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("it was granted"),
        Err(Error::Unavailable { reason, .. }) => reason,
        Err(error) => panic!("{error}"),
    }
}
