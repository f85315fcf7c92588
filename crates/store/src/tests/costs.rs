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

const NAMESPACE: (&str, &str) = NAMESPACES[0];

/// A filter that has to read every id in full.
fn all_of_every_id() -> Selection {
    Selection::Filter(Filter::Not(Box::new(Filter::Match(Field::Id, kernel::MatchWords::of("nothing")))))
}

async fn with_long_ids() -> TestEnv {
    let env = TestEnv::new(UNLIMITED).await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let upserts = (0..400).map(|n| Draft::new(&format!("{n} {}", "long id ".repeat(50)), "text").upsert()).collect();
    handle.append(upserts, &Audience::Everything, line()).await.unwrap();
    env
}

/// It used to hold the publish lock, and thus delay all other writes of the namespace, for as long as it took.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_by_filter_ends_with_its_caller_and_changes_nothing() {
    let env = with_long_ids().await;
    let handle = env.enter::<Delete>(NAMESPACE).await;
    drop(handle.cancel.drop_guard());
    let end = handle.delete(&all_of_every_id(), &Audience::Everything, line()).await;
    assert!(matches!(&end, Err(error) if error.is_interrupted()), "{end:?}");
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 400);
    // The namespace remains available, and another caller's delete is done.
    let handle = env.enter::<Delete>(NAMESPACE).await;
    let done = handle.delete(&all_of_every_id(), &Audience::Everything, line()).await.unwrap();
    assert_eq!((done.deleted, env.enter::<Search>(NAMESPACE).await.totals().documents), (400, 0));
}

/// A request that names its documents is carried out whether or not its caller waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_queued_write_is_carried_out() {
    let env = with_long_ids().await;
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    drop(handle.cancel.drop_guard());
    handle.append(vec![Draft::new("a", "text").upsert()], &Audience::Everything, line()).await.unwrap();
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn few_short_heads_are_read_on_the_calling_thread() {
    let env = with_long_ids().await;
    let version = env.stores.only().core.version();
    let ids: Vec<_> = (0..400).map(|n| id(&format!("{n} {}", "long id ".repeat(50)))).collect();
    assert!(matches!(cost::of_heads(&version, &ids[..1]).run_on(), RunOn::Caller(_)));
    let many: Vec<_> = ids.iter().cycle().take(10_000).collect();
    assert!(matches!(cost::of_heads(&version, many).run_on(), RunOn::Pool));
}

/// Memory budget for writes that records the most that was held at once.
#[derive(Clone)]
struct CountedMemory(Arc<[AtomicU64; 3]>);

struct CountedPermit(CountedMemory, u64);

impl CountedMemory {
    fn of(max: u64) -> Self {
        Self(Arc::new([AtomicU64::new(max), AtomicU64::new(0), AtomicU64::new(0)]))
    }

    /// What is held now, and the maximum since the previous call.
    fn held(&self) -> (u64, u64) {
        (self.0[1].load(Ordering::SeqCst), self.0[2].swap(0, Ordering::SeqCst))
    }
}

impl WriteMemory for CountedMemory {
    fn enter(&self, _: Incarnation) -> Box<dyn WritePermit> {
        Box::new(CountedPermit(self.clone(), 0))
    }
}

impl WritePermit for CountedPermit {
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

impl Drop for CountedPermit {
    fn drop(&mut self) {
        self.0.0[1].fetch_sub(self.1, Ordering::SeqCst);
    }
}

/// What a patch rewrites is known only while it is planned: 128 MiB of documents for twenty bytes of a request.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_write_reads_is_charged_before_it_is_held_and_until_it_is_written() {
    const TEXT: u64 = 40_000;
    let memory = CountedMemory::of(u64::MAX / 2);
    let env = TestEnv::new(UNLIMITED).await.counted(Arc::new(memory.clone()));
    let handle = env.enter::<Ingest>(NAMESPACE).await;
    let text = "word ".repeat(TEXT as usize / 5);
    let draft = |name: &str| Draft::new(name, &text).upsert();
    handle.append(["a", "b", "c"].map(draft).into(), &Audience::Everything, line()).await.unwrap();
    assert_eq!(memory.held(), (0, 0), "an append was counted when it came");

    let all = || Selection::Ids(["a", "b", "c"].map(id).into());
    let patch = |uri: &str| {
        let raw = RawPatch { uri: Some(Some(Untrusted::new(uri))), ..RawPatch::default() };
        screen_patch(raw, &Screening::default()).unwrap()
    };
    let patches = env.enter::<Patch>(NAMESPACE).await;
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
    let reviews = env.enter::<Review>(NAMESPACE).await;
    reviews.decide(&[decided], &Audience::Everything, Decision::Release, line()).await.unwrap();

    // As much as fits into memory is done in one commit, the rest in the next.
    memory.0[0].store(6 * TEXT, Ordering::SeqCst);
    let retention = Retention { days: Some(10) };
    env.enter::<Manage>(NAMESPACE).await.retain(retention, line).await.unwrap();
    let (held, most) = memory.held();
    assert!(held == 0 && most >= 4 * TEXT, "{held} {most}");
    env.clock.advance(Duration::from_secs(11 * 24 * 60 * 60));
    let snapshot = env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap();
    let is_expired = |name| {
        let shown = snapshot.get(&id(name), &Audience::Everything, false, crate::Quarantine::Shown, env.clock.now());
        shown.unwrap().is_none()
    };
    assert!(["a", "b", "c"].into_iter().all(is_expired));

    handle.append(vec![draft("d")], &Audience::Everything, line()).await.unwrap();
    memory.held();
    let handle = env.enter::<Delete>(NAMESPACE).await;
    handle.delete(&Selection::Ids(vec![id("d")]), &Audience::Everything, line()).await.unwrap();
    assert!(matches!(memory.held(), (0, 1..)));
}

/// A flush used to hold its permit while its tenant's audit log waited for a key: with as many such flushes as permits,
/// no tenant's memtable was flushed.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_audit_log_delays_no_other_tenants_flush() {
    let env = TestEnv::new(UNLIMITED).await;
    let slow = env.grant::<Search>(NAMESPACE.0, NAMESPACE.1).incarnation();
    env.audit.held.send_replace(Some(slow));
    for at in NAMESPACES {
        let handle = env.enter::<Ingest>(at).await;
        handle.append(vec![Draft::new("a", "text").upsert()], &Audience::Everything, line()).await.unwrap();
    }
    let all = env.stores.open_namespaces();
    let (waiting, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|namespace| namespace.core.incarnation == slow);
    // One tenant has as many as there are permits.
    assert_eq!((waiting.len(), others.len()), (2, 1));
    let waiting_flushes = futures::future::join_all(waiting.iter().map(|namespace| namespace.flush()));
    let other = async {
        // The first two have frozen their memtables, or wait for their audit records.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let done = tokio::time::timeout(Duration::from_secs(60), others[0].flush()).await;
        env.audit.held.send_replace(None);
        done
    };
    let (waiting_flushes, done) = tokio::join!(waiting_flushes, other);
    done.expect("it does not wait for the other tenant").unwrap();
    assert!(waiting_flushes.into_iter().all(|flushed| flushed.is_ok()));
}
