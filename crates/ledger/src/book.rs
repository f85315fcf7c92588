//! One chain on disk: batches of lines in a journal, full chunks in sealed objects, and between
//! them a checkpoint with the state of the chain.

use crate::{
    Error, Usage,
    deed::Draft,
    line::{self, Fingerprint, GENESIS},
    rollback::ACCEPTED,
};
use journal::{Journal, ObjectRef, Storage};
use kernel::{AuditMark, Clock, CommitNo, Entropy, NamespaceUuid, limits};
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::{HashMap, VecDeque},
    ops::Range,
    sync::Arc,
};
use tokio::sync::OwnedSemaphorePermit;
use vault::{Home, ObjectKind};
use zeroize::Zeroizing;

/// A chain that is open for writing. It has one owner.
pub(crate) struct Book {
    pub(crate) home: Arc<Home>,
    pub(crate) journal: Arc<Journal>,
    state: State,
    /// Whether each batch in the log is an object, for which the next opening asks by itself.
    batches_are_objects: bool,
    /// Batches that no checkpoint covers, one that is being written included.
    batches: u64,
    /// One of the files that tenants' logs may hold open; none for the operators'.
    pub(crate) place: Option<OwnedSemaphorePermit>,
}

/// The state of a chain: all that a checkpoint holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// Number of the next line.
    next: u64,
    head: Fingerprint,
    usage: Usage,
    /// How far each namespace is recorded.
    absorbed: HashMap<NamespaceUuid, AuditMark>,
    chunks: Vec<Chunk>,
    /// Lines that are in no chunk yet.
    tail: Vec<Line>,
}

/// A line as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    bytes: Arc<[u8]>,
    /// Milliseconds since 1970, as it says.
    time: i64,
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A sealed object with as many lines as [`State::full`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chunk {
    pub(crate) object: ObjectRef,
    /// Number of its first line.
    pub(crate) first: u64,
    /// Earliest and latest time in it, milliseconds since 1970.
    pub(crate) from: i64,
    pub(crate) to: i64,
}

/// What a reader gets: the lines that it may need, as of one moment.
pub(crate) struct Pages {
    pub(crate) home: Arc<Home>,
    pub(crate) journal: Arc<Journal>,
    sources: VecDeque<Source>,
    /// More chunks were left out; they begin after this line.
    pub(crate) goes_on_after: Option<u64>,
}

/// Location of some lines.
pub(crate) enum Source {
    Chunk(ObjectRef),
    /// In memory: those that are in no chunk yet.
    Tail(Vec<Line>),
}

/// A line to be written: the draft, and the commit that carried it.
pub(crate) type Item<'a> = (&'a Draft, Option<(NamespaceUuid, AuditMark)>);

impl Book {
    /// Opens the chain, new or old, and deletes chunks that a crash left without a checkpoint.
    pub(crate) async fn open(
        storage: &Storage,
        home: Arc<Home>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, kernel::Error> {
        let (journal, recovered) = Journal::recover(storage, Arc::clone(&home), clock, entropy).await?;
        let batches = recovered.entries.len() as u64;
        // Up to a chunk of lines is parsed on a thread that serves other requests.
        #[expect(clippy::disallowed_methods, reason = "one for each audit that opens; the runtime bounds its threads")]
        let fold = tokio::task::spawn_blocking(move || {
            let mut state = match &recovered.checkpoint {
                Some(body) => State::decode(body).ok_or(Error::Form { what: "audit checkpoint" })?,
                None => State::new(),
            };
            for (_, batch) in &recovered.entries {
                for line in decode_batch(batch).ok_or(Error::Form { what: "audit batch" })? {
                    state.replay(line)?;
                }
            }
            Ok::<_, Error>(state)
        });
        let state = fold.await.map_err(|_| Error::Closed)??;
        let keep: Vec<ObjectRef> = state.chunks.iter().map(|chunk| chunk.object.clone()).collect();
        journal.sweep(&keep).await?;
        let batches_are_objects = storage.is_shared();
        Ok(Self { home, journal: Arc::new(journal), state, batches_are_objects, batches, place: None })
    }

    /// Appends lines, as one entry with one flush. Those of commits that are in the
    /// chain already are left out. When this fails the chain's state is unchanged; whether the
    /// lines are on the disk is known when it is opened again.
    pub(crate) async fn write(&mut self, items: &[Item<'_>]) -> Result<(), kernel::Error> {
        let mut state = self.state.pointer();
        let (mut lines, mut ended, mut worked) = (Vec::new(), Vec::new(), 0);
        for (draft, commit) in items {
            let forced = draft.operation == ACCEPTED;
            if !forced && commit.is_some_and(|(namespace, mark)| self.has(namespace, mark.commit, &state.absorbed)) {
                continue;
            }
            if let Some(namespace) = draft.ended.as_deref().and_then(|log| NamespaceUuid::parse(log).ok()) {
                state.absorbed.remove(&namespace);
                ended.push(namespace);
            }
            let place = line::Place { home: &self.home, seq: state.next, prev: state.head, commit: *commit };
            let (bytes, fingerprint) = line::write(draft, &place);
            state.next += 1;
            state.head = fingerprint;
            if draft.is_request() {
                state.usage.add(&draft.operation, draft.counts.iter().map(|(name, count)| (name.as_str(), *count)));
            }
            state.absorbed.extend(*commit);
            lines.push(Line { bytes: bytes.into(), time: draft.time });
            // Every id costs a keyed hash, on a thread that serves other requests.
            worked += 1 + draft.documents.len() + draft.principals.len();
            if worked >= WORKED_AT_ONCE {
                worked = 0;
                tokio::task::yield_now().await;
            }
        }
        if lines.is_empty() {
            return Ok(());
        }
        self.journal.append(encode_batch(&lines)).await?;
        self.batches += 1;
        self.state.next = state.next;
        self.state.head = state.head;
        self.state.usage = state.usage;
        for namespace in &ended {
            self.state.absorbed.remove(namespace);
        }
        self.state.absorbed.extend(state.absorbed);
        self.state.tail.extend(lines);
        Ok(())
    }

    /// Moves full chunks out of the log.
    ///
    /// 1. each chunk sealed and durable: a crash leaves objects that the next opening sweeps
    /// 2. the journal's checkpoint with the chunks' names, durable: the log before it goes
    ///
    /// When it fails the chain is as before, and the next batch tries again.
    pub(crate) async fn roll(&mut self) -> Result<(), kernel::Error> {
        if self.state.full().is_none() {
            return Ok(());
        }
        let mut rolled = self.state.clone();
        while let Some(full) = rolled.full() {
            let rest = rolled.tail.split_off(full);
            let first = rolled.next - (full + rest.len()) as u64;
            let lines = std::mem::replace(&mut rolled.tail, rest);
            let (from, to) = lines
                .iter()
                .map(|line| line.time)
                .fold((i64::MAX, i64::MIN), |(from, to), time| (from.min(time), to.max(time)));
            let object = self.journal.put(ObjectKind::AuditChunk, &encode_batch(&lines)).await?;
            rolled.chunks.push(Chunk { object, first, from, to });
        }
        self.journal.checkpoint(&rolled.encode(), self.journal.last()).await?;
        self.state = rolled;
        self.batches = 0;
        Ok(())
    }

    /// Puts the lines of many small batches into one checkpoint if each batch is an object, because opening the chain
    /// reads all of them, several times. Runs in the background, while batches are written. A crash or a failure leaves the
    /// batches, and as many more of them require the next.
    pub(crate) fn fold(&mut self) -> Option<impl Future<Output = Result<(), journal::Error>> + Send + use<>> {
        // A checkpoint holds all lines that are in no chunk: the more there are, the rarer.
        let due = FOLDED_BATCHES_MIN.max(self.state.tail.len() as u64 / FOLD_SHARE);
        if !self.batches_are_objects || self.batches < due {
            return None;
        }
        self.batches = 0;
        let (journal, body, covers) = (Arc::clone(&self.journal), self.state.encode(), self.journal.last());
        Some(async move { journal.checkpoint(&body, covers).await })
    }

    /// Re-encrypts the whole chain under the newest key of its home: chunks first, then the log. Asked again, it
    /// does what is left; a crash leaves chunks that nothing names, swept at the next opening.
    pub(crate) async fn renew(&mut self) -> Result<(), kernel::Error> {
        let newest = self.home.epoch();
        let (mut renewed, mut old) = (self.state.clone(), Vec::new());
        for chunk in &mut renewed.chunks {
            if chunk.object.key.epoch == newest {
                continue;
            }
            let bytes = self.journal.get(&chunk.object).await?;
            let object = self.journal.put(ObjectKind::AuditChunk, &bytes).await?;
            old.push(std::mem::replace(&mut chunk.object, object));
        }
        // There is no other writer meanwhile, so one checkpoint covers the whole log.
        self.journal.checkpoint(&renewed.encode(), self.journal.last()).await?;
        self.state = renewed;
        self.batches = 0;
        for object in &old {
            self.journal.delete(object).await?;
        }
        let named: Vec<ObjectRef> = self.state.chunks.iter().map(|chunk| chunk.object.clone()).collect();
        let left = |under: &std::collections::BTreeMap<_, u64>| under.keys().any(|epoch| *epoch != newest);
        if left(&self.journal.under_epochs(&named).await?) {
            self.journal.sweep(&named).await?;
            if left(&self.journal.under_epochs(&named).await?) {
                return Err(Error::Unrenewed.into());
            }
        }
        Ok(())
    }

    pub(crate) fn usage(&self) -> Usage {
        self.state.usage
    }

    /// Where lines after `after` lie whose time may be in the range: as much as one page opens.
    pub(crate) fn pages(&self, after: u64, times: Range<i64>) -> Pages {
        let state = &self.state;
        let tail_first = state.next - state.tail.len() as u64;
        let ends = state.chunks.iter().skip(1).map(|chunk| chunk.first).chain([tail_first]);
        let mut wanted = state
            .chunks
            .iter()
            .zip(ends)
            .filter(|(chunk, end)| *end > after.saturating_add(1) && chunk.to >= times.start && chunk.from < times.end)
            .map(|(chunk, _)| chunk);
        let mut sources: VecDeque<Source> = wanted
            .by_ref()
            .take(limits::AUDIT_PAGE_CHUNKS_MAX)
            .map(|chunk| Source::Chunk(chunk.object.clone()))
            .collect();
        let goes_on_after = wanted.next().map(|chunk| chunk.first - 1);
        if goes_on_after.is_none() {
            let skipped = usize::try_from(after.saturating_add(1).saturating_sub(tail_first)).unwrap_or(usize::MAX);
            sources.push_back(Source::Tail(state.tail.iter().skip(skipped).cloned().collect()));
        }
        Pages { home: Arc::clone(&self.home), journal: Arc::clone(&self.journal), sources, goes_on_after }
    }

    /// The number of lines, and the fingerprint of the last.
    pub(crate) fn head(&self) -> (u64, Fingerprint) {
        (self.state.next - 1, self.state.head)
    }

    /// How far a namespace is recorded.
    pub(crate) fn recorded(&self, namespace: NamespaceUuid) -> Option<AuditMark> {
        self.state.absorbed.get(&namespace).copied()
    }

    /// Which of these lines belong to a commit that is recorded, or came earlier in this group, with other content.
    pub(crate) fn clashes(&self, items: &[Item<'_>]) -> Vec<bool> {
        let mut new = HashMap::new();
        let mut clash = |(draft, commit): &Item<'_>| {
            let Some((namespace, mark)) = commit.filter(|_| draft.operation != ACCEPTED) else { return false };
            let last = new.get(&namespace).or_else(|| self.state.absorbed.get(&namespace)).copied();
            if last.is_none_or(|last: AuditMark| last.commit < mark.commit) {
                new.insert(namespace, mark);
            }
            last.is_some_and(|last| last.commit == mark.commit && last.digest != mark.digest)
        };
        items.iter().map(&mut clash).collect()
    }

    fn has(&self, namespace: NamespaceUuid, number: CommitNo, new: &HashMap<NamespaceUuid, AuditMark>) -> bool {
        let last = new.get(&namespace).or_else(|| self.state.absorbed.get(&namespace));
        last.is_some_and(|last| number <= last.commit)
    }
}

/// The members of a line that a checkpoint's reader needs.
#[derive(Deserialize)]
struct Timed {
    time: i64,
}

impl Pages {
    /// The next of them.
    pub(crate) fn next(&mut self) -> Option<Source> {
        self.sources.pop_front()
    }

    /// Bytes of the largest that is to come.
    pub(crate) fn piece_bytes(&self) -> u64 {
        let bytes = |source: &Source| match source {
            Source::Chunk(object) => object.bytes,
            Source::Tail(lines) => lines.iter().map(|line| line.bytes.len() as u64).sum(),
        };
        self.sources.iter().map(bytes).max().unwrap_or(0)
    }
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            next: 1,
            head: GENESIS,
            usage: Usage::default(),
            absorbed: HashMap::new(),
            chunks: Vec::new(),
            tail: Vec::new(),
        }
    }

    /// Where the next line goes, without what is already there.
    fn pointer(&self) -> Self {
        Self { next: self.next, head: self.head, usage: self.usage, ..Self::new() }
    }

    /// Takes a stored line in again. The journal vouches for the bytes, the chain for the order.
    pub(crate) fn replay(&mut self, line: &[u8]) -> Result<(), Error> {
        let form = || Error::Form { what: "audit line" };
        let value = parse(line)?;
        let integrity = &value["record_integrity"];
        let follows = integrity["sequence"].as_u64() == Some(self.next)
            && integrity["prev_hash"].as_str() == Some(&line::hex(&self.head));
        if !follows {
            return Err(Error::Broken { index: 0, sequence: self.next, why: "it does not follow the line before it" });
        }
        let stated = integrity["fingerprint"].as_str().ok_or_else(form)?;
        self.head = unhex(stated).ok_or_else(form)?;
        self.next = self.next.checked_add(1).ok_or_else(form)?;
        self.usage.add_line(&value);
        let commit = &value["unmapped"]["commit"];
        if let Some(log) = commit["log"].as_str() {
            let number = |name: &str| commit[name].as_u64().ok_or_else(form);
            let mark = AuditMark {
                commit: CommitNo(number("number")?),
                digest: commit["digest"].as_str().and_then(unhex).ok_or_else(form)?,
                documents: number("documents")?,
                bytes: number("bytes")?,
            };
            self.absorbed.insert(NamespaceUuid::parse(log).map_err(|_| form())?, mark);
        }
        if let Some(log) = value["unmapped"]["ended"].as_str() {
            self.absorbed.remove(&NamespaceUuid::parse(log).map_err(|_| form())?);
        }
        let time = value["time"].as_i64().ok_or_else(form)?;
        self.tail.push(Line { bytes: line.into(), time });
        Ok(())
    }

    /// How many lines make a chunk, once there are enough: lines that name hundreds of documents are long.
    fn full(&self) -> Option<usize> {
        let mut bytes = 0;
        let enough = |(at, line): (usize, &Line)| {
            bytes += line.bytes.len();
            let full = at + 1 == limits::AUDIT_CHUNK_LINES || bytes >= limits::AUDIT_CHUNK_BYTES;
            full.then_some(at + 1)
        };
        self.tail.iter().enumerate().find_map(enough)
    }

    /// The next line's number and what it must name.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn place(&self) -> (u64, Fingerprint) {
        (self.next, self.head)
    }

    /// Adds a chunk that is nowhere.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn with_chunk(&mut self) {
        let key = vault::WrappedKey { epoch: kernel::KeyEpoch(1), bytes: vec![7; 60] };
        let uuid = kernel::ObjectUuid::from_bytes([9; 16]);
        let writer = kernel::LogEpoch(3);
        let object = ObjectRef { kind: ObjectKind::AuditChunk, uuid, writer, key, bytes: 77 };
        self.chunks.push(Chunk { object, first: 1, from: 1, to: 2 });
    }

    /// `version u8 ‖ next u64 ‖ head 32 ‖ usage 40 ‖ count u32 ‖ (namespace 16 ‖ commit u64 ‖ digest 16 ‖
    /// documents u64 ‖ bytes u64)… ‖
    /// count u32 ‖ (object ‖ first u64 ‖ from i64 ‖ to i64)… ‖ tail as a batch`.
    pub(crate) fn encode(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(vec![VERSION]);
        out.extend_from_slice(&self.next.to_le_bytes());
        out.extend_from_slice(&self.head);
        out.extend_from_slice(&self.usage.encode());
        out.extend_from_slice(&count(self.absorbed.len()));
        for (namespace, mark) in &self.absorbed {
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

    pub(crate) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let rest = &mut bytes;
        if take::<1>(rest)?[0] != VERSION {
            return None;
        }
        let mut state = Self::new();
        state.next = u64::from_le_bytes(take(rest)?);
        state.head = take(rest)?;
        state.usage = Usage::decode(take(rest)?);
        for _ in 0..u32::from_le_bytes(take(rest)?) {
            let namespace = NamespaceUuid::from_bytes(take(rest)?);
            let commit = CommitNo(u64::from_le_bytes(take(rest)?));
            let digest = take(rest)?;
            let (documents, bytes) = (u64::from_le_bytes(take(rest)?), u64::from_le_bytes(take(rest)?));
            state.absorbed.insert(namespace, AuditMark { commit, digest, documents, bytes });
        }
        for _ in 0..u32::from_le_bytes(take(rest)?) {
            let object = ObjectRef::decode(rest)?;
            let first = u64::from_le_bytes(take(rest)?);
            let (from, to) = (i64::from_le_bytes(take(rest)?), i64::from_le_bytes(take(rest)?));
            state.chunks.push(Chunk { object, first, from, to });
        }
        for line in decode_batch(rest)? {
            let Timed { time } = serde_json::from_slice(line).ok()?;
            state.tail.push(Line { bytes: line.into(), time });
        }
        Some(state)
    }
}

/// `count u32 ‖ (length u32 ‖ line)…`.
pub(crate) fn encode_batch(lines: &[impl AsRef<[u8]>]) -> Zeroizing<Vec<u8>> {
    let bytes: usize = lines.iter().map(|line| 4 + line.as_ref().len()).sum();
    let mut out = Zeroizing::new(Vec::with_capacity(4 + bytes));
    out.extend_from_slice(&count(lines.len()));
    for line in lines.iter().map(AsRef::as_ref) {
        out.extend_from_slice(&count(line.len()));
        out.extend_from_slice(line);
    }
    out
}

/// `None` when it is no batch, whole and alone.
pub(crate) fn decode_batch(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lines = Vec::new();
    for _ in 0..u32::from_le_bytes(take(&mut bytes)?) {
        let length = usize::try_from(u32::from_le_bytes(take(&mut bytes)?)).ok()?;
        let (line, rest) = bytes.split_at_checked(length)?;
        lines.push(line);
        bytes = rest;
    }
    bytes.is_empty().then_some(lines)
}

fn parse(line: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(line).map_err(|_| Error::Form { what: "audit line" })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
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
    u32::try_from(count).expect("lines, chunks and namespaces are far fewer than 2^32").to_le_bytes()
}

const VERSION: u8 = 0;
/// Lines and ids in them between two looks at who else waits for the thread: some tens of microseconds.
const WORKED_AT_ONCE: usize = 128;
/// Objects that an opening may have to ask for at least before they are folded.
const FOLDED_BATCHES_MIN: u64 = 32;
/// And this part of the lines in no chunk: a line is written some 15 times before it is in one, and an opening asks
/// for 256 objects at most.
const FOLD_SHARE: u64 = 16;
