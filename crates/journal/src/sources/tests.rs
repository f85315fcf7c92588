//! Objects with two regions, in a folder and in a bucket.

use crate::{Blocking, Error, Journal, ObjectRef, Storage};
use futures::stream::BoxStream;
use kernel::{Incarnation, ManualClock, NamespaceUuid, Plaintext, ReadAt, SeededEntropy, Timestamp};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory,
    path::Path as Key,
};
use std::{
    fmt, fs, io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use vault::{Keyspace, KeyspaceKind, LocalProvider, ObjectKind, TenantKeys};

/// A store that counts reads and can refuse them.
#[derive(Debug, Default)]
struct CountingStore {
    inner: InMemory,
    gets: AtomicUsize,
    refusing: AtomicBool,
}

impl fmt::Display for CountingStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CountingStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for CountingStore {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.inner.put_opts(key, payload, options).await
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.gets.fetch_add(1, Ordering::SeqCst);
        if self.refusing.load(Ordering::SeqCst) {
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

fn keyspace() -> (Arc<Keyspace>, Arc<SeededEntropy>) {
    let entropy = Arc::new(SeededEntropy::new(3));
    let provider = LocalProvider::from_env_value(&"07".repeat(32), entropy.clone()).unwrap();
    let (keys, _) = TenantKeys::create(&provider, Incarnation::random(&*entropy), &*entropy).unwrap();
    let uuid = NamespaceUuid::random(&*entropy);
    (Arc::new(Keyspace::create(&keys, KeyspaceKind::Namespace, uuid, &*entropy).unwrap().0), entropy)
}

async fn journal(storage: &Storage) -> (Journal, Arc<Keyspace>) {
    let (keyspace, entropy) = keyspace();
    let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_000)));
    (Journal::recover(storage, keyspace.clone(), clock, entropy).await.unwrap().0, keyspace)
}

/// 3 MB in which no two pages are equal.
fn plain() -> Vec<u8> {
    (0..3_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

const SPLIT: usize = 1_500_000;

fn read(source: &dyn ReadAt, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    source.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

fn check(plain: &[u8], whole: &[u8], paged: &dyn ReadAt) {
    assert_eq!(whole, &plain[..SPLIT]);
    assert_eq!(paged.size(), (plain.len() - SPLIT) as u64);
    for (offset, length) in [(0, 1), (70_000, 3_000), (16_383, 2), (65_000, 40_000), (100, 1_400_000), (1_499_999, 1)] {
        let at = SPLIT + offset;
        assert_eq!(read(paged, offset as u64, length).unwrap(), plain[at..at + length], "{length} at {offset}");
    }
    assert_eq!(read(paged, 1_499_999, 2).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

fn key(keyspace: &Keyspace, object: &ObjectRef) -> Key {
    Key::from(format!("{}{}", keyspace.prefix(), object.name()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_readable_in_pieces_after_its_name_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(folder.path()).await.unwrap();
    let (journal, keyspace) = journal(&storage).await;
    let plain = plain();
    let (object, _) = journal.put_split(ObjectKind::Segment, Plaintext::from(&plain[..]), SPLIT).await.unwrap();
    assert!(matches!(
        journal.put_split(ObjectKind::Segment, Plaintext::from(&b"ab"[..]), 3).await,
        Err(Error::Vault(_))
    ));
    let name = object.name().to_string().replace('/', "-");
    let file: PathBuf = folder.path().join(keyspace.prefix()).join(name);

    // A change under an open reader makes one page an error, and none of its neighbours.
    let (whole, paged) = journal.open_object(&object).await.unwrap();
    check(&plain, &whole, &paged);
    let sealed = fs::read(&file).unwrap();
    let mut changed = sealed.clone();
    let at = sealed.len() - 700_000;
    changed[at] ^= 1;
    fs::write(&file, &changed).unwrap();
    let pages = (0..paged.size()).step_by(16 << 10).map(|at| read(&paged, at, 1));
    let errors: Vec<_> = pages.filter_map(std::result::Result::err).map(|error| error.kind()).collect();
    assert_eq!(errors, [io::ErrorKind::InvalidData]);
    // Truncation under an open reader, and before an opening.
    fs::write(&file, &sealed[..sealed.len() - 20_000]).unwrap();
    assert_eq!(read(&paged, paged.size() - 1, 1).unwrap_err().kind(), io::ErrorKind::InvalidData);
    assert!(matches!(journal.open_object(&object).await, Err(Error::Corrupt { .. })));
    fs::write(&file, &sealed).unwrap();

    journal.delete(&object).await.unwrap();
    assert!(!file.exists());
    check(&plain, &whole, &paged);
    assert!(matches!(journal.open_object(&object).await, Err(Error::Corrupt { .. })), "gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_needed_blocks_of_a_bucket_object_are_fetched() {
    let store = Arc::new(CountingStore::default());
    let storage = Storage::remote(store.clone(), store.clone(), Blocking::Threads).await.unwrap();
    let (journal, _) = journal(&storage).await;
    let plain = plain();
    let (object, _) = journal.put_split(ObjectKind::Segment, Plaintext::from(&plain[..]), SPLIT).await.unwrap();
    let gets = || store.gets.swap(0, Ordering::SeqCst);
    gets();
    let (whole, paged) = journal.open_object(&object).await.unwrap();
    let opening = gets();
    assert!(opening <= 6, "{opening} requests for an opening");
    read(&paged, 500_000, 10).unwrap();
    read(&paged, 500_100, 10).unwrap();
    assert_eq!(gets(), 1, "the second reads what the first fetched");
    paged.will_read(&[200_000..200_010, 210_000..210_010, 1_000_000..1_000_010]);
    assert_eq!(gets(), 2, "adjacent blocks together");
    read(&paged, 210_000, 10).unwrap();
    read(&paged, 1_000_000, 10).unwrap();
    assert_eq!(gets(), 0);
    check(&plain, &whole, &paged);
    // Where no thread may wait, the object is fetched as a whole.
    let inline = Storage::remote(store.clone(), store.clone(), Blocking::Inline).await.unwrap();
    let (other, _) = self::journal(&inline).await;
    gets();
    let (whole, paged) = other.open_object(&object).await.unwrap();
    check(&plain, &whole, &paged);
    assert_eq!(gets(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unavailable_bucket_is_not_reported_as_an_altered_object() {
    let store = Arc::new(CountingStore::default());
    let storage = Storage::remote(store.clone(), store.clone(), Blocking::Threads).await.unwrap();
    let (journal, keyspace) = journal(&storage).await;
    let plain = plain();
    let (object, _) = journal.put_split(ObjectKind::Segment, Plaintext::from(&plain[..]), SPLIT).await.unwrap();
    let (whole, paged) = journal.open_object(&object).await.unwrap();

    store.refusing.store(true, Ordering::SeqCst);
    assert!(matches!(journal.open_object(&object).await, Err(Error::Store { .. })));
    paged.will_read(std::slice::from_ref(&(800_000..800_001)));
    let error = read(&paged, 800_000, 1).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(matches!(super::from_io_error("x", error), Error::Store { .. }));
    store.refusing.store(false, Ordering::SeqCst);
    check(&plain, &whole, &paged);

    let key = key(&keyspace, &object);
    let sealed = store.inner.get(&key).await.unwrap().bytes().await.unwrap().to_vec();
    let mut changed = sealed.clone();
    let at = sealed.len() - 700_000;
    changed[at] ^= 1;
    store.inner.put(&key, changed.into()).await.unwrap();
    let (_, again) = journal.open_object(&object).await.unwrap();
    let errors: Vec<_> = (0..again.size()).step_by(16 << 10).filter_map(|at| read(&again, at, 1).err()).collect();
    assert_eq!(errors.iter().map(io::Error::kind).collect::<Vec<_>>(), [io::ErrorKind::InvalidData]);
    // Corrupted bytes are dropped with the reader that fetched them.
    store.inner.put(&key, sealed.clone().into()).await.unwrap();
    let (whole, again) = journal.open_object(&object).await.unwrap();
    check(&plain, &whole, &again);
    store.inner.put(&key, sealed[..sealed.len() - 1].to_vec().into()).await.unwrap();
    assert!(matches!(journal.open_object(&object).await, Err(Error::Corrupt { .. })), "shorter");
    store.inner.delete(&key).await.unwrap();
    assert!(matches!(journal.open_object(&object).await, Err(Error::Corrupt { .. })), "gone");
}
