//! Entry point of the crate: the set of open namespaces and access to one of them.
//!
//! Guarantees that a namespace is opened once at a time, that one which cannot be opened fails alone, and that memory
//! above the budget is released by closing namespaces that no request uses (`evict`). No method here reads a document.

use crate::{
    CpuPool, Error, MaintenanceReport, NamespaceHandle, NamespaceReencryption, StoresStats, Totals,
    counters::Counters,
    cpu::TaskClass,
    evict::{self, Evictor},
    idle_maintenance,
    job_scheduler::JobScheduler,
    maintenance,
    namespace::Namespace,
    open::{self, OpenOptions},
    reencrypt,
    slot::{OpenFailure, SavedSession, Slot, SlotState},
    tenant_counter::TenantCounters,
};
use access::{Action, Grant, Manage};
use futures::{StreamExt, stream};
use journal::Storage;
use kernel::{
    Audience, AuditPosition, AuditSink, Clock, Code, Entropy, Incarnation, NamespaceName, NamespaceSettings,
    NamespaceUuid, WriteMemory, limits,
};
use segment::{GraphMode, Spec};
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
use vault::{Directory, Keyspace};

/// Namespaces of a tenant that are closed concurrently; each flushes its log.
const CLOSED_AT_ONCE: usize = 16;

/// Configuration and dependencies of all namespaces.
pub struct StoresConfig {
    /// The data folder.
    pub storage: Storage,
    /// The source of keyspaces.
    pub directory: Arc<dyn Directory>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// The sink for audit records.
    pub sink: Arc<dyn AuditSink>,
    /// The pools for long work.
    pub cpu: Arc<dyn CpuPool>,
    /// Tracks background tasks, so that a shutdown can wait for them.
    pub tracker: TaskTracker,
    /// A memtable above this is flushed, bytes.
    pub flush_bytes_max: u64,
    /// A memtable above this is flushed, rows.
    pub flush_rows_max: u64,
    /// Bytes of open namespaces above which those that no request holds are closed.
    pub memory_bytes_max: u64,
    /// Bucket storage only: maximum age of what is read while another server writes there. Zero allows no staleness, at
    /// the cost of one request to the object store for each read.
    pub stale_reads_max: Duration,
    /// Flushes and short compactions that run at once over all namespaces. As many large merges may run in addition.
    pub maintenance_jobs_max: usize,
    /// Bytes that all of these jobs may use together. A larger job runs alone among its kind.
    pub maintenance_bytes_max: u64,
    /// A merge of more bytes is built concurrently with the namespace's flushes: [`crate::SHORT_MERGE_BYTES_MAX`].
    pub short_merge_bytes_max: u64,
    /// Time within which no object and no log file holds a document that was deleted, overwritten, patched or has
    /// expired. Zero sets no bound: such documents stay until a merge rewrites their segment.
    pub erase_within: Duration,
    /// How a merge builds the graph of a segment.
    pub graphs: GraphMode,
    /// A flushed segment of up to this many bytes is stored in the checkpoint itself: [`crate::INLINE_BYTES_MAX`].
    pub inline_bytes_max: usize,
}

/// The open namespaces; see the module documentation.
pub struct Stores {
    shared: Arc<Shared>,
    slots: Arc<Slots>,
    closing: AtomicBool,
    ticks: AtomicU64,
}

/// The namespaces that have had a request, in a fixed order so that simulations are reproducible.
#[derive(Default)]
pub(crate) struct Slots(Mutex<BTreeMap<NamespaceUuid, Arc<Slot>>>);

/// What all open namespaces share: configuration and counters, nothing that belongs to a tenant.
pub(crate) struct Shared {
    pub(crate) config: StoresConfig,
    pub(crate) counters: Counters,
    pub(crate) tenants: TenantCounters,
    pub(crate) schedule: Arc<JobScheduler>,
    /// Scheduler of large merges, which flushes must not wait for.
    pub(crate) merges: Arc<JobScheduler>,
    /// A segment whose paged part is at most this many bytes is kept in memory in full.
    pub(crate) resident_bytes_max: u64,
    /// Number of open namespaces above which those that no request uses are closed.
    pub(crate) namespaces_open_max: u64,
    /// Log files and objects that the process may have open.
    pub(crate) files_max: u64,
    /// Memory budget for patches, reviews and deletions. Without one, they are not limited.
    pub(crate) write_memory: Option<Arc<dyn WriteMemory>>,
    evictor: Evictor,
    /// Runtime for background work started from a thread outside it: a snapshot may be dropped on any thread.
    runtime: tokio::runtime::Handle,
    /// Weak, because a slot holds its namespace, which holds this struct.
    slots: Weak<Slots>,
    #[cfg(test)]
    pub(crate) steps: crate::tests::Steps,
}

impl Shared {
    /// Reports that a step of maintenance is done, for tests that inspect the disk.
    pub(crate) fn step(&self, step: &'static str) {
        #[cfg(test)]
        self.steps.done(step);
        let _in_tests_only = step;
    }

    /// Closes namespaces that no request uses, in the background, if the memory budget is exceeded.
    pub(crate) fn evict_if_over_budget(self: &Arc<Self>) {
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

    fn get_or_insert(&self, uuid: NamespaceUuid, incarnation: Incarnation) -> Arc<Slot> {
        lock(&self.0).entry(uuid).or_insert_with(|| Arc::new(Slot::new(uuid, incarnation))).clone()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Slot>> {
        lock(&self.0).values().cloned().collect()
    }
}

impl Stores {
    /// Creates the store without opening any namespace.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn new(config: StoresConfig) -> Self {
        let slots = Arc::<Slots>::default();
        let shared = Shared {
            schedule: JobScheduler::new(config.maintenance_jobs_max, config.maintenance_bytes_max / 2),
            merges: JobScheduler::new(config.maintenance_jobs_max, config.maintenance_bytes_max / 2),
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

    /// Limits the number of open namespaces, and the log files and objects that this process may have open.
    ///
    /// # Panics
    /// Panics if a namespace is already open.
    #[must_use]
    pub fn with_open_limits(mut self, namespaces_open_max: u64, files_max: u64) -> Self {
        let shared = Arc::get_mut(&mut self.shared).expect("nothing is open");
        (shared.namespaces_open_max, shared.files_max) = (namespaces_open_max, files_max);
        self
    }

    /// Limits the memory of writes whose memory was not counted when the request arrived.
    ///
    /// # Panics
    /// Panics if a namespace is already open.
    #[must_use]
    pub fn with_write_memory(mut self, memory: Arc<dyn WriteMemory>) -> Self {
        Arc::get_mut(&mut self.shared).expect("nothing is open").write_memory = Some(memory);
        self
    }

    /// Returns a handle on the namespace that the grant names, and opens the namespace if necessary. Opening costs
    /// reading its checkpoint, its objects and its log.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::OpenFailed`] if opening it failed a moment ago.
    pub async fn enter<A: Action>(
        &self,
        grant: &Grant<A>,
        settings: &NamespaceSettings,
    ) -> Result<NamespaceHandle<A>, Error> {
        let keyspace = Keyspace::enter(grant, &*self.shared.config.directory).map_err(passed)?;
        let spec = spec(settings);
        let (slot, namespace) = self.get_or_open(keyspace, grant.incarnation(), settings, TaskClass::Open).await?;
        namespace.counter.allow(*grant.quotas());
        Ok(NamespaceHandle::new(namespace, slot, spec, grant.cancel_flag().clone()))
    }

    /// Totals of another namespace of the grant's tenant, as far as `audience` sees it: its own audience for a list,
    /// everything for a quota.
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
        let keyspace = self.shared.config.directory.namespace(grant.incarnation(), name).map_err(passed)?;
        let keyspace = keyspace.ok_or(Error::NotFound)?;
        let (_, namespace) = self.get_or_open(keyspace, grant.incarnation(), settings, TaskClass::Open).await?;
        namespace.totals_for(audience).await
    }

    /// Whether the totals of all of a tenant's namespaces are known.
    pub fn has_tenant_totals(&self, incarnation: Incarnation) -> bool {
        self.shared.tenants.of(incarnation).is_complete()
    }

    /// Seeds the totals of all of a tenant's namespaces with what its audit has recorded, except for namespaces that
    /// have been open since the start. From then on the sums are maintained, whether namespaces are open or not.
    pub fn seed_tenant_totals(
        &self,
        incarnation: Incarnation,
        recorded: impl IntoIterator<Item = (NamespaceUuid, Option<AuditPosition>)>,
    ) {
        let counter = self.shared.tenants.of(incarnation);
        for (namespace, mark) in recorded {
            // A namespace that was never written has no record.
            let AuditPosition { documents, bytes, commit, .. } = mark.unwrap_or_default();
            counter.seed(namespace, Totals { documents, bytes, commit, ..Totals::default() });
        }
        counter.complete();
    }

    /// Sums over all namespaces of a tenant, as far as they are known.
    pub fn tenant_totals(&self, incarnation: Incarnation) -> Totals {
        self.shared.tenants.of(incarnation).totals()
    }

    /// Sums over some of a tenant's namespaces.
    pub fn totals_in(&self, incarnation: Incarnation, namespaces: &[NamespaceUuid]) -> Totals {
        self.shared.tenants.of(incarnation).totals_of(namespaces)
    }

    /// Drops the totals of a tenant that was erased.
    pub fn forget_totals(&self, incarnation: Incarnation) {
        self.shared.tenants.forget(incarnation);
    }

    /// Opens a namespace that was refused as rolled back. The audit record `record` says who accepted it. Returns
    /// whether there was anything to accept.
    ///
    /// # Errors
    /// Fails if the namespace cannot be opened or the record cannot be written.
    pub async fn accept_rollback(
        &self,
        keyspace: Arc<Keyspace>,
        settings: &NamespaceSettings,
        record: Vec<u8>,
    ) -> Result<bool, Error> {
        let Some(incarnation) = keyspace.incarnation() else { return Err(Error::NotFound) };
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        let slot = self.slots.get_or_insert(keyspace.uuid(), incarnation);
        let opening = slot.opening().await;
        if slot.current().is_some() {
            return Ok(false);
        }
        let options = OpenOptions::new(incarnation, TaskClass::Open(incarnation), settings);
        let options = OpenOptions { acceptance: Some(record), ..options };
        let task = open_slot(self.shared.clone(), slot, keyspace, options, opening);
        self.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)??;
        self.shared.evict_if_over_budget();
        Ok(true)
    }

    /// Closes the grant's namespace if it is empty, so that it opens with its new settings.
    pub async fn close_if_empty(&self, grant: &Grant<Manage>) {
        let Ok(keyspace) = Keyspace::enter(grant, &*self.shared.config.directory) else { return };
        if let Some(slot) = self.slots.get(keyspace.uuid()) {
            slot.close(&self.shared, |namespace| namespace.totals().documents == 0).await;
        }
    }

    /// Re-encrypts everything of a namespace under the newest key of this keyspace, whose keys open all of it. Returns
    /// no text.
    ///
    /// # Errors
    /// Fails if the namespace cannot be opened or the work stopped. Calling it again does the rest.
    pub async fn reencrypt(
        &self,
        keyspace: Arc<Keyspace>,
        settings: &NamespaceSettings,
    ) -> Result<NamespaceReencryption, Error> {
        let Some(incarnation) = keyspace.incarnation() else { return Err(Error::NotFound) };
        // A namespace opened with another instance of the same keyspace would not learn of the new key.
        if let Some(slot) = self.slots.get(keyspace.uuid()) {
            slot.close(&self.shared, |open| !Arc::ptr_eq(&open.keyspace, &keyspace)).await;
        }
        let (_slot, namespace) =
            self.get_or_open(keyspace.clone(), incarnation, settings, |_| TaskClass::OpenInBackground).await?;
        if !Arc::ptr_eq(&namespace.keyspace, &keyspace) {
            return Err(Error::Closing);
        }
        reencrypt::reencrypt(&namespace).await
    }

    /// Erases deleted documents from a namespace: rewrites objects with copies that are due and removes objects that
    /// earlier writers left behind. For a closed namespace only its checkpoint, log and object names are read; it is
    /// opened only if something may be due. Returns no text.
    ///
    /// # Errors
    /// Fails if the namespace cannot be opened or the work stopped. Calling it again does the rest.
    pub async fn maintain(
        &self,
        keyspace: Arc<Keyspace>,
        settings: &NamespaceSettings,
    ) -> Result<MaintenanceReport, Error> {
        let Some(incarnation) = keyspace.incarnation() else { return Err(Error::NotFound) };
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        let slot = self.slots.get_or_insert(keyspace.uuid(), incarnation);
        if let Some(namespace) = slot.ready(&self.shared)? {
            return idle_maintenance::maintain(&namespace).await;
        }
        let now = self.shared.config.clock.now();
        let report = match slot.idle_hint() {
            Some(deleted_since) if !idle_maintenance::is_due(&self.shared, deleted_since, now) => {
                return Ok(MaintenanceReport { deleted_since, ..MaintenanceReport::default() });
            }
            _ => idle_maintenance::inspect(&self.shared, &slot, keyspace.clone()).await?,
        };
        if let Some(report) = report {
            return Ok(report);
        }
        let (_slot, namespace) = self.get_or_open(keyspace, incarnation, settings, TaskClass::Open).await?;
        // No request uses it, so it is the first to be evicted.
        namespace.last_used.store(0, Ordering::Relaxed);
        let report = idle_maintenance::maintain(&namespace).await;
        drop(namespace);
        self.shared.evict_if_over_budget();
        report
    }

    /// Drops a tenant's namespaces from memory because the tenant was suspended or erased or its keys changed.
    /// Namespaces are closed concurrently, so that one with a long merge does not keep the others open.
    pub async fn close_tenant(&self, incarnation: Incarnation) {
        self.close_tenant_while(incarnation, || true).await;
    }

    /// Like [`Stores::close_tenant`], but namespaces not yet closed when `holds` turns false stay open, because the
    /// tenant is served again.
    pub async fn close_tenant_while(&self, incarnation: Incarnation, holds: impl Fn() -> bool) {
        let of_the_tenant = self.slots.all().into_iter().filter(|slot| slot.incarnation() == incarnation);
        let holds = &holds;
        stream::iter(of_the_tenant)
            .for_each_concurrent(CLOSED_AT_ONCE, |slot| async move { slot.close(&self.shared, |_| holds()).await })
            .await;
    }

    /// Flushes every open memtable into objects and truncates the logs.
    ///
    /// # Errors
    /// The last failure; the other namespaces are flushed nevertheless.
    pub async fn flush_all(&self) -> Result<(), Error> {
        let mut outcome = Ok(());
        for slot in self.slots.all() {
            let Some(namespace) = slot.current() else { continue };
            if let Err(error) = maintenance::flush(&namespace).await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Refuses new requests and completes accepted ones. Long logs are flushed first, so that the next start is quick.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for slot in self.slots.all() {
            if let Some(namespace) = slot.current().filter(evict::opens_slowly) {
                // Nothing is lost if this fails: the log holds the data.
                if let Err(error) = maintenance::flush(&namespace).await {
                    tracing::warn!(namespace = %namespace.keyspace.uuid(), %error, "not flushed at close");
                }
            }
            slot.close(&self.shared, |_| true).await;
        }
    }

    /// Numbers for metrics.
    pub fn stats(&self) -> StoresStats {
        let (short, long) = (self.shared.schedule.load(), self.shared.merges.load());
        StoresStats {
            maintenance_waiting: short.waiting + long.waiting,
            maintenance_jobs_running: short.running + long.running,
            maintenance_bytes: short.bytes + long.bytes,
            ..self.shared.counters.read()
        }
    }

    async fn get_or_open(
        &self,
        keyspace: Arc<Keyspace>,
        incarnation: Incarnation,
        settings: &NamespaceSettings,
        class: fn(Incarnation) -> TaskClass,
    ) -> Result<(Arc<Slot>, Arc<Namespace>), Error> {
        if self.closing.load(Ordering::Acquire) {
            return Err(Error::Closing);
        }
        // The directory was asked for a namespace of this incarnation; any other answer is a bug there.
        if keyspace.incarnation() != Some(incarnation) {
            return Err(Error::External(kernel::Error::internal("the directory returned another tenant's keyspace")));
        }
        let slot = self.slots.get_or_insert(keyspace.uuid(), incarnation);
        let mut namespace = match slot.ready(&self.shared)? {
            Some(namespace) => namespace,
            None => {
                self.open(&slot, keyspace.clone(), OpenOptions::new(incarnation, class(incarnation), settings)).await?
            }
        };
        if let Err(error) = namespace.ensure_current().await {
            if !matches!(error, journal::Error::Stopped { .. }) {
                return Err(error.into());
            }
            // Another server has written it. The opening below reads the state as of after this request arrived.
            namespace.fail();
            drop(namespace);
            namespace = self.open(&slot, keyspace, OpenOptions::new(incarnation, class(incarnation), settings)).await?;
        }
        namespace.last_used.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Ok((slot, namespace))
    }

    async fn open(
        &self,
        slot: &Arc<Slot>,
        keyspace: Arc<Keyspace>,
        options: OpenOptions,
    ) -> Result<Arc<Namespace>, Error> {
        let opening = slot.opening().await;
        if let Some(namespace) = slot.ready(&self.shared)? {
            return Ok(namespace);
        }
        if !evict::free_files(&self.shared, &self.slots).await {
            let error = kernel::Error::overloaded("too many namespaces are in use at once", Duration::from_secs(1));
            return Err(Error::External(error));
        }
        // Opening runs in a separate task: if the caller disconnects, the next one finds the namespace open.
        let task = open_slot(self.shared.clone(), slot.clone(), keyspace, options, opening);
        let opened = self.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)??;
        self.shared.evict_if_over_budget();
        Ok(opened)
    }
}

/// Opens the namespace of a slot. The slot's previous namespace is shut down first.
async fn open_slot(
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    keyspace: Arc<Keyspace>,
    options: OpenOptions,
    mut opening: OwnedMutexGuard<SavedSession>,
) -> Result<Arc<Namespace>, Error> {
    let previous = slot.take();
    if let Some(failed) = previous {
        failed.shut().await;
    }
    let retention = options.retention;
    match open::open(shared.clone(), keyspace, options, opening.take()).await {
        Ok(namespace) => {
            namespace.set_retention(retention);
            slot.set(&shared.counters, SlotState::Open(namespace.clone()));
            Ok(namespace)
        }
        Err(error) => {
            tracing::error!(namespace = %slot.uuid(), error = &error as &dyn std::error::Error, "opening a namespace failed");
            let error = kernel::Error::from(error);
            let failure = OpenFailure::after(slot.tries(), &error, shared.config.clock.monotonic());
            slot.set(&shared.counters, SlotState::OpenFailed(failure));
            Err(Error::External(error))
        }
    }
}

#[cfg(test)]
impl Stores {
    /// Sets a tenant's quotas, until its next request sets them again.
    pub(crate) fn allow(&self, tenant: Incarnation, quotas: kernel::Quotas) {
        self.shared.tenants.of(tenant).allow(quotas);
    }

    /// Reads segments of more than `bytes` in pages. To be called before any namespace is opened.
    pub(crate) fn paging_above(mut self, bytes: u64) -> Self {
        Arc::get_mut(&mut self.shared).expect("nothing is open").resident_bytes_max = bytes;
        self
    }

    /// Number of objects that wait for their deletion.
    pub(crate) async fn obsolete_count(&self) -> usize {
        self.only().maintenance.lock().await.obsolete.len()
    }

    pub(crate) fn only(&self) -> Arc<Namespace> {
        self.open_namespaces().into_iter().next().expect("one namespace is open")
    }

    pub(crate) fn open_namespaces(&self) -> Vec<Arc<Namespace>> {
        self.slots.all().iter().filter_map(|slot| slot.current()).collect()
    }

    /// Number of the open namespace's last log entry.
    pub(crate) fn last_entry(&self) -> u64 {
        self.only().journal.last().0
    }

    /// Steps of maintenance at which tests inspect the disk.
    pub(crate) fn steps(&self) -> &crate::tests::Steps {
        &self.shared.steps
    }

    /// Number of objects of the open namespace.
    pub(crate) fn object_count(&self) -> usize {
        self.only().version().objects().len()
    }

    /// Bytes of log that the open namespace's next opening reads.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.only().journal.log_bytes()
    }

    /// The open namespaces.
    pub(crate) fn open_uuids(&self) -> Vec<NamespaceUuid> {
        self.slots.all().iter().filter(|slot| slot.current().is_some()).map(|slot| slot.uuid()).collect()
    }

    /// Number of segments of the open namespace.
    pub(crate) fn segments_of(&self) -> usize {
        self.only().version().segments.len()
    }
}

impl OpenOptions {
    fn new(incarnation: Incarnation, class: TaskClass, settings: &NamespaceSettings) -> Self {
        Self { incarnation, class, spec: spec(settings), retention: settings.retention, acceptance: None }
    }
}

fn spec(settings: &NamespaceSettings) -> Spec {
    let (dimensions, distance) = (settings.embedding.dimensions(), settings.distance);
    Spec { dimensions, distance, language: settings.language }
}

fn passed(error: kernel::Error) -> Error {
    if error.code == Code::NotFound { Error::NotFound } else { Error::External(error) }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Safe after a panic: every change under these locks is a single assignment or insertion.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
