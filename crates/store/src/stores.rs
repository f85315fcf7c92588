//! The entry point: which namespaces are open, and access to one.
//!
//! Promises one opening of a namespace at a time, that one which does not open fails
//! alone, and that memory above the budget is given back by namespaces that no request holds (`evict`).
//! There is no method here that reads a document.

use crate::{
    Cpu, Error, Renewal, Room, StoresStats, Tended, Totals,
    counters::Counters,
    cpu::Errand,
    evict::{self, Evictor},
    namespace::Namespace,
    open::{self, Opener},
    renew,
    schedule::Schedule,
    slot::{Left, Slot, State, Unopened},
    tenant_counter::TenantCounters,
    tend, upkeep,
};
use access::{Action, Grant, Manage};
use journal::Storage;
use kernel::{
    Audience, AuditMark, AuditSink, Clock, Code, Entropy, Incarnation, NamespaceName, NamespaceSettings, NamespaceUuid,
    WriteMemory, limits,
};
use segment::{Links, Spec};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;
use tokio_util::task::TaskTracker;
use vault::{Directory, Home};

/// What namespaces need from their environment.
pub struct StoresConfig {
    /// The data folder.
    pub storage: Storage,
    /// The source of homes.
    pub directory: Arc<dyn Directory>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The sink for audit lines.
    pub sink: Arc<dyn AuditSink>,
    /// The pools for long work.
    pub cpu: Arc<dyn Cpu>,
    /// Tracks background tasks, so that a shutdown can wait for them.
    pub tracker: TaskTracker,
    /// A memtable above this is flushed, bytes.
    pub flush_bytes_max: u64,
    /// A memtable above this is flushed, rows.
    pub flush_rows_max: u64,
    /// Bytes of open namespaces above which those that no request holds are closed.
    pub memory_bytes_max: u64,
    /// On a bucket: how old what is read may be when another server writes there. Zero: never old, at a
    /// request to the store a read.
    pub stale_reads_max: Duration,
    /// Flushes and short compactions at once, all namespaces together, and as many large merges beside them.
    pub upkeep_jobs_max: usize,
    /// Bytes that all those may take together; a larger one runs alone among its kind.
    pub upkeep_bytes_max: u64,
    /// A merge of more bytes is built beside the namespace's flushes: [`crate::SHORT_MERGE_BYTES_MAX`].
    pub short_merge_bytes_max: u64,
    /// By when no object and no log file holds a document that was deleted, overwritten or patched, or that expired. Zero:
    /// whenever merges get there.
    pub erase_within: Duration,
    /// How a merge gives a segment its graph.
    pub graphs: Links,
    /// A flushed segment up to this stands in the checkpoint itself, bytes: [`crate::INLINE_BYTES_MAX`].
    pub inline_bytes_max: usize,
}

/// See the module.
pub struct Stores {
    shared: Arc<Shared>,
    slots: Arc<Slots>,
    closing: AtomicBool,
    ticks: AtomicU64,
}

/// The namespaces that had a request; in a fixed order, so that a simulation repeats.
#[derive(Default)]
pub(crate) struct Slots(Mutex<BTreeMap<NamespaceUuid, Arc<Slot>>>);

/// What every open namespace shares: parts and counters, nothing of a tenant's.
pub(crate) struct Shared {
    pub(crate) config: StoresConfig,
    pub(crate) counters: Counters,
    pub(crate) tenants: TenantCounters,
    pub(crate) schedule: Arc<Schedule>,
    /// Of large merges, which flushes must not wait for.
    pub(crate) merges: Arc<Schedule>,
    /// The paged part of a segment up to which it is in memory whole, bytes.
    pub(crate) resident_bytes_max: u64,
    /// Open namespaces above this are closed when no request holds them.
    pub(crate) namespaces_open_max: u64,
    /// Log files and objects that the process may have open.
    pub(crate) files_max: u64,
    /// Of patches, reviews and deletions; without it they take what they take.
    pub(crate) write_memory: Option<Arc<dyn WriteMemory>>,
    evictor: Evictor,
    /// Where background work runs that a thread outside of it starts: a snapshot may be dropped on any thread.
    runtime: tokio::runtime::Handle,
    /// Weak: a slot holds its namespace, and that holds this.
    slots: Weak<Slots>,
    #[cfg(test)]
    pub(crate) steps: crate::tests::Steps,
}

impl Shared {
    /// A step of maintenance is done; for tests that inspect the disk.
    pub(crate) fn step(&self, step: &'static str) {
        #[cfg(test)]
        self.steps.done(step);
        let _in_tests_only = step;
    }

    /// Closes namespaces that no request holds, in the background, if the memory budget is exceeded.
    pub(crate) fn make_room(self: &Arc<Self>) {
        if let Some(slots) = self.slots.upgrade() {
            evict::start_if_due(self, &slots);
        }
    }

    pub(crate) fn evictor(&self) -> &Evictor {
        &self.evictor
    }

    pub(crate) fn runtime(&self) -> &tokio::runtime::Handle {
        &self.runtime
    }
}

impl Slots {
    fn get(&self, uuid: NamespaceUuid) -> Option<Arc<Slot>> {
        lock(&self.0).get(&uuid).cloned()
    }

    fn place(&self, uuid: NamespaceUuid, incarnation: Incarnation) -> Arc<Slot> {
        lock(&self.0).entry(uuid).or_insert_with(|| Arc::new(Slot::new(uuid, incarnation))).clone()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        lock(&self.0).values().cloned().collect()
    }
}

impl Stores {
    /// Opens nothing.
    ///
    /// # Panics
    /// Outside a runtime.
    pub fn new(config: StoresConfig) -> Self {
        let slots = Arc::<Slots>::default();
        let shared = Shared {
            schedule: Schedule::new(config.upkeep_jobs_max, config.upkeep_bytes_max / 2),
            merges: Schedule::new(config.upkeep_jobs_max, config.upkeep_bytes_max / 2),
            config,
            counters: Counters::default(),
            tenants: TenantCounters::default(),
            resident_bytes_max: limits::RESIDENT_PAGES_BYTES_MAX,
            namespaces_open_max: limits::NAMESPACES_OPEN_MAX,
            files_max: u64::MAX,
            write_memory: None,
            evictor: Evictor::default(),
            runtime: tokio::runtime::Handle::current(),
            slots: Arc::downgrade(&slots),
            #[cfg(test)]
            steps: crate::tests::Steps::default(),
        };
        Self { shared: Arc::new(shared), slots, closing: AtomicBool::new(false), ticks: AtomicU64::new(0) }
    }

    /// With fewer namespaces open, and no more log files and objects than this process may have open.
    ///
    /// # Panics
    /// When something is open already.
    #[must_use]
    pub fn bounded(mut self, namespaces_open_max: u64, files_max: u64) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("nothing is open");
        (shared.namespaces_open_max, shared.files_max) = (namespaces_open_max, files_max);
        self
    }

    /// With memory for writes that is counted, as far as they were not counted when they came.
    ///
    /// # Panics
    /// When something is open already.
    #[must_use]
    pub fn counted(mut self, memory: Arc<dyn WriteMemory>) -> Self {
        Arc::get_mut(&mut self.shared).expect("nothing is open").write_memory = Some(memory);
        self
    }

    /// Enters the namespace that the grant names; opens it if it is not open. Cost: nothing when
    /// it is, else its checkpoint, its objects and its log.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Unopened`] for one that did not open a moment ago.
    pub async fn enter<A: Action>(&self, grant: &Grant<A>, settings: &NamespaceSettings) -> Result<Room<A>, Error> {
        let home = Home::enter(grant, &*self.shared.config.directory).map_err(passed)?;
        let spec = spec(settings);
        let (slot, namespace) = self.reach(home, grant.incarnation(), settings, Errand::Open).await?;
        namespace.counter.allow(*grant.quotas());
        Ok(Room::new(namespace, slot, spec, grant.presence().clone()))
    }

    /// Numbers of another namespace of the grant's tenant: for lists what an audience sees of it, for quotas all.
    ///
    /// # Errors
    /// As [`Stores::enter`].
    pub async fn totals<A: Action>(
        &self,
        grant: &Grant<A>,
        name: &NamespaceName,
        settings: &NamespaceSettings,
        audience: &Audience,
    ) -> Result<Totals, Error> {
        let home = self.shared.config.directory.namespace(grant.incarnation(), name).map_err(passed)?;
        let home = home.ok_or(Error::NotFound)?;
        let (_, namespace) = self.reach(home, grant.incarnation(), settings, Errand::Open).await?;
        namespace.totals_for(audience).await
    }

    /// Whether the sums over a tenant's namespaces are known.
    pub fn knows_tenant(&self, incarnation: Incarnation) -> bool {
        self.shared.tenants.of(incarnation).is_complete()
    }

    /// Sets the totals of all of a tenant's namespaces to what its audit has recorded, except for those that were open since
    /// the start. From then on the sums are kept, whether namespaces are open or not.
    pub fn learn_tenant(
        &self,
        incarnation: Incarnation,
        recorded: impl IntoIterator<Item = (NamespaceUuid, Option<AuditMark>)>,
    ) {
        let counter = self.shared.tenants.of(incarnation);
        for (namespace, mark) in recorded {
            // Nothing is recorded of a namespace that was never written.
            let AuditMark { documents, bytes, commit, .. } = mark.unwrap_or_default();
            counter.seed(namespace, Totals { documents, bytes, commit, ..Totals::default() });
        }
        counter.complete();
    }

    /// Sums over all namespaces of a tenant, as far as they are known.
    pub fn tenant_totals(&self, incarnation: Incarnation) -> Totals {
        self.shared.tenants.of(incarnation).totals()
    }

    /// The same over some of its namespaces.
    pub fn totals_in(&self, incarnation: Incarnation, namespaces: &[NamespaceUuid]) -> Totals {
        self.shared.tenants.of(incarnation).totals_of(namespaces)
    }

    /// Forgets the totals of a tenant that was erased.
    pub fn forget_totals(&self, incarnation: Incarnation) {
        self.shared.tenants.forget(incarnation);
    }

    /// Opens a namespace that was refused as rolled back, with the audit line that says who accepted it. Returns whether
    /// there was anything to accept.
    ///
    /// # Errors
    /// What keeps the namespace closed; that the line could not be written.
    pub async fn accept_rollback(
        &self,
        home: Arc<Home>,
        settings: &NamespaceSettings,
        line: Vec<u8>,
    ) -> Result<bool, Error> {
        let Some(incarnation) = home.incarnation() else { return Err(Error::NotFound) };
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        let slot = self.slots.place(home.uuid(), incarnation);
        let opening = slot.opening().await;
        if slot.current().is_some() {
            return Ok(false);
        }
        let opener = Opener::new(incarnation, Errand::Open(incarnation), settings);
        let opener = Opener { accepted: Some(line), ..opener };
        let task = open_slot(self.shared.clone(), slot, home, opener, opening);
        self.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)??;
        self.shared.make_room();
        Ok(true)
    }

    /// Closes the grant's namespace if it holds nothing, so that it opens with its new settings.
    pub async fn reshape(&self, grant: &Grant<Manage>) {
        let Ok(home) = Home::enter(grant, &*self.shared.config.directory) else { return };
        if let Some(slot) = self.slots.get(home.uuid()) {
            slot.close(&self.shared, |namespace| namespace.totals().documents == 0).await;
        }
    }

    /// Re-encrypts everything of a namespace under the newest key of this home, which opens all of it.
    /// No text comes out.
    ///
    /// # Errors
    /// What keeps the namespace closed; what stopped it. Asked again, it does what is left.
    pub async fn renew(&self, home: Arc<Home>, settings: &NamespaceSettings) -> Result<Renewal, Error> {
        let Some(incarnation) = home.incarnation() else { return Err(Error::NotFound) };
        // One that was opened with another hold of the same keys would not learn of the new one.
        if let Some(slot) = self.slots.get(home.uuid()) {
            slot.close(&self.shared, |open| !Arc::ptr_eq(&open.home, &home)).await;
        }
        let (_slot, namespace) = self.reach(home.clone(), incarnation, settings, |_| Errand::OpenAside).await?;
        if !Arc::ptr_eq(&namespace.home, &home) {
            return Err(Error::Closing);
        }
        renew::renew(&namespace).await
    }

    /// Erases what is dead in a namespace: objects with copies that are due are rewritten, and objects that earlier writers
    /// left are removed. Of one that is not open only its checkpoint, log and object names are read; it is opened
    /// only if something may be due. No text comes out.
    ///
    /// # Errors
    /// What keeps the namespace closed; what stopped it. Asked again, it does what is left.
    pub async fn tend(&self, home: Arc<Home>, settings: &NamespaceSettings) -> Result<Tended, Error> {
        let Some(incarnation) = home.incarnation() else { return Err(Error::NotFound) };
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        let slot = self.slots.place(home.uuid(), incarnation);
        if let Some(namespace) = slot.ready(&self.shared)? {
            return tend::tend(&namespace).await;
        }
        let now = self.shared.config.clock.now();
        let seen = match slot.rests() {
            Some(seen) if !tend::is_due(&self.shared, seen, now) => {
                return Ok(Tended { dead_from: seen, ..Tended::default() });
            }
            _ => tend::look(&self.shared, &slot, home.clone()).await?,
        };
        if let Some(seen) = seen {
            return Ok(seen);
        }
        let (_slot, namespace) = self.reach(home, incarnation, settings, Errand::Open).await?;
        // No request asked for it: it is the first to be closed.
        namespace.used.store(0, Ordering::Relaxed);
        let tended = tend::tend(&namespace).await;
        drop(namespace);
        self.shared.make_room();
        tended
    }

    /// Drops a tenant's namespaces from memory: it was suspended, erased, or its keys changed.
    pub async fn forget(&self, incarnation: Incarnation) {
        for slot in self.slots.all().into_iter().filter(|slot| slot.incarnation() == incarnation) {
            slot.close(&self.shared, |_| true).await;
        }
    }

    /// Writes every open memtable into objects and cuts the logs.
    ///
    /// # Errors
    /// The last failure; the other namespaces are flushed all the same.
    pub async fn flush_all(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for slot in self.slots.all() {
            let Some(namespace) = slot.current() else { continue };
            if let Err(error) = upkeep::flush(&namespace).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// No request enters any more; accepted ones end. A long log becomes an object first, so
    /// that the next start is quick.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for slot in self.slots.all() {
            if let Some(namespace) = slot.current().filter(evict::opens_slowly) {
                // Nothing is lost: the log holds it.
                if let Err(error) = upkeep::flush(&namespace).await {
                    tracing::warn!(namespace = %namespace.home.uuid(), %error, "not flushed at close");
                }
            }
            slot.close(&self.shared, |_| true).await;
        }
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> StoresStats {
        let (short, long) = (self.shared.schedule.load(), self.shared.merges.load());
        StoresStats {
            upkeep_waiting: short.waiting + long.waiting,
            upkeep_running: short.running + long.running,
            upkeep_bytes: short.bytes + long.bytes,
            ..self.shared.counters.read()
        }
    }

    async fn reach(
        &self,
        home: Arc<Home>,
        incarnation: Incarnation,
        settings: &NamespaceSettings,
        errand: fn(Incarnation) -> Errand,
    ) -> Result<(Arc<Slot>, Arc<Namespace>), Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        // The directory was asked for this incarnation's namespace; anything else is a fault there.
        if home.incarnation() != Some(incarnation) {
            return Err(Error::Passed(kernel::Error::internal("the directory gave the home of another tenant")));
        }
        let slot = self.slots.place(home.uuid(), incarnation);
        let mut namespace = match slot.ready(&self.shared)? {
            Some(namespace) => namespace,
            None => self.open(&slot, home.clone(), Opener::new(incarnation, errand(incarnation), settings)).await?,
        };
        if let Err(error) = namespace.prove().await {
            if !matches!(error, journal::Error::Stopped { .. }) {
                return Err(error.into());
            }
            // Another server wrote it. What is there now was read after this request came.
            namespace.fail();
            drop(namespace);
            namespace = self.open(&slot, home, Opener::new(incarnation, errand(incarnation), settings)).await?;
        }
        namespace.used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok((slot, namespace))
    }

    async fn open(&self, slot: &Arc<Slot>, home: Arc<Home>, opener: Opener) -> Result<Arc<Namespace>, Error> {
        let opening = slot.opening().await;
        if let Some(namespace) = slot.ready(&self.shared)? {
            return Ok(namespace);
        }
        if !evict::make_way(&self.shared, &self.slots).await {
            let error = kernel::Error::overloaded("too many namespaces are in use at once", Duration::from_secs(1));
            return Err(Error::Passed(error));
        }
        // A task of its own: the caller may go, and the next one finds it open.
        let task = open_slot(self.shared.clone(), slot.clone(), home, opener, opening);
        let opened = self.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)??;
        self.shared.make_room();
        Ok(opened)
    }
}

/// Opens a slot's namespace. Earlier users have gone when this begins.
async fn open_slot(
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    home: Arc<Home>,
    opener: Opener,
    mut opening: OwnedMutexGuard<Left>,
) -> Result<Arc<Namespace>, Error> {
    let before = slot.take();
    if let Some(failed) = before {
        failed.shut().await;
    }
    let retention = opener.retention;
    match open::open(shared.clone(), home, opener, opening.take()).await {
        Ok(namespace) => {
            namespace.set_retention(retention);
            slot.set(&shared.counters, State::Open(namespace.clone()));
            Ok(namespace)
        }
        Err(error) => {
            tracing::error!(namespace = %slot.uuid(), error = &error as &dyn std::error::Error, "a namespace does not open");
            let error = kernel::Error::from(error);
            let unopened = Unopened::after(slot.tries(), &error, shared.config.clock.monotonic());
            slot.set(&shared.counters, State::Unopened(unopened));
            Err(Error::Passed(error))
        }
    }
}

#[cfg(test)]
impl Stores {
    /// What a tenant may store. Its next request sets it again.
    pub(crate) fn allow(&self, tenant: Incarnation, quotas: kernel::Quotas) {
        self.shared.tenants.of(tenant).allow(quotas);
    }

    /// Segments are read in pages from this size on. Before anything is opened.
    pub(crate) fn paging_above(mut self, bytes: u64) -> Self {
        Arc::get_mut(&mut self.shared).expect("nothing is open").resident_bytes_max = bytes;
        self
    }

    /// Objects that wait for their deletion.
    pub(crate) async fn retired_of(&self) -> usize {
        self.only().upkeep.lock().await.retired.len()
    }

    pub(crate) fn only(&self) -> Arc<Namespace> {
        self.open_namespaces().into_iter().next().expect("one namespace is open")
    }

    pub(crate) fn open_namespaces(&self) -> Vec<Arc<Namespace>> {
        self.slots.all().iter().filter_map(|slot| slot.current()).collect()
    }

    /// Log entries of the open namespace.
    pub(crate) fn log_of(&self) -> u64 {
        self.only().journal.last().0
    }

    /// Where tests look at the disk.
    pub(crate) fn steps(&self) -> &crate::tests::Steps {
        &self.shared.steps
    }

    /// Objects that the open namespace stands on.
    pub(crate) fn named_of(&self) -> usize {
        self.only().view().objects().len()
    }

    /// Bytes of log that the open namespace's next opening reads.
    pub(crate) fn log_bytes_of(&self) -> u64 {
        self.only().journal.log_bytes()
    }

    /// Which namespaces are open.
    pub(crate) fn open_ones(&self) -> Vec<NamespaceUuid> {
        self.slots.all().iter().filter(|slot| slot.current().is_some()).map(|slot| slot.uuid()).collect()
    }

    /// Segments of the open namespace.
    pub(crate) fn parts_of(&self) -> usize {
        self.only().view().parts.len()
    }
}

impl Opener {
    fn new(incarnation: Incarnation, errand: Errand, settings: &NamespaceSettings) -> Self {
        Self { incarnation, errand, spec: spec(settings), retention: settings.retention, accepted: None }
    }
}

fn spec(settings: &NamespaceSettings) -> Spec {
    let (dimensions, distance) = (settings.embedding.dimensions(), settings.distance);
    Spec { dimensions, distance, language: settings.language }
}

fn passed(error: kernel::Error) -> Error {
    if error.code == Code::NotFound { Error::NotFound } else { Error::Passed(error) }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one assignment or one insertion.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
