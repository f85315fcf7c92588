//! A book: state in memory that is the fold of one journal's events.
//!
//! One writer at a time decides on the state that stands, appends the event, and applies it once
//! it is durable. Readers never wait for a disk. A writer whose future is dropped in the middle
//! leaves a mark: the next writer finds out, by a barrier's number, whether anything was written,
//! and folds the journal again if so. A journal that stopped is opened again by the next writer.

use crate::{Error, Result, codec};
use journal::{Journal, Recovered, Seq, Stopped, Storage};
use kernel::{Clock, Entropy, KeyEpoch, limits};
use serde::{Serialize, de::DeserializeOwned};
use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicU32, AtomicU64, Ordering},
};
use vault::Home;
use zeroize::Zeroizing;

/// A state that events fold into. `apply` is total: what is refused is refused before it is written.
pub(crate) trait Fold: Default + Send + Sync + 'static {
    type Event: Serialize + DeserializeOwned + Send + Sync + 'static;
    /// For messages.
    const WHAT: &'static str;

    /// The event that changes nothing.
    fn barrier() -> Self::Event;
    fn apply(&mut self, event: Self::Event);
    /// Records in it: what a checkpoint costs.
    fn size(&self) -> usize;
    /// The body of a checkpoint.
    fn encode(&self) -> Result<Zeroizing<Vec<u8>>>;
    fn decode(bytes: &[u8]) -> Result<Self>;
    /// Whether something that was destroyed still stands in an older entry or checkpoint.
    fn purge_due(&self) -> bool;
    fn purged(&mut self);
}

/// What a journal needs of the world.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) storage: Storage,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
}

/// The state of one journal, and the way to change it.
pub(crate) struct Book<S: Fold> {
    world: World,
    home: Arc<Home>,
    state: RwLock<S>,
    /// Grows when the state was folded behind a writer's back.
    generation: AtomicU64,
    /// The epoch under which the journal is held; 0 when it is not. Whoever takes a held journal over
    /// ends this server: it is not taken back.
    held: AtomicU32,
    writer: tokio::sync::Mutex<Writer>,
}

struct Writer {
    /// `None` between a stopped journal and its reopening.
    journal: Option<Journal>,
    /// Entries up to here are in the state.
    applied: Seq,
    since_checkpoint: u64,
    /// Something was handed to the journal by a writer that did not come back.
    unsettled: bool,
}

impl<S: Fold> Book<S> {
    /// Opens the journal and folds it. Finishes a purge that a crash interrupted.
    pub(crate) async fn open(world: World, home: Arc<Home>) -> Result<Self> {
        let (state, writer) = recover::<S>(&world, &home).await?;
        let purge = state.purge_due();
        let book = Self {
            world,
            home,
            state: RwLock::new(state),
            generation: AtomicU64::new(0),
            held: AtomicU32::new(0),
            writer: tokio::sync::Mutex::new(writer),
        };
        if purge {
            book.purge().await?;
        }
        Ok(book)
    }

    /// Takes the journal over, from whoever has it, for as long as this process runs.
    pub(crate) async fn hold(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        for _ in 0..HOLD_TRIES_MAX {
            let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
            match journal.claim().await {
                Ok(epoch) => {
                    self.held.store(epoch.0, Ordering::Release);
                    return Ok(());
                }
                // Somebody wrote between our reading and our claim: read again.
                Err(journal::Error::Stopped { .. }) => self.reopen(&mut writer).await?,
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::TakenOver)
    }

    /// Whether the journal that is held still is ours.
    pub(crate) async fn check(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        if writer
            .journal
            .as_ref()
            .is_none_or(|journal| !matches!(journal.failed(), None | Some(Stopped::Fenced | Stopped::Behind)))
        {
            self.reopen(&mut writer).await?;
        }
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        match journal.check().await {
            Err(journal::Error::Stopped { why: Stopped::Fenced | Stopped::Behind, .. }) => Err(Error::TakenOver),
            checked => Ok(checked?),
        }
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    /// Looks at the state as it stands.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&S) -> T) -> T {
        look(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes when the state may hold what no writer reported.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Why the last change could not be written, if nothing was since. `None` also while one is being written.
    pub(crate) fn stopped(&self) -> Option<Error> {
        let writer = self.writer.try_lock().ok()?;
        let why = writer.journal.as_ref().map_or(Some(Stopped::Write), Journal::failed)?;
        Some(journal::Error::Stopped { why, source: None }.into())
    }

    /// Decides on the state as it stands; writes and applies the event, if there is one.
    pub(crate) async fn write<T>(&self, decide: impl FnOnce(&S) -> Result<(Option<S::Event>, T)>) -> Result<T> {
        let mut writer = self.writer.lock().await;
        self.settle(&mut writer).await?;
        if self.checkpoint_due(&writer) {
            // Here and not after the change, so that nothing is awaited between applying and answering.
            if let Err(error) = self.checkpoint(&mut writer).await {
                tracing::warn!(place = %self.home.uuid(), error = %error, "a checkpoint failed; the log continues");
            }
        }
        let (event, answer) = self.read(decide)?;
        if let Some(event) = event {
            self.append(&mut writer, event).await?;
        }
        Ok(answer)
    }

    /// Makes memory and disk agree and marks the log's clean end, so that the journal can be opened
    /// again by somebody else, and quickly: a long log becomes a checkpoint. The book itself goes on.
    pub(crate) async fn rest(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        self.settle(&mut writer).await?;
        if writer.since_checkpoint >= REST_ENTRIES {
            self.checkpoint(&mut writer).await?;
        }
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        Ok(journal.close().await?)
    }

    /// Whether nothing is on its way to the journal.
    pub(crate) fn at_rest(&self) -> bool {
        self.writer.try_lock().is_ok_and(|w| !w.unsettled && w.journal.as_ref().is_some_and(|j| j.failed().is_none()))
    }

    fn checkpoint_due(&self, writer: &Writer) -> bool {
        let quarter = self.read(S::size) as u64 / 4;
        writer.since_checkpoint >= limits::REGISTRY_CHECKPOINT_ENTRIES.max(quarter) || self.read(S::purge_due)
    }

    /// Whether anything of the journal stands under another epoch of its place's keys than this one.
    pub(crate) async fn stands_under_others(&self, epoch: KeyEpoch) -> Result<bool> {
        let writer = self.writer.lock().await;
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        Ok(journal.under_epochs(&[]).await?.keys().any(|under| *under != epoch))
    }

    /// The state as it stands on the storage, read as a start would; not the one in memory. Nobody writes meanwhile.
    pub(crate) async fn reread(&self) -> Result<S> {
        let _nobody_writes = self.writer.lock().await;
        Ok(recover::<S>(&self.world, &self.home).await?.0)
    }

    /// Whether any of these texts stands in the journal as it lies on the storage, where its entries are text. Nobody
    /// writes meanwhile.
    pub(crate) async fn holds(&self, texts: &[String]) -> Result<bool> {
        let _nobody_writes = self.writer.lock().await;
        let World { storage, clock, entropy } = &self.world;
        let (_, found) = Journal::recover(storage, self.home.clone(), clock.clone(), entropy.clone()).await?;
        let mut bodies = found.checkpoint.iter().chain(found.entries.iter().map(|(_, body)| body));
        let has = |body: &str| texts.iter().any(|text| body.contains(text.as_str()));
        Ok(bodies.any(|body| std::str::from_utf8(body).is_ok_and(has)))
    }

    /// Writes a checkpoint, behind which older entries and checkpoints are deleted.
    pub(crate) async fn purge(&self) -> Result<()> {
        let mut writer = self.writer.lock().await;
        self.settle(&mut writer).await?;
        self.checkpoint(&mut writer).await
    }

    async fn append(&self, writer: &mut Writer, event: S::Event) -> Result<()> {
        let body = codec::encode(&event)?;
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        // Stays set when this future is dropped in the middle, or when the append fails.
        writer.unsettled = true;
        let seq = journal.append(body).await?;
        writer.unsettled = false;
        self.apply(writer, event, seq);
        Ok(())
    }

    fn apply(&self, writer: &mut Writer, event: S::Event, seq: Seq) {
        self.state.write().unwrap_or_else(PoisonError::into_inner).apply(event);
        writer.applied = seq;
        writer.since_checkpoint += 1;
    }

    /// Makes memory and disk agree again after a writer that did not come back or a journal that stopped.
    async fn settle(&self, writer: &mut Writer) -> Result<()> {
        let Some(journal) = writer.journal.as_ref().filter(|j| j.failed().is_none()) else {
            return self.reopen(writer).await;
        };
        if !writer.unsettled {
            return Ok(());
        }
        // Entries are written in order: once the barrier is, nothing older is still on its way.
        let seq = journal.append(codec::encode(&S::barrier())?).await?;
        if seq != writer.applied.next() {
            return self.reopen(writer).await;
        }
        writer.unsettled = false;
        self.apply(writer, S::barrier(), seq);
        Ok(())
    }

    async fn reopen(&self, writer: &mut Writer) -> Result<()> {
        let held = self.held.load(Ordering::Acquire);
        if held == 0 {
            writer.journal = None;
        }
        let (state, fresh) = recover::<S>(&self.world, &self.home).await?;
        if let Some(journal) = fresh.journal.as_ref().filter(|_| held > 0) {
            if journal.newest_epoch().0 > held {
                return Err(Error::TakenOver);
            }
            // It had stopped for a failed write. A claim that comes between is told by the next check.
            self.held.store(journal.claim().await?.0, Ordering::Release);
        }
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        *writer = fresh;
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    async fn checkpoint(&self, writer: &mut Writer) -> Result<()> {
        let body = self.read(S::encode)?;
        let journal = writer.journal.as_ref().ok_or(Error::Damaged("a journal is closed"))?;
        journal.checkpoint(&body, writer.applied).await?;
        writer.since_checkpoint = 0;
        self.state.write().unwrap_or_else(PoisonError::into_inner).purged();
        Ok(())
    }
}

/// A log with fewer entries is read as quickly as a checkpoint is written.
const REST_ENTRIES: u64 = 64;

/// Other servers that start in the same moment may come between so often.
const HOLD_TRIES_MAX: usize = 8;

/// Opens the journal and folds its checkpoint and the entries after it.
async fn recover<S: Fold>(world: &World, home: &Arc<Home>) -> Result<(S, Writer)> {
    let (journal, recovered) =
        Journal::recover(&world.storage, home.clone(), world.clock.clone(), world.entropy.clone()).await?;
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
        state.apply(codec::decode(S::WHAT, body)?);
    }
    let applied = journal.last();
    Ok((state, Writer { journal: Some(journal), applied, since_checkpoint, unsettled: false }))
}

#[cfg(test)]
mod tests;
