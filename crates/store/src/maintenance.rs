//! Maintenance of a namespace: flushes, compactions, re-encryption and erasure.
//!
//! One task for each open namespace owns the state and runs one job after another (`task`). Requests reach it as
//! messages ([`MaintenanceQueue`]). Only the building of a large merge runs beside it (`merge`).

mod erase;
mod flush;
mod merge;
mod picker;
mod reencrypt;
mod sweep;
mod task;

pub use erase::{DocumentErasure, DocumentErasureResult};
pub use flush::INLINE_BYTES_MAX;
pub use merge::SHORT_MERGE_BYTES_MAX;
pub use reencrypt::NamespaceReencryption;
pub use sweep::MaintenanceReport;
pub(crate) use sweep::is_due;
pub(crate) use task::{MaintenanceQueue, MaintenanceState};
