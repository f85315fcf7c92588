//! Names inside a place's prefix, and back. Only random ids and numbers stand in them.

use kernel::{LogEpoch, ObjectUuid};

/// One file or object of the log: the epoch of who writes, and which of its.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartId {
    /// Who writes.
    pub(crate) epoch: LogEpoch,
    /// Which of that epoch, from 1. Files may skip numbers, objects never do.
    pub(crate) part: u64,
}

/// Whatever can stand in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// `claim/<epoch:010>`: that epoch has a writer. In a bucket only.
    Claim(LogEpoch),
    /// `log/<epoch:010>-<part:016>`.
    Log(PartId),
    /// `ckpt/<epoch:010>-<part:016>`.
    Checkpoint(PartId),
    /// `seg/<epoch:010>-<uuid>`, with the epoch of who put it.
    Object(LogEpoch, ObjectUuid),
    /// `cut`: something of the log was deleted once. In a bucket only.
    Cut,
    /// `DELETED`: nothing else of the place is read any more.
    Tombstone,
}

impl Name {
    /// Who wrote it; none for the marks.
    pub(crate) fn epoch(self) -> Option<LogEpoch> {
        match self {
            Self::Claim(epoch) | Self::Object(epoch, _) => Some(epoch),
            Self::Log(id) | Self::Checkpoint(id) => Some(id.epoch),
            Self::Cut | Self::Tombstone => None,
        }
    }

    /// Reads exactly what `Display` writes.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "cut" => return Some(Self::Cut),
            "DELETED" => return Some(Self::Tombstone),
            _ => {}
        }
        let (kind, rest) = name.split_once('/')?;
        if kind == "claim" {
            return parse_epoch(rest).map(Self::Claim);
        }
        let (epoch, rest) = rest.split_once('-')?;
        let epoch = parse_epoch(epoch)?;
        match kind {
            "log" => digits(rest, 16).map(|part| Self::Log(PartId { epoch, part })),
            "ckpt" => digits(rest, 16).map(|part| Self::Checkpoint(PartId { epoch, part })),
            "seg" => ObjectUuid::parse(rest).ok().map(|uuid| Self::Object(epoch, uuid)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Claim(epoch) => write!(f, "claim/{:010}", epoch.0),
            Self::Log(id) => write!(f, "log/{:010}-{:016}", id.epoch.0, id.part),
            Self::Checkpoint(id) => write!(f, "ckpt/{:010}-{:016}", id.epoch.0, id.part),
            Self::Object(epoch, uuid) => write!(f, "seg/{:010}-{uuid}", epoch.0),
            Self::Cut => f.write_str("cut"),
            Self::Tombstone => f.write_str("DELETED"),
        }
    }
}

fn parse_epoch(name: &str) -> Option<LogEpoch> {
    u32::try_from(digits(name, 10)?).ok().map(LogEpoch)
}

fn digits(name: &str, width: usize) -> Option<u64> {
    let whole = name.len() == width && name.bytes().all(|b| b.is_ascii_digit());
    if whole { name.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::SeededEntropy;

    #[test]
    fn names_come_back_and_nothing_else_is_one() {
        let id = PartId { epoch: LogEpoch(7), part: 12 };
        let uuid = ObjectUuid::random(&SeededEntropy::new(1));
        let all = [
            Name::Claim(LogEpoch(7)),
            Name::Log(id),
            Name::Checkpoint(id),
            Name::Object(LogEpoch(7), uuid),
            Name::Cut,
            Name::Tombstone,
        ];
        for name in all {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for other in ["", "log", "log/", "log/1-2", "log/0000000007", "log/0000000007-+00000000000012", "seg/x-y"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        assert_eq!(Name::parse("log/9999999999-0000000000000001"), None, "an epoch is 32 bits");
    }
}
