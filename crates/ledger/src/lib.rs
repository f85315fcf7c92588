//! ledger: what was done: one sealed, chained audit line for each deed, and counters of use.
//!
//! A tenant's lines stand in a place of its own, under its own keys; each names the fingerprint of
//! the one before, so a line that was changed, removed, added or moved is seen. Lines hold who,
//! what, when, how many and keyed pseudonyms, never a document's id or text. A reply leaves a
//! handler only as [`Audited`], which is made by consuming its grant.
//!
//! The form of a line stands in `schemas/audit.md`.

mod audited;
mod book;
mod chain;
mod deed;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod line;
mod page;
mod rollback;
mod trail;
mod usage;
mod verify;

pub use audited::Audited;
pub use deed::{ApiKeyDeed, Deed, OutcomeKind, Pen};
pub use error::Error;
pub use page::{AuditHead, AuditPage, Found, PageReader, Piece, Reading};
pub use rollback::Rollback;
pub use trail::{Trail, TrailConfig};
pub use usage::Usage;
pub use verify::{ChainReport, verify_lines};
