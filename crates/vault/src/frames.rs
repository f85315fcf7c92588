//! Log frames: sealed entries in sequence, each bound to its number, its log and the previous frame.
//!
//! A reader can distinguish what a crash leaves (zeroes, or a frame cut short after an authentic header) from what a
//! crash cannot leave (anything that does not authenticate).

use crate::{
    Error, FORMAT_VERSION, Result, SecretKey,
    crypto::{Aead, Cipher, HmacKey, NONCE, TAG, constant_time_eq, sha256},
    identity, wrap,
};
use kernel::{ByteReader, Entropy, KeyEpoch, LogEpoch, ObjectUuid, Plaintext, limits};

/// Length of a log's prologue in bytes: magic, version, log uuid, log epoch, epoch of the keyspace key, length of the
/// wrap, the wrap.
pub const LOG_PROLOGUE_BYTES: usize = PROLOGUE_HEAD + wrap::TWO_KEYS_BYTES;
/// Bytes that a frame adds to its body.
pub const FRAME_OVERHEAD_BYTES: usize = HEADER + TAG;

const PROLOGUE_HEAD: usize = 4 + 1 + 16 + 4 + 4 + 2;
const LOG_MAGIC: &[u8; 4] = b"RFLG";
const FRAME_MAGIC: &[u8; 4] = b"RFFR";
/// Size of the authenticated part of a header: magic, length of the body, sequence number, nonce.
const HEAD: usize = 4 + 4 + 8 + NONCE;
const HEAD_MAC: usize = 16;
const HEADER: usize = HEAD + HEAD_MAC;
/// Frames per log, so that random nonces under one key stay far below the 2^32 that NIST SP 800-38D allows.
const FRAMES_MAX: u64 = 1 << 31;

/// Seals the frames of one log, in order. A log has only one sealer, held by its writer.
pub struct FrameSealer {
    chain: FrameChain,
    frames: u64,
}

impl FrameSealer {
    pub(crate) fn new(identity: Vec<u8>, object: ObjectUuid, keys: [SecretKey; 2], prologue: &[u8]) -> Self {
        Self { chain: FrameChain::new(identity, object, keys, prologue), frames: 0 }
    }

    /// Seals one entry. The frame must be written directly after the previous one, or the log ends there for readers.
    ///
    /// # Errors
    /// [`Error::TooLarge`] over `limits::LOG_FRAME_BYTES_MAX`; [`Error::LogKeyExhausted`] after 2^31 frames.
    pub fn seal(&mut self, seq: u64, body: &[u8], entropy: &dyn Entropy) -> Result<Vec<u8>> {
        if body.len() > limits::LOG_FRAME_BYTES_MAX {
            return Err(Error::TooLarge { what: "log frame", bytes: body.len(), max: limits::LOG_FRAME_BYTES_MAX });
        }
        if self.frames == FRAMES_MAX {
            return Err(Error::LogKeyExhausted);
        }
        let mut nonce = [0; NONCE];
        entropy.fill(&mut nonce);
        let length = u32::try_from(body.len()).expect("the limit is below 4 GiB");

        let mut frame = Vec::with_capacity(body.len() + FRAME_OVERHEAD_BYTES);
        frame.extend_from_slice(FRAME_MAGIC);
        frame.extend_from_slice(&length.to_be_bytes());
        frame.extend_from_slice(&seq.to_be_bytes());
        frame.extend_from_slice(&nonce);
        let mac = self.chain.header_mac(&frame);
        frame.extend_from_slice(&mac);
        frame.extend_from_slice(body);
        let tag = self.chain.cipher().seal(&nonce, &self.chain.aad(seq), &mut frame[HEADER..]);
        frame.extend_from_slice(&tag);
        self.chain.advance(&mac, &tag);
        self.frames += 1;
        Ok(frame)
    }
}

/// Opens the frames of one log, in order.
pub struct FrameOpener {
    chain: FrameChain,
    epoch: LogEpoch,
}

impl FrameOpener {
    pub(crate) fn new(
        identity: Vec<u8>,
        object: ObjectUuid,
        epoch: LogEpoch,
        keys: [SecretKey; 2],
        prologue: &[u8],
    ) -> Self {
        Self { chain: FrameChain::new(identity, object, keys, prologue), epoch }
    }

    /// The log epoch that the prologue names, authenticated.
    pub fn epoch(&self) -> LogEpoch {
        self.epoch
    }

    /// The log's uuid, authenticated.
    pub fn object(&self) -> ObjectUuid {
        self.chain.object
    }

    #[cfg(all(test, not(feature = "portable")))]
    pub(crate) fn keys(&self) -> &[SecretKey; 2] {
        &self.chain.keys
    }

    /// Opens the frame at the start of `bytes`, which reach to the end of what was read, and returns its number, its
    /// body and its length. `None` where no frame begins (no bytes, or a header of zeroes) or where the bytes end
    /// before the frame does: a torn tail. After `None` or an error the opener's position is unchanged.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a header or a body that does not authenticate as the next frame.
    pub fn open(&mut self, bytes: &[u8]) -> Result<Option<(u64, Plaintext, usize)>> {
        let header = &bytes[..bytes.len().min(HEADER)];
        if header.len() < HEADER || header.iter().all(|b| *b == 0) {
            return Ok(None);
        }
        let (head, mac) = header.split_at(HEAD);
        let (length, seq, nonce, mac) =
            self.read_head(head, mac).ok_or_else(|| self.corrupt("the header does not authenticate"))?;
        let used = HEADER + length + TAG;
        let Some(rest) = bytes.get(HEADER..used) else { return Ok(None) };
        let (body, tag) = rest.split_last_chunk::<TAG>().ok_or_else(|| self.corrupt("the frame has no tag"))?;

        let mut plain = Plaintext::zeroed(length);
        self.chain
            .cipher()
            .open_into(&nonce, &self.chain.aad(seq), body, tag, &mut plain)
            .map_err(|_| self.corrupt("the body does not authenticate"))?;
        self.chain.advance(&mac, tag);
        Ok(Some((seq, plain, used)))
    }

    fn read_head(&self, head: &[u8], mac: &[u8]) -> Option<(usize, u64, [u8; NONCE], [u8; HEAD_MAC])> {
        if !constant_time_eq(mac, &self.chain.header_mac(head)) {
            return None;
        }
        let mut r = ByteReader::new(head.strip_prefix(FRAME_MAGIC)?, "frame header");
        let length = u32::from_be_bytes(r.array().ok()?) as usize;
        (length <= limits::LOG_FRAME_BYTES_MAX).then_some(())?;
        Some((length, u64::from_be_bytes(r.array().ok()?), r.array().ok()?, *mac.first_chunk()?))
    }

    fn corrupt(&self, why: &'static str) -> Error {
        Error::corrupt("log frame", self.chain.object, why)
    }
}

/// The keys of a log and the position in its chain of frames. Ciphers and MACs are created from the keys for each
/// frame: a cipher's key schedule lies in ordinary memory, and a log is open for long.
struct FrameChain {
    object: ObjectUuid,
    identity: Vec<u8>,
    /// The keys for bodies and for headers.
    keys: [SecretKey; 2],
    /// The header's MAC and the body's tag of the previous frame; before the first frame, the hash of the prologue.
    /// Without the keys no other frame with these values can be made, and a hash over every byte would cost more than
    /// sealing it.
    previous: [u8; HEAD_MAC + TAG],
}

impl FrameChain {
    fn new(identity: Vec<u8>, object: ObjectUuid, keys: [SecretKey; 2], prologue: &[u8]) -> Self {
        Self { object, identity, keys, previous: sha256(prologue) }
    }

    fn cipher(&self) -> Cipher {
        Cipher::new(self.keys[0].bytes())
    }

    /// The header has its own MAC, so that an altered length is detected and not taken for a torn tail.
    fn header_mac(&self, head: &[u8]) -> [u8; HEAD_MAC] {
        let mac = HmacKey::new(self.keys[1].bytes()).mac(&[&self.previous, head]);
        let mut out = [0; HEAD_MAC];
        out.copy_from_slice(&mac[..HEAD_MAC]);
        out
    }

    fn aad(&self, seq: u64) -> Vec<u8> {
        [&self.identity[..], &identity::fields(&[&seq.to_be_bytes(), &self.previous])].concat()
    }

    fn advance(&mut self, mac: &[u8; HEAD_MAC], tag: &[u8; TAG]) {
        self.previous[..HEAD_MAC].copy_from_slice(mac);
        self.previous[HEAD_MAC..].copy_from_slice(tag);
    }
}

/// Content of a log's prologue: the log's identity and its wrapped keys.
pub(crate) struct LogPrologue<'a> {
    pub(crate) object: ObjectUuid,
    pub(crate) epoch: LogEpoch,
    /// Epoch of the keyspace key that wraps.
    pub(crate) key: KeyEpoch,
    pub(crate) wrapped: &'a [u8],
}

impl<'a> LogPrologue<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = u16::try_from(self.wrapped.len()).expect("a wrap of two keys is 93 bytes");
        let (epoch, key) = (self.epoch.0.to_be_bytes(), self.key.0.to_be_bytes());
        let head = [&LOG_MAGIC[..], &[FORMAT_VERSION], self.object.as_bytes(), &epoch, &key, &length.to_be_bytes()];
        [&head.concat()[..], self.wrapped].concat()
    }

    /// Parses the prologue at the start of `bytes`; `None` for anything of another form.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let fields = bytes.get(..LOG_PROLOGUE_BYTES)?.strip_prefix(LOG_MAGIC)?.strip_prefix(&[FORMAT_VERSION])?;
        let mut r = ByteReader::new(fields, "prologue of a log");
        let object = ObjectUuid::from_bytes(r.array().ok()?);
        let epoch = LogEpoch(u32::from_be_bytes(r.array().ok()?));
        let key = KeyEpoch(u32::from_be_bytes(r.array().ok()?));
        let length = u16::from_be_bytes(r.array().ok()?);
        let wrapped = r.rest();
        (usize::from(length) == wrapped.len()).then_some(Self { object, epoch, key, wrapped })
    }
}

#[cfg(test)]
mod tests;
