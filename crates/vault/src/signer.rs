//! What the server states about keys, signed: Ed25519 over a note (c2sp.org/signed-note), so that who has the public
//! key can check it without the server.

use crate::{SecretKey, crypto::sha256};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};

/// Ed25519 in a note's key.
const ALGORITHM: u8 = 1;
const PUBLIC: usize = 32;
const SIGNATURE: usize = 64;

/// A key that signs. Its seed never leaves the vault.
pub struct Signer {
    pair: Ed25519KeyPair,
    _seed: SecretKey,
}

/// The other half: who has it can check what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: String,
    key: [u8; PUBLIC],
}

/// A note that is none, or whose signature does not hold.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the form.
    #[error("it is no signed note: a text, an empty line, then lines that begin with a dash and hold a signature")]
    Form,
    /// The text was altered, or the key is another one.
    #[error("the signature of {0} does not hold: the text was altered, or it was signed by another key")]
    Signature(String),
    /// Nobody whose key is known has signed it.
    #[error("it is not signed by {0}")]
    Unsigned(String),
}

impl Signer {
    pub(crate) fn from_seed(seed: SecretKey) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.bytes()).expect("every 32 bytes are a seed");
        Self { pair, _seed: seed }
    }

    /// The key to check with, under a name for the signer: what notes say they are signed by.
    pub fn public(&self, name: &str) -> PublicKey {
        let mut key = [0; PUBLIC];
        key.copy_from_slice(self.pair.public_key().as_ref());
        PublicKey { name: name.to_owned(), key }
    }

    /// `text`, which ends with a line end, as a note signed by `name`.
    pub fn note(&self, name: &str, text: &str) -> String {
        let signed = [&self.public(name).id()[..], self.pair.sign(text.as_bytes()).as_ref()].concat();
        format!("{text}\n\u{2014} {name} {}\n", STANDARD.encode(signed))
    }
}

impl PublicKey {
    /// Reads `name+id+key`, as [`Display`](std::fmt::Display) writes it.
    pub fn parse(text: &str) -> Option<Self> {
        // A key in base64 may hold a plus itself, a name may not.
        let mut parts = text.trim().splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let bytes = STANDARD.decode(key).ok()?;
        let (algorithm, key) = bytes.split_first()?;
        let public = Self { name: name.to_owned(), key: key.try_into().ok()? };
        let named = !name.is_empty() && !name.contains(char::is_whitespace);
        (named && *algorithm == ALGORITHM && hex(&public.id()) == id).then_some(public)
    }

    /// Whose it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text of a note that this key has signed.
    ///
    /// # Errors
    /// [`NoteError`].
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

    /// The first bytes of a hash over name and key, by which a note says whose signature is whose.
    fn id(&self) -> [u8; 4] {
        let hash = sha256(&[self.name.as_bytes(), b"\n", &[ALGORITHM], &self.key].concat());
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// `name+id+key`: what a verifier is given.
impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = STANDARD.encode([&[ALGORITHM][..], &self.key].concat());
        write!(f, "{}+{}+{key}", self.name, hex(&self.id()))
    }
}

/// The text with its last line end, and the signatures.
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
