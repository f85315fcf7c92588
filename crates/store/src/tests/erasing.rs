//! Erasure: afterwards no object and no log file holds the bytes, as checked by decrypting everything that is stored.

use super::fixture::{Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, id, line};
use access::{Delete, Ingest, Search};
use kernel::Audience;

const NAMESPACE: (&str, &str) = NAMESPACES[0];
const NEEDLE: &[u8] = b"xylophonist";

async fn store(env: &TestEnv, name: &str, text: &str) {
    env.enter::<Ingest>(NAMESPACE)
        .await
        .append(vec![Draft::new(name, text).upsert()], &Audience::Everything, line())
        .await
        .unwrap();
}

async fn holds_needle(env: &TestEnv) -> bool {
    env.decrypted(NAMESPACE).await.iter().any(|bytes| bytes.windows(NEEDLE.len()).any(|window| window == NEEDLE))
}

async fn erase(env: &TestEnv, name: &str) -> crate::DocumentErasureResult {
    let handle = env.enter::<Delete>(NAMESPACE).await;
    let erasing = handle.erase(&[id(name)], &Audience::Everything, line()).await.unwrap();
    erasing.erased().await.unwrap()
}

/// The document is in an object, in a second one under the same id, and in the log; with objects and inline.
#[tokio::test(flavor = "multi_thread")]
async fn erased_documents_are_in_no_object_and_no_log() {
    for sizes in [UNLIMITED, Limits { inline_bytes_max: 240 << 10, ..UNLIMITED }] {
        let mut env = TestEnv::new(sizes).await;
        for round in 0..2 {
            for n in 0..6 {
                store(&env, &format!("kept-{round}-{n}"), "some other words").await;
            }
            store(&env, "gone", &format!("the xylophonist of round {round}")).await;
            env.stores.flush_all().await.unwrap();
        }
        store(&env, "gone", "the xylophonist in the log").await;
        let logs = env.logs();
        assert!(!logs.is_empty());

        let erased = erase(&env, "gone").await;
        assert_eq!(erased.covers.0, env.stores.last_entry());
        assert_eq!(erased.commit, env.enter::<Search>(NAMESPACE).await.totals().commit);
        assert!(logs.iter().all(|file| !file.exists()), "every log file that held it is gone");
        assert_eq!(env.objects().len(), env.stores.object_count());
        env.reopen().await;
        assert!(!holds_needle(&env).await);
        assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 12);
    }
}

/// Nothing is left to delete, but the bytes are still stored: another erasure removes them.
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_interrupted_by_a_crash_can_be_repeated() {
    let mut env = TestEnv::new(UNLIMITED).await;
    for n in 0..9 {
        store(&env, &n.to_string(), "some other words").await;
    }
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    let which = crate::Selection::Ids(vec![id("gone")]);
    env.enter::<Delete>(NAMESPACE).await.delete(&which, &Audience::Everything, line()).await.unwrap();
    env.reopen().await;
    assert!(holds_needle(&env).await, "the scan can see");
    erase(&env, "gone").await;
    env.reopen().await;
    assert!(!holds_needle(&env).await);
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 9);
}

/// A document that was written again under the same id stays.
#[tokio::test(flavor = "multi_thread")]
async fn documents_written_after_the_delete_stay() {
    let env = TestEnv::new(UNLIMITED).await;
    store(&env, "gone", "the xylophonist").await;
    env.stores.flush_all().await.unwrap();
    let handle = env.enter::<Delete>(NAMESPACE).await;
    let erasing = handle.erase(&[id("gone")], &Audience::Everything, line()).await.unwrap();
    assert_eq!(erasing.outcome.deleted, 1);
    store(&env, "gone", "somebody else").await;
    erasing.erased().await.unwrap();
    assert_eq!(env.enter::<Search>(NAMESPACE).await.totals().documents, 1);
}
