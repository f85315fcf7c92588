//! Whether lines are the ones that were written, in their order, with none missing between them.
//!
//! Pure: it needs no key and no server, so a tenant can check an export anywhere.

use crate::{
    Error,
    line::{Fingerprint, GENESIS, fingerprint, hex},
};
use serde_json::Value;

/// What a chain holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Number of the first line, 0 when there is none.
    pub first: u64,
    /// Lines that were checked.
    pub lines: u64,
    /// Fingerprint of the last line, hexadecimal; keep it, and a later chain must still contain it.
    pub head: String,
}

/// Checks lines as they were exported, oldest first. They may begin anywhere in the chain; what
/// stands before the first is not known then.
///
/// # Errors
/// [`Error::Broken`] names the first line that is not the one that was written there.
pub fn verify_lines(lines: &[Value]) -> Result<ChainReport, Error> {
    let mut verifier = Verifier::default();
    for line in lines {
        verifier.next(line)?;
    }
    Ok(verifier.report())
}

/// Checks lines one by one.
#[derive(Default)]
pub(crate) struct Verifier {
    index: u64,
    first: u64,
    before: Option<(u64, Fingerprint, String)>,
}

impl Verifier {
    /// For a chain that must begin at its beginning.
    pub(crate) fn from_genesis(chain_uid: String) -> Self {
        Self { index: 0, first: 1, before: Some((0, GENESIS, chain_uid)) }
    }

    pub(crate) fn next(&mut self, line: &Value) -> Result<(), Error> {
        let sequence = self.before.as_ref().map_or(0, |(seq, ..)| seq + 1);
        let broken = |why| Error::Broken { index: self.index, sequence, why };
        let integrity = line["record_integrity"].as_object().ok_or_else(|| broken("it carries no integrity record"))?;
        let text = |name: &str| {
            integrity.get(name).and_then(Value::as_str).ok_or_else(|| broken("its integrity record is not whole"))
        };
        let (stated, prev, chain) = (text("fingerprint")?, text("prev_hash")?, text("chain_uid")?);
        let number = integrity.get("sequence").and_then(Value::as_u64).ok_or_else(|| broken("it has no number"))?;

        let mut bare = line.clone();
        if let Some(integrity) = bare["record_integrity"].as_object_mut() {
            integrity.remove("fingerprint");
        }
        let computed = fingerprint(&bare);
        if hex(&computed) != stated {
            return Err(broken("it was changed"));
        }
        if let Some((seq, head, uid)) = &self.before {
            if uid != chain {
                return Err(broken("it belongs to another chain"));
            }
            if number != seq + 1 {
                return Err(broken("a line is missing, doubled or out of order before it"));
            }
            if hex(head) != prev {
                return Err(broken("it does not follow the line before it"));
            }
        } else {
            self.first = number;
        }
        self.before = Some((number, computed, chain.to_owned()));
        self.index += 1;
        Ok(())
    }

    pub(crate) fn report(self) -> ChainReport {
        let head = self.before.map_or(GENESIS, |(_, head, _)| head);
        ChainReport { first: if self.index == 0 { 0 } else { self.first }, lines: self.index, head: hex(&head) }
    }
}

#[cfg(test)]
mod tests;
