//! Segments that are read in pages: a page that is altered or cannot be read, in a folder and in a bucket; objects
//! that somebody reads when they are replaced.

use super::fixture::{Draft, NAMESPACES, ROOMY, Sizes, World, id, line};
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

const HOME: (&str, &str) = NAMESPACES[0];
const PAGED: Sizes = Sizes { resident_bytes_max: 0, ..ROOMY };
const DOCUMENTS: usize = 120;

/// A bucket that answers no reads when it is told so.
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

async fn in_bucket() -> (World, Arc<Bucket>) {
    let bucket = Arc::new(Bucket::default());
    let storage = Storage::remote(bucket.clone(), bucket.clone(), Blocking::Threads).await.unwrap();
    (World::on(PAGED, tempfile::tempdir().unwrap(), storage).await, bucket)
}

/// Documents of about 4 KB: no two pages of their texts are alike.
async fn fill(world: &World) {
    let text = |n: usize| (0..500).map(|w| format!("w{} ", (n * 7_919 + w * 104_729) % 9_973)).collect::<String>();
    let drafts = (0..DOCUMENTS).map(|n| Draft::new(&name(n), &format!("common {}", text(n))).upsert());
    world.enter::<Ingest>(HOME).await.append(drafts.collect(), &Audience::Everything, line()).await.unwrap();
    world.stores.flush_all().await.unwrap();
    world.settle().await;
}

fn name(n: usize) -> String {
    format!("doc-{n:03}")
}

/// Reads every document; what each that does not read says.
fn faults(snapshot: &Snapshot) -> Vec<Error> {
    let now = kernel::Timestamp::from_millis(1_800_000_000_000);
    let get = |n| snapshot.get(&id(&name(n)), &Audience::Everything, false, Quarantine::Shown, now);
    (0..DOCUMENTS).filter_map(|n| get(n).map(|found| assert!(found.is_some())).err()).collect()
}

async fn snapshot(world: &World) -> Snapshot {
    world.enter::<Search>(HOME).await.snapshot(None).await.unwrap()
}

/// Flips a bit in every third of the pages in the second half, where texts are.
fn flipped(bytes: &[u8]) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    let half = bytes.len() / 2;
    changed[half..bytes.len() - (32 << 10)].iter_mut().step_by(48 << 10).for_each(|byte| *byte ^= 1);
    changed
}

async fn searches(world: &World, snapshot: &Snapshot) -> std::result::Result<usize, Error> {
    let eligible = snapshot.eligible(&Audience::Everything, None, &[Status::Indexed], world.clock.now())?;
    let hits = snapshot.text(&TextQuery::new("common"), &eligible, 1_000)?;
    for hit in &hits {
        snapshot.passage(&eligible, hit.at, false)?;
    }
    Ok(hits.len())
}

/// Altered pages: the request and the namespace fail, the process and the neighbours do not.
async fn altered(world: &World) {
    let before = snapshot(world).await;
    let error = searches(world, &before).await.unwrap_err();
    assert!(error.is_corrupt(), "{error:?}");
    let said = kernel::Error::from(error);
    assert_eq!(said.code, Code::Internal);
    let late = world.stores.open_ones();
    assert!(!late.contains(&world.home(HOME).uuid()), "the namespace has failed");
    world
        .enter::<Ingest>(NAMESPACES[2])
        .await
        .append(vec![Draft::new("a", "b").upsert()], &Audience::Everything, line())
        .await
        .unwrap();
    // The next request opens it again, and meets the same pages.
    let again = snapshot(world).await;
    assert!(!faults(&again).is_empty() && faults(&again).iter().all(Error::is_corrupt));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_page_of_a_file_fails_its_namespace_alone() {
    let world = World::new(PAGED).await;
    fill(&world).await;
    let file = world.objects().remove(0);
    let sealed = std::fs::read(&file).unwrap();
    assert!(faults(&snapshot(&world).await).is_empty());
    std::fs::write(&file, flipped(&sealed)).unwrap();
    altered(&world).await;
    std::fs::write(&file, &sealed).unwrap();
    let mended = snapshot(&world).await;
    assert!(faults(&mended).is_empty());
    assert!(searches(&world, &mended).await.unwrap() >= DOCUMENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_page_in_a_bucket_fails_its_namespace_alone() {
    let (mut world, bucket) = in_bucket().await;
    fill(&world).await;
    let key = bucket.objects().await.remove(0);
    let sealed = bucket.inner.get(&key).await.unwrap().bytes().await.unwrap();
    bucket.inner.put(&key, flipped(&sealed).into()).await.unwrap();
    world.reopen().await;
    altered(&world).await;
    bucket.inner.put(&key, sealed.into()).await.unwrap();
    let mended = snapshot(&world).await;
    assert!(faults(&mended).is_empty());
    assert!(searches(&world, &mended).await.unwrap() >= DOCUMENTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_does_not_answer_fails_only_who_reads_then() {
    let (mut world, bucket) = in_bucket().await;
    fill(&world).await;
    world.reopen().await;
    let held = snapshot(&world).await;
    bucket.refuses.store(true, Ordering::SeqCst);
    let said = kernel::Error::from(searches(&world, &held).await.unwrap_err());
    assert_eq!((said.code, said.retry_after), (Code::Overloaded, Some(Duration::from_secs(1))));
    // A write that has to read: refused whole, and may be tried again.
    let which = Selection::Ids((0..DOCUMENTS).map(|n| id(&name(n))).collect());
    let room = world.enter::<Delete>(HOME).await;
    let refused = room.delete(&which, &Audience::Everything, line()).await.unwrap_err();
    assert_eq!(kernel::Error::from(refused).code, Code::Overloaded);
    bucket.refuses.store(false, Ordering::SeqCst);
    assert!(world.stores.open_ones().contains(&world.home(HOME).uuid()), "the namespace goes on");
    assert!(searches(&world, &held).await.unwrap() >= DOCUMENTS);
    let outcome = room.delete(&which, &Audience::Everything, line()).await.unwrap();
    assert_eq!((outcome.deleted, outcome.commit.0), (DOCUMENTS as u64, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_object_stays_in_a_bucket_while_somebody_reads_it() {
    let (world, bucket) = in_bucket().await;
    fill(&world).await;
    let old = bucket.objects().await;
    let held = snapshot(&world).await;
    let half = Selection::Ids((0..DOCUMENTS / 2).map(|n| id(&name(n))).collect());
    world.enter::<Delete>(HOME).await.delete(&half, &Audience::Everything, line()).await.unwrap();
    world.stores.flush_all().await.unwrap();
    world.settle().await;
    assert_eq!((bucket.objects().await.len(), world.stores.retired_of().await), (2, 1));
    assert!(faults(&held).is_empty(), "the old object is read");
    drop(held);
    world.stores.flush_all().await.unwrap();
    let left = bucket.objects().await;
    assert_eq!((left.len(), world.stores.retired_of().await), (1, 0));
    assert_ne!(left, old);
}

#[tokio::test(flavor = "multi_thread")]
async fn erasing_does_not_wait_for_readers() {
    let (world, bucket) = in_bucket().await;
    fill(&world).await;
    let held = snapshot(&world).await;
    let room = world.enter::<Delete>(HOME).await;
    room.erase(&[id(&name(7))], &Audience::Everything, line()).await.unwrap().erased().await.unwrap();
    assert_eq!(bucket.objects().await.len(), 1);
    drop(held);
    let (fresh, now) = (snapshot(&world).await, world.clock.now());
    assert!(fresh.get(&id(&name(7)), &Audience::Everything, false, Quarantine::Shown, now).unwrap().is_none());
    assert!(fresh.get(&id(&name(8)), &Audience::Everything, false, Quarantine::Shown, now).unwrap().is_some());
}
