//! FLOE (c2sp.org/FLOE, ePrint 2025/2275): sealed objects in segments of fixed length, each bound to its number and to
//! whether it is the last; the header commits to the key and the associated data.
//!
//! It is built from AES-256-GCM and HKDF-Expand-SHA-384 only. Names follow the specification.

use crate::crypto::{Aead, AuthenticationFailed, Cipher, KEY, NONCE, TAG, constant_time_eq, expand_sha384};
use kernel::{Entropy, Plaintext, limits};
use zeroize::Zeroizing;

pub(crate) mod reader;

/// Parameters of messages that are opened whole: 1 MiB of plaintext per segment.
pub(crate) const OBJECTS: Params = Params { segment_len: (1 << 20) + SEGMENT_OVERHEAD as u32, rotation_bits: 20 };
/// Parameters of messages that are read in pages: [`limits::PAGE_BYTES`] of plaintext per segment.
pub(crate) const PAGES: Params =
    Params { segment_len: (limits::PAGE_BYTES + SEGMENT_OVERHEAD) as u32, rotation_bits: 20 };

/// Parameters that the writer and the reader agree on.
#[derive(Clone, Copy)]
pub(crate) struct Params {
    /// Size of a sealed segment in bytes, overhead included (`ENC_SEG_LEN`).
    pub(crate) segment_len: u32,
    /// The segment key changes every 2^`rotation_bits` segments: 20 in the specification, fewer in its test vectors.
    pub(crate) rotation_bits: u32,
}

const IV: usize = 32;
const HEADER_TAG: usize = 32;
const HEADER: usize = PARAMS + IV + HEADER_TAG;
const PARAMS: usize = 10;
const LENGTH: usize = 4;
const SEGMENT_OVERHEAD: usize = LENGTH + NONCE + TAG;
const NOT_LAST: [u8; LENGTH] = [0xFF; LENGTH];

/// Nonces that are drawn at once: a draw is a system call, which is slow compared to sealing a page.
const NONCES_PER_DRAW: usize = 64;

/// Size in bytes of a sealed message of `plain` bytes.
pub(crate) fn sealed_len(params: &Params, plain: usize) -> usize {
    HEADER + plain + params.segments(plain) * SEGMENT_OVERHEAD
}

/// Seals `plain` under a key that seals nothing else.
#[cfg(test)]
pub(crate) fn seal(params: &Params, key: &[u8; KEY], aad: &[u8], plain: &[u8], entropy: &dyn Entropy) -> Vec<u8> {
    let mut out = vec![0; sealed_len(params, plain.len())];
    seal_into(params, key, aad, plain, entropy, &mut out);
    out
}

/// Seals `plain` under a key that seals nothing else, into [`sealed_len`] bytes.
pub(crate) fn seal_into(
    params: &Params,
    key: &[u8; KEY],
    aad: &[u8],
    plain: &[u8],
    entropy: &dyn Entropy,
    out: &mut [u8],
) {
    let mut iv = [0; IV];
    entropy.fill(&mut iv);
    let kdf = Kdf { params: params.encode(), iv, aad };
    let (header, body) = out.split_at_mut(HEADER);
    header.copy_from_slice(&[&kdf.params[..], &iv, &kdf.header_tag(key)].concat());

    let mut keys = SegmentKeys::new(params, &kdf, key);
    let segments = params.segments(plain.len());
    let mut pieces = plain.chunks(params.plain_len());
    let mut nonces = [0; NONCE * NONCES_PER_DRAW];
    for (number, segment) in body.chunks_mut(params.segment_len as usize).enumerate() {
        let (nonce_index, left) = (number % NONCES_PER_DRAW, segments - number);
        if nonce_index == 0 {
            entropy.fill(&mut nonces[..NONCE * left.min(NONCES_PER_DRAW)]);
        }
        let mut nonce = [0; NONCE];
        nonce.copy_from_slice(&nonces[NONCE * nonce_index..NONCE * (nonce_index + 1)]);
        // An empty message has one empty segment.
        let (piece, last) = (pieces.next().unwrap_or_default(), left == 1);
        segment[..LENGTH].copy_from_slice(&if last { params.last_len(piece.len()) } else { NOT_LAST });
        segment[LENGTH..LENGTH + NONCE].copy_from_slice(&nonce);
        let (number, out_buffer) = (number as u64, &mut segment[LENGTH + NONCE..]);
        keys.cipher(number).seal_into(&nonce, &segment_aad(number, last), piece, out_buffer);
    }
}

/// Opens what [`seal_into`] sealed with the same parameters, key and associated data.
pub(crate) fn open(
    params: &Params,
    key: &[u8; KEY],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Plaintext, AuthenticationFailed> {
    let length = reader::plain_len(params, sealed.len() as u64)?;
    let (header, mut rest) = sealed.split_first_chunk::<HEADER>().ok_or(AuthenticationFailed)?;
    let kdf = Kdf::of(params, header, aad);
    kdf.check(header, key)?;

    let mut keys = SegmentKeys::new(params, &kdf, key);
    let mut plain = Plaintext::zeroed(usize::try_from(length).map_err(|_| AuthenticationFailed)?);
    let mut out_buffer = &mut plain[..];
    for number in 0.. {
        let (segment, after, last) = params.split_segment(rest)?;
        let (nonce, segment) = segment.split_first_chunk::<NONCE>().ok_or(AuthenticationFailed)?;
        let (piece, tag) = segment.split_last_chunk::<TAG>().ok_or(AuthenticationFailed)?;
        let (out, left) = out_buffer.split_at_mut_checked(piece.len()).ok_or(AuthenticationFailed)?;
        keys.cipher(number).open_into(nonce, &segment_aad(number, last), piece, tag, out)?;
        (rest, out_buffer) = (after, left);
        if last {
            break;
        }
    }
    // The last segment ends the message, so all of it was opened.
    debug_assert!(out_buffer.is_empty());
    Ok(plain)
}

impl Params {
    fn encode(&self) -> [u8; PARAMS] {
        let mut out = [0; PARAMS];
        // The codes of AES-256-GCM and of HKDF-Expand-SHA-384 are both 0.
        out[2..6].copy_from_slice(&self.segment_len.to_be_bytes());
        out[6..].copy_from_slice(&(IV as u32).to_be_bytes());
        out
    }

    fn plain_len(&self) -> usize {
        self.segment_len as usize - SEGMENT_OVERHEAD
    }

    /// Number of segments for `plain` bytes, at least one.
    fn segments(&self, plain: usize) -> usize {
        plain.div_ceil(self.plain_len()).max(1)
    }

    /// The number from which a segment's key is derived.
    fn masked(&self, number: u64) -> u64 {
        number >> self.rotation_bits << self.rotation_bits
    }

    fn last_len(&self, plain: usize) -> [u8; LENGTH] {
        u32::try_from(plain + SEGMENT_OVERHEAD).expect("a segment's length fits its own parameter").to_be_bytes()
    }

    /// Splits off the next segment: returns it without its length field, what follows it, and whether it is the last.
    /// The last one ends the object; every other has exactly the length that the parameters state.
    fn split_segment<'a>(&self, rest: &'a [u8]) -> Result<(&'a [u8], &'a [u8], bool), AuthenticationFailed> {
        let length = *rest.first_chunk::<LENGTH>().ok_or(AuthenticationFailed)?;
        let full = self.segment_len as usize;
        let last = length != NOT_LAST;
        let bytes = if last { u32::from_be_bytes(length) as usize } else { full };
        if bytes > full || bytes < SEGMENT_OVERHEAD || rest.len() < bytes || (last && rest.len() != bytes) {
            return Err(AuthenticationFailed);
        }
        let (segment, after) = rest.split_at(bytes);
        Ok((&segment[LENGTH..], after, last))
    }
}

/// `FLOE_KDF`, bound to the parameters, the IV and the associated data.
struct Kdf<'a> {
    params: [u8; PARAMS],
    iv: [u8; IV],
    aad: &'a [u8],
}

impl<'a> Kdf<'a> {
    /// As a header says, which is not checked yet.
    fn of(params: &Params, header: &[u8; HEADER], aad: &'a [u8]) -> Self {
        let mut iv = [0; IV];
        iv.copy_from_slice(&header[PARAMS..PARAMS + IV]);
        Self { params: params.encode(), iv, aad }
    }

    /// Checks that the header was made with these parameters, this key and this associated data.
    fn check(&self, header: &[u8; HEADER], key: &[u8; KEY]) -> Result<(), AuthenticationFailed> {
        let fits = header[..PARAMS] == self.params && constant_time_eq(&header[PARAMS + IV..], &self.header_tag(key));
        if fits { Ok(()) } else { Err(AuthenticationFailed) }
    }

    fn message_key(&self, key: &[u8; KEY]) -> MessageKey {
        let mut message_key = Zeroizing::new([0; 48]);
        self.derive(key, b"MESSAGE_KEY:", message_key.as_mut());
        message_key
    }

    /// The cipher of the segments whose masked number is `masked`.
    fn segment_cipher(&self, message_key: &MessageKey, masked: u64) -> Cipher {
        let mut key = Zeroizing::new([0; KEY]);
        self.segment_key(message_key, masked, &mut key);
        Cipher::new(&key)
    }

    fn segment_key(&self, message_key: &MessageKey, masked: u64, key: &mut [u8; KEY]) {
        let purpose = [&b"DEK:"[..], &masked.to_be_bytes()].concat();
        self.derive(&message_key[..], &purpose, key);
    }

    fn derive(&self, key: &[u8], purpose: &[u8], out: &mut [u8]) {
        expand_sha384(key, &[&self.params, &self.iv, purpose, self.aad], out);
    }

    fn header_tag(&self, key: &[u8; KEY]) -> [u8; HEADER_TAG] {
        let mut tag = [0; HEADER_TAG];
        self.derive(key, b"HEADER_TAG:", &mut tag);
        tag
    }
}

/// The key from which the segments' keys are derived.
type MessageKey = Zeroizing<[u8; 48]>;

/// The segments' ciphers, derived as they are needed.
struct SegmentKeys<'a> {
    kdf: &'a Kdf<'a>,
    message_key: MessageKey,
    params: Params,
    current: Option<(u64, Cipher)>,
}

impl<'a> SegmentKeys<'a> {
    fn new(params: &Params, kdf: &'a Kdf<'a>, key: &[u8; KEY]) -> Self {
        Self { kdf, message_key: kdf.message_key(key), params: *params, current: None }
    }

    fn cipher(&mut self, number: u64) -> &Cipher {
        let masked = self.params.masked(number);
        if self.current.as_ref().is_none_or(|(current, _)| *current != masked) {
            self.current = None;
        }
        let (_, cipher) =
            self.current.get_or_insert_with(|| (masked, self.kdf.segment_cipher(&self.message_key, masked)));
        cipher
    }
}

fn segment_aad(number: u64, last: bool) -> [u8; 9] {
    let mut out = [0; 9];
    out[..8].copy_from_slice(&number.to_be_bytes());
    out[8] = u8::from(last);
    out
}

#[cfg(test)]
mod tests;
