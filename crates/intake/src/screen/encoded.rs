//! Finds text hidden in an encoding: base64 blobs are decoded one level and returned for screening.

use base64::{
    Engine,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Shortest blob in characters that is decoded: the length of `ignore all` in base64.
const BLOB_CHARS_MIN: usize = 16;
/// Most characters of one blob that are decoded.
const BLOB_CHARS_MAX: usize = 64 << 10;

/// A decoded blob and its byte range in the text.
pub(super) struct Decoded {
    pub(super) text: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Finds every base64 blob of `text` that decodes to readable text.
pub(super) fn blobs(text: &str) -> impl Iterator<Item = Decoded> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            while at < bytes.len() && (bytes[at].is_ascii_alphanumeric() || b"+/-_".contains(&bytes[at])) {
                at += 1;
            }
            let end = at;
            while at < bytes.len() && bytes[at] == b'=' {
                at += 1;
            }
            at = at.max(start + 1);
            if end - start >= BLOB_CHARS_MIN
                && let Some(text) = decode(&bytes[start..end])
            {
                return Some(Decoded { text, start, end: at.max(end) });
            }
        }
        None
    })
}

fn decode(blob: &[u8]) -> Option<String> {
    let blob = &blob[..blob.len().min(BLOB_CHARS_MAX)];
    // A truncated blob, or one without its last character, still decodes by whole groups.
    let blob = if blob.len() % 4 == 1 { &blob[..blob.len() - 1] } else { blob };
    let alphabet = if blob.iter().any(|b| b"-_".contains(b)) { URL_SAFE } else { STANDARD };
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    let bytes = GeneralPurpose::new(&alphabet, config).decode(blob).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let readable =
        text.chars().filter(|c| c.is_alphanumeric() || c.is_ascii_punctuation() || *c == ' ' || *c == '\n').count();
    (readable * 10 >= text.chars().count() * 9 && text.contains(' ')).then(|| text.into_owned())
}
