//! One chain in storage: batches of records in a journal, full chunks in sealed objects, and a checkpoint that holds
//! the state of the chain.

use crate::{
    Error, Usage,
    event::PendingRecord,
    record::{self, Fingerprint, GENESIS},
    rollback::ACCEPTED,
};
use journal::{Journal, ObjectRef, Storage};
use kernel::{AuditPosition, ByteReader, Clock, CommitNo, Entropy, MalformedBytes, NamespaceUuid, limits};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};
use vault::{Keyspace, ObjectKind};
use zeroize::Zeroizing;

/// The open log of one chain. It has exactly one owner, which is its only writer.
pub(crate) struct AuditLogFile {
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) journal: Arc<Journal>,
    state: ChainState,
    /// Whether the journal stores each batch as an object, so that opening the chain costs a request for each of them.
    batches_are_objects: bool,
    /// Number of batches that no checkpoint covers, including one in progress.
    batches: u64,
    /// Whether its owner has given it up; the log is opened again for the next record.
    is_retired: bool,
}

/// State of a chain: exactly what a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChainState {
    /// Sequence number of the next record.
    next: u64,
    head: Fingerprint,
    usage: Usage,
    /// The newest recorded commit of each namespace.
    recorded: HashMap<NamespaceUuid, AuditPosition>,
    chunks: Vec<RecordChunk>,
    /// Records that are not in a chunk yet.
    tail: Vec<StoredRecord>,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredRecord {
    bytes: Arc<[u8]>,
    /// Time that the record states, in milliseconds since 1970.
    time: i64,
}

impl AsRef<[u8]> for StoredRecord {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A sealed object with as many records as [`ChainState::full`] returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordChunk {
    pub(crate) object: ObjectRef,
    /// Sequence number of its first record.
    pub(crate) first: u64,
    /// Earliest and latest time (`to`) of its records, in milliseconds since 1970.
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// The records that a reader may need, as of one moment.
pub(crate) struct PageSources {
    pub(crate) keyspace: Arc<Keyspace>,
    pub(crate) journal: Arc<Journal>,
    sources: VecDeque<RecordSource>,
    /// Set when more chunks match than one page opens: they start after this sequence number.
    pub(crate) more_after: Option<u64>,
}

/// Location of some records.
pub(crate) enum RecordSource {
    Chunk(ObjectRef),
    /// Records in memory that are not in a chunk yet.
    Queued(Vec<StoredRecord>),
}

/// A record to be written: the draft, and for a mutation the commit that carries it.
pub(crate) type BatchItem<'a> = (&'a PendingRecord, Option<(NamespaceUuid, AuditPosition)>);

impl AuditLogFile {
    /// Opens or creates the chain, and deletes chunks that a crash left without a checkpoint.
    pub(crate) async fn open(
        storage: &Storage,
        keyspace: Arc<Keyspace>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, kernel::Error> {
        let (journal, recovered) = Journal::recover(storage, Arc::clone(&keyspace), clock, entropy).await?;
        let batches = recovered.entries.len() as u64;
        // Recovery parses up to a chunk of records, which must not block a thread that serves other requests.
        #[expect(clippy::disallowed_methods, reason = "one for each audit that opens; the runtime bounds its threads")]
        let compact = tokio::task::spawn_blocking(move || {
            let mut state = match &recovered.checkpoint {
                Some(body) => ChainState::decode(body).map_err(|_| Error::Form { what: "audit checkpoint" })?,
                None => ChainState::new(),
            };
            for (_, batch) in &recovered.entries {
                for record in decode_batch(batch).map_err(|_| Error::Form { what: "audit batch" })? {
                    state.replay(record)?;
                }
            }
            Ok::<_, Error>(state)
        });
        let state = compact.await.map_err(|_| Error::Closed)??;
        // Only chunks that the recovered state names are kept; others are left by a crash before their checkpoint.
        let keep: Vec<ObjectRef> = state.chunks.iter().map(|chunk| chunk.object.clone()).collect();
        journal.sweep(&keep).await?;
        let batches_are_objects = storage.is_shared();
        Ok(Self { keyspace, journal: Arc::new(journal), state, batches_are_objects, batches, is_retired: false })
    }

    /// Whether records may still be written. After a failed write the journal's state is unknown, so the log is opened
    /// again from storage.
    pub(crate) fn is_usable(&self) -> bool {
        !self.is_retired && self.journal.failed().is_none()
    }

    /// Ends the use of this log; another owner may open it.
    pub(crate) fn retire(&mut self) {
        self.is_retired = true;
    }

    /// Appends records as one journal entry with one flush. Records of commits that the chain already contains are
    /// skipped. On failure the chain's state is unchanged; whether the records are on disk is known only after
    /// reopening.
    pub(crate) async fn write(&mut self, items: &[BatchItem<'_>]) -> Result<(), kernel::Error> {
        // The batch is prepared on a copy of the append position; the state changes only after the append has
        // succeeded.
        let mut state = self.state.without_contents();
        let (mut records, mut ended, mut work) = (Vec::new(), Vec::new(), 0);
        for (draft, commit) in items {
            let forced = draft.operation == ACCEPTED;
            if !forced
                && commit.is_some_and(|(namespace, mark)| self.is_recorded(namespace, mark.commit, &state.recorded))
            {
                continue;
            }
            if let Some(namespace) = draft.ended.as_deref().and_then(|log| NamespaceUuid::parse(log).ok()) {
                state.recorded.remove(&namespace);
                ended.push(namespace);
            }
            let position =
                record::ChainPosition { keyspace: &self.keyspace, seq: state.next, prev: state.head, commit: *commit };
            let (bytes, fingerprint) = record::write(draft, &position);
            state.next += 1;
            state.head = fingerprint;
            if draft.is_request() {
                state.usage.add(&draft.operation, draft.counts.iter().map(|(name, count)| (name.as_str(), *count)));
            }
            state.recorded.extend(*commit);
            records.push(StoredRecord { bytes: bytes.into(), time: draft.time });
            // Every id costs a keyed hash, and this thread also serves other requests.
            work += 1 + draft.documents.len() + draft.principals.len();
            if work >= WORK_PER_YIELD {
                work = 0;
                tokio::task::yield_now().await;
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        self.journal.append(encode_batch(&records)).await?;
        self.batches += 1;
        self.state.next = state.next;
        self.state.head = state.head;
        self.state.usage = state.usage;
        for namespace in &ended {
            self.state.recorded.remove(namespace);
        }
        self.state.recorded.extend(state.recorded);
        self.state.tail.extend(records);
        Ok(())
    }

    /// Moves full chunks out of the log, in this order:
    ///
    /// 1. Seal each chunk durably. A crash after this leaves objects that the next opening deletes.
    /// 2. Write the journal's checkpoint with the chunks' names durably. The log before it is then deleted.
    ///
    /// On failure the chain is unchanged, and the next batch tries again.
    pub(crate) async fn move_full_chunks(&mut self) -> Result<(), kernel::Error> {
        if self.state.full().is_none() {
            return Ok(());
        }
        let mut moved = self.state.clone();
        while let Some(full) = moved.full() {
            let rest = moved.tail.split_off(full);
            let first = moved.next - (full + rest.len()) as u64;
            let records = std::mem::replace(&mut moved.tail, rest);
            let (from, to) = records
                .iter()
                .map(|record| record.time)
                .fold((i64::MAX, i64::MIN), |(from, to), time| (from.min(time), to.max(time)));
            let object = self.journal.put(ObjectKind::AuditChunk, &encode_batch(&records)).await?;
            moved.chunks.push(RecordChunk { object, first, from, to });
        }
        self.journal.checkpoint(&moved.encode(), self.journal.last()).await?;
        self.state = moved;
        self.batches = 0;
        Ok(())
    }

    /// If each batch is an object, moves the records of many small batches into one checkpoint, because opening the
    /// chain reads all batches, several times. The returned future runs in the background while batches are written.
    /// After a crash or a failure the batches remain; the next attempt follows after as many more.
    pub(crate) fn compact(&mut self) -> Option<impl Future<Output = Result<(), journal::Error>> + Send + use<>> {
        // A checkpoint rewrites all records that are not in a chunk: the more there are, the rarer it must be.
        let due = COMPACTION_BATCHES_MIN.max(self.state.tail.len() as u64 / COMPACTION_TAIL_DIVISOR);
        if !self.batches_are_objects || self.batches < due {
            return None;
        }
        self.batches = 0;
        let (journal, body, covers) = (Arc::clone(&self.journal), self.state.encode(), self.journal.last());
        Some(async move { journal.checkpoint(&body, covers).await })
    }

    /// Re-encrypts the whole chain under the newest key of its keyspace: first the chunks, then the log. A retry does
    /// the remaining work. A crash leaves unreferenced chunks, which the next opening deletes.
    pub(crate) async fn reencrypt(&mut self) -> Result<(), kernel::Error> {
        let newest = self.keyspace.epoch();
        let (mut rewritten, mut old) = (self.state.clone(), Vec::new());
        for chunk in &mut rewritten.chunks {
            if chunk.object.key.epoch == newest {
                continue;
            }
            let bytes = self.journal.get(&chunk.object).await?;
            let object = self.journal.put(ObjectKind::AuditChunk, &bytes).await?;
            old.push(std::mem::replace(&mut chunk.object, object));
        }
        // This is the only writer, so one checkpoint covers the whole log.
        self.journal.checkpoint(&rewritten.encode(), self.journal.last()).await?;
        self.state = rewritten;
        self.batches = 0;
        // From here on no checkpoint names the old chunks.
        for object in &old {
            self.journal.delete(object).await?;
        }
        let named: Vec<ObjectRef> = self.state.chunks.iter().map(|chunk| chunk.object.clone()).collect();
        // A log or chunk that is still under an older key may be an orphan: collect orphans, then count again.
        let left = |under: &std::collections::BTreeMap<_, u64>| under.keys().any(|epoch| *epoch != newest);
        if left(&self.journal.count_by_key_epoch(&named).await?) {
            self.journal.sweep(&named).await?;
            if left(&self.journal.count_by_key_epoch(&named).await?) {
                return Err(Error::NotReencrypted.into());
            }
        }
        Ok(())
    }

    pub(crate) fn usage(&self) -> Usage {
        self.state.usage
    }

    /// Locates the records after `after` whose time may be in the range, up to what one page opens.
    pub(crate) fn pages(&self, after: u64, times: Range<i64>) -> PageSources {
        let state = &self.state;
        let tail_first = state.next - state.tail.len() as u64;
        let ends = state.chunks.iter().skip(1).map(|chunk| chunk.first).chain([tail_first]);
        let mut selected = state
            .chunks
            .iter()
            .zip(ends)
            .filter(|(chunk, end)| *end > after.saturating_add(1) && chunk.to >= times.start && chunk.from < times.end)
            .map(|(chunk, _)| chunk);
        let mut sources: VecDeque<RecordSource> = selected
            .by_ref()
            .take(limits::AUDIT_PAGE_CHUNKS_MAX)
            .map(|chunk| RecordSource::Chunk(chunk.object.clone()))
            .collect();
        let more_after = selected.next().map(|chunk| chunk.first - 1);
        if more_after.is_none() {
            let skipped = usize::try_from(after.saturating_add(1).saturating_sub(tail_first)).unwrap_or(usize::MAX);
            sources.push_back(RecordSource::Queued(state.tail.iter().skip(skipped).cloned().collect()));
        }
        PageSources { keyspace: Arc::clone(&self.keyspace), journal: Arc::clone(&self.journal), sources, more_after }
    }

    /// The number of records, and the fingerprint of the last one.
    pub(crate) fn head(&self) -> (u64, Fingerprint) {
        (self.state.next - 1, self.state.head)
    }

    /// The newest recorded commit of a namespace.
    pub(crate) fn recorded(&self, namespace: NamespaceUuid) -> Option<AuditPosition> {
        self.state.recorded.get(&namespace).copied()
    }

    /// Tells for each record whether its commit is already recorded, or came earlier in this batch, with different
    /// content.
    pub(crate) fn conflicts(&self, items: &[BatchItem<'_>]) -> Vec<bool> {
        let mut new = HashMap::new();
        let mut clash = |(draft, commit): &BatchItem<'_>| {
            let Some((namespace, mark)) = commit.filter(|_| draft.operation != ACCEPTED) else { return false };
            let last = new.get(&namespace).or_else(|| self.state.recorded.get(&namespace)).copied();
            if last.is_none_or(|last: AuditPosition| last.commit < mark.commit) {
                new.insert(namespace, mark);
            }
            last.is_some_and(|last| last.commit == mark.commit && last.digest != mark.digest)
        };
        items.iter().map(&mut clash).collect()
    }

    fn is_recorded(
        &self,
        namespace: NamespaceUuid,
        number: CommitNo,
        new: &HashMap<NamespaceUuid, AuditPosition>,
    ) -> bool {
        let last = new.get(&namespace).or_else(|| self.state.recorded.get(&namespace));
        last.is_some_and(|last| number <= last.commit)
    }
}

/// Fields of a record that decoding a checkpoint needs.
#[derive(Deserialize)]
struct Timed {
    time: i64,
}

impl PageSources {
    /// Removes and returns the next source.
    pub(crate) fn next(&mut self) -> Option<RecordSource> {
        self.sources.pop_front()
    }

    /// Size in bytes of the largest remaining source.
    pub(crate) fn piece_bytes(&self) -> u64 {
        let bytes = |source: &RecordSource| match source {
            RecordSource::Chunk(object) => object.bytes,
            RecordSource::Queued(records) => records.iter().map(|record| record.bytes.len() as u64).sum(),
        };
        self.sources.iter().map(bytes).max().unwrap_or(0)
    }
}

impl ChainState {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            head: GENESIS,
            usage: Usage::default(),
            recorded: HashMap::new(),
            chunks: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// A copy of the append position and the counters, without chunks, tail and recorded commits.
    fn without_contents(&self) -> Self {
        Self { next: self.next, head: self.head, usage: self.usage, ..Self::new() }
    }

    /// Replays a stored record. The journal authenticates the bytes; this checks their order in the chain.
    pub(crate) fn replay(&mut self, record: &[u8]) -> Result<(), Error> {
        let form = || Error::Form { what: "audit record" };
        let value = parse(record)?;
        let integrity = &value["record_integrity"];
        let follows = integrity["sequence"].as_u64() == Some(self.next)
            && integrity["prev_hash"].as_str() == Some(&record::hex(&self.head));
        if !follows {
            return Err(Error::Broken {
                index: 0,
                sequence: self.next,
                why: "it does not follow the record before it",
            });
        }
        let stated = integrity["fingerprint"].as_str().ok_or_else(form)?;
        self.head = unhex(stated).ok_or_else(form)?;
        self.next = self.next.checked_add(1).ok_or_else(form)?;
        self.usage.add_record(&value);
        let commit = &value["unmapped"]["commit"];
        if let Some(log) = commit["log"].as_str() {
            let number = |name: &str| commit[name].as_u64().ok_or_else(form);
            let mark = AuditPosition {
                commit: CommitNo(number("number")?),
                digest: commit["digest"].as_str().and_then(unhex).ok_or_else(form)?,
                documents: number("documents")?,
                bytes: number("bytes")?,
            };
            self.recorded.insert(NamespaceUuid::parse(log).map_err(|_| form())?, mark);
        }
        if let Some(log) = value["unmapped"]["ended"].as_str() {
            self.recorded.remove(&NamespaceUuid::parse(log).map_err(|_| form())?);
        }
        let time = value["time"].as_i64().ok_or_else(form)?;
        self.tail.push(StoredRecord { bytes: record.into(), time });
        Ok(())
    }

    /// Returns the number of records in the next chunk once there are enough. Chunks are bounded in bytes too, because
    /// records that name hundreds of documents are long.
    fn full(&self) -> Option<usize> {
        let mut bytes = 0;
        let enough = |(at, record): (usize, &StoredRecord)| {
            bytes += record.bytes.len();
            let full = at + 1 == limits::AUDIT_CHUNK_RECORDS || bytes >= limits::AUDIT_CHUNK_BYTES;
            full.then_some(at + 1)
        };
        self.tail.iter().enumerate().find_map(enough)
    }

    /// The next record's sequence number, and the fingerprint that it must name as its predecessor.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn next_position(&self) -> (u64, Fingerprint) {
        (self.next, self.head)
    }

    /// Adds a chunk whose object does not exist.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn with_chunk(&mut self) {
        let key = vault::WrappedKey { epoch: kernel::KeyEpoch(1), bytes: vec![7; 60] };
        let uuid = kernel::ObjectUuid::from_bytes([9; 16]);
        let writer = kernel::LogEpoch(3);
        let object = ObjectRef { kind: ObjectKind::AuditChunk, uuid, writer, key, bytes: 77 };
        self.chunks.push(RecordChunk { object, first: 1, from: 1, to: 2 });
    }

    /// `version u8 ‖ next u64 ‖ head 32 ‖ usage 40 ‖ count u32 ‖ (namespace 16 ‖ commit u64 ‖ digest 16 ‖
    /// documents u64 ‖ bytes u64)… ‖
    /// count u32 ‖ (object ‖ first u64 ‖ from i64 ‖ to i64)… ‖ tail as a batch`.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(vec![VERSION]);
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.usage.encode());
        out.extend_from_slice(&count(self.recorded.len()));
        for (namespace, mark) in &self.recorded {
            out.extend_from_slice(namespace.as_bytes());
            out.extend_from_slice(&mark.commit.0.to_le_bytes());
            out.extend_from_slice(&mark.digest);
            out.extend_from_slice(&mark.documents.to_le_bytes());
            out.extend_from_slice(&mark.bytes.to_le_bytes());
        }
        out.extend_from_slice(&count(self.chunks.len()));
        for chunk in &self.chunks {
            chunk.object.encode(&mut out);
            out.extend_from_slice(&chunk.first.to_le_bytes());
            out.extend_from_slice(&chunk.from.to_le_bytes());
            out.extend_from_slice(&chunk.to.to_le_bytes());
        }
        out.extend_from_slice(&encode_batch(&self.tail));
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, MalformedBytes> {
        let mut r = ByteReader::new(bytes, "audit checkpoint");
        if r.u8()? != VERSION {
            return Err(r.malformed());
        }
        let mut state = Self::new();
        state.next = r.u64()?;
        state.head = r.array()?;
        state.usage = Usage::decode(&mut r)?;
        for _ in 0..r.u32()? {
            let namespace = NamespaceUuid::from_bytes(r.array()?);
            let commit = CommitNo(r.u64()?);
            let digest = r.array()?;
            let (documents, bytes) = (r.u64()?, r.u64()?);
            state.recorded.insert(namespace, AuditPosition { commit, digest, documents, bytes });
        }
        for _ in 0..r.u32()? {
            let object = ObjectRef::decode(&mut r)?;
            state.chunks.push(RecordChunk { object, first: r.u64()?, from: r.i64()?, to: r.i64()? });
        }
        for record in decode_batch(r.rest())? {
            let Timed { time } = serde_json::from_slice(record).map_err(|_| r.malformed())?;
            state.tail.push(StoredRecord { bytes: record.into(), time });
        }
        Ok(state)
    }
}

/// `count u32 ‖ (length u32 ‖ record)…`.
pub(crate) fn encode_batch(records: &[impl AsRef<[u8]>]) -> Zeroizing<Vec<u8>> {
    let bytes: usize = records.iter().map(|record| 4 + record.as_ref().len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(4 + bytes));
    out.extend_from_slice(&count(records.len()));
    for record in records.iter().map(AsRef::as_ref) {
        out.extend_from_slice(&count(record.len()));
        out.extend_from_slice(record);
    }
    out
}

/// Decodes bytes that are exactly one whole batch.
pub(crate) fn decode_batch(bytes: &[u8]) -> Result<Vec<&[u8]>, MalformedBytes> {
    let mut r = ByteReader::new(bytes, "batch of audit records");
    let mut records = Vec::new();
    for _ in 0..r.u32()? {
        let length = r.u32()? as usize;
        records.push(r.take(length)?);
    }
    r.end()?;
    Ok(records)
}

fn parse(record: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(record).map_err(|_| Error::Form { what: "audit record" })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut out = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (i, byte) in out.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * i..2 * i + 2)?, 16).ok()?;
    }
    Some(out)
}

fn count(count: usize) -> [u8; 4] {
    u32::try_from(count).expect("records, chunks and namespaces are far fewer than 2^32").to_le_bytes()
}

const VERSION: u8 = 0;
/// Records plus ids processed between two yields to the runtime: some tens of microseconds of work.
const WORK_PER_YIELD: usize = 128;
/// Batches that accumulate at least before they are compacted; an opening requests an object for each.
const COMPACTION_BATCHES_MIN: u64 = 32;
/// Compaction also waits for this fraction (1/16) of the records that are not in a chunk. So a record is rewritten
/// about 15 times before it is in a chunk, and an opening requests at most 256 objects.
const COMPACTION_TAIL_DIVISOR: u64 = 16;
