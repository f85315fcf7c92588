//! A kill after every step of a flush, a compaction, an erasure and a deletion: what was
//! acknowledged is there, and what is garbage is gone once the namespace is open again.

use super::fixture::{DIMENSIONS, Draft, NAMESPACES, ROOMY, Sizes, World, copied, line, settings};
use access::{Delete, Ingest, Manage, Search};
use kernel::{Audience, Clock, Code, Status};
use segment::TextQuery;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const HOME: (&str, &str) = NAMESPACES[0];
const INLINE: Sizes = Sizes { inline_bytes_max: 240 << 10, ..ROOMY };

type Copies = Arc<Mutex<Vec<(&'static str, TempDir)>>>;

async fn store(world: &World, name: &str) {
    world
        .enter::<Ingest>(HOME)
        .await
        .append(vec![Draft::new(name, "some words").upsert()], &Audience::Everything, line())
        .await
        .unwrap();
}

async fn found(world: &World) -> usize {
    let snapshot = world.enter::<Search>(HOME).await.snapshot(None).await.unwrap();
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], world.clock.now()).unwrap();
    snapshot.text(&TextQuery::new("words"), &eligible, 1_000).unwrap().len()
}

/// From here on the folder is kept as it is at every step.
fn watch(world: &World) -> Copies {
    let copies = Copies::default();
    let (kept, folder) = (copies.clone(), world.folder.path().to_path_buf());
    world.stores.steps().on(move |step| kept.lock().unwrap().push((step, copied(&folder))));
    copies
}

/// Every copy is whole, holds nothing that no checkpoint names, and goes on.
async fn check(world: &World, copies: &Copies, documents: impl Fn(usize) -> usize) -> Vec<&'static str> {
    let mut steps = Vec::new();
    let copies = std::mem::take(&mut *copies.lock().unwrap());
    for (at, (step, folder)) in copies.into_iter().enumerate() {
        let mut killed = world.apart(folder).await;
        assert_eq!(found(&killed).await, documents(at), "killed after {step}, step {at}");
        killed.settle().await;
        assert_eq!(killed.objects().len(), killed.stores.named_of(), "garbage after {step}, step {at}");
        store(&killed, "later").await;
        killed.stores.flush_all().await.unwrap();
        killed.reopen().await;
        assert_eq!(found(&killed).await, documents(at) + 1, "killed after {step}, step {at}, and gone on");
        killed.settle().await;
        assert_eq!(killed.objects().len(), killed.stores.named_of());
        steps.push(step);
    }
    steps
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_of_flush_and_compaction_loses_nothing() {
    let world = World::new(ROOMY).await;
    for n in 0..9 {
        store(&world, &n.to_string()).await;
        if n < 8 {
            world.stores.flush_all().await.unwrap();
        }
    }
    let copies = watch(&world);
    world.stores.flush_all().await.unwrap();
    let steps = check(&world, &copies, |_| 9).await;
    let flush = ["cut", "build", "object", "checkpoint", "swap"];
    assert_eq!(steps[..5], flush);
    assert_eq!(steps[5..10], flush, "then the compaction");
    assert!(steps[10..].len() >= 4 && steps[10..].iter().all(|step| *step == "delete"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_after_any_step_of_sealing_anew_loses_nothing_and_is_gone_on_from() {
    for sizes in [ROOMY, INLINE] {
        let world = World::new(sizes).await;
        for n in 0..4 {
            store(&world, &n.to_string()).await;
            world.stores.flush_all().await.unwrap();
        }
        // In the log, under the old key.
        store(&world, "logged").await;
        let home = world.home(HOME);
        world.rekey(&home, true);
        let copies = watch(&world);
        let renewal = world.stores.renew(home.clone(), &settings(DIMENSIONS)).await.unwrap();
        let objects = if sizes.inline_bytes_max == 0 { 4 } else { 0 };
        assert_eq!((renewal.objects, renewal.under.keys().collect::<Vec<_>>()), (objects, vec![&home.epoch()]));
        let copies = std::mem::take(&mut *copies.lock().unwrap());
        let steps: Vec<_> = copies.iter().map(|(step, _)| *step).collect();
        assert!(steps.len() >= 3 && steps.contains(&"swap") && steps.contains(&"checkpoint"), "{steps:?}");
        assert_eq!(steps.iter().filter(|step| **step == "delete").count() >= 4, objects == 4, "{steps:?}");

        let mut survivors = Vec::new();
        for (step, folder) in copies {
            let killed = world.apart(folder).await;
            assert_eq!(found(&killed).await, 5, "killed after {step}: both keys open it");
            let rest = killed.stores.renew(home.clone(), &settings(DIMENSIONS)).await.unwrap();
            assert_eq!(rest.under.keys().collect::<Vec<_>>(), [&home.epoch()], "killed after {step}");
            killed.settle().await;
            assert_eq!(killed.objects().len(), killed.stores.named_of(), "garbage after {step}");
            survivors.push((step, killed));
        }
        // Nothing needs the old key any more.
        world.rekey(&home, false);
        for (step, mut killed) in survivors {
            killed.reopen().await;
            assert_eq!(found(&killed).await, 5, "killed after {step}, gone on, the old key forgotten");
            store(&killed, "later").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_namespace_lives_in_its_checkpoint_and_survives_any_kill() {
    let mut world = World::new(INLINE).await;
    for n in 0..3 {
        store(&world, &n.to_string()).await;
        let copies = watch(&world);
        world.stores.flush_all().await.unwrap();
        assert_eq!(check(&world, &copies, |_| n + 1).await, ["cut", "build", "checkpoint", "swap"]);
        assert!(world.objects().is_empty());
        assert_eq!(world.stores.parts_of(), 1, "one inline part at most");
        world.reopen().await;
        assert_eq!(found(&world).await, n + 1);
    }
    let which = crate::Selection::Ids(vec![super::fixture::id("1")]);
    world.enter::<Delete>(HOME).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    world.reopen().await;
    assert_eq!(found(&world).await, 2, "its deaths are in the log");
    world.stores.flush_all().await.unwrap();
    world.reopen().await;
    assert_eq!(found(&world).await, 2, "and in the checkpoint");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_grows_leaves_its_checkpoint_for_an_object() {
    let mut world = World::new(Sizes { inline_bytes_max: 8_000, ..ROOMY }).await;
    store(&world, "small").await;
    world.stores.flush_all().await.unwrap();
    assert_eq!((world.objects().len(), world.stores.parts_of()), (0, 1));
    let long = "words and words ".repeat(1_000);
    let large = Draft::new("large", &long).upsert();
    world.enter::<Ingest>(HOME).await.append(vec![large], &Audience::Everything, line()).await.unwrap();
    let copies = watch(&world);
    world.stores.flush_all().await.unwrap();
    assert_eq!((world.objects().len(), world.stores.parts_of()), (1, 1), "what was inline went along");
    let all = found(&world).await;
    assert!(check(&world, &copies, |_| all).await.contains(&"object"));
    store(&world, "again small").await;
    world.stores.flush_all().await.unwrap();
    world.reopen().await;
    assert_eq!(found(&world).await, all + 1);
    assert_eq!((world.objects().len(), world.stores.parts_of()), (1, 2), "a small one stands beside it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_object_goes_without_a_rewrite() {
    let world = World::new(ROOMY).await;
    for name in ["a", "b"] {
        store(&world, name).await;
        world.stores.flush_all().await.unwrap();
    }
    let copies = watch(&world);
    let which = crate::Selection::Ids(vec![super::fixture::id("a")]);
    world.enter::<Delete>(HOME).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    world.settle().await;
    world.stores.flush_all().await.unwrap();
    let steps = check(&world, &copies, |_| 1).await;
    assert!(steps.contains(&"delete") && !steps.contains(&"build") && !steps.contains(&"object"), "{steps:?}");
    assert_eq!(world.objects().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_deletion_goes_on_or_leaves_everything() {
    let world = World::new(ROOMY).await;
    store(&world, "a").await;
    world.stores.flush_all().await.unwrap();
    store(&world, "b").await;
    let copies = watch(&world);
    world.enter::<Manage>(HOME).await.destroy().await.unwrap();
    // Before the log says so, nothing is gone.
    let before = std::mem::take(&mut *copies.lock().unwrap());
    assert_eq!(before.iter().map(|(step, _)| *step).collect::<Vec<_>>(), ["shut", "destroyed"]);
    for (step, folder) in before {
        let killed = world.apart(folder).await;
        let entered = killed.try_enter::<Search>(HOME).await;
        match step {
            "shut" => {
                assert_eq!(entered.unwrap().totals().documents, 2);
                killed.enter::<Manage>(HOME).await.destroy().await.unwrap();
            }
            // The directory forgets it before: whoever asks finds an empty place.
            _ => assert_eq!(entered.map_or(0, |room| room.totals().documents), 0),
        }
        assert!(killed.objects().is_empty());
    }
    assert_eq!(world.try_enter::<Search>(HOME).await.err().unwrap().code, Code::NotFound);
}
