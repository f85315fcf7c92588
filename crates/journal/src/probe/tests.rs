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

/// How a store may be broken.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// Looks whether the key is there, then writes: what some servers do.
    CheckThenAct,
    IgnoresTheCondition,
    RefusesAndWrites,
    RefusesAll,
    ListsOneLess,
    KeepsTheDeleted,
    RangeFromTheStart,
    /// The first create happens and is then told that its own object exists, as after a lost answer.
    ToldOfItsOwn,
}

#[derive(Debug)]
struct Broken {
    inner: InMemory,
    fault: Fault,
    told: AtomicBool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Broken({:?})", self.fault)
    }
}

fn exists(key: &Path) -> StoreError {
    StoreError::AlreadyExists { path: key.to_string(), source: "it exists".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Broken {
    async fn put_opts(&self, key: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let overwrite = PutOptions::default();
        match self.fault {
            Fault::CheckThenAct => {
                if self.inner.head(key).await.is_ok() {
                    return Err(exists(key));
                }
                tokio::task::yield_now().await;
                self.inner.put_opts(key, payload, overwrite).await
            }
            Fault::IgnoresTheCondition => self.inner.put_opts(key, payload, overwrite).await,
            Fault::RefusesAndWrites => {
                let answer = self.inner.put_opts(key, payload.clone(), options).await;
                self.inner.put_opts(key, payload, overwrite).await?;
                answer
            }
            Fault::RefusesAll => Err(exists(key)),
            Fault::ToldOfItsOwn => {
                let answer = self.inner.put_opts(key, payload, options).await;
                if self.told.swap(true, Ordering::Relaxed) { answer } else { Err(exists(key)) }
            }
            _ => self.inner.put_opts(key, payload, options).await,
        }
    }

    async fn put_multipart_opts(&self, key: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Path, mut options: GetOptions) -> Result<GetResult> {
        if self.fault == Fault::RangeFromTheStart && options.range.is_some() {
            options.range = Some((0..3).into());
        }
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        if self.fault == Fault::KeepsTheDeleted { keys } else { self.inner.delete_stream(keys) }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let less = usize::from(self.fault == Fault::ListsOneLess);
        self.inner.list(prefix).skip(less).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

async fn probed(fault: Fault) -> (std::result::Result<(), ProbeError>, usize) {
    let store = Broken { inner: InMemory::new(), fault, told: AtomicBool::new(false) };
    let found = probe(&store, &SeededEntropy::new(1), PROBE_ROUNDS).await;
    (found, store.inner.list(None).count().await)
}

#[tokio::test]
async fn a_sound_store_passes_and_is_left_clean() {
    let (found, left) = probed(Fault::None).await;
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
async fn an_answer_that_was_lost_is_no_fault() {
    probed(Fault::ToldOfItsOwn).await.0.expect("passes");
}

#[tokio::test]
async fn a_store_that_looks_before_it_writes_is_refused_and_left_clean() {
    let (found, left) = probed(Fault::CheckThenAct).await;
    let text = found.expect_err("refused").to_string();
    assert_eq!(
        text,
        "32 of 32 writers created the same key: this store does not honour If-None-Match; Ringfence would lose \
         writes on it"
    );
    assert_eq!(left, 0);
}

#[tokio::test]
async fn every_broken_promise_is_noticed() {
    let cases = [
        (Fault::IgnoresTheCondition, "32 of 32 writers created the same key"),
        (Fault::RefusesAndWrites, "the key holds something else"),
        (Fault::RefusesAll, "nothing can be written to this store"),
        (Fault::ListsOneLess, "a list misses objects"),
        (Fault::KeepsTheDeleted, "just deleted is still there"),
        (Fault::RangeFromTheStart, "does not honour Range"),
    ];
    for (fault, part) in cases {
        let text = probed(fault).await.0.expect_err("refused").to_string();
        assert!(text.contains(part), "{fault:?}: {text}");
    }
}
