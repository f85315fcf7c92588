//! Signed statements of the server about its keys: Ed25519 over a note (c2sp.org/signed-note), which anyone with the
//! public key can check without the server.

use crate::{SecretKey, crypto::sha256};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Algorithm code of Ed25519 in a note's key.
const ALGORITHM: u8 = 1;
const PUBLIC: usize = 32;
const SIGNATURE: usize = 64;

/// A signing key. Its seed never leaves the vault.
pub struct Signer {
    pair: Ed25519KeyPair,
    _seed: SecretKey,
}

/// The public key of a [`Signer`], which verifies what the signer signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: [u8; PUBLIC],
}

/// Why a note does not verify.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The text does not have the form of a signed note.
    #[error("it is not a signed note: a text, an empty line, then lines that start with a dash and hold a signature")]
    Form,
    /// The text was altered, or the key is another one.
    #[error("the signature of {0} is invalid: the text was altered, or it was signed by another key")]
    Signature(String),
    /// No signature is by the given key.
    #[error("it is not signed by {0}")]
    Unsigned(String),
}

impl Signer {
    pub(crate) fn from_seed(seed: SecretKey) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.bytes()).expect("every 32 bytes are a seed");
        Self { pair, _seed: seed }
    }

    /// The public key, under the signer's name that notes carry.
    pub fn public(&self, name: &str) -> PublicKey {
        let mut key = [0; PUBLIC];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey { name: name.to_owned(), key }
    }

    /// Signs `text`, which must end with a line end, as a note by `name`.
    pub fn note(&self, name: &str, text: &str) -> String {
        let signed = [&self.public(name).id()[..], self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signed))
    }
}

impl PublicKey {
    /// Reads `name+id+key`, as [`Display`](std::fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        // Base64 of a key may contain a plus, a name may not.
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(key).ok()?;
        let (algorithm, key) = bytes.split_first()?;
        let public = Self { name: name.to_owned(), key: key.try_into().ok()? };
        let named = !name.is_empty() && !name.contains(char::is_whitespace);
        (named && *algorithm == ALGORITHM && hex(&public.id()) == id).then_some(public)
    }

    /// Name of the signer.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Verifies a note and returns its text.
    ///
    /// # Errors
    /// [`NoteError`] when no signature by this key verifies.
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, NoteError> {
        let (text, signatures) = split(note).ok_or(NoteError::Form)?;
        for line in signatures.lines() {
            let rest = line.strip_prefix("\u{2014} ").ok_or(NoteError::Form)?;
            let (name, signature) = rest.split_once(' ').ok_or(NoteError::Form)?;
            let bytes = STANDARD.decode(signature).map_err(|_| NoteError::Form)?;
            let (id, signature) = bytes.split_first_chunk::<4>().ok_or(NoteError::Form)?;
            if name != self.name || *id != self.id() {
                continue;
            }
            let holds = signature.len() == SIGNATURE
                && UnparsedPublicKey::new(&ED25519, self.key).verify(text.as_bytes(), signature).is_ok();
            return if holds { Ok(text) } else { Err(NoteError::Signature(self.name.clone())) };
        }
        Err(NoteError::Unsigned(self.to_string()))
    }

    /// First bytes of a hash over name and key, by which a note assigns signatures to keys.
    fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[ALGORITHM], &self.key].concat());
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// Formats the key as `name+id+key`, the form that a verifier is given.
impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = STANDARD.encode([&[ALGORITHM][..], &self.key].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id()))
    }
}

/// Splits a note into the text, with its last line end, and the signatures.
fn split(note: &str) -> Option<(&str, &str)> {
    let at = note.rfind("\n\n")?;
    let (text, signatures) = (&note[..=at], &note[at + 2..]);
    (!signatures.is_empty() && signatures.ends_with('\n')).then_some((text, signatures))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests;
