//! Opening a namespace: newest checkpoint, its objects, the log behind it.
//!
//! Promises the namespace as it was acknowledged, or an error: never a part of it.

use crate::{
    Error,
    age::LogDeaths,
    cpu::{Errand, on_cpu},
    entry,
    index::Index,
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
use kernel::{CommitNo, Incarnation, Plaintext, Timestamp};
use segment::{Segment, Spec};
use std::sync::Arc;
use vault::Home;

/// Opens it. `errand` says who waits, `spec` is for a namespace that nobody wrote to, `left` is what this process left
/// of it.
///
/// # Errors
/// `internal` for bytes that do not open or do not fit together; [`Error::NotFound`] for one that
/// is being destroyed.
pub(crate) async fn open(
    shared: Arc<Shared>,
    home: Arc<Home>,
    (incarnation, errand): (Incarnation, Errand),
    spec: Spec,
    mut left: Left,
) -> Result<Arc<Namespace>, Error> {
    let mut tries = 1;
    loop {
        match open_once(shared.clone(), home.clone(), (incarnation, errand), spec, left.take()).await {
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

async fn open_once(
    shared: Arc<Shared>,
    home: Arc<Home>,
    (incarnation, errand): (Incarnation, Errand),
    spec: Spec,
    left: Left,
) -> Result<Arc<Namespace>, Error> {
    let config = &shared.config;
    let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
    let (journal, recovered) = Journal::resume(&config.storage, home.clone(), clock, entropy, left).await?;
    let Recovered { checkpoint, entries, dropped } = recovered;
    if dropped {
        // A destruction that a crash cut short goes on.
        journal.destroy().await?;
        return Err(Error::NotFound);
    }
    let now = config.clock.now();
    let mut view = match &checkpoint {
        Some(body) => load(&shared, &journal, errand, manifest::read(body)?.before(now)).await?,
        None => View::empty(spec),
    };
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
    let (view, lines) = on_cpu(&*config.cpu, errand, move || replay(&view, &entries, now)).await??;
    tracing::debug!(namespace = %home.uuid(), commit = view.commit.0, swept, "namespace opened");
    let namespace = Arc::new(Namespace::new(shared.clone(), home, incarnation, journal, view, upkeep));
    if !lines.is_empty() {
        // The sink may have them already: it keeps one line a commit.
        namespace.lines.push(lines);
        namespace.absorb_soon();
    }
    crate::upkeep::start_if_due(&namespace);
    crate::indexing::start_if_due(&namespace);
    Ok(namespace)
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
