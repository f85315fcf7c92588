//! Maintenance of a namespace: flushes, compactions, re-encryption and erasure.
//!
//! One task for each open namespace owns the state and runs one job after another (`task`). Requests reach it as
//! messages ([`MaintenanceQueue`]). Only the building of a large merge runs beside it (`merge`).

mod erase;
mod flush;
mod merge;
mod orphans;
mod picker;
mod queue;
mod reencrypt;
mod state;
mod sweep;
mod task;

pub use erase::DocumentErasureResult;
pub use flush::INLINE_BYTES_MAX;
pub use picker::SHORT_MERGE_BYTES_MAX;
pub use queue::DocumentErasure;
pub(crate) use queue::MaintenanceQueue;
pub use reencrypt::NamespaceReencryption;
pub(crate) use state::MaintenanceState;
pub use sweep::MaintenanceReport;
pub(crate) use sweep::is_due;
pub(crate) use task::start;
