//! The published version of a namespace: what readers read, and the lock under which it changes.
//!
//! Readers take the version without a lock. Only the holder of the publish lock ([`Publishing`]) replaces it: the writer
//! for a whole batch, maintenance only while it replaces segments.

use crate::{
    Error,
    counters::VersionStats,
    shared::Shared,
    state::{live_segment::LiveSegment, version::Version},
    tenant_counter::{Reservation, TenantCounter},
};
use arc_swap::ArcSwap;
use journal::Seq;
use kernel::{CommitNo, NamespaceUuid, limits};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::sync::{MutexGuard, watch};

/// The published version; see the module documentation.
pub(crate) struct Published {
    shared: Arc<Shared>,
    namespace: NamespaceUuid,
    version: ArcSwap<Version>,
    /// Number of the last log entry that the version contains.
    last_entry: tokio::sync::Mutex<Seq>,
    /// The newest commit; changes at every publication.
    commits: watch::Sender<CommitNo>,
    /// What the version contributes to the sums over all namespaces.
    stats: parking_lot::Mutex<VersionStats>,
    /// Counter of what the tenant stores in all its namespaces.
    counter: Arc<TenantCounter>,
    /// Whether the version's totals count towards the tenant's. False after a failure, when another opening has
    /// replaced this one.
    is_counted: AtomicBool,
}

fn stats_of(version: &Version) -> VersionStats {
    let (deleted, documents) = version.tombstones();
    VersionStats { bytes: version.bytes(), documents, deleted, graphless: version.graphless_rows() }
}

/// The publish lock, held.
pub(crate) struct Publishing<'a> {
    published: &'a Published,
    last_entry: MutexGuard<'a, Seq>,
}

impl Published {
    /// Publishes the first version, which contains the log up to `last_entry`.
    pub(crate) fn new(
        shared: Arc<Shared>,
        namespace: NamespaceUuid,
        counter: Arc<TenantCounter>,
        version: Version,
        last_entry: Seq,
    ) -> Self {
        let stats = stats_of(&version);
        counter.publish(namespace, version.totals(), None);
        shared.counters.replace_stats(VersionStats::default(), stats);
        shared.counters.open.fetch_add(1, Ordering::Relaxed);
        Self {
            shared,
            namespace,
            commits: watch::Sender::new(version.commit),
            version: ArcSwap::from_pointee(version),
            last_entry: tokio::sync::Mutex::new(last_entry),
            stats: parking_lot::Mutex::new(stats),
            counter,
            is_counted: AtomicBool::new(true),
        }
    }

    /// The version that is published now.
    pub(crate) fn version(&self) -> Arc<Version> {
        self.version.load_full()
    }

    /// Counter of what the tenant stores.
    pub(crate) fn counter(&self) -> &Arc<TenantCounter> {
        &self.counter
    }

    /// Acquires the publish lock.
    pub(crate) async fn lock(&self) -> Publishing<'_> {
        Publishing { published: self, last_entry: self.last_entry.lock().await }
    }

    /// Waits until a commit is published.
    ///
    /// # Errors
    /// [`Error::NotPublished`] after [`limits::MIN_COMMIT_WAIT`].
    pub(crate) async fn wait_for_commit(&self, min_commit: CommitNo) -> Result<(), Error> {
        let mut commits = self.commits.subscribe();
        let result = tokio::time::timeout(limits::MIN_COMMIT_WAIT, commits.wait_for(|now| *now >= min_commit)).await;
        match result {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Error::NotPublished { requested: min_commit, newest: self.version().commit }),
        }
    }

    /// Waits until one of these segments is no longer part of the published version.
    pub(crate) async fn wait_until_replaced(&self, segments: &[LiveSegment]) {
        let mut commits = self.commits.subscribe();
        loop {
            let version = self.version();
            if !segments.iter().all(|segment| version.segments.iter().any(|live| live.is(segment))) {
                return;
            }
            drop(version);
            if commits.changed().await.is_err() {
                return;
            }
        }
    }

    /// Updates the sums after the published version has changed in size: an index was built, or pages were read.
    pub(crate) fn refresh_stats(&self) {
        let mut stats = self.stats.lock();
        let now = stats_of(&self.version());
        let previous = std::mem::replace(&mut *stats, now);
        drop(stats);
        self.shared.counters.replace_stats(previous, now);
        if now.bytes > previous.bytes {
            self.shared.evict_if_over_budget();
        }
    }

    /// Leaves the tenant's totals as they are from now on, because another opening will count them.
    pub(crate) fn freeze_totals(&self) {
        self.is_counted.store(false, Ordering::Release);
    }

    /// Removes the namespace from the tenant's totals, because it is destroyed.
    pub(crate) fn remove_totals(&self) {
        self.freeze_totals();
        self.counter.remove(self.namespace);
    }
}

impl Publishing<'_> {
    /// The version that is published now.
    pub(crate) fn version(&self) -> Arc<Version> {
        self.published.version()
    }

    /// Number of the last log entry that the version contains.
    pub(crate) fn last_entry(&self) -> Seq {
        *self.last_entry
    }

    /// Publishes a version with the same documents.
    pub(crate) fn publish(&mut self, version: Version) {
        self.replace(version, None);
    }

    /// Publishes the version of a write that is durable in a log entry, and turns its reservation into stored totals.
    pub(crate) fn publish_write(&mut self, version: Version, reserved: Option<Reservation>, entry: Seq) {
        *self.last_entry = entry;
        self.replace(version, reserved);
    }

    fn replace(&mut self, version: Version, reserved: Option<Reservation>) {
        let published = self.published;
        if published.is_counted.load(Ordering::Acquire) {
            published.counter.publish(published.namespace, version.totals(), reserved);
        } else if let Some(reserved) = reserved {
            reserved.assume_stored(published.namespace);
        }
        let (commit, now) = (version.commit, stats_of(&version));
        let mut stats = published.stats.lock();
        published.version.store(Arc::new(version));
        let before = std::mem::replace(&mut *stats, now);
        drop(stats);
        published.shared.counters.replace_stats(before, now);
        published.commits.send_replace(commit);
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        self.shared.counters.replace_stats(*self.stats.lock(), VersionStats::default());
        self.shared.counters.open.fetch_sub(1, Ordering::Relaxed);
    }
}
