//! Groups: what one write and one flush add to a log file.
//!
//! A group is a plaintext header and one sealed frame. The header is authenticated on its own, so that a later group
//! after damaged bytes can be distinguished from the remains of a torn write: if there is one, the damaged group was
//! acknowledged, which means corruption and not a crash.

use kernel::{ByteReader, MalformedBytes, Plaintext};
use vault::Keyspace;
use zeroize::Zeroizing;

/// Size of a header in bytes: `magic 4 ‖ frame length u32 ‖ group number u64 ‖ file size u64 ‖ tag 16`.
pub(crate) const GROUP_HEADER_BYTES: usize = 40;

/// Header of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHeader {
    /// Length of the frame that follows, in bytes.
    pub(crate) frame: u32,
    /// Number of the group in its file; the file header is group 0.
    pub(crate) index: u64,
    /// Size of the file when the group was written, in bytes: a file that is shorter now was truncated.
    pub(crate) size: u64,
}

impl GroupHeader {
    /// Encodes and authenticates the header for this offset in this file.
    pub(crate) fn seal(self, keyspace: &Keyspace, prologue: &[u8], offset: u64) -> [u8; GROUP_HEADER_BYTES] {
        let mut out = [0; GROUP_HEADER_BYTES];
        out[..4].copy_from_slice(&MAGIC);
        out[4..8].copy_from_slice(&self.frame.to_le_bytes());
        out[8..16].copy_from_slice(&self.index.to_le_bytes());
        out[16..24].copy_from_slice(&self.size.to_le_bytes());
        let tag = keyspace.mac(MAC_LABEL, &[prologue, &offset.to_le_bytes(), &out[..24]]);
        out[24..].copy_from_slice(&tag[..16]);
        out
    }

    /// Decodes the header at the front of `bytes`, if we wrote it for this offset in this file.
    pub(crate) fn open(keyspace: &Keyspace, prologue: &[u8], offset: u64, bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..GROUP_HEADER_BYTES)?;
        if head[..4] != MAGIC {
            return None;
        }
        let tag = keyspace.mac(MAC_LABEL, &[prologue, &offset.to_le_bytes(), &head[..24]]);
        if tag[..16] != head[24..] {
            return None;
        }
        let mut r = ByteReader::new(&head[MAGIC.len()..], "group header");
        Some(Self { frame: r.u32().ok()?, index: r.u64().ok()?, size: r.u64().ok()? })
    }

    /// Whether `bytes`, which begin at `offset`, contain any header of this file.
    pub(crate) fn exists_in(keyspace: &Keyspace, prologue: &[u8], offset: u64, bytes: &[u8]) -> bool {
        bytes
            .windows(MAGIC.len())
            .enumerate()
            .filter(|(_, window)| *window == MAGIC)
            .any(|(i, _)| Self::open(keyspace, prologue, offset + i as u64, &bytes[i..]).is_some())
    }
}

/// Content of a frame.
#[derive(Debug)]
pub(crate) enum Group {
    /// The encoded file header.
    FileHeader(Plaintext),
    /// Number of the first entry, and the entries.
    Entries(u64, Vec<Plaintext>),
    /// The keyspace is to be destroyed.
    Drop,
}

impl Group {
    /// Encodes a file header as the body of a frame.
    pub(crate) fn file_header(encoded: &[u8]) -> Plaintext {
        let mut out = Zeroizing::new(Vec::with_capacity(1 + encoded.len()));
        out.push(FILE_HEADER);
        out.extend_from_slice(encoded);
        out.into()
    }

    /// Encodes entries as the body of a frame: `1 ‖ first u64 ‖ count u32 ‖ (length u32 ‖ bytes)…`. Makes one
    /// allocation of the exact size: memory that a reallocation frees is not zeroised.
    pub(crate) fn entries(first: u64, bodies: &[Plaintext]) -> Plaintext {
        let bytes: usize = bodies.iter().map(|body| 4 + body.len()).sum();
        let mut out = Zeroizing::new(Vec::with_capacity(13 + bytes));
        out.push(ENTRIES);
        put_entries(&mut out, first, bodies);
        out.into()
    }

    /// Encodes the destruction of the keyspace as the body of a frame.
    pub(crate) fn drop_keyspace() -> Plaintext {
        Plaintext::from(&[DROP][..])
    }

    /// Decodes bytes that are exactly one of these.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MalformedBytes> {
        let mut r = ByteReader::new(bytes, "group of a log file");
        let group = match r.u8()? {
            FILE_HEADER => Self::FileHeader(Plaintext::from(r.rest())),
            ENTRIES => {
                let (first, bodies) = read_entries(&mut r)?;
                Self::Entries(first, bodies)
            }
            DROP => Self::Drop,
            _ => return Err(r.malformed()),
        };
        r.end()?;
        Ok(group)
    }
}

/// Encodes `first u64 ‖ count u32 ‖ (length u32 ‖ bytes)…`, for files and objects alike.
pub(crate) fn put_entries(out: &mut Vec<u8>, first: u64, bodies: &[Plaintext]) {
    out.extend_from_slice(&first.to_le_bytes());
    out.extend_from_slice(&length(bodies.len()));
    for body in bodies {
        out.extend_from_slice(&length(body.len()));
        out.extend_from_slice(body);
    }
}

/// Reads what [`put_entries`] wrote.
pub(crate) fn read_entries(r: &mut ByteReader<'_>) -> Result<(u64, Vec<Plaintext>), MalformedBytes> {
    let first = r.u64()?;
    let mut bodies = Vec::new();
    for _ in 0..r.u32()? {
        bodies.push(Plaintext::from(read_body(r)?));
    }
    Ok((first, bodies))
}

/// Reads `length u32 ‖ bytes`.
pub(crate) fn read_body<'a>(r: &mut ByteReader<'a>) -> Result<&'a [u8], MalformedBytes> {
    let length = r.u32()? as usize;
    r.take(length)
}

fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).expect("an append refuses an entry far below 4 GiB").to_le_bytes()
}

const MAGIC: [u8; 4] = *b"RFG0";
const MAC_LABEL: &[u8] = b"log group";
const FILE_HEADER: u8 = 0;
const ENTRIES: u8 = 1;
const DROP: u8 = 2;
