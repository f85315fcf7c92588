//! Where a crash, a full disk or a failing flush can be put, so that tests can.
//!
//! In a normal build every hook is empty. In tests a plan counts steps down and then either ends
//! the "process" (every later step fails as well) or lets one write or flush fail.

use crate::disk::DiskFile;
use std::io;

/// One thing that is done, in the words of the lists above the functions that do them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The log file exists under its temporary name, whole and flushed.
    PartWritten,
    /// It has its name.
    PartNamed,
    /// Its folder is flushed.
    PartDurable,
    /// The log file has more room.
    Grown,
    /// A group is written, not flushed.
    GroupWritten,
    /// And flushed.
    GroupDurable,
    /// A checkpoint object is durable; nothing names it.
    CheckpointPut,
    /// One old log file is gone.
    OldLogDeleted,
    /// One old checkpoint is gone.
    OldCheckpointDeleted,
    /// The Drop entry is durable.
    DropWritten,
    /// The tombstone is durable.
    Tombstone,
    /// All of the place is gone.
    Removed,
}

/// The plan of a test; nothing otherwise.
#[derive(Default)]
pub(crate) struct Faults {
    #[cfg(test)]
    plan: std::sync::Mutex<plan::Plan>,
}

#[cfg(not(test))]
impl Faults {
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the test build's has both")]
    pub(crate) fn after(&self, _: Step) -> io::Result<()> {
        Ok(())
    }

    #[expect(clippy::unused_self, reason = "the test build's has one")]
    pub(crate) fn write(&self, file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_at(bytes, offset)
    }

    #[expect(clippy::unused_self, reason = "the test build's has one")]
    pub(crate) fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
        file.sync_data()
    }
}

#[cfg(test)]
pub(crate) use plan::Plan;

#[cfg(test)]
mod plan {
    use super::*;

    /// What goes wrong, and when.
    #[derive(Default)]
    pub(crate) struct Plan {
        /// Steps until the crash.
        pub(crate) crash_after: Option<usize>,
        /// Steps that were done, in order.
        pub(crate) done: Vec<Step>,
        /// At the crash's write, only these 64-byte pieces of it reach the disk (by bit, repeated).
        pub(crate) torn: Option<u64>,
        /// Bytes that the disk still takes.
        pub(crate) room: Option<usize>,
        /// The next flush fails.
        pub(crate) fail_sync: bool,
        /// The process has ended.
        pub(crate) dead: bool,
    }

    impl Faults {
        pub(crate) fn plan(&self, change: impl FnOnce(&mut Plan)) {
            change(&mut self.plan.lock().unwrap());
        }

        pub(crate) fn done(&self) -> Vec<Step> {
            self.plan.lock().unwrap().done.clone()
        }

        pub(crate) fn after(&self, step: Step) -> io::Result<()> {
            let mut plan = self.plan.lock().unwrap();
            plan.alive()?;
            plan.done.push(step);
            if plan.crash_after.is_some_and(|steps| plan.done.len() >= steps) {
                plan.dead = true;
            }
            plan.alive()
        }

        pub(crate) fn write(&self, file: &dyn DiskFile, bytes: &[u8], offset: u64) -> io::Result<()> {
            let mut plan = self.plan.lock().unwrap();
            plan.alive()?;
            let crashes_next = plan.crash_after.is_some_and(|steps| plan.done.len() + 1 >= steps);
            if let (true, Some(mask)) = (crashes_next, plan.torn) {
                for (i, piece) in bytes.chunks(64).enumerate() {
                    if mask >> (i % 64) & 1 == 1 {
                        file.write_at(piece, offset + 64 * i as u64)?;
                    }
                }
                plan.dead = true;
                return plan.alive();
            }
            if let Some(room) = plan.room {
                let fits = room.min(bytes.len());
                file.write_at(&bytes[..fits], offset)?;
                plan.room = Some(room - fits);
                if fits < bytes.len() {
                    return Err(io::Error::from(io::ErrorKind::StorageFull));
                }
                return Ok(());
            }
            file.write_at(bytes, offset)
        }

        pub(crate) fn sync(&self, file: &dyn DiskFile) -> io::Result<()> {
            let mut plan = self.plan.lock().unwrap();
            plan.alive()?;
            if std::mem::take(&mut plan.fail_sync) {
                return Err(io::Error::other("flush failed by the test"));
            }
            file.sync_data()
        }
    }

    impl Plan {
        fn alive(&self) -> io::Result<()> {
            if self.dead { Err(io::Error::other("crashed by the test")) } else { Ok(()) }
        }
    }
}
