//! Namespaces in a bucket that are closed and written again: by the same process in the same epoch.

use super::fixture::{Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, line};
use access::{Ingest, Manage, Search};
use futures::TryStreamExt;
use journal::{Blocking, Storage};
use kernel::{Audience, Code};
use object_store::{ObjectStore, memory::InMemory};
use std::sync::Arc;

/// A budget that one namespace exceeds.
const TINY_MEMORY: Limits = Limits { memory_bytes_max: 1, ..UNLIMITED };

async fn in_bucket(sizes: Limits) -> (TestEnv, Arc<InMemory>) {
    let bucket = Arc::new(InMemory::new());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    (TestEnv::on(sizes, tempfile::tempdir().unwrap(), storage).await, bucket)
}

/// Number of object keys that contain `part`.
async fn count(bucket: &InMemory, part: &str) -> usize {
    let all: Vec<_> = bucket.list(None).try_collect().await.unwrap();
    all.iter().filter(|meta| meta.location.as_ref().contains(part)).count()
}

async fn store(env: &TestEnv, at: (&'static str, &str), name: &str) {
    env.enter::<Ingest>(at)
        .await
        .append(vec![Draft::new(name, "some words").upsert()], &Audience::Everything, line())
        .await
        .unwrap();
    env.wait_idle().await;
}

async fn documents(env: &TestEnv, at: (&'static str, &str)) -> u64 {
    env.enter::<Search>(at).await.totals().documents
}

#[tokio::test]
async fn evicted_namespaces_are_written_again_without_a_claim_or_a_seal() {
    let (mut env, bucket) = in_bucket(TINY_MEMORY).await;
    for round in 0..8 {
        for at in NAMESPACES {
            store(&env, at, &round.to_string()).await;
        }
        if round % 3 == 2 {
            env.stores.flush_all().await.unwrap();
            env.wait_idle().await;
        }
    }
    assert!(env.stores.stats().evictions >= 20);
    assert_eq!((count(&bucket, "/claim/").await, count(&bucket, "/log/0000000002").await), (3, 0));
    env.reopen().await;
    for at in NAMESPACES {
        assert_eq!(documents(&env, at).await, 8);
    }
    store(&env, NAMESPACES[0], "another process").await;
    assert_eq!(count(&bucket, "/claim/").await, 4, "an epoch does not outlive its process");
}

#[tokio::test]
async fn a_closed_namespace_is_written_again_in_its_epoch_unless_another_server_claimed_it() {
    let (env, bucket) = in_bucket(UNLIMITED).await;
    let incarnation = env.grant::<Search>(NAMESPACES[0].0, NAMESPACES[0].1).incarnation();
    for round in 0..3 {
        store(&env, NAMESPACES[0], &round.to_string()).await;
        env.stores.close_tenant(incarnation).await;
    }
    assert_eq!(count(&bucket, "/claim/").await, 1);
    store(&env, NAMESPACES[0], "3").await;
    env.stores.close_tenant_while(incarnation, || false).await;
    assert_eq!(env.stores.stats().open, 1, "a tenant that is served again keeps what is open");
    env.stores.close_tenant(incarnation).await;
    assert_eq!(env.stores.stats().open, 0);
    // Another server on the same bucket.
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    let keyspace = env.keyspace(NAMESPACES[0]);
    let entropy = Arc::new(kernel::SeededEntropy::new(8));
    let (other, _) = journal::Journal::recover(&storage, keyspace, env.clock.clone(), entropy).await.unwrap();
    other.claim().await.unwrap();
    store(&env, NAMESPACES[0], "behind the other").await;
    assert_eq!(count(&bucket, "/claim/").await, 3);
    assert_eq!(documents(&env, NAMESPACES[0]).await, 5);
    assert!(other.check().await.is_err(), "the other was overtaken in its turn");
}

/// The destroying request got its handle before the namespace was closed.
#[tokio::test]
async fn a_namespace_that_was_closed_meanwhile_is_destroyed_nevertheless() {
    let (in_bucket, bucket) = in_bucket(UNLIMITED).await;
    for env in [in_bucket, TestEnv::new(UNLIMITED).await] {
        store(&env, NAMESPACES[0], "a").await;
        env.stores.flush_all().await.unwrap();
        let handle = env.enter::<Manage>(NAMESPACES[0]).await;
        let incarnation = env.grant::<Search>(NAMESPACES[0].0, NAMESPACES[0].1).incarnation();
        env.stores.close_tenant(incarnation).await;
        handle.destroy().await.unwrap();
        let refused = env.try_enter::<Search>(NAMESPACES[0]).await.err();
        assert_eq!(refused.unwrap().code, Code::NotFound);
        assert!(env.objects().is_empty() && env.logs().is_empty());
    }
    assert_eq!(count(&bucket, "/log/").await + count(&bucket, "/seg/").await, 0);
}
