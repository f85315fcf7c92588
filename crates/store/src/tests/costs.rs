//! Where the store's work runs, and what ends it.

use super::fixture::*;
use crate::{Decision, Reviewed, ReviewedState, Selection, cost};
use access::{Delete, Ingest, Manage, Patch, Review, Search};
use intake::{RawPatch, screen_patch};
use kernel::{
    Audience, Clock, Code, Error, Field, Filter, Incarnation, Retention, Screening, Untrusted, WriteMemory,
    WritePermit, cost::RunOn,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

const HOME: (&str, &str) = NAMESPACES[0];

/// A filter that has to look at all of every id.
fn all_of_every_id() -> Selection {
    Selection::Filter(Filter::Not(Box::new(Filter::Match(Field::Id, kernel::MatchWords::of("nothing")))))
}

async fn with_long_ids() -> World {
    let world = World::new(ROOMY).await;
    let room = world.enter::<Ingest>(HOME).await;
    let upserts = (0..400).map(|n| Draft::new(&format!("{n} {}", "long id ".repeat(50)), "text").upsert()).collect();
    room.append(upserts, &Audience::Everything, line()).await.unwrap();
    world
}

/// It held the turn of the namespace's writer, and all its other writes, for as long as it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_by_filter_ends_with_its_caller_and_changes_nothing() {
    let world = with_long_ids().await;
    let room = world.enter::<Delete>(HOME).await;
    drop(room.presence.watch());
    let end = room.delete(&all_of_every_id(), &Audience::Everything, line()).await;
    assert!(matches!(&end, Err(error) if error.is_interrupted()), "{end:?}");
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 400);
    // The namespace goes on, and another caller's is done.
    let room = world.enter::<Delete>(HOME).await;
    let done = room.delete(&all_of_every_id(), &Audience::Everything, line()).await.unwrap();
    assert_eq!((done.deleted, world.enter::<Search>(HOME).await.totals().documents), (400, 0));
}

/// One that names what it deletes is done whole, waited for or not.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_was_handed_over_is_done() {
    let world = with_long_ids().await;
    let room = world.enter::<Ingest>(HOME).await;
    drop(room.presence.watch());
    room.append(vec![Draft::new("a", "text").upsert()], &Audience::Everything, line()).await.unwrap();
    assert_eq!(world.enter::<Search>(HOME).await.totals().documents, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_are_looked_at_here_if_they_are_few_and_short() {
    let world = with_long_ids().await;
    let view = world.stores.only().view();
    let ids: Vec<_> = (0..400).map(|n| id(&format!("{n} {}", "long id ".repeat(50)))).collect();
    assert!(matches!(cost::of_heads(&view, &ids[..1]).run_on(), RunOn::Caller(_)));
    let many: Vec<_> = ids.iter().cycle().take(10_000).collect();
    assert!(matches!(cost::of_heads(&view, many).run_on(), RunOn::Pool));
}

/// Memory for writes, of so much, that remembers the most that was held.
#[derive(Clone)]
struct Memory(Arc<[AtomicU64; 3]>);

struct Permit(Memory, u64);

impl Memory {
    fn of(max: u64) -> Self {
        Self(Arc::new([AtomicU64::new(max), AtomicU64::new(0), AtomicU64::new(0)]))
    }

    /// What is held now, and the most since this was asked last.
    fn held(&self) -> (u64, u64) {
        (self.0[1].load(Ordering::SeqCst), self.0[2].swap(0, Ordering::SeqCst))
    }
}

impl WriteMemory for Memory {
    fn enter(&self, _: Incarnation) -> Box<dyn WritePermit> {
        Box::new(Permit(self.clone(), 0))
    }
}

impl WritePermit for Permit {
    fn grow(&mut self, bytes: u64) -> Result<(), Error> {
        let [max, held, most] = &*self.0.0;
        if held.load(Ordering::SeqCst) + bytes > max.load(Ordering::SeqCst) {
            return Err(Error::new(Code::RateLimited, "too many bytes in writes"));
        }
        self.1 += bytes;
        most.fetch_max(held.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.0[1].fetch_sub(self.1, Ordering::SeqCst);
    }
}

/// What a patch rewrites shows only while it is planned: 128 MiB of documents for twenty bytes of a request.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_write_reads_is_counted_before_it_is_held_and_until_it_is_written() {
    const TEXT: u64 = 40_000;
    let memory = Memory::of(u64::MAX / 2);
    let world = World::new(ROOMY).await.counted(Arc::new(memory.clone()));
    let room = world.enter::<Ingest>(HOME).await;
    let text = "word ".repeat(TEXT as usize / 5);
    let draft = |name: &str| Draft::new(name, &text).upsert();
    room.append(["a", "b", "c"].map(draft).into(), &Audience::Everything, line()).await.unwrap();
    assert_eq!(memory.held(), (0, 0), "an append was counted when it came");

    let all = || Selection::Ids(["a", "b", "c"].map(id).into());
    let patch = |uri: &str| {
        let raw = RawPatch { uri: Some(Some(Untrusted::new(uri))), ..RawPatch::default() };
        screen_patch(raw, &Screening::default()).unwrap()
    };
    let patches = world.enter::<Patch>(HOME).await;
    memory.0[0].store(6 * TEXT, Ordering::SeqCst);
    let refused = patches.patch(&all(), &Audience::Everything, patch("u"), line()).await.unwrap_err();
    assert_eq!(Error::from(refused).code, Code::RateLimited, "three documents, each read and written");
    let (held, most) = memory.held();
    assert!(held == 0 && most >= 4 * TEXT, "{held} {most}");
    assert_eq!(patches.commit().0, 1, "nothing was changed");
    memory.0[0].store(u64::MAX / 2, Ordering::SeqCst);
    let patched = patches.patch(&all(), &Audience::Everything, patch("u"), line()).await.unwrap();
    let (held, most) = memory.held();
    assert!(patched.matched == 3 && held == 0 && most >= 6 * TEXT, "{held} {most}");

    let decided = Reviewed { id: id("a"), state: ReviewedState::Commit(patched.commit) };
    let reviews = world.enter::<Review>(HOME).await;
    reviews.decide(&[decided], &Audience::Everything, Decision::Release, line()).await.unwrap();

    // What there is memory for is done in one commit, the rest in the next.
    memory.0[0].store(6 * TEXT, Ordering::SeqCst);
    let retention = Retention { days: Some(10) };
    world.enter::<Manage>(HOME).await.retain(retention, line).await.unwrap();
    let (held, most) = memory.held();
    assert!(held == 0 && most >= 4 * TEXT, "{held} {most}");
    world.clock.advance(Duration::from_secs(11 * 24 * 60 * 60));
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let gone = |name| {
        let shown = snapshot.get(&id(name), &Audience::Everything, false, crate::Quarantine::Shown, world.clock.now());
        shown.unwrap().is_none()
    };
    assert!(["a", "b", "c"].into_iter().all(gone));

    room.append(vec![draft("d")], &Audience::Everything, line()).await.unwrap();
    memory.held();
    let room = world.enter::<Delete>(HOME).await;
    room.delete(&Selection::Ids(vec![id("d")]), &Audience::Everything, line()).await.unwrap();
    assert!(matches!(memory.held(), (0, 1..)));
}

/// A flush held its permit while its tenant's audit waited for a key: with as many such flushes as there are permits, no
/// tenant's memory became a segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_audit_that_waits_holds_up_no_other_tenants_flush() {
    let world = World::new(ROOMY).await;
    let slow = world.grant::<Search>(HOME.0, HOME.1).incarnation();
    world.chain.held.send_replace(Some(slow));
    for at in NAMESPACES {
        let room = world.enter::<Ingest>(at).await;
        room.append(vec![Draft::new("a", "text").upsert()], &Audience::Everything, line()).await.unwrap();
    }
    let all = world.stores.open_namespaces();
    let (waiting, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|namespace| namespace.incarnation == slow);
    // As many of one tenant as there are permits.
    assert_eq!((waiting.len(), others.len()), (2, 1));
    let stuck = futures::future::join_all(waiting.iter().map(crate::upkeep::flush));
    let other = async {
        // The first two have cut their logs, or wait for their lines.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let done = tokio::time::timeout(Duration::from_secs(60), crate::upkeep::flush(&others[0])).await;
        world.chain.held.send_replace(None);
        done
    };
    let (stuck, done) = tokio::join!(stuck, other);
    done.expect("it does not wait for the other tenant").unwrap();
    assert!(stuck.into_iter().all(|flushed| flushed.is_ok()));
}
