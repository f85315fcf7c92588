//! An event store: state in memory that is replayed from the events of one journal.
//!
//! One writer at a time decides on the current state, appends the event, and applies it once it is durable. Readers
//! never wait for a disk. A writer whose future is dropped halfway leaves the journal in doubt: the next writer appends
//! a barrier, learns from its sequence number whether anything was written, and replays the journal if so. The next
//! writer also reopens a journal that has stopped.

use crate::{Error, Result, codec};
use journal::{Journal, Recovered, Seq, Stopped, Storage};
use kernel::{Clock, Entropy, KeyEpoch, limits};
use parking_lot::RwLock;
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
use vault::Keyspace;
use zeroize::Zeroizing;

/// State that is built from events. `apply` cannot fail: a change is refused before its event is written.
pub(crate) trait State: Default + Send + Sync + 'static {
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// Name of the journal, for error messages.
    const NAME: &'static str;

    /// Returns the event that changes nothing.
    fn barrier() -> Self::Event;
    fn apply(&mut self, event: Self::Event);
    /// Number of records in the state, which determines the cost of a checkpoint.
    fn size(&self) -> usize;
    /// Encodes the body of a checkpoint.
    fn encode(&self) -> Result<Zeroizing<Vec<u8>>>;
    fn decode(bytes: &[u8]) -> Result<Self>;
    /// Whether an older entry or checkpoint still holds something that was destroyed.
    fn purge_due(&self) -> bool;
    fn purged(&mut self);
}

/// The environment of a journal: storage, time and randomness.
#[derive(Clone)]
pub(crate) struct Env {
    pub(crate) storage: Storage,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The state of one journal, and the only way to change it.
pub(crate) struct EventStore<S: State> {
    env: Env,
    keyspace: Arc<Keyspace>,
    state: RwLock<S>,
    /// Increases whenever the state was replayed, because it may then hold changes that no writer has reported.
    generation: AtomicU64,
    /// Epoch under which this process has claimed the journal, or 0 if it has not. If another server claims it, this
    /// server must stop: it does not claim the journal back.
    claimed_epoch: AtomicU32,
    writer: tokio::sync::Mutex<EventWriter>,
}

struct EventWriter {
    /// `None` between the failure of a journal and its reopening.
    journal: Option<Journal>,
    /// Number of the last entry that the state includes.
    applied: Seq,
    since_checkpoint: u64,
    /// A writer handed an entry to the journal and did not learn the outcome.
    in_doubt: bool,
}

impl<S: State> EventStore<S> {
    /// Opens the journal and replays it. Finishes a purge that a crash interrupted.
    pub(crate) async fn open(env: Env, keyspace: Arc<Keyspace>) -> Result<Self> {
        let (state, writer) = recover::<S>(&env, &keyspace).await?;
        let purge = state.purge_due();
        let store = Self {
            env,
            keyspace,
            state: RwLock::new(state),
            generation: AtomicU64::new(0),
            claimed_epoch: AtomicU32::new(0),
            writer: tokio::sync::Mutex::new(writer),
        };
        if purge {
            store.purge().await?;
        }
        Ok(store)
    }

    /// Claims the journal for the lifetime of this process, even if another server holds it.
    pub(crate) async fn claim(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        for _ in 0..CLAIM_ATTEMPTS_MAX {
            let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
            match journal.claim().await {
                Ok(epoch) => {
                    self.claimed_epoch.store(epoch.0, Ordering::Release);
                    return Ok(());
                }
                // Another server wrote after this one had read the journal, so it is read again.
                Err(journal::Error::Stopped { .. }) => self.reopen(&mut writer).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::TakenOver)
    }

    /// Checks that the claimed journal still belongs to this process.
    pub(crate) async fn check_ownership(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        if writer
            .journal
            .as_ref()
            .is_none_or(|journal| !matches!(journal.failed(), None | Some(Stopped::Fenced | Stopped::Outdated)))
        {
            self.reopen(&mut writer).await?;
        }
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        match journal.check().await {
            Err(journal::Error::Stopped { why: Stopped::Fenced | Stopped::Outdated, .. }) => Err(Error::TakenOver),
            checked => Ok(checked?),
        }
    }

    pub(crate) fn keyspace(&self) -> &Arc<Keyspace> {
        &self.keyspace
    }

    /// Reads the current state.
    pub(crate) fn read<T>(&self, inspect: impl FnOnce(&S) -> T) -> T {
        inspect(&self.state.read())
    }

    /// Returns a number that changes whenever the state may hold changes that no writer has reported.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Why the last change could not be written, unless one was written since. Also `None` while a write is in
    /// progress.
    pub(crate) fn stopped(&self) -> Option<Error> {
        let writer = self.writer.try_lock().ok()?;
        let why = writer.journal.as_ref().map_or(Some(Stopped::Write), Journal::failed)?;
        Some(journal::Error::Stopped { why, source: None }.into())
    }

    /// Calls `decide` with the current state, then writes and applies the event that it returns, if any.
    pub(crate) async fn write<T>(&self, decide: impl FnOnce(&S) -> Result<(Option<S::Event>, T)>) -> Result<T> {
        let mut writer = self.writer.lock().await;
        self.resolve_in_doubt(&mut writer).await?;
        if self.checkpoint_due(&writer) {
            // The checkpoint comes before the change, so that nothing is awaited between applying the change and
            // answering.
            if let Err(error) = self.checkpoint(&mut writer).await {
                tracing::warn!(keyspace = %self.keyspace.uuid(), error = %error, "a checkpoint failed; the log continues");
            }
        }
        let (event, answer) = self.read(decide)?;
        if let Some(event) = event {
            self.append(&mut writer, event).await?;
        }
        Ok(answer)
    }

    /// Resolves any write in doubt and marks the clean end of the log, so that another opener can replay the journal
    /// quickly. A long log becomes a checkpoint. The store stays usable.
    pub(crate) async fn mark_clean(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        self.resolve_in_doubt(&mut writer).await?;
        if writer.since_checkpoint >= CLEAN_CHECKPOINT_ENTRIES {
            self.checkpoint(&mut writer).await?;
        }
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        Ok(journal.close().await?)
    }

    /// Whether no write is in progress or in doubt.
    pub(crate) fn is_idle(&self) -> bool {
        self.writer.try_lock().is_ok_and(|w| !w.in_doubt && w.journal.as_ref().is_some_and(|j| j.failed().is_none()))
    }

    fn checkpoint_due(&self, writer: &EventWriter) -> bool {
        let quarter = self.read(S::size) as u64 / 4;
        writer.since_checkpoint >= limits::REGISTRY_CHECKPOINT_ENTRIES.max(quarter) || self.read(S::purge_due)
    }

    /// Whether anything in the journal is sealed under an epoch of its keyspace's keys other than this one.
    pub(crate) async fn uses_other_epochs(&self, epoch: KeyEpoch) -> Result<bool> {
        let writer = self.writer.lock().await;
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        Ok(journal.count_by_key_epoch(&[]).await?.keys().any(|under| *under != epoch))
    }

    /// Returns the state as a start would read it from storage, not the one in memory. Holds off writers meanwhile.
    pub(crate) async fn read_from_storage(&self) -> Result<S> {
        let _writer_lock = self.writer.lock().await;
        Ok(recover::<S>(&self.env, &self.keyspace).await?.0)
    }

    /// Whether any of these texts occurs in the stored journal, whose entries are text. Holds off writers meanwhile.
    pub(crate) async fn storage_contains(&self, texts: &[String]) -> Result<bool> {
        let _writer_lock = self.writer.lock().await;
        let Env { storage, clock, entropy } = &self.env;
        let (_, recovered) = Journal::recover(storage, self.keyspace.clone(), clock.clone(), entropy.clone()).await?;
        let mut bodies = recovered.checkpoint.iter().chain(recovered.entries.iter().map(|(_, body)| body));
        let has = |body: &str| texts.iter().any(|text| body.contains(text.as_str()));
        Ok(bodies.any(|body| std::str::from_utf8(body).is_ok_and(has)))
    }

    /// Writes a checkpoint, after which older entries and checkpoints are deleted.
    pub(crate) async fn purge(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        self.resolve_in_doubt(&mut writer).await?;
        self.checkpoint(&mut writer).await
    }

    async fn append(&self, writer: &mut EventWriter, event: S::Event) -> Result<()> {
        let body = codec::encode(&event)?;
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        // The flag stays set if this future is dropped halfway or the append fails.
        writer.in_doubt = true;
        let seq = journal.append(body).await?;
        writer.in_doubt = false;
        self.apply(writer, event, seq);
        Ok(())
    }

    fn apply(&self, writer: &mut EventWriter, event: S::Event, seq: Seq) {
        self.state.write().apply(event);
        writer.applied = seq;
        writer.since_checkpoint += 1;
    }

    /// Makes memory and storage agree after a write with an unknown outcome or a failure of the journal.
    async fn resolve_in_doubt(&self, writer: &mut EventWriter) -> Result<()> {
        let Some(journal) = writer.journal.as_ref().filter(|j| j.failed().is_none()) else {
            return self.reopen(writer).await;
        };
        if !writer.in_doubt {
            return Ok(());
        }
        // Entries are written in order: once the barrier is durable, no older entry is still being written.
        let seq = journal.append(codec::encode(&S::barrier())?).await?;
        // A gap means that the entry in doubt was written, so the state in memory lacks it.
        if seq != writer.applied.next() {
            return self.reopen(writer).await;
        }
        writer.in_doubt = false;
        self.apply(writer, S::barrier(), seq);
        Ok(())
    }

    async fn reopen(&self, writer: &mut EventWriter) -> Result<()> {
        let claimed_epoch = self.claimed_epoch.load(Ordering::Acquire);
        if claimed_epoch == 0 {
            writer.journal = None;
        }
        let (state, fresh) = recover::<S>(&self.env, &self.keyspace).await?;
        if let Some(journal) = fresh.journal.as_ref().filter(|_| claimed_epoch > 0) {
            if journal.newest_epoch().0 > claimed_epoch {
                return Err(Error::TakenOver);
            }
            // The journal had stopped because a write failed. If another server claims it now, the next ownership check
            // reports it.
            self.claimed_epoch.store(journal.claim().await?.0, Ordering::Release);
        }
        *self.state.write() = state;
        *writer = fresh;
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn checkpoint(&self, writer: &mut EventWriter) -> Result<()> {
        let body = self.read(S::encode)?;
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        journal.checkpoint(&body, writer.applied).await?;
        writer.since_checkpoint = 0;
        self.state.write().purged();
        Ok(())
    }
}

/// Number of entries below which reading the log is as fast as writing a checkpoint.
const CLEAN_CHECKPOINT_ENTRIES: u64 = 64;

/// Attempts to claim a journal; each fails if another server that is starting at the same moment claims it in between.
const CLAIM_ATTEMPTS_MAX: usize = 8;

/// Opens the journal and replays its checkpoint and the entries after it.
async fn recover<S: State>(env: &Env, keyspace: &Arc<Keyspace>) -> Result<(S, EventWriter)> {
    let (journal, recovered) =
        Journal::recover(&env.storage, keyspace.clone(), env.clock.clone(), env.entropy.clone()).await?;
    let Recovered { checkpoint, entries, dropped } = recovered;
    if dropped {
        return Err(Error::Damaged("a journal was destroyed that is still in use"));
    }
    let mut state: S = match &checkpoint {
        Some(body) => S::decode(body)?,
        None => S::default(),
    };
    let since_checkpoint = entries.len() as u64;
    for (_, body) in &entries {
        state.apply(codec::decode(S::NAME, body)?);
    }
    let applied = journal.last();
    Ok((state, EventWriter { journal: Some(journal), applied, since_checkpoint, in_doubt: false }))
}

#[cfg(test)]
mod tests;
