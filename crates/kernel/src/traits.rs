//! Small traits handed downward: what a low floor needs from a higher one.

/// One token of a text: byte range in that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenSpan {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// A model's own tokeniser, as the chunker and the context budget see it.
pub trait Tokens: Send + Sync {
    /// Tokens of `text` without special ones, in order. Ranges lie on char borders.
    fn spans(&self, text: &str) -> Vec<TokenSpan>;

    /// How many there are.
    fn count(&self, text: &str) -> usize {
        self.spans(text).len()
    }

    /// What the counts mean, e.g. `all-MiniLM-L6-v2`.
    fn name(&self) -> &str;
}

/// A keyed one-way name under one tenant's audit key: equal inputs give equal names inside the
/// tenant, and nobody without the key can go back or compare across tenants.
pub trait Pseudonymiser: Send + Sync {
    /// 16 bytes of HMAC-SHA-256 over the length-prefixed parts.
    fn pseudonym(&self, parts: &[&[u8]]) -> [u8; 16];
}
