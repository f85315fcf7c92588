use super::*;
use futures::stream::BoxStream;
use kernel::SeededEntropy;
use object_store::{
    CopyOptions, GetOptions, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions, PutResult, Result,
    local::LocalFileSystem, memory::InMemory,
};
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering},
};

/// Defects of a store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum StoreDefect {
    None,
    /// Checks whether the key exists, then writes, as some servers do.
    CheckThenAct,
    IgnoresCondition,
    RefusesAndWrites,
    RefusesAll,
    ListMissesOne,
    KeepsDeleted,
    RangeFromStart,
    /// The first create is applied and then answered with "already exists", as after a lost answer.
    LostReply,
}

#[derive(Debug)]
struct BrokenStore {
    inner: InMemory,
    defect: StoreDefect,
    replied: AtomicBool,
}

impl fmt::Display for BrokenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokenStore({:?})", self.defect)
    }
}

fn exists(key: &Path) -> StoreError {
    StoreError::AlreadyExists { path: key.to_string(), source: "it exists".into() }
}

#[async_trait::async_trait]
impl ObjectStore for BrokenStore {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let overwrite = PutOptions::default();
        match self.defect {
            StoreDefect::CheckThenAct => {
                if self.inner.head(key).await.is_ok() {
                    return Err(exists(key));
                }
                tokio::task::yield_now().await;
                self.inner.put_opts(key, payload, overwrite).await
            }
            StoreDefect::IgnoresCondition => self.inner.put_opts(key, payload, overwrite).await,
            StoreDefect::RefusesAndWrites => {
                let answer = self.inner.put_opts(key, payload.clone(), options).await;
                self.inner.put_opts(key, payload, overwrite).await?;
                answer
            }
            StoreDefect::RefusesAll => Err(exists(key)),
            StoreDefect::LostReply => {
                let answer = self.inner.put_opts(key, payload, options).await;
                if self.replied.swap(true, Ordering::Relaxed) { answer } else { Err(exists(key)) }
            }
            _ => self.inner.put_opts(key, payload, options).await,
        }
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.defect == StoreDefect::RangeFromStart && options.range.is_some() {
            options.range = Some((0..3).into());
        }
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.defect == StoreDefect::KeepsDeleted { keys } else { self.inner.delete_stream(keys) }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let less = usize::from(self.defect == StoreDefect::ListMissesOne);
        self.inner.list(prefix).skip(less).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn run_probe(defect: StoreDefect) -> (std::result::Result<(), ProbeError>, usize) {
    let store = BrokenStore { inner: InMemory::new(), defect, replied: AtomicBool::new(false) };
    let found = probe(&store, &SeededEntropy::new(1), PROBE_ROUNDS).await;
    (found, store.inner.list(None).count().await)
}

#[tokio::test]
async fn a_sound_store_passes_and_is_left_clean() {
    let (found, left) = run_probe(StoreDefect::None).await;
    found.expect("passes");
    assert_eq!(left, 0);
}

#[tokio::test]
async fn the_local_file_system_passes() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = LocalFileSystem::new_with_prefix(folder.path()).expect("opened");
    probe(&store, &SeededEntropy::new(1), PROBE_ROUNDS).await.expect("passes");
    assert_eq!(store.list(None).count().await, 0);
}

#[tokio::test]
async fn a_lost_answer_is_no_defect() {
    run_probe(StoreDefect::LostReply).await.0.expect("passes");
}

#[tokio::test]
async fn a_store_that_checks_before_it_writes_is_refused_and_left_clean() {
    let (found, left) = run_probe(StoreDefect::CheckThenAct).await;
    let text = found.expect_err("refused").to_string();
    assert_eq!(
        text,
        "32 of 32 writers created the same key: this store does not honour If-None-Match; Ringfence would lose \
         writes on it"
    );
    assert_eq!(left, 0);
}

#[tokio::test]
async fn every_defect_is_detected() {
    let cases = [
        (StoreDefect::IgnoresCondition, "32 of 32 writers created the same key"),
        (StoreDefect::RefusesAndWrites, "the key holds something else"),
        (StoreDefect::RefusesAll, "nothing can be written to this store"),
        (StoreDefect::ListMissesOne, "a list misses objects"),
        (StoreDefect::KeepsDeleted, "just deleted is still there"),
        (StoreDefect::RangeFromStart, "does not honour Range"),
    ];
    for (defect, part) in cases {
        let text = run_probe(defect).await.0.expect_err("refused").to_string();
        assert!(text.contains(part), "{defect:?}: {text}");
    }
}
