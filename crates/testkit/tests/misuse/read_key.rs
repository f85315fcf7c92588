//! The bytes of a key stay in the vault.

fn leak(key: &vault::SecretKey) -> Vec<u8> {
    key.bytes().to_vec()
}

fn main() {}
