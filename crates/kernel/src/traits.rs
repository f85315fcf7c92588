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

/// A mutation's audit line, handed from the commit that carried it to the tenant's chain.
pub struct Absorbed {
    /// Whose.
    pub incarnation: crate::Incarnation,
    /// Which namespace's log carried it.
    pub namespace: crate::NamespaceUuid,
    /// In which commit. One line a commit; handed over at least once, in order.
    pub commit: crate::CommitNo,
    /// The line, as the ledger wrote it.
    pub line: Vec<u8>,
}

/// A future in a box, so that kernel needs no runtime.
pub type BoxFuture<'a, T> = std::pin::Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where lines go once their commit is durable. The store cuts its log only behind what was absorbed.
pub trait AuditSink: Send + Sync {
    /// Makes the line durable in the tenant's chain, once however often it is called.
    fn absorb(&self, line: Absorbed) -> BoxFuture<'_, Result<(), crate::Error>>;
}
