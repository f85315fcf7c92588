//! A page of an audit: its bytes are fetched piece by piece, and each piece is decrypted and filtered by itself.
//!
//! The caller runs [`Piece::read`] on a thread for computing, and may stop between two pieces. A page is bounded in
//! lines, in bytes and in the chunks that it opens; chunks outside of the requested time, or before `after`, are not
//! opened.

use crate::{
    Error,
    book::{Line, Pages, Source, decode_batch},
    line,
};
use journal::Fetched;
use kernel::{DocumentId, NamespaceName, Principal, Timestamp, limits};
use serde::Deserialize;
use serde_json::Value;
use std::{borrow::Cow, sync::Arc};

/// Which lines are wanted. A line must meet every condition that is given.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Earliest time.
    pub since: Option<Timestamp>,
    /// Time before which lines must be.
    pub until: Option<Timestamp>,
    /// Only lines about this document.
    pub document: Option<DocumentId>,
    /// Only lines of requests that acted as this principal.
    pub principal: Option<Principal>,
    /// Only lines about one of these namespaces; lines without a namespace are left out.
    pub namespaces: Option<Vec<NamespaceName>>,
    /// Only lines after this number.
    pub after: Option<u64>,
    /// Most lines of the page, which holds the oldest first.
    pub limit: usize,
}

/// The end of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditHead {
    /// Uuid of the chain, as its lines name it.
    pub chain: String,
    /// Number of the last line; lines are numbered from 1.
    pub lines: u64,
    /// Fingerprint of the last line, hexadecimal; zeroes when there is none.
    pub head: String,
}

/// Lines as they are stored: canonical JSON, one object each.
#[derive(Debug, Default)]
pub struct AuditPage {
    /// Oldest first.
    pub lines: Vec<Box<[u8]>>,
    /// Where the next page begins: give it as `after`. `None` at the end.
    pub next: Option<u64>,
    /// Where the chain ended when the page was begun. It tells the number of all lines, even to a key that may read
    /// few.
    pub head: AuditHead,
}

/// See the [module](self).
pub struct PageReader {
    pages: Pages,
    head: AuditHead,
    wanted: Arc<Wanted>,
    limit: usize,
    lines: Vec<(u64, Box<[u8]>)>,
    bytes: usize,
    /// The page ends here, before the end of the chain.
    stopped_at: Option<u64>,
}

/// Sealed bytes with some of a chain's lines.
pub struct Piece {
    source: Bytes,
    wanted: Arc<Wanted>,
    /// Lines and bytes that the page can still take.
    room: (usize, usize),
}

enum Bytes {
    Chunk(Fetched),
    Tail(Vec<Line>),
}

/// The wanted lines of a piece.
pub struct Found {
    lines: Vec<(u64, Box<[u8]>)>,
    bytes: usize,
    /// The page is full; no line after this number was examined.
    full_at: Option<u64>,
}

struct Wanted {
    after: u64,
    since: i64,
    until: i64,
    document: Option<String>,
    principal: Option<String>,
    namespaces: Option<Vec<String>>,
}

/// The members of a line that filters need.
#[derive(Deserialize)]
struct Probe<'a> {
    time: i64,
    record_integrity: Numbered,
    #[serde(borrow, default)]
    resources: Vec<Named<'a>>,
    #[serde(borrow)]
    unmapped: Unmapped<'a>,
}

#[derive(Deserialize)]
struct Numbered {
    sequence: u64,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Unmapped<'a> {
    #[serde(borrow, default)]
    namespace: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    principals: Vec<Cow<'a, str>>,
}

impl AuditPage {
    /// The lines as values.
    ///
    /// # Errors
    /// `internal` for a line that is no JSON.
    pub fn values(&self) -> Result<Vec<Value>, kernel::Error> {
        let form = |_| kernel::Error::from(Error::Form { what: "audit line" });
        self.lines.iter().map(|line| serde_json::from_slice(line).map_err(form)).collect()
    }
}

impl PageReader {
    pub(crate) fn new(pages: Pages, head: AuditHead, reading: Reading) -> Self {
        let home = &pages.home;
        let wanted = Wanted {
            after: reading.after.unwrap_or(0),
            since: reading.since.map_or(i64::MIN, Timestamp::as_millis),
            until: reading.until.map_or(i64::MAX, Timestamp::as_millis),
            document: reading.document.as_ref().map(|id| line::document(home, id)),
            principal: reading.principal.as_ref().map(|name| line::principal(home, name)),
            namespaces: reading.namespaces.map(|all| all.iter().map(|name| line::namespace(home, name)).collect()),
        };
        let limit = reading.limit.max(1);
        Self { pages, head, wanted: Arc::new(wanted), limit, lines: Vec::new(), bytes: 0, stopped_at: None }
    }

    /// Sealed bytes of the largest remaining piece; opening one takes about twice as much memory.
    pub fn piece_bytes(&self) -> u64 {
        self.pages.piece_bytes()
    }

    /// Fetches the next piece; `None` when the page is full or nothing is left.
    ///
    /// # Errors
    /// The journal's.
    pub async fn next(&mut self) -> Result<Option<Piece>, kernel::Error> {
        if self.stopped_at.is_some() {
            return Ok(None);
        }
        let source = match self.pages.next() {
            Some(Source::Chunk(object)) => Bytes::Chunk(self.pages.journal.fetch(&object).await?),
            Some(Source::Tail(lines)) => Bytes::Tail(lines),
            None => {
                self.stopped_at = self.pages.goes_on_after;
                return Ok(None);
            }
        };
        // One line more than the page takes shows whether there is another page.
        let room =
            (self.limit.saturating_add(1) - self.lines.len(), limits::AUDIT_PAGE_BYTES_MAX.saturating_sub(self.bytes));
        Ok(Some(Piece { source, wanted: Arc::clone(&self.wanted), room }))
    }

    /// Adds the lines that were found in a piece.
    pub fn take(&mut self, found: Found) {
        self.bytes += found.bytes;
        self.lines.extend(found.lines);
        if let Some(at) = found.full_at {
            self.stopped_at = Some(at);
        }
        if self.lines.len() > self.limit {
            self.lines.truncate(self.limit);
            self.stopped_at = self.lines.last().map(|(sequence, _)| *sequence);
        }
    }

    /// Ends reading and returns the page.
    pub fn finish(self) -> AuditPage {
        AuditPage {
            lines: self.lines.into_iter().map(|(_, line)| line).collect(),
            next: self.stopped_at,
            head: self.head,
        }
    }
}

impl Piece {
    /// Decrypts the piece and filters its lines. It computes and uses no network.
    ///
    /// # Errors
    /// `internal` when it does not open or read.
    pub fn read(self) -> Result<Found, kernel::Error> {
        let Self { source, wanted, room: (mut lines_left, mut bytes_left) } = self;
        let (opened, tail);
        let all: Vec<&[u8]> = match source {
            Bytes::Chunk(fetched) => {
                opened = fetched.open()?;
                decode_batch(&opened).ok_or(Error::Form { what: "audit chunk" })?
            }
            Bytes::Tail(lines) => {
                tail = lines;
                tail.iter().map(AsRef::as_ref).collect()
            }
        };
        let mut found = Found { lines: Vec::new(), bytes: 0, full_at: None };
        let mut seen = wanted.after;
        for line in all {
            let probe: Probe<'_> = serde_json::from_slice(line).map_err(|_| Error::Form { what: "audit line" })?;
            let sequence = probe.record_integrity.sequence;
            if wanted.takes(&probe) {
                // The first line of a page is taken whatever its length; otherwise no page could contain it.
                let first = bytes_left == limits::AUDIT_PAGE_BYTES_MAX;
                if lines_left == 0 || (line.len() > bytes_left && !first) {
                    found.full_at = Some(seen);
                    return Ok(found);
                }
                lines_left -= 1;
                bytes_left = bytes_left.saturating_sub(line.len());
                found.bytes += line.len();
                found.lines.push((sequence, line.into()));
            }
            seen = sequence;
        }
        Ok(found)
    }
}

impl Wanted {
    fn takes(&self, line: &Probe<'_>) -> bool {
        let named = |names: &[Cow<'_, str>], wanted: &String| names.iter().any(|name| name == wanted);
        line.record_integrity.sequence > self.after
            && (self.since..self.until).contains(&line.time)
            && self.document.as_ref().is_none_or(|uid| line.resources.iter().any(|one| one.uid == *uid))
            && self.principal.as_ref().is_none_or(|uid| named(&line.unmapped.principals, uid))
            && self.namespaces.as_ref().is_none_or(|all| {
                line.unmapped.namespace.as_ref().is_some_and(|name| all.iter().any(|one| name == one))
            })
    }
}
