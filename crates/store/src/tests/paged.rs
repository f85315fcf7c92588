//! Segments that are read in pages: a page that is altered or cannot be read, in a folder and in a bucket; objects that
//! are replaced while a snapshot reads them.

use super::fixture::{Draft, Limits, NAMESPACES, TestEnv, UNLIMITED, id, line};
use crate::{Error, Quarantine, Selection, Snapshot};
use access::{Delete, Ingest, Search};
use futures::{TryStreamExt, stream::BoxStream};
use journal::{Blocking, Storage};
use kernel::{Audience, Clock, Code, Status};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path as Key,
};
use segment::TextQuery;
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

const NAMESPACE: (&str, &str) = NAMESPACES[0];
const PAGED: Limits = Limits { resident_bytes_max: 0, ..UNLIMITED };
const DOCUMENTS: usize = 120;

/// A bucket that refuses reads on demand.
#[derive(Debug, Default)]
struct Bucket {
    inner: InMemory,
    refuses: AtomicBool,
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bucket")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Bucket {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        if self.refuses.load(Ordering::SeqCst) {
            return Err(StoreError::PermissionDenied { path: key.to_string(), source: "by the test".into() });
        }
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        self.inner.delete_stream(keys)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

impl Bucket {
    async fn objects(&self) -> Vec<Key> {
        let all: Vec<ObjectMeta> = self.inner.list(None).try_collect().await.unwrap();
        all.into_iter().map(|meta| meta.location).filter(|key| key.as_ref().contains("/seg/")).collect()
    }
}

async fn in_bucket() -> (TestEnv, Arc<Bucket>) {
    let bucket = Arc::new(Bucket::default());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    (TestEnv::on(PAGED, tempfile::tempdir().unwrap(), storage).await, bucket)
}

/// Documents of about 4 KB; no two pages of their texts are equal.
async fn fill(env: &TestEnv) {
    let text = |n: usize| (0..500).map(|w| format!("w{} ", (n * 7_919 + w * 104_729) % 9_973)).collect::<String>();
    let drafts = (0..DOCUMENTS).map(|n| Draft::new(&name(n), &format!("common {}", text(n))).upsert());
    env.enter::<Ingest>(NAMESPACE).await.append(drafts.collect(), &Audience::Everything, line()).await.unwrap();
    env.stores.flush_all().await.unwrap();
    env.wait_idle().await;
}

fn name(n: usize) -> String {
    format!("doc-{n:03}")
}

/// Reads every document and returns the errors of those that cannot be read.
fn faults(snapshot: &Snapshot) -> Vec<Error> {
    let now = kernel::Timestamp::from_millis(1_800_000_000_000);
    let get = |n| snapshot.get(&id(&name(n)), &Audience::Everything, false, Quarantine::Shown, now);
    (0..DOCUMENTS).filter_map(|n| get(n).map(|found| assert!(found.is_some())).err()).collect()
}

async fn snapshot(env: &TestEnv) -> Snapshot {
    env.enter::<Search>(NAMESPACE).await.snapshot(None).await.unwrap()
}

/// Flips a bit in every third page of the second half, where texts are.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let half = bytes.len() / 2;
    changed[half..bytes.len() - (32 << 10)].iter_mut().step_by(48 << 10).for_each(|byte| *byte ^= 1);
    changed
}

async fn searches(env: &TestEnv, snapshot: &Snapshot) -> std::result::Result<usize, Error> {
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], env.clock.now())?;
    let hits = snapshot.text(&TextQuery::new("common"), &eligible, 1_000)?;
    for hit in &hits {
        snapshot.passage(&eligible, hit.at, false)?;
    }
    Ok(hits.len())
}

/// With altered pages the request and the namespace fail, but not the process or other namespaces.
async fn altered(env: &TestEnv) {
    let before = snapshot(env).await;
    let error = searches(env, &before).await.unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    let said = kernel::Error::from(error);
    assert_eq!(said.code, Code::Internal);
    let late = env.stores.open_uuids();
    assert!(!late.contains(&env.keyspace(NAMESPACE).uuid()), "the namespace has failed");
    env.enter::<Ingest>(NAMESPACES[2])
        .await
        .append(vec![Draft::new("a", "b").upsert()], &Audience::Everything, line())
        .await
        .unwrap();
    // The next request opens the namespace again, and reads the same pages.
    let again = snapshot(env).await;
    assert!(!faults(&again).is_empty() && faults(&again).iter().all(Error::is_corrupt));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_page_of_a_file_fails_its_namespace_alone() {
    let env = TestEnv::new(PAGED).await;
    fill(&env).await;
    let file = env.objects().remove(0);
    let sealed = std::fs::read(&file).unwrap();
    assert!(faults(&snapshot(&env).await).is_empty());
    std::fs::write(&file, flipped(&sealed)).unwrap();
    altered(&env).await;
    std::fs::write(&file, &sealed).unwrap();
    let mended = snapshot(&env).await;
    assert!(faults(&mended).is_empty());
    assert!(searches(&env, &mended).await.unwrap() >= DOCUMENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_page_in_a_bucket_fails_its_namespace_alone() {
    let (mut env, bucket) = in_bucket().await;
    fill(&env).await;
    let key = bucket.objects().await.remove(0);
    let sealed = bucket.inner.get(&key).await.unwrap().bytes().await.unwrap();
    bucket.inner.put(&key, flipped(&sealed).into()).await.unwrap();
    env.reopen().await;
    altered(&env).await;
    bucket.inner.put(&key, sealed.into()).await.unwrap();
    let mended = snapshot(&env).await;
    assert!(faults(&mended).is_empty());
    assert!(searches(&env, &mended).await.unwrap() >= DOCUMENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_answer_fails_only_concurrent_reads() {
    let (mut env, bucket) = in_bucket().await;
    fill(&env).await;
    env.reopen().await;
    let held = snapshot(&env).await;
    bucket.refuses.store(true, Ordering::SeqCst);
    let said = kernel::Error::from(searches(&env, &held).await.unwrap_err());
    assert_eq!((said.code, said.retry_after), (Code::Overloaded, Some(Duration::from_secs(1))));
    // A write that has to read is refused as a whole, and may be retried.
    let which = Selection::Ids((0..DOCUMENTS).map(|n| id(&name(n))).collect());
    let handle = env.enter::<Delete>(NAMESPACE).await;
    let refused = handle.delete(&which, &Audience::Everything, line()).await.unwrap_err();
    assert_eq!(kernel::Error::from(refused).code, Code::Overloaded);
    bucket.refuses.store(false, Ordering::SeqCst);
    assert!(env.stores.open_uuids().contains(&env.keyspace(NAMESPACE).uuid()), "the namespace goes on");
    assert!(searches(&env, &held).await.unwrap() >= DOCUMENTS);
    let outcome = handle.delete(&which, &Audience::Everything, line()).await.unwrap();
    assert_eq!((outcome.deleted, outcome.commit.0), (DOCUMENTS as u64, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_object_stays_in_a_bucket_while_a_snapshot_reads_it() {
    let (env, bucket) = in_bucket().await;
    fill(&env).await;
    let old = bucket.objects().await;
    let held = snapshot(&env).await;
    let half = Selection::Ids((0..DOCUMENTS / 2).map(|n| id(&name(n))).collect());
    env.enter::<Delete>(NAMESPACE).await.delete(&half, &Audience::Everything, line()).await.unwrap();
    env.stores.flush_all().await.unwrap();
    env.wait_idle().await;
    assert_eq!((bucket.objects().await.len(), env.stores.obsolete_count()), (2, 1));
    assert!(faults(&held).is_empty(), "the old object is read");
    drop(held);
    env.stores.flush_all().await.unwrap();
    let left = bucket.objects().await;
    assert_eq!((left.len(), env.stores.obsolete_count()), (1, 0));
    assert_ne!(left, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_does_not_wait_for_readers() {
    let (env, bucket) = in_bucket().await;
    fill(&env).await;
    let held = snapshot(&env).await;
    let handle = env.enter::<Delete>(NAMESPACE).await;
    handle.erase(&[id(&name(7))], &Audience::Everything, line()).await.unwrap().erased().await.unwrap();
    assert_eq!(bucket.objects().await.len(), 1);
    drop(held);
    let (fresh, now) = (snapshot(&env).await, env.clock.now());
    assert!(fresh.get(&id(&name(7)), &Audience::Everything, false, Quarantine::Shown, now).unwrap().is_none());
    assert!(fresh.get(&id(&name(8)), &Audience::Everything, false, Quarantine::Shown, now).unwrap().is_some());
}
