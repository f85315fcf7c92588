//! Names inside the prefix of a keyspace, and their parser. They contain only random ids and numbers.

use kernel::{LogEpoch, ObjectUuid};

/// Identifies one file or object of the log: the epoch of its writer, and its number in that epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogFileId {
    /// Epoch of the writer.
    pub(crate) epoch: LogEpoch,
    /// Number in that epoch, from 1. Files may skip numbers, objects never do.
    pub(crate) number: u64,
}

/// Every kind of name in a keyspace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// `claim/<epoch:010>`: the epoch has a writer. Only in a bucket.
    Claim(LogEpoch),
    /// `log/<epoch:010>-<number:016>`.
    Log(LogFileId),
    /// `ckpt/<epoch:010>-<number:016>`.
    Checkpoint(LogFileId),
    /// `seg/<epoch:010>-<uuid>`, with the epoch of the writer that put it.
    Object(LogEpoch, ObjectUuid),
    /// `cut`: something of the log was deleted at least once. Only in a bucket.
    TruncationMarker,
    /// `DELETED`: nothing else of the keyspace is read any more.
    Tombstone,
}

impl Name {
    /// Epoch of the writer; `None` for the markers.
    pub(crate) fn epoch(self) -> Option<LogEpoch> {
        match self {
            Self::Claim(epoch) | Self::Object(epoch, _) => Some(epoch),
            Self::Log(id) | Self::Checkpoint(id) => Some(id.epoch),
            Self::TruncationMarker | Self::Tombstone => None,
        }
    }

    /// Parses exactly what `Display` writes.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "cut" => return Some(Self::TruncationMarker),
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
            "log" => digits(rest, 16).map(|number| Self::Log(LogFileId { epoch, number })),
            "ckpt" => digits(rest, 16).map(|number| Self::Checkpoint(LogFileId { epoch, number })),
            // A uuid has other spellings too, which we never write.
            "seg" => {
                let uuid = ObjectUuid::parse(rest).ok().filter(|uuid| uuid.to_string() == rest)?;
                Some(Self::Object(epoch, uuid))
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Claim(epoch) => write!(f, "claim/{:010}", epoch.0),
            Self::Log(id) => write!(f, "log/{:010}-{:016}", id.epoch.0, id.number),
            Self::Checkpoint(id) => write!(f, "ckpt/{:010}-{:016}", id.epoch.0, id.number),
            Self::Object(epoch, uuid) => write!(f, "seg/{:010}-{uuid}", epoch.0),
            Self::TruncationMarker => f.write_str("cut"),
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
    fn names_round_trip_and_nothing_else_parses() {
        let id = LogFileId { epoch: LogEpoch(7), number: 12 };
        let uuid = ObjectUuid::random(&SeededEntropy::new(1));
        let all = [
            Name::Claim(LogEpoch(7)),
            Name::Log(id),
            Name::Checkpoint(id),
            Name::Object(LogEpoch(7), uuid),
            Name::TruncationMarker,
            Name::Tombstone,
        ];
        for name in all {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        for other in ["", "log", "log/", "log/1-2", "log/0000000007", "log/0000000007-+00000000000012", "seg/x-y"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
        let upper_case = Name::Object(LogEpoch(7), ObjectUuid::from_bytes([0xed; 16])).to_string().replace("ed", "ED");
        assert_eq!(Name::parse(&upper_case), None, "a uuid has one spelling");
        assert_eq!(Name::parse("log/9999999999-0000000000000001"), None, "an epoch is 32 bits");
    }
}
