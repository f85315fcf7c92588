//! Names inside a place's prefix, and back. Only random ids and numbers stand in them.

use kernel::{LogEpoch, ObjectUuid};

/// One file of the log: the epoch of who writes, and which of its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartId {
    /// Who writes.
    pub(crate) epoch: LogEpoch,
    /// Which file of that epoch; grows, may skip.
    pub(crate) part: u64,
}

impl PartId {
    /// `log/<epoch:010>/<part:016>`.
    pub(crate) fn log_name(self) -> String {
        format!("log/{:010}/{:016}", self.epoch.0, self.part)
    }

    /// `ckpt/<epoch:010>-<part:016>`.
    pub(crate) fn checkpoint_name(self) -> String {
        format!("ckpt/{:010}-{:016}", self.epoch.0, self.part)
    }
}

/// `<epoch:010>`, the folder of an epoch's log files.
pub(crate) fn epoch(epoch: LogEpoch) -> String {
    format!("{:010}", epoch.0)
}

/// `claim/<epoch:010>`.
pub(crate) fn claim(epoch: LogEpoch) -> String {
    format!("claim/{:010}", epoch.0)
}

/// `seg/<uuid>`.
pub(crate) fn object(uuid: ObjectUuid) -> String {
    format!("seg/{uuid}")
}

/// The tombstone.
pub(crate) const DELETED: &str = "DELETED";

/// An epoch, when the name has exactly the form that we write.
pub(crate) fn parse_epoch(name: &str) -> Option<LogEpoch> {
    let number = digits(name, 10)?;
    u32::try_from(number).ok().map(LogEpoch)
}

/// A part's number, likewise.
pub(crate) fn parse_part(name: &str) -> Option<u64> {
    digits(name, 16)
}

fn digits(name: &str, width: usize) -> Option<u64> {
    let whole = name.len() == width && name.bytes().all(|b| b.is_ascii_digit());
    if whole { name.parse().ok() } else { None }
}
