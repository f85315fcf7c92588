//! A door before a bucket: tests shut it behind some requests, or hold what wants to be put.

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
pub(crate) struct Door {
    inner: Arc<InMemory>,
    inside: Arc<Inside>,
    held: watch::Sender<bool>,
}

#[derive(Debug)]
struct Inside {
    /// Changes that still pass.
    passes: AtomicUsize,
    /// The next one that does not is applied all the same.
    lands: AtomicBool,
}

impl Door {
    pub(crate) fn new(inner: Arc<InMemory>) -> Arc<Self> {
        let inside = Arc::new(Inside { passes: AtomicUsize::new(usize::MAX), lands: AtomicBool::new(false) });
        Arc::new(Self { inner, inside, held: watch::Sender::new(false) })
    }

    /// So many more puts and deletions, then errors; with `lands` the first error is a lost reply.
    pub(crate) fn shut_behind(&self, passes: usize, lands: bool) {
        self.inside.passes.store(passes, Ordering::SeqCst);
        self.inside.lands.store(lands, Ordering::SeqCst);
    }

    pub(crate) fn open(&self) {
        self.shut_behind(usize::MAX, false);
    }

    /// Whether something met the shut door.
    pub(crate) fn refused(&self) -> bool {
        self.inside.passes.load(Ordering::SeqCst) == 0
    }

    /// Puts wait, or go on.
    pub(crate) fn hold(&self, yes: bool) {
        self.held.send_replace(yes);
    }
}

impl Inside {
    /// Whether a change is applied, and whether its sender hears of it.
    fn fate(&self) -> (bool, bool) {
        let passes = self.passes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
        (passes || self.lands.swap(false, Ordering::SeqCst), passes)
    }
}

/// An error behind which nobody asks again.
fn shut(key: &Key) -> StoreError {
    StoreError::PermissionDenied { path: key.to_string(), source: "by the test".into() }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Door")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Door {
    async fn put_opts(&self, key: &Key, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let mut held = self.held.subscribe();
        let _door_lives = held.wait_for(|held| !held).await.map(drop);
        let (applied, heard) = self.inside.fate();
        if !applied {
            return Err(shut(key));
        }
        let put = self.inner.put_opts(key, payload, options).await;
        if heard { put } else { Err(shut(key)) }
    }

    async fn put_multipart_opts(&self, key: &Key, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(key, options).await
    }

    async fn get_opts(&self, key: &Key, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(key, options).await
    }

    fn delete_stream(&self, keys: BoxStream<'static, Result<Key>>) -> BoxStream<'static, Result<Key>> {
        let (inner, inside) = (self.inner.clone(), self.inside.clone());
        let delete = move |key: Result<Key>| {
            let (inner, inside) = (inner.clone(), inside.clone());
            async move {
                let key = key?;
                let (applied, heard) = inside.fate();
                if applied {
                    let one = key.clone();
                    inner.delete_stream(futures::stream::iter([Ok(one)]).boxed()).next().await.transpose()?;
                }
                if heard { Ok(key) } else { Err(shut(&key)) }
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
