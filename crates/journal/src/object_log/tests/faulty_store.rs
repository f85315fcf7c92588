//! An object store that fails after a number of requests, or holds puts back.

use futures::{StreamExt, stream::BoxStream};
use object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, memory::InMemory, path::Path as Key,
};
use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::sync::watch;

#[derive(Debug)]
pub(crate) struct FaultyStore {
    inner: Arc<InMemory>,
    faults: Arc<FaultState>,
    held: watch::Sender<bool>,
}

#[derive(Debug)]
struct FaultState {
    /// Number of changes that still succeed.
    changes: AtomicUsize,
    /// Whether the next change that fails is applied all the same.
    apply_next: AtomicBool,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<InMemory>) -> Arc<Self> {
        let faults = Arc::new(FaultState { changes: AtomicUsize::new(usize::MAX), apply_next: AtomicBool::new(false) });
        Arc::new(Self { inner, faults, held: watch::Sender::new(false) })
    }

    /// Lets `changes` more puts and deletions succeed, then fails all; with `reply_lost` the first failing one is
    /// applied.
    pub(crate) fn fail_after(&self, changes: usize, reply_lost: bool) {
        self.faults.changes.store(changes, Ordering::SeqCst);
        self.faults.apply_next.store(reply_lost, Ordering::SeqCst);
    }

    pub(crate) fn heal(&self) {
        self.fail_after(usize::MAX, false);
    }

    /// Whether all allowed changes have been used.
    pub(crate) fn exhausted(&self) -> bool {
        self.faults.changes.load(Ordering::SeqCst) == 0
    }

    /// Holds puts back, or releases them.
    pub(crate) fn hold(&self, yes: bool) {
        self.held.send_replace(yes);
    }
}

impl FaultState {
    /// Whether a change is applied, and whether its sender gets a success.
    fn next_outcome(&self) -> (bool, bool) {
        let succeeds = self.changes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        (succeeds || self.apply_next.swap(false, Ordering::SeqCst), succeeds)
    }
}

/// An error that is not retried.
fn denied(key: &Key) -> StoreError {
    StoreError::PermissionDenied { path: key.to_string(), source: "by the test".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mut held = self.held.subscribe();
        let _store_lives = held.wait_for(|held| !held).await.map(drop);
        let (applied, replied) = self.faults.next_outcome();
        if !applied {
            return Err(denied(key));
        }
        let put = self.inner.put_opts(key, payload, options).await;
        if replied { put } else { Err(denied(key)) }
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        let (inner, faults) = (self.inner.clone(), self.faults.clone());
        let delete = move |key: Result<Key>| {
            let (inner, faults) = (inner.clone(), faults.clone());
            async move {
                let key = key?;
                let (applied, replied) = faults.next_outcome();
                if applied {
                    let one = key.clone();
                    inner.delete_stream(futures::stream::iter([Ok(one)]).boxed()).next().await.transpose()?;
                }
                if replied { Ok(key) } else { Err(denied(&key)) }
            }
        };
        keys.then(delete).boxed()
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
