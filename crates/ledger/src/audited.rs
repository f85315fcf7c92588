//! Proof that a reply has been audited.

/// A reply or an error whose audit record is written, queued, or part of the commit that the reply reports.
///
/// Only [`crate::AuditLog`] creates one, and it consumes a grant to do so:
///
/// ```compile_fail
/// let reply = ledger::Audited { body: 1 };
/// ```
#[derive(Debug)]
#[must_use = "the audit log records this reply as sent"]
pub struct Audited<T> {
    body: T,
}

impl<T> Audited<T> {
    pub(crate) fn new(body: T) -> Self {
        Self { body }
    }

    /// Returns the reply to send.
    pub fn into_body(self) -> T {
        self.body
    }

    /// Borrows the reply.
    pub fn body(&self) -> &T {
        &self.body
    }
}
