//! Opening a namespace: newest checkpoint, its objects, and the log after it.
//!
//! Promises the namespace as it was acknowledged, or an error: never a part of it.

use crate::{
    Error, Totals,
    age::LogDeaths,
    cpu::{Errand, on_cpu},
    entry,
    index::Index,
    lines::{Lines, Standing},
    manifest::{self, Dead},
    namespace::Namespace,
    part::{Durable, Part},
    slot::Left,
    stores::Shared,
    upkeep::Upkeep,
    view::View,
    working::Working,
};
use journal::{Journal, ObjectRef, Recovered, Seq, Stopped};
use kernel::{Absorbed, AuditMark, AuditSink, CommitNo, Incarnation, Plaintext, Retention, Timestamp};
use segment::{Segment, Spec};
use std::sync::Arc;
use vault::Home;

/// For whom a namespace is opened.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(crate) incarnation: Incarnation,
    /// Who waits.
    pub(crate) errand: Errand,
    /// For a namespace that was never written.
    pub(crate) spec: Spec,
    /// For how long documents are kept.
    pub(crate) retention: Retention,
    /// An operator takes it as it is, whatever the audit has recorded: this line says so.
    pub(crate) accepted: Option<Vec<u8>>,
}

/// Opens it. `left` is what this process left of it.
///
/// # Errors
/// `internal` for bytes that do not open or do not fit together; [`Error::NotFound`] for one that
/// is being destroyed; [`Error::RolledBack`] for one that is not what the tenant's audit has recorded of it.
pub(crate) async fn open(
    shared: Arc<Shared>,
    home: Arc<Home>,
    opener: Opener,
    mut left: Left,
) -> Result<Arc<Namespace>, Error> {
    let mut tries = 1;
    loop {
        match open_once(shared.clone(), home.clone(), &opener, left.take()).await {
            // In a bucket its owner went on while we read, or took it over from us, and took away what
            // we were about to read.
            Err(Error::Journal(journal::Error::Stopped { why: Stopped::Behind | Stopped::Fenced, .. }))
                if tries < TRIES_MAX =>
            {
                tries += 1
            }
            opened => return opened,
        }
    }
}

async fn open_once(shared: Arc<Shared>, home: Arc<Home>, opener: &Opener, left: Left) -> Result<Arc<Namespace>, Error> {
    let config = &shared.config;
    let Opener { incarnation, errand, spec, .. } = *opener;
    // Before the namespace is read: what is recorded by now is durable in it by now.
    let recorded = config.sink.recorded(incarnation, home.uuid()).await;
    let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
    let (journal, recovered) = Journal::resume(&config.storage, home.clone(), clock, entropy, left).await?;
    let Recovered { checkpoint, entries, dropped } = recovered;
    if dropped {
        // A destruction that a crash interrupted continues.
        journal.destroy().await?;
        return Err(Error::NotFound);
    }
    let now = config.clock.now();
    let mut digest = [0; 16];
    let mut view = match &checkpoint {
        Some(body) => {
            let manifest = manifest::read(body)?.before(now);
            digest = manifest.digest;
            load(&shared, &journal, errand, manifest).await?
        }
        None => View::empty(spec),
    };
    let Totals { documents, bytes, commit, .. } = view.totals();
    let lines = Lines::new(incarnation, home.clone(), AuditMark { commit, digest, documents, bytes });
    if entries.is_empty() {
        // All but the newest file of the log is covered, and gone or litter.
        view.log = LogDeaths::default();
    }
    let upkeep = Upkeep {
        named: view.objects(),
        covers: covered(&entries, &journal),
        commit: view.commit,
        retired: Vec::new(),
        swept: !config.storage.is_shared(),
    };
    // In a bucket that costs a listing, and comes with the first checkpoint.
    let swept = if upkeep.swept { journal.sweep(&upkeep.named).await? } else { 0 };
    let (view, logged) = on_cpu(&*config.cpu, errand, move || replay(&view, &entries, now)).await??;
    tracing::debug!(namespace = %home.uuid(), commit = view.commit.0, swept, "namespace opened");
    // The sink may have them already: it keeps one line a commit.
    lines.push(logged, view.totals());
    judge(&*config.sink, opener, &home, &lines, recorded).await?;
    let namespace = Arc::new(Namespace::new(shared.clone(), home, incarnation, journal, view, lines, upkeep));
    if namespace.lines.waiting() > 0 {
        namespace.absorb_soon();
    }
    crate::upkeep::start_if_due(&namespace);
    crate::indexing::start_if_due(&namespace);
    Ok(namespace)
}

/// Refuses a namespace that is older than what the tenant's audit has recorded of it, or another history; its writes
/// would be taken for recorded already.
///
/// # Errors
/// [`Error::RolledBack`]; the sink's, where an operator's acceptance cannot be written.
async fn judge(
    sink: &dyn AuditSink,
    opener: &Opener,
    home: &Home,
    lines: &Lines,
    recorded: Result<Option<AuditMark>, kernel::Error>,
) -> Result<(), Error> {
    let recorded = match recorded {
        Ok(recorded) => recorded,
        // It may be read while its audit cannot. Before the first write it is asked again.
        Err(error) => {
            tracing::warn!(namespace = %home.uuid(), %error, "a namespace is opened without its audit");
            return Ok(());
        }
    };
    if let (Standing::RolledBack, Some(mark)) = (lines.compare(recorded), recorded) {
        let found = lines.newest().commit;
        let Some(line) = opener.accepted.clone() else {
            sink.rolled_back(opener.incarnation, home.uuid(), mark, found);
            return Err(Error::RolledBack { recorded: mark.commit, found });
        };
        // As of the checkpoint: what came after it is handed over again, so that nothing is left out.
        let accepted = Absorbed { incarnation: opener.incarnation, namespace: home.uuid(), mark: lines.base(), line };
        sink.absorb(accepted).await.map_err(Error::Passed)?;
    }
    lines.agree();
    Ok(())
}

/// Last entry that the checkpoint covers.
fn covered(entries: &[(Seq, Plaintext)], journal: &Journal) -> Seq {
    entries.first().map_or_else(|| journal.last(), |(first, _)| Seq(first.0.saturating_sub(1)))
}

async fn load(
    shared: &Arc<Shared>,
    journal: &Journal,
    errand: Errand,
    manifest: manifest::Manifest,
) -> Result<View, Error> {
    let mut parts = Vec::with_capacity(manifest.segments.len());
    let log = LogDeaths { covered: manifest.log_dead_from, ..LogDeaths::default() };
    for named in manifest.segments {
        let segment = opened(shared, journal, errand, manifest.spec, &named.object).await?;
        let part = on_cpu(&*shared.config.cpu, errand, move || part(named, segment)).await??;
        parts.push(part);
    }
    if let Some(inline) = manifest.inline {
        let spec = manifest.spec;
        parts.push(on_cpu(&*shared.config.cpu, errand, move || inline_part(&spec, inline)).await??);
    }
    Ok(View { spec: manifest.spec, commit: manifest.commit, log, parts })
}

/// A sealed segment: what a search begins with in memory, the rest in pages unless it is small.
///
/// # Errors
/// The journal's; `internal` for bytes that do not fit together.
pub(crate) async fn opened(
    shared: &Shared,
    journal: &Journal,
    errand: Errand,
    spec: Spec,
    object: &ObjectRef,
) -> Result<Segment, Error> {
    let (whole, paged) = journal.open_object(object).await?;
    let resident = shared.resident_bytes_max;
    let open = move || Segment::open_sealed(&spec, whole, Arc::new(paged), resident);
    Ok(on_cpu(&*shared.config.cpu, errand, open).await??)
}

fn part(named: manifest::Named, segment: Segment) -> Result<Part, Error> {
    if (segment.documents(), segment.rows()) != (named.documents, named.rows) {
        return Err(Error::Corrupt { what: "segment beside its manifest", at: 0 });
    }
    let Dead { documents, since, .. } = named.dead;
    let part = Part::new(Arc::new(Index::Segment(segment)), documents, Durable::Object(named.object));
    Ok(part.dead_since(since))
}

fn inline_part(spec: &Spec, inline: manifest::Inline) -> Result<Part, Error> {
    let segment = Segment::open(spec, inline.bytes)?;
    let Dead { documents, since, .. } = inline.dead;
    if documents.max().is_some_and(|doc| doc >= segment.documents()) {
        return Err(Error::Corrupt { what: "inline segment beside its manifest", at: 0 });
    }
    Ok(Part::new(Arc::new(Index::Segment(segment)), documents, Durable::Inline).dead_since(since))
}

type Replayed = (View, Vec<(CommitNo, Vec<u8>)>);

/// Applies the log's entries in order. Deaths that the manifest has already change nothing.
fn replay(view: &View, entries: &[(Seq, Plaintext)], now: Timestamp) -> Result<Replayed, Error> {
    let mut working = Working::new(view, now);
    let mut lines = Vec::new();
    for (seq, body) in entries {
        for commit in entry::read(body)? {
            let at = usize::try_from(seq.0).unwrap_or(usize::MAX);
            // None is still to come, whatever the clock was then.
            working.at(commit.at.min(now));
            let follows = commit.commit == working.commit.next();
            if !follows || !working.respec(commit.spec) {
                return Err(Error::Corrupt { what: "order of log entries", at });
            }
            commit.deletes.iter().for_each(|id| {
                working.remove(id);
            });
            commit.upserts.into_iter().for_each(|doc| working.put(doc));
            working.commit = commit.commit;
            lines.push((commit.commit, commit.line));
        }
    }
    Ok((working.finish()?, lines))
}

/// An owner that takes something away each time we look is one to come back to later.
const TRIES_MAX: usize = 5;
