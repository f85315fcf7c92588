//! Indexing in the background: tails become a segment in memory, and small segments one.
//!
//! A write only adds to a tail; what is in no index yet is bounded here, because the first search
//! would have to index it. A crash leaves nothing: all of it is memory.

use crate::{
    Error,
    cpu::{Errand, on_cpu},
    index::Index,
    namespace::Namespace,
    part::{Durable, Part},
    rebuild,
    view::{View, first_expiry},
};
use kernel::Timestamp;
use segment::{Segment, Spec, Tail};
use std::sync::{Arc, atomic::Ordering};

/// Starts indexing in the background if enough waits and nobody is at it.
pub(crate) fn start_if_due(namespace: &Arc<Namespace>) {
    let view = namespace.view();
    // While one flush runs the next is near: what it will write anyway is not indexed twice.
    let flush_is_near = namespace.upkeep_runs.load(Ordering::Acquire) && view.unindexed_rows() < UNINDEXED_ROWS_MAX / 2;
    if flush_is_near
        || due(&view, namespace.shared.config.flush_rows_max).is_none()
        || namespace.indexing_runs.swap(true, Ordering::AcqRel)
    {
        return;
    }
    let held = namespace.clone();
    namespace.shared.config.tracker.spawn(async move {
        while round(&held).await {}
        held.indexing_runs.store(false, Ordering::Release);
    });
}

/// Waits while more is unindexed than a search should have to index. The writer's brake.
pub(crate) async fn keeps_up(namespace: &Arc<Namespace>) {
    while namespace.view().unindexed_rows() > UNINDEXED_ROWS_MAX {
        if !round(namespace).await {
            return;
        }
    }
}

/// Indexes one lot; whether there was one.
async fn round(namespace: &Arc<Namespace>) -> bool {
    let one = namespace.indexing.lock().await;
    let old = {
        let _turn = namespace.turn.lock().await;
        let view = namespace.view();
        let Some(old) = due(&view, namespace.shared.config.flush_rows_max) else { return false };
        namespace.publish(frozen(&view, &old, true));
        old
    };
    let outcome = replace(namespace, &old).await;
    if let Err(error) = &outcome {
        tracing::error!(namespace = %namespace.home.uuid(), %error, "the memtable does not index");
        namespace.fail();
    }
    drop(one);
    outcome.is_ok()
}

async fn replace(namespace: &Arc<Namespace>, old: &[Part]) -> Result<(), Error> {
    let config = &namespace.shared.config;
    let (spec, now, parts) = (namespace.view().spec, config.clock.now(), old.to_vec());
    let built = on_cpu(&*config.cpu, Errand::Write(namespace.incarnation), move || build(spec, &parts, now)).await??;
    let _turn = namespace.turn.lock().await;
    let fresh = built.map(|segment| (Arc::new(Index::Segment(segment)), Durable::Log));
    let nothing_lives = fresh.is_none();
    if let Some(mut view) = namespace.view().replaced(old, fresh, now)? {
        if nothing_lives {
            view.log.died(first_expiry(old));
        }
        namespace.publish(view);
    }
    Ok(())
}

fn build(spec: Spec, parts: &[Part], now: Timestamp) -> Result<Option<Segment>, Error> {
    let tails: Option<Vec<_>> = parts.iter().map(|part| Some((part.index.tail()?, &*part.dead))).collect();
    let Some(tails) = tails else { return rebuild::in_memory(spec, parts, now) };
    let joined = Tail::joined(&spec, tails)?;
    Ok(if joined.documents() == 0 { None } else { Some(joined.build()?) })
}

/// What is worth indexing now: tails that are many rows together, or segments of one size that
/// are many. What is frozen belongs to somebody else.
fn due(view: &View, flush_rows_max: u64) -> Option<Vec<Part>> {
    let free = || view.parts.iter().filter(|part| part.in_log() && !part.frozen);
    let tails: Vec<Part> = free().filter(|part| part.index.tail().is_some()).cloned().collect();
    if tails.iter().map(rows).sum::<u64>() >= INDEXED_AT_ONCE {
        return Some(lot(tails));
    }
    let mut tiers: Vec<Vec<Part>> = Vec::new();
    for part in free().filter(|part| part.index.tail().is_none()) {
        // The largest stay as they are until the flush.
        if rows(part) * TIER_FACTOR > flush_rows_max {
            continue;
        }
        let tier = rows(part).max(1).ilog(TIER_FACTOR) as usize;
        tiers.resize(tiers.len().max(tier + 1), Vec::new());
        tiers[tier].push(part.clone());
    }
    tiers.into_iter().find(|tier| tier.len() as u64 >= TIER_FACTOR)
}

/// The oldest tails, of bounded size.
fn lot(tails: Vec<Part>) -> Vec<Part> {
    let mut before = 0;
    let mut fits = |part: &Part| {
        let fits = before < INDEXED_AT_ONCE;
        before += rows(part);
        fits
    };
    tails.into_iter().take_while(&mut fits).collect()
}

/// The same view with these parts frozen or free.
pub(crate) fn frozen(view: &View, which: &[Part], frozen: bool) -> View {
    let mut view = view.clone();
    for part in view.parts.iter_mut().filter(|part| which.iter().any(|w| w.is(part))) {
        part.frozen = frozen;
    }
    view
}

fn rows(part: &Part) -> u64 {
    u64::from(part.index.rows())
}

/// Rows in tails from which they are indexed: about a tenth of a second of one core, at some 20 µs a row of 1 KiB. Long
/// rows are flushed before they are so many, and then cost one index and not two.
const INDEXED_AT_ONCE: u64 = 4_096;
/// Rows that may be in no index before writers wait: a few tenths of a second for the search that
/// comes first.
const UNINDEXED_ROWS_MAX: u64 = 16_384;
/// Segments in memory of one size that become one of the next.
const TIER_FACTOR: u64 = 8;
