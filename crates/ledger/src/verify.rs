//! Verification that records are those that were written, in order, with none missing between them.
//!
//! It needs neither a key nor a server, so a tenant can check an export anywhere.

use crate::{
    Error,
    record::{Fingerprint, GENESIS, fingerprint, hex},
};
use serde_json::Value;

/// Result of a successful verification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// Sequence number of the first record; 0 when there is none.
    pub first: u64,
    /// Number of records that were checked.
    pub lines: u64,
    /// Fingerprint of the last record, hexadecimal. A tenant that keeps it can check that a later chain still contains
    /// that record.
    pub head: String,
}

/// Checks exported records, oldest first. They may start anywhere in the chain; records before the first one are then
/// not verified.
///
/// # Errors
/// [`Error::Broken`] names the first record that is not the one that was written there.
pub fn verify_records(lines: &[Value]) -> Result<ChainReport, Error> {
    let mut verifier = Verifier::default();
    for record in lines {
        verifier.next(record)?;
    }
    Ok(verifier.report())
}

/// Checks records one by one.
#[derive(Default)]
pub(crate) struct Verifier {
    index: u64,
    first: u64,
    previous: Option<(u64, Fingerprint, String)>,
}

impl Verifier {
    /// Creates a verifier for a chain that must start with its first record.
    pub(crate) fn from_genesis(chain_uid: String) -> Self {
        Self { index: 0, first: 1, previous: Some((0, GENESIS, chain_uid)) }
    }

    pub(crate) fn next(&mut self, record: &Value) -> Result<(), Error> {
        let sequence = self.previous.as_ref().map_or(0, |(seq, ..)| seq + 1);
        let broken = |why| Error::Broken { index: self.index, sequence, why };
        let integrity =
            record["record_integrity"].as_object().ok_or_else(|| broken("it carries no integrity record"))?;
        let text = |name: &str| {
            integrity.get(name).and_then(Value::as_str).ok_or_else(|| broken("its integrity record is incomplete"))
        };
        let (stated, prev, chain) = (text("fingerprint")?, text("prev_hash")?, text("chain_uid")?);
        let number =
            integrity.get("sequence").and_then(Value::as_u64).ok_or_else(|| broken("it has no sequence number"))?;

        let mut without_fingerprint = record.clone();
        if let Some(integrity) = without_fingerprint["record_integrity"].as_object_mut() {
            integrity.remove("fingerprint");
        }
        let computed = fingerprint(&without_fingerprint);
        if hex(&computed) != stated {
            return Err(broken("it was changed"));
        }
        if let Some((seq, head, uid)) = &self.previous {
            if uid != chain {
                return Err(broken("it belongs to another chain"));
            }
            if number != seq + 1 {
                return Err(broken("a record before it is missing, duplicated or out of order"));
            }
            if hex(head) != prev {
                return Err(broken("it does not follow the record before it"));
            }
        } else {
            self.first = number;
        }
        self.previous = Some((number, computed, chain.to_owned()));
        self.index += 1;
        Ok(())
    }

    pub(crate) fn report(self) -> ChainReport {
        let head = self.previous.map_or(GENESIS, |(_, head, _)| head);
        ChainReport { first: if self.index == 0 { 0 } else { self.first }, lines: self.index, head: hex(&head) }
    }
}

#[cfg(test)]
mod tests;
