//! A page of an audit log. Its bytes are fetched in pieces, and each piece is decrypted and filtered by itself.
//!
//! The caller runs [`PagePiece::read`] on a compute thread and may stop between two pieces. A page is bounded in
//! records, in bytes and in the chunks that it opens; chunks outside the requested time range, or before `after`, are
//! not opened.

use crate::{
    Error,
    audit_log_file::{PageSources, RecordSource, StoredRecord, decode_batch},
    record,
};
use journal::Fetched;
use kernel::{DocumentId, NamespaceName, Principal, Timestamp, limits};
use serde::Deserialize;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// Selection of records. A record must meet every condition that is given.
#[derive(Clone, Debug, Default)]
pub struct RecordQuery {
    /// Earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// Latest time, exclusive.
    pub until: Option<Timestamp>,
    /// Only records about this document.
    pub document: Option<DocumentId>,
    /// Only records of requests that acted as this principal.
    pub principal: Option<Principal>,
    /// Only records about one of these namespaces; records without a namespace are left out.
    pub namespaces: Option<Vec<NamespaceName>>,
    /// Only records after this sequence number.
    pub after: Option<u64>,
    /// Maximum number of records in the page, which holds the oldest first.
    pub limit: usize,
}

/// The newest end of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// Uuid of the chain, as its records name it.
    pub chain: String,
    /// Sequence number of the last record; records are numbered from 1.
    pub lines: u64,
    /// Fingerprint of the last record, hexadecimal; zeroes when there is none.
    pub head: String,
}

/// A page of records as they are stored: canonical JSON, one object each.
#[derive(Debug, Default)]
pub struct AuditPage {
    /// The records, oldest first.
    pub lines: Vec<Box<[u8]>>,
    /// Value of `after` for the next page; `None` at the end of the chain.
    pub next: Option<u64>,
    /// End of the chain when reading began. It reveals the number of all records, even to a key that may read few.
    pub head: AuditHead,
}

/// Reads one page; see the [module](self).
pub struct PageReader {
    pages: PageSources,
    head: AuditHead,
    filter: Arc<RecordFilter>,
    limit: usize,
    records: Vec<(u64, Box<[u8]>)>,
    bytes: usize,
    /// Sequence number after which the page ends, if that is before the end of the chain.
    stopped_at: Option<u64>,
}

/// Sealed bytes with some of a chain's records.
pub struct PagePiece {
    source: PieceSource,
    filter: Arc<RecordFilter>,
    /// Number of records and bytes that the page can still take.
    remaining: (usize, usize),
}

enum PieceSource {
    Chunk(Fetched),
    Queued(Vec<StoredRecord>),
}

/// The matching records of a piece.
pub struct MatchingRecords {
    records: Vec<(u64, Box<[u8]>)>,
    bytes: usize,
    /// Set when the page is full: no record after this sequence number was examined.
    full_at: Option<u64>,
}

struct RecordFilter {
    after: u64,
    since: i64,
    until: i64,
    document: Option<String>,
    principal: Option<String>,
    namespaces: Option<Vec<String>>,
}

/// Fields of a record that filters need.
#[derive(Deserialize)]
struct FilterFields<'a> {
    time: i64,
    record_integrity: IntegrityFields,
    #[serde(borrow, default)]
    resources: Vec<ResourceFields<'a>>,
    #[serde(borrow)]
    unmapped: UnmappedFields<'a>,
}

#[derive(Deserialize)]
struct IntegrityFields {
    sequence: u64,
}

#[derive(Deserialize)]
struct ResourceFields<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Deserialize)]
struct UnmappedFields<'a> {
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    principals: Vec<Cow<'a, str>>,
}

impl AuditPage {
    /// The records as JSON values.
    ///
    /// # Errors
    /// `internal` for a record that is not JSON.
    pub fn values(&self) -> Result<Vec<Value>, kernel::Error> {
        let form = |_| kernel::Error::from(Error::Form { what: "audit record" });
        self.lines.iter().map(|record| serde_json::from_slice(record).map_err(form)).collect()
    }
}

impl PageReader {
    pub(crate) fn new(pages: PageSources, head: AuditHead, reading: RecordQuery) -> Self {
        let keyspace = &pages.keyspace;
        let filter = RecordFilter {
            after: reading.after.unwrap_or(0),
            since: reading.since.map_or(i64::MIN, Timestamp::as_millis),
            until: reading.until.map_or(i64::MAX, Timestamp::as_millis),
            document: reading.document.as_ref().map(|id| record::document(keyspace, id)),
            principal: reading.principal.as_ref().map(|name| record::principal(keyspace, name)),
            namespaces: reading
                .namespaces
                .map(|all| all.iter().map(|name| record::namespace(keyspace, name)).collect()),
        };
        let limit = reading.limit.max(1);
        Self { pages, head, filter: Arc::new(filter), limit, records: Vec::new(), bytes: 0, stopped_at: None }
    }

    /// Size in sealed bytes of the largest remaining piece; opening it takes about twice as much memory.
    pub fn piece_bytes(&self) -> u64 {
        self.pages.piece_bytes()
    }

    /// Fetches the next piece; `None` when the page is full or nothing is left.
    ///
    /// # Errors
    /// Errors of the journal.
    pub async fn next(&mut self) -> Result<Option<PagePiece>, kernel::Error> {
        if self.stopped_at.is_some() {
            return Ok(None);
        }
        let source = match self.pages.next() {
            Some(RecordSource::Chunk(object)) => PieceSource::Chunk(self.pages.journal.fetch(&object).await?),
            Some(RecordSource::Queued(records)) => PieceSource::Queued(records),
            None => {
                self.stopped_at = self.pages.more_after;
                return Ok(None);
            }
        };
        // One record more than the page takes shows whether another page follows.
        let remaining = (
            self.limit.saturating_add(1) - self.records.len(),
            limits::AUDIT_PAGE_BYTES_MAX.saturating_sub(self.bytes),
        );
        Ok(Some(PagePiece { source, filter: Arc::clone(&self.filter), remaining }))
    }

    /// Adds the matching records of a piece.
    pub fn take(&mut self, found: MatchingRecords) {
        self.bytes += found.bytes;
        self.records.extend(found.records);
        if let Some(at) = found.full_at {
            self.stopped_at = Some(at);
        }
        if self.records.len() > self.limit {
            self.records.truncate(self.limit);
            self.stopped_at = self.records.last().map(|(sequence, _)| *sequence);
        }
    }

    /// Ends reading and returns the page.
    pub fn finish(self) -> AuditPage {
        AuditPage {
            lines: self.records.into_iter().map(|(_, record)| record).collect(),
            next: self.stopped_at,
            head: self.head,
        }
    }
}

impl PagePiece {
    /// Decrypts the piece and filters its records. It only computes and uses no network.
    ///
    /// # Errors
    /// `internal` when the bytes do not authenticate or do not decode.
    pub fn read(self) -> Result<MatchingRecords, kernel::Error> {
        let Self { source, filter, remaining: (mut records_left, mut bytes_left) } = self;
        let (opened, tail);
        let all: Vec<&[u8]> = match source {
            PieceSource::Chunk(fetched) => {
                opened = fetched.open()?;
                decode_batch(&opened).map_err(|_| Error::Form { what: "audit chunk" })?
            }
            PieceSource::Queued(records) => {
                tail = records;
                tail.iter().map(AsRef::as_ref).collect()
            }
        };
        let mut found = MatchingRecords { records: Vec::new(), bytes: 0, full_at: None };
        let mut last_examined = filter.after;
        for record in all {
            let fields: FilterFields<'_> =
                serde_json::from_slice(record).map_err(|_| Error::Form { what: "audit record" })?;
            let sequence = fields.record_integrity.sequence;
            if filter.matches(&fields) {
                // The first record of a page is taken whatever its length; otherwise no page could contain it.
                let first = bytes_left == limits::AUDIT_PAGE_BYTES_MAX;
                if records_left == 0 || (record.len() > bytes_left && !first) {
                    found.full_at = Some(last_examined);
                    return Ok(found);
                }
                records_left -= 1;
                bytes_left = bytes_left.saturating_sub(record.len());
                found.bytes += record.len();
                found.records.push((sequence, record.into()));
            }
            last_examined = sequence;
        }
        Ok(found)
    }
}

impl RecordFilter {
    fn matches(&self, record: &FilterFields<'_>) -> bool {
        let named = |names: &[Cow<'_, str>], pseudonym: &String| names.iter().any(|name| name == pseudonym);
        record.record_integrity.sequence > self.after
            && (self.since..self.until).contains(&record.time)
            && self.document.as_ref().is_none_or(|uid| record.resources.iter().any(|one| one.uid == *uid))
            && self.principal.as_ref().is_none_or(|uid| named(&record.unmapped.principals, uid))
            && self.namespaces.as_ref().is_none_or(|all| {
                record.unmapped.namespace.as_ref().is_some_and(|name| all.iter().any(|one| name == one))
            })
    }
}
