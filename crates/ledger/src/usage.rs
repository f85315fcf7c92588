//! A tenant's usage, counted from its audit records, so that the two never disagree.

use kernel::{ByteReader, MalformedBytes};
use serde_json::Value;

/// Counters since the tenant was created. They saturate at 2^64 - 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that were admitted.
    pub requests: u64,
    /// Searches and contexts.
    pub searches: u64,
    /// Documents written.
    pub documents: u64,
    /// Tokens embedded.
    pub tokens: u64,
    /// Bytes of documents received.
    pub bytes_in: u64,
}

impl Usage {
    /// Counts one record.
    pub(crate) fn add<'a>(&mut self, operation: &str, counts: impl Iterator<Item = (&'a str, u64)>) {
        if operation == GAP || operation == REFUSED {
            return;
        }
        self.requests = self.requests.saturating_add(1);
        self.searches = self.searches.saturating_add(u64::from(operation == "search"));
        for (name, count) in counts {
            match name {
                "documents" if operation == "document.upsert" => self.documents = self.documents.saturating_add(count),
                "tokens" => self.tokens = self.tokens.saturating_add(count),
                "bytes_in" => self.bytes_in = self.bytes_in.saturating_add(count),
                _ => {}
            }
        }
    }

    /// Counts one stored record.
    pub(crate) fn add_record(&mut self, record: &Value) {
        if record["actor"]["user"]["type"].as_str() != Some("api_key") {
            return;
        }
        let operation = record["api"]["operation"].as_str().unwrap_or_default();
        let counts = record["unmapped"]["counts"].as_object();
        let counts = counts.into_iter().flatten().filter_map(|(name, count)| Some((name.as_str(), count.as_u64()?)));
        self.add(operation, counts);
    }

    /// The sum of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            searches: self.searches.saturating_add(other.searches),
            documents: self.documents.saturating_add(other.documents),
            tokens: self.tokens.saturating_add(other.tokens),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
        }
    }

    pub(crate) fn encode(self) -> [u8; 40] {
        let mut out = [0; 40];
        let all = [self.requests, self.searches, self.documents, self.tokens, self.bytes_in];
        for (field, number) in out.chunks_exact_mut(8).zip(all) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        out
    }

    pub(crate) fn decode(r: &mut ByteReader<'_>) -> Result<Self, MalformedBytes> {
        let mut next = || r.u64();
        Ok(Self { requests: next()?, searches: next()?, documents: next()?, tokens: next()?, bytes_in: next()? })
    }
}

/// Operation of a record that states how many records were dropped before it.
pub(crate) const GAP: &str = "audit.gap";
/// Operation of a record about a request that was not admitted.
pub(crate) const REFUSED: &str = "request.refused";
