//! ledger: the audit log (one sealed, chained record for each event) and usage counters derived from it.
//!
//! Each tenant's records have a keyspace of their own. Every record contains the fingerprint of its predecessor, so a
//! record that is changed, removed, inserted or moved is detected. Records hold who did what and when, counts, and
//! keyed pseudonyms; they never hold a document's id or text. A reply leaves a handler only as [`Audited`], which
//! consumes the request's grant.
//!
//! `schemas/audit.md` specifies the record format.

mod audit_log;
mod audit_log_file;
mod audited;
mod chain;
mod error;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod open_log;
mod page;
mod record;
mod rollback;
mod usage;
mod verify;

pub use audit_log::{AuditLog, AuditLogConfig};
pub use audited::Audited;
pub use error::Error;
pub use event::{ApiKeyEvent, AuditEvent, OutcomeKind, RecordWriter};
pub use page::{AuditHead, AuditPage, MatchingRecords, PagePiece, PageReader, RecordQuery};
pub use rollback::Rollback;
pub use usage::Usage;
pub use verify::{ChainReport, verify_records};
