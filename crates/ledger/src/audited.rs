//! Proof that a reply stands in the audit.

/// A reply or an error whose audit line is written, queued, or in the commit that it speaks of.
///
/// Made only by consuming a grant in [`crate::Trail`]:
///
/// ```compile_fail
/// let reply = ledger::Audited { body: 1 };
/// ```
#[derive(Debug)]
#[must_use = "the audit says that this was answered"]
pub struct Audited<T> {
    body: T,
}

impl<T> Audited<T> {
    pub(crate) fn new(body: T) -> Self {
        Self { body }
    }

    /// What goes out.
    pub fn into_body(self) -> T {
        self.body
    }

    /// A look at it.
    pub fn body(&self) -> &T {
        &self.body
    }
}
