//! skeleton
use crate::Error;
use kernel::Document;
/// Appends.
pub fn encode_document(_doc: &Document, _out: &mut Vec<u8>) { unimplemented!() }
/// Reads.
/// # Errors
/// Corrupt.
pub fn decode_document(_bytes: &[u8]) -> Result<(Document, usize), Error> { unimplemented!() }
