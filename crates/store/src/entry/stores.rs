//! Entry point of the crate: the set of open namespaces and access to one of them.
//!
//! Guarantees that a namespace is opened once at a time, that one which cannot be opened fails alone, and that memory
//! above the budget is released by closing namespaces that no request uses (`evict`). No method here reads a document.

use crate::{
    Error, MaintenanceReport, NamespaceReencryption, StoresConfig, StoresStats, Totals,
    cpu::TaskClass,
    entry::{
        evict::Evictor,
        handle::NamespaceHandle,
        inspect::inspect,
        namespace::Namespace,
        open::{self, OpenOptions},
        slot::{OpenFailure, SavedSession, Slot, SlotState, Slots},
    },
    maintenance,
    shared::Shared,
};
use access::{Action, Grant, Manage};
use futures::{StreamExt, stream};
use kernel::{
    Audience, AuditPosition, Code, Incarnation, NamespaceName, NamespaceSettings, NamespaceUuid, WriteMemory,
};
use segment::Spec;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::OwnedMutexGuard;
use vault::Keyspace;

/// Namespaces of a tenant that are closed concurrently; each flushes its log.
const CLOSED_AT_ONCE: usize = 16;

/// The open namespaces; see the module documentation.
pub struct Stores {
    shared: Arc<Shared>,
    slots: Arc<Slots>,
    evictor: Arc<Evictor>,
    closing: AtomicBool,
    ticks: AtomicU64,
}

impl Stores {
    /// Creates the store without opening any namespace.
    ///
    /// # Panics
    /// Panics outside a tokio runtime.
    pub fn new(config: StoresConfig) -> Self {
        let slots = Arc::<Slots>::default();
        let evictor = Evictor::new(slots.clone());
        Self {
            shared: Arc::new(Shared::new(config)),
            slots,
            evictor,
            closing: AtomicBool::new(false),
            ticks: AtomicU64::new(0),
        }
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
        namespace.core.published.counter().allow(*grant.quotas());
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
        self.evictor.attach(&self.shared);
        let task = open_slot(self.shared.clone(), slot, keyspace, options, opening);
        self.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)??;
        self.shared.evict_if_over_budget();
        Ok(true)
    }

    /// Closes the grant's namespace if it is empty, so that it opens with its new settings.
    pub async fn close_if_empty(&self, grant: &Grant<Manage>) {
        let Ok(keyspace) = Keyspace::enter(grant, &*self.shared.config.directory) else { return };
        if let Some(slot) = self.slots.get(keyspace.uuid()) {
            slot.close(&self.shared, |namespace| namespace.core.totals().documents == 0).await;
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
            slot.close(&self.shared, |open| !Arc::ptr_eq(&open.core.keyspace, &keyspace)).await;
        }
        let (_slot, namespace) =
            self.get_or_open(keyspace.clone(), incarnation, settings, |_| TaskClass::OpenInBackground).await?;
        if !Arc::ptr_eq(&namespace.core.keyspace, &keyspace) {
            return Err(Error::Closing);
        }
        namespace.reencrypt().await
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
            return namespace.sweep().await;
        }
        let now = self.shared.config.clock.now();
        let report = match slot.idle_hint() {
            Some(deleted_since) if !maintenance::is_due(&self.shared, deleted_since, now) => {
                return Ok(MaintenanceReport { deleted_since, ..MaintenanceReport::default() });
            }
            _ => inspect(&self.shared, &slot, keyspace.clone()).await?,
        };
        if let Some(report) = report {
            return Ok(report);
        }
        let (_slot, namespace) = self.get_or_open(keyspace, incarnation, settings, TaskClass::Open).await?;
        // No request uses it, so it is the first to be evicted.
        namespace.last_used.store(0, Ordering::Relaxed);
        let report = namespace.sweep().await;
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
            if let Err(error) = namespace.flush().await {
                outcome = Err(error);
            }
        }
        outcome
    }

    /// Refuses new requests and completes accepted ones. Long logs are flushed first, so that the next start is quick.
    pub async fn close(&self) {
        self.closing.store(true, Ordering::Release);
        for slot in self.slots.all() {
            if let Some(namespace) = slot.current().filter(|namespace| namespace.opens_slowly()) {
                // Nothing is lost if this fails: the log holds the data.
                if let Err(error) = namespace.flush().await {
                    tracing::warn!(namespace = %slot.uuid(), %error, "not flushed at close");
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
            namespace.core.fail();
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
        if !self.evictor.free_files(&self.shared).await {
            let error = kernel::Error::overloaded("too many namespaces are in use at once", Duration::from_secs(1));
            return Err(Error::External(error));
        }
        // Opening runs in a separate task: if the caller disconnects, the next one finds the namespace open.
        self.evictor.attach(&self.shared);
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
    match open::open(shared.clone(), keyspace, options, opening.take()).await {
        Ok(namespace) => {
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
    pub(crate) fn obsolete_count(&self) -> usize {
        self.only().maintenance.obsolete_count()
    }

    pub(crate) fn only(&self) -> Arc<Namespace> {
        self.open_namespaces().into_iter().next().expect("one namespace is open")
    }

    pub(crate) fn open_namespaces(&self) -> Vec<Arc<Namespace>> {
        self.slots.all().iter().filter_map(|slot| slot.current()).collect()
    }

    /// Number of the open namespace's last log entry.
    pub(crate) fn last_entry(&self) -> u64 {
        self.only().core.journal.last().0
    }

    /// Steps of maintenance at which tests inspect the disk.
    pub(crate) fn steps(&self) -> &crate::tests::Steps {
        &self.shared.steps
    }

    /// Number of objects of the open namespace.
    pub(crate) fn object_count(&self) -> usize {
        self.only().core.version().objects().len()
    }

    /// Bytes of log that the open namespace's next opening reads.
    pub(crate) fn log_bytes(&self) -> u64 {
        self.only().core.journal.log_bytes()
    }

    /// The open namespaces.
    pub(crate) fn open_uuids(&self) -> Vec<NamespaceUuid> {
        self.slots.all().iter().filter(|slot| slot.current().is_some()).map(|slot| slot.uuid()).collect()
    }

    /// Number of segments of the open namespace.
    pub(crate) fn segments_of(&self) -> usize {
        self.only().core.version().segments.len()
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
