//! Tests key providers against real key servers: a token of SoftHSM, and Amazon's KMS as moto emulates it.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first unexpected result")]

#[cfg(feature = "aws-kms")]
mod aws_kms;
mod pkcs11;

use kernel::{OsEntropy, SeededEntropy};
use std::sync::Arc;
use vault::{Denial, Error, LocalProvider, Result, RootKey, SecretKey};

fn secret() -> SecretKey {
    SecretKey::random(&OsEntropy)
}

/// A fingerprint of a key: two keys have the same one only if they are equal.
fn fingerprint(key: &SecretKey) -> Vec<u8> {
    let local = LocalProvider::from_env_value(&"07".repeat(32), Arc::new(SeededEntropy::new(7))).unwrap();
    local.wrap(b"print", key).unwrap()
}

/// Reason of a refusal. Panics on an outage or a success.
fn denial<T>(result: Result<T>) -> Denial {
    match result {
        Ok(_) => panic!("the request was granted"),
        Err(Error::Denied { why, .. }) => why,
        Err(error) => panic!("{error}"),
    }
}

/// Reason of an outage. Panics on any other result.
fn outage<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("the request was granted"),
        Err(Error::Unavailable { reason, .. }) => reason,
        Err(error) => panic!("{error}"),
    }
}
