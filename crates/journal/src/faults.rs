//! Fault injection: points at which tests can put a crash, a full disk or a failing flush.
//!
//! In a normal build every hook is empty. In tests a plan counts steps down and then either ends the "process" (every
//! later step fails as well) or makes one write or flush fail.

use crate::disk::DiskFile;
use std::io;

/// A step that has been completed; the numbered lists above the functions name the same steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The log file exists under its temporary name, complete and flushed.
    FileWritten,
    /// The log file has its final name.
    FileNamed,
    /// The folder of the log file is flushed.
    FileDurable,
    /// The log file has been extended.
    Grown,
    /// A group is written but not flushed.
    GroupWritten,
    /// A group is flushed.
    GroupDurable,
    /// A checkpoint object is durable, and nothing names it yet.
    CheckpointPut,
    /// One old log file is deleted.
    OldLogDeleted,
    /// One old checkpoint is deleted.
    OldCheckpointDeleted,
    /// The Drop entry is durable.
    DropWritten,
    /// The tombstone is durable.
    Tombstone,
    /// The whole keyspace is removed.
    Removed,
}

/// Faults planned by a test; empty in normal builds.
#[derive(Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    plan: std::sync::Mutex<plan::FaultPlan>,
}

#[cfg(not(test))]
impl Faults {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the test build uses self and returns errors")]
    pub(crate) fn after(&self, _: Step) -> io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "the test build uses self")]
    pub(crate) fn write(&self, file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_at(bytes, offset)
    }

    #[expect(clippy::unused_self, reason = "the test build uses self")]
    pub(crate) fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        file.sync_data()
    }
}

#[cfg(test)]
pub(crate) use plan::FaultPlan;

#[cfg(test)]
mod plan {
    use super::*;

    /// Faults to inject, and when.
    #[derive(Default)]
    pub(crate) struct FaultPlan {
        /// Number of steps until the crash.
        pub(crate) crash_after: Option<usize>,
        /// Completed steps, in order.
        pub(crate) done: Vec<Step>,
        /// If set, only these 64-byte pieces of the write at the crash reach the disk (by bit, repeated).
        pub(crate) torn: Option<u64>,
        /// Bytes that the disk still accepts.
        pub(crate) free_bytes: Option<usize>,
        /// Whether the next flush fails.
        pub(crate) fail_sync: bool,
        /// Whether the process has crashed.
        pub(crate) crashed: bool,
    }

    impl Faults {
        pub(crate) fn plan(&self, change: impl FnOnce(&mut FaultPlan)) {
            change(&mut self.plan.lock().unwrap());
        }

        pub(crate) fn done(&self) -> Vec<Step> {
            self.plan.lock().unwrap().done.clone()
        }

        pub(crate) fn after(&self, step: Step) -> io::Result<()> {
            let mut plan = self.plan.lock().unwrap();
            plan.ensure_running()?;
            plan.done.push(step);
            if plan.crash_after.is_some_and(|steps| plan.done.len() >= steps) {
                plan.crashed = true;
            }
            plan.ensure_running()
        }

        pub(crate) fn write(&self, file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
            let mut plan = self.plan.lock().unwrap();
            plan.ensure_running()?;
            let crashes_here = plan.crash_after.is_some_and(|steps| plan.done.len() + 1 >= steps);
            if let (true, Some(mask)) = (crashes_here, plan.torn) {
                for (i, piece) in bytes.chunks(64).enumerate() {
                    if mask >> (i % 64) & 1 == 1 {
                        file.write_at(piece, offset + 64 * i as u64)?;
                    }
                }
                plan.crashed = true;
                return plan.ensure_running();
            }
            if let Some(free_bytes) = plan.free_bytes {
                let fits = free_bytes.min(bytes.len());
                file.write_at(&bytes[..fits], offset)?;
                plan.free_bytes = Some(free_bytes - fits);
                if fits < bytes.len() {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                return Ok(());
            }
            file.write_at(bytes, offset)
        }

        pub(crate) fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
            let mut plan = self.plan.lock().unwrap();
            plan.ensure_running()?;
            if std::mem::take(&mut plan.fail_sync) {
                return Err(io::Error::other("flush failed by the test"));
            }
            file.sync_data()
        }
    }

    impl FaultPlan {
        fn ensure_running(&self) -> io::Result<()> {
            if self.crashed { Err(io::Error::other("crashed by the test")) } else { Ok(()) }
        }
    }
}
