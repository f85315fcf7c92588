//! Format of API keys and operator tokens: `rf_` or `rfop_`, 12 base62 digits of public id, 32 of secret, and 6 of a
//! CRC-32 over everything before them.
//!
//! The prefix lets secret scanners find a leaked token. The CRC lets the scanners and the server drop a mistyped one
//! without a look-up. It proves nothing: the MAC of the secret does.

use kernel::{Entropy, Error, KeyId};
use zeroize::Zeroizing;

/// Length of each part, digits.
const ID: usize = 12;
const SECRET: usize = 32;
const CRC: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    /// A tenant's API key, `rf_…`.
    Key,
    /// An operator's token, `rfop_…`.
    Operator,
}

impl TokenKind {
    fn prefix(self) -> &'static str {
        match self {
            TokenKind::Key => "rf_",
            TokenKind::Operator => "rfop_",
        }
    }
}

/// A token of the right form. It has no `Debug`, because it holds the secret.
pub struct Token<'a> {
    /// Kind of the token.
    pub kind: TokenKind,
    /// Public part, which identifies the record.
    pub id: KeyId,
    /// Secret part, whose MAC is compared.
    pub secret: &'a str,
}

/// The text is no token. The error says no more, so that no part of a secret can leak with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token: wrong form or checksum")]
pub struct Malformed;

/// Creates a token. Returns its public id, the whole token, which is shown once, and the secret part, of which only the
/// MAC may be kept.
pub fn mint(kind: TokenKind, entropy: &dyn Entropy) -> (KeyId, Zeroizing<String>, Zeroizing<String>) {
    let id = base62(ID, entropy);
    let secret = base62(SECRET, entropy);
    let mut token_text = Zeroizing::new(String::with_capacity(64));
    token_text.push_str(kind.prefix());
    token_text.push_str(&id);
    token_text.push_str(&secret);
    let check = checksum(token_text.as_bytes());
    token_text.push_str(std::str::from_utf8(&check).expect("base62 digits are ASCII"));
    (KeyId::parse(&id).expect("12 base62 digits are a key id"), token_text, secret)
}

/// Parses a token. It checks the form and the CRC, nothing else.
///
/// # Errors
/// [`Malformed`] for anything else.
pub fn parse(text: &str) -> Result<Token<'_>, Malformed> {
    let kind =
        [TokenKind::Key, TokenKind::Operator].into_iter().find(|k| text.starts_with(k.prefix())).ok_or(Malformed)?;
    let body = &text[kind.prefix().len()..];
    if body.len() != ID + SECRET + CRC || !body.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Malformed);
    }
    let (checked, check) = text.split_at(text.len() - CRC);
    if checksum(checked.as_bytes()) != check.as_bytes() {
        return Err(Malformed);
    }
    let id = KeyId::parse(&body[..ID]).map_err(|_| Malformed)?;
    Ok(Token { kind, id, secret: &body[ID..ID + SECRET] })
}

/// Parses the operator token in the environment variable `RINGFENCE_OPERATOR_TOKEN`.
///
/// # Errors
/// `invalid_request`, which names the variable, the form and the remedy.
pub fn adopt(text: &str) -> Result<Token<'_>, Error> {
    parse(text.trim()).ok().filter(|t| t.kind == TokenKind::Operator).ok_or_else(|| {
        Error::invalid(
            "RINGFENCE_OPERATOR_TOKEN",
            "must be an operator token: 'rfop_', 44 letters or digits, and a 6-digit checksum; \
             unset it to let the first start print a new one",
        )
    })
}

fn base62(digits: usize, entropy: &dyn Entropy) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(digits));
    let mut bytes = Zeroizing::new([0u8; 64]);
    while out.len() < digits {
        entropy.fill(bytes.as_mut());
        // 248 is 4 × 62: the bytes from it on would make the first digits likelier.
        let fair = bytes.iter().filter(|b| **b < 248).map(|b| char::from(DIGITS[usize::from(b % 62)]));
        let missing = digits - out.len();
        out.extend(fair.take(missing));
    }
    out
}

fn checksum(bytes: &[u8]) -> [u8; CRC] {
    let mut crc = crc32(bytes);
    let mut out = [0; CRC];
    for digit in out.iter_mut().rev() {
        *digit = DIGITS[(crc % 62) as usize];
        crc /= 62;
    }
    out
}

/// CRC-32 as in ISO 3309 (reflected, polynomial 0xEDB88320). Bit by bit: tokens are short.
const fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let mut i = 0;
    while i < bytes.len() {
        crc ^= bytes[i] as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        i += 1;
    }
    !crc
}

#[cfg(test)]
mod tests;
