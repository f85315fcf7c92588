//! Groups: what one write and one flush bring to a log file.
//!
//! A group is a clear header and one sealed frame. The header is authenticated on its own, so
//! that behind damaged bytes a later group can still be told from the remains of a torn write:
//! if one is there, the damaged one was acknowledged, and that is corruption, not a crash.

use crate::objects::{take, take_slice};
use kernel::Plaintext;
use vault::Home;
use zeroize::Zeroizing;

/// Bytes of a header: `magic 4 ‖ frame length u32 ‖ group number u64 ‖ file size u64 ‖ tag 16`.
pub(crate) const HEADER: usize = 40;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the frame behind it.
    pub(crate) frame: u32,
    /// Which group of the file, the opening one is 0.
    pub(crate) index: u64,
    /// Bytes the file had when this was written: a file that is shorter now was cut.
    pub(crate) size: u64,
}

impl Header {
    /// As bytes, for this place in this file.
    pub(crate) fn seal(self, home: &Home, prologue: &[u8], offset: u64) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.frame.to_le_bytes());
        out[8..16].copy_from_slice(&self.index.to_le_bytes());
        out[16..24].copy_from_slice(&self.size.to_le_bytes());
        let tag = home.mac(LABEL, &[prologue, &offset.to_le_bytes(), &out[..24]]);
        out[24..].copy_from_slice(&tag[..16]);
        out
    }

    /// The header at the front of `bytes`, if we wrote it for this place in this file.
    pub(crate) fn open(home: &Home, prologue: &[u8], offset: u64, bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..HEADER)?;
        if head[..4] != MAGIC {
            return None;
        }
        let tag = home.mac(LABEL, &[prologue, &offset.to_le_bytes(), &head[..24]]);
        if tag[..16] != head[24..] {
            return None;
        }
        let mut rest = &head[4..];
        Some(Self {
            frame: u32::from_le_bytes(take(&mut rest)?),
            index: u64::from_le_bytes(take(&mut rest)?),
            size: u64::from_le_bytes(take(&mut rest)?),
        })
    }

    /// Whether any header of this file stands anywhere in `bytes`, which begin at `offset`.
    pub(crate) fn any_in(home: &Home, prologue: &[u8], offset: u64, bytes: &[u8]) -> bool {
        bytes
            .windows(MAGIC.len())
            .enumerate()
            .filter(|(_, window)| *window == MAGIC)
            .any(|(i, _)| Self::open(home, prologue, offset + i as u64, &bytes[i..]).is_some())
    }
}

/// What a frame holds.
#[derive(Debug)]
pub(crate) enum Group {
    /// The file's beginning, encoded.
    Opening(Plaintext),
    /// Entries, the first with this number.
    Entries(u64, Vec<Plaintext>),
    /// The place is to be destroyed.
    Drop,
}

impl Group {
    /// An opening as a frame's body.
    pub(crate) fn opening(encoded: &[u8]) -> Plaintext {
        let mut out = Zeroizing::new(Vec::with_capacity(1 + encoded.len()));
        out.push(OPENING);
        out.extend_from_slice(encoded);
        out.into()
    }

    /// Entries as a frame's body: `1 ‖ first u64 ‖ count u32 ‖ (length u32 ‖ bytes)…`. One
    /// allocation of the right size: what the allocator throws away is not zeroised.
    pub(crate) fn entries(first: u64, bodies: &[Plaintext]) -> Plaintext {
        let bytes: usize = bodies.iter().map(|body| 4 + body.len()).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(13 + bytes));
        out.push(ENTRIES);
        put_entries(&mut out, first, bodies);
        out.into()
    }

    /// The end of the place as a frame's body.
    pub(crate) fn drop_place() -> Plaintext {
        Plaintext::from(&[DROP][..])
    }

    /// `None` when the bytes are none of these, whole and alone.
    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        match take::<1>(rest)?[0] {
            OPENING => Some(Self::Opening(Plaintext::from(*rest))),
            ENTRIES => {
                let (first, bodies) = take_entries(rest)?;
                rest.is_empty().then_some(Self::Entries(first, bodies))
            }
            DROP => rest.is_empty().then_some(Self::Drop),
            _ => None,
        }
    }
}

/// `first u64 ‖ count u32 ‖ (length u32 ‖ bytes)…`, in files and in objects alike.
pub(crate) fn put_entries(out: &mut Vec<u8>, first: u64, bodies: &[Plaintext]) {
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&length(bodies.len()));
    for body in bodies {
        out.extend_from_slice(&length(body.len()));
        out.extend_from_slice(body);
    }
}

/// What [`put_entries`] wrote, off the front.
pub(crate) fn take_entries(rest: &mut &[u8]) -> Option<(u64, Vec<Plaintext>)> {
    let first = u64::from_le_bytes(take(rest)?);
    let count = u32::from_le_bytes(take(rest)?);
    let mut bodies = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
        bodies.push(Plaintext::from(take_slice(rest, length)?));
    }
    Some((first, bodies))
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length)
        .expect("entries and groups are bounded far under 4 GiB when they are handed over")
        .to_le_bytes()
}

const MAGIC: [u8; 4] = *b"RFG0";
const LABEL: &[u8] = b"log group";
const OPENING: u8 = 0;
const ENTRIES: u8 = 1;
const DROP: u8 = 2;
