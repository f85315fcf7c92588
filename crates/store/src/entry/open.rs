//! Opens a namespace from its newest checkpoint, the checkpoint's objects, and the log entries after it.
//!
//! Guarantees the namespace with everything that was acknowledged, or an error: never a part of it.

use crate::{
    Error, Totals,
    cpu::{TaskClass, on_cpu},
    entry::{namespace::Namespace, slot::SavedSession},
    maintenance::MaintenanceState,
    shared::Shared,
    state::{
        audit_outbox::{AuditOutbox, HistoryCheck},
        core::NamespaceCore,
        index::Index,
        live_segment::{Durability, LiveSegment},
        log_entry,
        manifest::{self, Tombstones},
        objects::open_object,
        tombstones::LogTombstones,
        version::Version,
    },
    write::version_builder::VersionBuilder,
};
use journal::{Journal, Recovered, Seq, Stopped};
use kernel::{AuditOutboxRecord, AuditPosition, AuditSink, CommitNo, Incarnation, Plaintext, Retention, Timestamp};
use segment::{Segment, Spec};
use std::sync::Arc;
use vault::Keyspace;

/// On whose behalf, and how, a namespace is opened.
#[derive(Clone)]
pub(crate) struct OpenOptions {
    pub(crate) incarnation: Incarnation,
    /// Task class that the opening runs in.
    pub(crate) class: TaskClass,
    /// Spec of a namespace that was never written.
    pub(crate) spec: Spec,
    /// Retention of its documents.
    pub(crate) retention: Retention,
    /// Audit record with which an operator accepts the namespace as it is, regardless of what the audit log has
    /// recorded.
    pub(crate) acceptance: Option<Vec<u8>>,
}

/// Opens the namespace. `session` is what the previous opening in this process left.
///
/// # Errors
/// `internal` for bytes that do not open or are inconsistent; [`Error::NotFound`] for a namespace that is being
/// destroyed; [`Error::RolledBack`] for one that differs from what the tenant's audit log has recorded of it.
pub(crate) async fn open(
    shared: Arc<Shared>,
    keyspace: Arc<Keyspace>,
    options: OpenOptions,
    mut session: SavedSession,
) -> Result<Arc<Namespace>, Error> {
    let mut tries = 1;
    loop {
        match open_once(shared.clone(), keyspace.clone(), &options, session.take()).await {
            // On bucket storage its owner continued to write while we read, or took it over from us, and deleted what
            // we were about to read.
            Err(Error::Journal(journal::Error::Stopped { why: Stopped::Outdated | Stopped::Fenced, .. }))
                if tries < TRIES_MAX =>
            {
                tries += 1
            }
            opened => return opened,
        }
    }
}

async fn open_once(
    shared: Arc<Shared>,
    keyspace: Arc<Keyspace>,
    options: &OpenOptions,
    session: SavedSession,
) -> Result<Arc<Namespace>, Error> {
    let config = &shared.config;
    let OpenOptions { incarnation, class, spec, .. } = *options;
    // Read before the namespace itself: what is recorded by now is durable in the namespace by now.
    let recorded = config.sink.recorded(incarnation, keyspace.uuid()).await;
    let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
    let (journal, recovered) = Journal::resume(&config.storage, keyspace.clone(), clock, entropy, session).await?;
    let Recovered { checkpoint, entries, dropped } = recovered;
    if dropped {
        // Continues a destruction that a crash interrupted.
        journal.destroy().await?;
        return Err(Error::NotFound);
    }
    let now = config.clock.now();
    let mut digest = [0; 16];
    let mut version = match &checkpoint {
        Some(body) => {
            let manifest = manifest::read(body)?.clamped_to(now);
            digest = manifest.digest;
            load(&shared, &journal, class, manifest).await?
        }
        None => Version::empty(spec),
    };
    let Totals { documents, bytes, commit, .. } = version.totals();
    let outbox = AuditOutbox::new(incarnation, keyspace.clone(), AuditPosition { commit, digest, documents, bytes });
    if entries.is_empty() {
        // Every log file except the newest is covered, so it is deleted or an orphan.
        version.log = LogTombstones::default();
    }
    let swept = !config.storage.is_shared();
    let state = MaintenanceState::new(version.objects(), covered(&entries, &journal), version.commit, swept);
    // On bucket storage a sweep costs a listing; there it follows the first checkpoint.
    let swept = if state.swept { journal.sweep(&state.named).await? } else { 0 };
    let (version, logged) = on_cpu(&*config.cpu, class, move || replay(&version, &entries, now)).await??;
    tracing::debug!(namespace = %keyspace.uuid(), commit = version.commit.0, swept, "namespace opened");
    // The sink may have them already: it keeps one record per commit.
    outbox.push(logged, version.totals());
    check_history(&*config.sink, options, &keyspace, &outbox, recorded).await?;
    let core = NamespaceCore::new(shared.clone(), keyspace, incarnation, journal, version, outbox);
    core.set_retention(options.retention);
    Ok(Arc::new(Namespace::start(core, state)))
}

/// Refuses a namespace that is older than what the tenant's audit log has recorded of it, or that has another history;
/// the log would take its new writes for records that it already has.
///
/// # Errors
/// [`Error::RolledBack`]; the sink's error if an operator's acceptance cannot be recorded.
async fn check_history(
    sink: &dyn AuditSink,
    options: &OpenOptions,
    keyspace: &Keyspace,
    outbox: &AuditOutbox,
    recorded: Result<Option<AuditPosition>, kernel::Error>,
) -> Result<(), Error> {
    let recorded = match recorded {
        Ok(recorded) => recorded,
        // The namespace can be read while its audit log cannot. The check is repeated before the first write.
        Err(error) => {
            tracing::warn!(namespace = %keyspace.uuid(), %error, "a namespace is opened although its audit log cannot be read");
            return Ok(());
        }
    };
    if let (HistoryCheck::RolledBack, Some(mark)) = (outbox.compare(recorded), recorded) {
        let found = outbox.newest().commit;
        let Some(record) = options.acceptance.clone() else {
            sink.rolled_back(options.incarnation, keyspace.uuid(), mark, found);
            return Err(Error::RolledBack { recorded: mark.commit, found });
        };
        // Accepted as of the checkpoint: later records are delivered again, so that none is left out.
        let accepted = AuditOutboxRecord {
            incarnation: options.incarnation,
            namespace: keyspace.uuid(),
            mark: outbox.base(),
            line: record,
        };
        sink.append_from_outbox(accepted).await.map_err(Error::External)?;
    }
    outbox.mark_checked();
    Ok(())
}

/// Last entry that the checkpoint covers.
fn covered(entries: &[(Seq, Plaintext)], journal: &Journal) -> Seq {
    entries.first().map_or_else(|| journal.last(), |(first, _)| Seq(first.0.saturating_sub(1)))
}

async fn load(
    shared: &Arc<Shared>,
    journal: &Journal,
    class: TaskClass,
    manifest: manifest::Manifest,
) -> Result<Version, Error> {
    let mut segments = Vec::with_capacity(manifest.segments.len());
    let log = LogTombstones { covered: manifest.log_deleted_since, ..LogTombstones::default() };
    for entry in manifest.segments {
        let segment = open_object(shared, journal, class, manifest.spec, &entry.object).await?;
        let live = on_cpu(&*shared.config.cpu, class, move || object_segment(entry, segment)).await??;
        segments.push(live);
    }
    if let Some(inline) = manifest.inline {
        let spec = manifest.spec;
        segments.push(on_cpu(&*shared.config.cpu, class, move || inline_segment(&spec, inline)).await??);
    }
    Ok(Version { spec: manifest.spec, commit: manifest.commit, log, segments })
}

fn object_segment(entry: manifest::ObjectEntry, segment: Segment) -> Result<LiveSegment, Error> {
    if (segment.documents(), segment.rows()) != (entry.documents, entry.rows) {
        return Err(Error::Corrupt { what: "segment of the manifest", at: 0 });
    }
    let Tombstones { documents, tombstoned_at, .. } = entry.tombstones;
    let live = LiveSegment::new(Arc::new(Index::Segment(segment)), documents, Durability::Object(entry.object));
    Ok(live.with_tombstoned_at(tombstoned_at))
}

fn inline_segment(spec: &Spec, inline: manifest::InlineSegment) -> Result<LiveSegment, Error> {
    let segment = Segment::open(spec, inline.bytes)?;
    let Tombstones { documents, tombstoned_at, .. } = inline.tombstones;
    if documents.max().is_some_and(|doc| doc >= segment.documents()) {
        return Err(Error::Corrupt { what: "inline segment of the manifest", at: 0 });
    }
    Ok(LiveSegment::new(Arc::new(Index::Segment(segment)), documents, Durability::Inline)
        .with_tombstoned_at(tombstoned_at))
}

type ReplayResult = (Version, Vec<(CommitNo, Vec<u8>)>);

/// Applies the entries of the log in order. Deletions that the manifest contains already change nothing.
fn replay(version: &Version, entries: &[(Seq, Plaintext)], now: Timestamp) -> Result<ReplayResult, Error> {
    let mut builder = VersionBuilder::new(version, now);
    let mut records = Vec::new();
    for (seq, body) in entries {
        for commit in log_entry::read(body)? {
            let at = usize::try_from(seq.0).unwrap_or(usize::MAX);
            // The recorded time may not lie in the future, whatever the clock showed then.
            builder.set_time(commit.at.min(now));
            // A gap would mean that acknowledged commits are missing.
            let follows = commit.commit == builder.commit.next();
            if !follows || !builder.set_spec(commit.spec) {
                return Err(Error::Corrupt { what: "order of log entries", at });
            }
            commit.deletes.iter().for_each(|id| {
                builder.remove(id);
            });
            commit.upserts.into_iter().for_each(|doc| builder.put(doc));
            builder.commit = commit.commit;
            records.push((commit.commit, commit.audit_record));
        }
    }
    Ok((builder.finish()?, records))
}

/// Attempts per opening. If the owner deletes objects on every attempt, the caller retries later.
const TRIES_MAX: usize = 5;
