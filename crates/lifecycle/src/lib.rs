//! Values that are opened on demand, shared while they are used, and closed when they are not: open tenants, their audit
//! logs, and whatever else has one writer, takes memory or a file, and can be opened again from storage.
//!
//! [`OpenTable`] has an entry for each key. It promises:
//!
//! - One opening of a key at a time. It runs in a task of its own, so a caller that disconnects does not stop it, and
//!   callers that arrive meanwhile wait for the same one.
//! - At most one value of a key is in charge of its storage. A value that was taken out of the table while guards of it
//!   remain is asked to end ([`Openable::end`]); until it has ended or its last guard is dropped, the key is not opened
//!   again.
//! - A value is evicted only if it has no guard, says that it is idle, and could be prepared for it; the least recently
//!   used goes first. Budgets are a number of values and their weight.
//! - A failure is remembered and returned to callers, and the next attempt waits for its [`Backoff`].
//!
//! What a value is, how it opens and what it leaves behind is its owner's matter. The owner keeps what outlives a value,
//! such as queued records, in its own table and passes it to the opener. The opener also waits for what the table does not
//! count, such as files of the process. A key that must never open again gets a failure whose backoff has no end.

mod backoff;
mod guard;
mod table;

pub use backoff::Backoff;
pub use guard::{Guard, WeakGuard};
pub use table::{FailedOpening, OpenTable, Openable, Opening, Refused, TableStats};
