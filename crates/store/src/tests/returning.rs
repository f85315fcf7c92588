//! Namespaces of a bucket that are closed and written again: by the same process in the same epoch.

use super::fixture::{Draft, NAMESPACES, ROOMY, Sizes, World, line};
use access::{Ingest, Manage, Search};
use futures::TryStreamExt;
use journal::{Blocking, Storage};
use kernel::{Audience, Code};
use object_store::{ObjectStore, memory::InMemory};
use std::sync::Arc;

/// One namespace is more than the budget.
const TIGHT: Sizes = Sizes { memory_bytes_max: 1, ..ROOMY };

async fn in_bucket(sizes: Sizes) -> (World, Arc<InMemory>) {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    (World::on(sizes, tempfile::tempdir().unwrap(), storage).await, bucket)
}

/// How many names of all places have this in them.
async fn count(bucket: &InMemory, part: &str) -> usize {
    let all: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    all.iter().filter(|meta| meta.location.as_ref().contains(part)).count()
}

async fn store(world: &World, at: (&'static str, &str), name: &str) {
    world
        .enter::<Ingest>(at)
        .await
        .append(vec![Draft::new(name, "some words").upsert()], &Audience::Everything, line())
        .await
        .unwrap();
    world.settle().await;
}

async fn documents(world: &World, at: (&'static str, &str)) -> u64 {
    world.enter::<Search>(at).await.totals().documents
}

#[tokio::test]
async fn evicted_namespaces_are_written_again_without_a_claim_or_a_seal() {
    let (mut world, bucket) = in_bucket(TIGHT).await;
    for round in 0..8 {
        for at in NAMESPACES {
            store(&world, at, &round.to_string()).await;
        }
        if round % 3 == 2 {
            world.stores.flush_all().await.unwrap();
            world.settle().await;
        }
    }
    assert!(world.stores.stats().evictions >= 20);
    assert_eq!((count(&bucket, "/claim/").await, count(&bucket, "/log/0000000002").await), (3, 0));
    world.reopen().await;
    for at in NAMESPACES {
        assert_eq!(documents(&world, at).await, 8);
    }
    store(&world, NAMESPACES[0], "another process").await;
    assert_eq!(count(&bucket, "/claim/").await, 4, "an epoch does not outlive its process");
}

#[tokio::test]
async fn a_closed_namespace_is_written_again_in_its_epoch_unless_somebody_was_there() {
    let (world, bucket) = in_bucket(ROOMY).await;
    let life = world.grant::<Search>(NAMESPACES[0].0, NAMESPACES[0].1).incarnation();
    for round in 0..3 {
        store(&world, NAMESPACES[0], &round.to_string()).await;
        world.stores.forget(life).await;
    }
    assert_eq!(count(&bucket, "/claim/").await, 1);
    // Another server on the same bucket.
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let home = world.home(NAMESPACES[0]);
    let entropy = Arc::new(kernel::SeededEntropy::new(8));
    let (other, _) = journal::Journal::recover(&storage, home, world.clock.clone(), entropy).await.unwrap();
    other.claim().await.unwrap();
    store(&world, NAMESPACES[0], "behind the other").await;
    assert_eq!(count(&bucket, "/claim/").await, 3);
    assert_eq!(documents(&world, NAMESPACES[0]).await, 4);
    assert!(other.check().await.is_err(), "the other was overtaken in its turn");
}

/// Who destroys a namespace came in before it was closed.
#[tokio::test]
async fn a_namespace_that_was_closed_meanwhile_is_destroyed_all_the_same() {
    let (in_bucket, bucket) = in_bucket(ROOMY).await;
    for world in [in_bucket, World::new(ROOMY).await] {
        store(&world, NAMESPACES[0], "a").await;
        world.stores.flush_all().await.unwrap();
        let room = world.enter::<Manage>(NAMESPACES[0]).await;
        let life = world.grant::<Search>(NAMESPACES[0].0, NAMESPACES[0].1).incarnation();
        world.stores.forget(life).await;
        room.destroy().await.unwrap();
        let refused = world.try_enter::<Search>(NAMESPACES[0]).await.err();
        assert_eq!(refused.unwrap().code, Code::NotFound);
        assert!(world.objects().is_empty() && world.logs().is_empty());
    }
    assert_eq!(count(&bucket, "/log/").await + count(&bucket, "/seg/").await, 0);
}
