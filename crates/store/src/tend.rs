//! Looking after namespaces that nobody writes to: upkeep begins with writes, and what is dead must go without one.
//!
//! A closed namespace is looked at from outside: its checkpoint says since when something in its objects is dead, its log
//! when the first entry was written that may have killed something, and the names in its place whether anything lies
//! there that nothing needs. No segment is read. Only if one of them gives cause is it opened, and then it is upkeep
//! like any other that rewrites what is due.

use crate::{
    Error,
    age::{due_after, earlier},
    due::owes,
    entry, manifest,
    namespace::Namespace,
    slot::Slot,
    stores::Shared,
    upkeep::{self, Upkeep, cover_all, delete_retired},
};
use journal::{Journal, ObjectRef};
use kernel::Timestamp;
use std::sync::{Arc, atomic::Ordering};
use vault::Home;

/// What a namespace holds of the dead, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tended {
    /// Since when the oldest dead copy stands there, or from when on there will be one.
    pub dead_from: Option<Timestamp>,
    /// Something that nothing needs any more is still there, because somebody reads it or it cannot be deleted.
    pub litter: bool,
    /// It had to be open for that.
    pub opened: bool,
}

/// Whether something that has been dead since then is due.
pub(crate) fn is_due(shared: &Shared, from: Option<Timestamp>, now: Timestamp) -> bool {
    let after = due_after(shared.config.erase_within);
    after.zip(from).is_some_and(|(after, from)| from.plus(after) <= now)
}

/// Looks at a closed namespace from outside. `None`: it has to be opened.
///
/// # Errors
/// The journal's; what does not read.
pub(crate) async fn look(shared: &Shared, slot: &Slot, home: Arc<Home>) -> Result<Option<Tended>, Error> {
    let mut opening = slot.opening().await;
    // Somebody came first; or it is gone, or did not open a moment ago. One that has failed is shut by who opens it.
    if slot.ready(shared)?.is_some() || slot.holds() {
        return Ok(None);
    }
    let config = &shared.config;
    let (clock, entropy) = (config.clock.clone(), config.entropy.clone());
    let (journal, found) = Journal::resume(&config.storage, home, clock, entropy, opening.take()).await?;
    let looked = async {
        if found.dropped {
            return Ok(None);
        }
        let now = config.clock.now();
        let (mut from, named) = match &found.checkpoint {
            Some(body) => stands_on(manifest::read(body)?.before(now), found.entries.is_empty()),
            None => (None, Vec::new()),
        };
        for (_, body) in &found.entries {
            from = earlier(from, entry::first_change(body)?.map(|at| at.min(now)));
        }
        let due = is_due(shared, from, now) || journal.litter(&named).await? > 0;
        Ok((!due).then(|| Tended { dead_from: from, ..Tended::default() }))
    };
    let looked = looked.await;
    *opening = journal.leave();
    if let Ok(Some(Tended { dead_from, .. })) = looked {
        slot.rest(Some(dead_from));
    }
    looked
}

/// Since when something in what a checkpoint names is dead, and its objects.
fn stands_on(manifest: manifest::Manifest, covers_all: bool) -> (Option<Timestamp>, Vec<ObjectRef>) {
    let log = manifest.log_dead_from.filter(|_| !covers_all);
    let inline = manifest.inline.and_then(|inline| inline.dead.from());
    let objects = manifest.segments.iter().filter_map(|named| named.dead.from());
    let from = objects.chain(inline).chain(log).min();
    (from, manifest.segments.into_iter().map(|named| named.object).collect())
}

impl Namespace {
    /// Since when something in it is dead, for whoever finds it closed; `None` when it has to be looked at.
    pub(crate) fn rests(&self) -> Option<Option<Timestamp>> {
        let tidy = !self.has_failed() && self.tidy.load(Ordering::Acquire);
        let tidy = tidy && self.upkeep.try_lock().is_ok_and(|upkeep| upkeep.retired.is_empty());
        tidy.then(|| self.view().dead_from())
    }
}

/// Does what is due in an open namespace, and waits for it. A task of its own: it ends what it began.
///
/// # Errors
/// What stopped it.
pub(crate) async fn tend(namespace: &Arc<Namespace>) -> Result<Tended, Error> {
    let held = namespace.clone();
    let task = async move { run(&held).await.inspect_err(|error| upkeep::failed(&held, error)) };
    namespace.shared.config.tracker.spawn(task).await.map_err(|_| Error::Panicked)?
}

async fn run(namespace: &Arc<Namespace>) -> Result<Tended, Error> {
    let shared = &namespace.shared;
    let owes = || namespace.is_open() && owes(namespace, shared.config.clock.now());
    tidy(namespace).await?;
    for _ in 0..ROUNDS_MAX {
        if !owes() {
            break;
        }
        // It is held open by that anyway, and one at a time is enough.
        namespace.merging.ended().await;
        let before = Arc::downgrade(&namespace.view());
        upkeep::run(namespace, false).await?;
        namespace.merging.ended().await;
        // There is no room, or it failed and was told: the next walk tries again.
        if std::ptr::eq(before.as_ptr(), Arc::as_ptr(&namespace.view())) {
            break;
        }
    }
    let litter = !tidy(namespace).await?;
    Ok(Tended { dead_from: namespace.view().dead_from(), litter, opened: true })
}

/// Removes what nothing needs any more and what is there all the same: a crash came between, or a deletion failed.
/// Whether nothing of that is left.
async fn tidy(namespace: &Arc<Namespace>) -> Result<bool, Error> {
    let _no_merge = namespace.merge_puts.lock().await;
    let mut upkeep = namespace.upkeep.lock().await;
    if !namespace.is_open() {
        return Ok(false);
    }
    delete_retired(namespace, &mut upkeep, false).await?;
    clear(namespace, &mut upkeep).await?;
    Ok(namespace.tidy.load(Ordering::Acquire) && upkeep.retired.is_empty())
}

/// The same for whoever holds both the upkeep and the right to put merges: so that nothing is put meanwhile, and what was
/// put and is not named never will be.
pub(crate) async fn clear(namespace: &Arc<Namespace>, upkeep: &mut Upkeep) -> Result<(), Error> {
    if namespace.tidy.load(Ordering::Acquire) {
        return Ok(());
    }
    let journal = &namespace.journal;
    let kept = |upkeep: &Upkeep| -> Vec<ObjectRef> {
        let retired = upkeep.retired.iter().map(|retired| retired.object.clone());
        upkeep.named.iter().cloned().chain(retired).collect()
    };
    journal.disown(&kept(upkeep));
    let mut left = journal.litter(&kept(upkeep)).await?;
    if left > 0 {
        // The checkpoint deletes what of the log is covered, in a bucket only its writer may sweep, and behind it no
        // earlier one whose outcome is not known can stand.
        cover_all(namespace, upkeep).await?;
        journal.sweep(&kept(upkeep)).await?;
        left = journal.litter(&kept(upkeep)).await?;
    }
    namespace.tidy.store(left == 0, Ordering::Release);
    Ok(())
}

/// Merges of one namespace come one after another; what is left behind so many is for the next walk.
const ROUNDS_MAX: u32 = 64;
