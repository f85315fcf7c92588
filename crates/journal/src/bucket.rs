//! Access to an object store: create-if-absent, read, list and delete, each with a reliable answer or an error.
//!
//! A request whose reply was lost may have been applied. A create is therefore repeated with exactly the same bytes,
//! and when the name is taken the stored bytes decide: if they are ours, an earlier attempt succeeded; if they are
//! different, another writer came first; if there are none, the store was only busy (a 409), and the create is
//! repeated.

use crate::{Error, names::Name};
use futures::{StreamExt, TryStreamExt};
use kernel::{Pauses, RetryPolicy, limits};
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    path::Path as Key,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// An object store, with retries.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// The same store through a client that never repeats a request by itself.
    once: Arc<dyn ObjectStore>,
}

/// Outcome of a create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CreateOutcome {
    /// Our bytes are stored, by this request or by an earlier one whose reply was lost.
    Ours,
    /// Another writer's bytes are stored.
    Taken,
}

impl Bucket {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, once: Arc<dyn ObjectStore>) -> Self {
        Self { store, once }
    }

    /// Puts an object that must not exist yet.
    ///
    /// # Errors
    /// `Store`: it is unknown whether the object is stored.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>, what: &'static str) -> Result<CreateOutcome, Error> {
        let (key, payload) = (Key::from(name), PutPayload::from(bytes));
        let mut retry = RetriedRequest::new(what);
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = self.store.put_opts(&key, payload.clone(), options);
            match retry.attempt(put).await {
                Ok(_) => return Ok(CreateOutcome::Ours),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    match self.read(name, what).await? {
                        Some(found) if equals(&found, &payload) => return Ok(CreateOutcome::Ours),
                        Some(_) => return Ok(CreateOutcome::Taken),
                        None => retry.wait_or_give_up(None).await?,
                    }
                }
                Err(error) => retry.wait_or_give_up(Some(error)).await?,
            }
        }
    }

    /// Like [`Bucket::create`], but sends the bytes once: an early copy that is delayed, while a second copy was stored
    /// and has since been deleted, would bring the object back. A request that the store certainly refused (a 409
    /// although no object exists) is sent again.
    ///
    /// # Errors
    /// `Store`: it is unknown whether the object is stored, or will be.
    pub(crate) async fn create_once(
        &self,
        name: &str,
        bytes: Vec<u8>,
        what: &'static str,
    ) -> Result<CreateOutcome, Error> {
        let (key, payload) = (Key::from(name), PutPayload::from(bytes));
        let mut retry = RetriedRequest::new(what);
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let error = match retry.attempt(self.once.put_opts(&key, payload.clone(), options)).await {
                Ok(_) => return Ok(CreateOutcome::Ours),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => None,
                Err(error) => Some(error),
            };
            match (self.read(name, what).await?, error) {
                (Some(found), _) if equals(&found, &payload) => return Ok(CreateOutcome::Ours),
                (Some(_), _) => return Ok(CreateOutcome::Taken),
                (None, None) => retry.wait_or_give_up(None).await?,
                (None, Some(source)) => return Err(Error::Store { what, source }),
            }
        }
    }

    /// Bytes of an object; `None` if there is none.
    pub(crate) async fn read(&self, name: &str, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let mut retry = RetriedRequest::new(what);
        let key = Key::from(name);
        loop {
            let get = async { self.store.get(&key).await?.bytes().await };
            match retry.attempt(get).await {
                Ok(bytes) => return Ok(Some(bytes.into())),
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => retry.wait_or_give_up(Some(error)).await?,
            }
        }
    }

    /// Deletes an object. Succeeds if the object is already gone.
    pub(crate) async fn delete(&self, name: &str, what: &'static str) -> Result<(), Error> {
        let mut retry = RetriedRequest::new(what);
        let key = Key::from(name);
        loop {
            match retry.attempt(self.store.delete(&key)).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => return Ok(()),
                Err(error) => retry.wait_or_give_up(Some(error)).await?,
            }
        }
    }

    /// Names in a keyspace, or only those of its log, in order. The listing is not a snapshot of one moment.
    pub(crate) async fn list(&self, prefix: &str, subfolder: &str, what: &'static str) -> Result<Vec<Name>, Error> {
        let found = self.keys(&format!("{prefix}{subfolder}"), what).await?;
        let mut names: Vec<Name> =
            found.iter().filter_map(|key| Name::parse(key.as_ref().strip_prefix(prefix)?)).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Deletes everything under a prefix in phases, lower phases first. Names that are not ours belong to the first
    /// phase.
    pub(crate) async fn remove(&self, prefix: &str, phase: fn(Name) -> u8, what: &'static str) -> Result<(), Error> {
        let phase = |key: &Key| key.as_ref().strip_prefix(prefix).and_then(Name::parse).map_or(0, phase);
        let mut phases = BTreeMap::<u8, Vec<Key>>::new();
        for key in self.keys(prefix, what).await? {
            phases.entry(phase(&key)).or_default().push(key);
        }
        for keys in phases.into_values() {
            let deletes: Vec<_> = keys.iter().map(|key| self.delete(key.as_ref(), what)).collect();
            futures::stream::iter(deletes).buffer_unordered(REQUESTS_AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }

    /// Names of the objects in a folder that belongs to no keyspace.
    pub(crate) async fn names_in(&self, folder: &str, what: &'static str) -> Result<Vec<String>, Error> {
        let prefix = format!("{folder}/");
        let found = self.keys(folder, what).await?;
        let mut names: Vec<_> =
            found.iter().filter_map(|key| Some(key.as_ref().strip_prefix(&prefix)?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Folders two levels below this one: `ns/3f/<uuid>`.
    pub(crate) async fn folders_below(&self, folder: &str, what: &'static str) -> Result<Vec<String>, Error> {
        let shards = self.folders(Key::from(folder), what).await?;
        let below = futures::stream::iter(shards).map(|shard| self.folders(shard, what));
        let found: Vec<_> = below.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().map(String::from).collect())
    }

    async fn folders(&self, folder: Key, what: &'static str) -> Result<Vec<Key>, Error> {
        let mut retry = RetriedRequest::new(what);
        loop {
            match retry.attempt(self.store.list_with_delimiter(Some(&folder))).await {
                Ok(found) => return Ok(found.common_prefixes),
                Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
                Err(error) => retry.wait_or_give_up(Some(error)).await?,
            }
        }
    }

    async fn keys(&self, prefix: &str, what: &'static str) -> Result<Vec<Key>, Error> {
        let mut retry = RetriedRequest::new(what);
        let prefix = Key::from(prefix.trim_end_matches('/'));
        loop {
            let list = self.store.list(Some(&prefix)).map_ok(|meta| meta.location).try_collect::<Vec<_>>();
            match retry.attempt(list).await {
                Ok(keys) => return Ok(keys),
                Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
                Err(error) => retry.wait_or_give_up(Some(error)).await?,
            }
        }
    }

    /// A range of an object and the size of the whole object; `None` if there is none.
    pub(crate) async fn range(
        &self,
        name: &str,
        range: Range<u64>,
        what: &'static str,
    ) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let mut retry = RetriedRequest::new(what);
        let key = Key::from(name);
        loop {
            let get = async {
                let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                let found = self.store.get_opts(&key, options).await?;
                let size = found.meta.size;
                Ok((found.bytes().await?.into(), size))
            };
            match retry.attempt(get).await {
                Ok(found) => return Ok(Some(found)),
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => retry.wait_or_give_up(Some(error)).await?,
            }
        }
    }
}

/// Attempts at one request.
struct RetriedRequest {
    what: &'static str,
    pauses: Pauses,
}

impl RetriedRequest {
    fn new(what: &'static str) -> Self {
        Self { what, pauses: REQUEST_RETRIES.pauses() }
    }

    /// Makes one attempt. A store that does not answer at all is an error too.
    async fn attempt<T>(&self, request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match tokio::time::timeout(limits::STORE_ANSWER_WAIT, request).await {
            Ok(answer) => answer,
            Err(_) => {
                let source = format!("no answer within {} s", limits::STORE_ANSWER_WAIT.as_secs()).into();
                Err(StoreError::Generic { store: "object store", source })
            }
        }
    }

    /// Waits before the next attempt, or gives up with the last error.
    async fn wait_or_give_up(&mut self, error: Option<StoreError>) -> Result<(), Error> {
        let pause = self.pauses.next().filter(|_| !error.as_ref().is_some_and(is_permanent));
        let Some(pause) = pause else {
            let busy = || StoreError::Generic {
                store: "object store",
                source: "it repeatedly reports that it is busy".into(),
            };
            return Err(Error::Store { what: self.what, source: error.unwrap_or_else(busy) });
        };
        tracing::debug!(what = self.what, ?pause, error = ?error.as_ref().map(error_kind), "retrying a request to the object store");
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// Whether a retry would bring the same answer.
fn is_permanent(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::PermissionDenied { .. }
            | StoreError::Unauthenticated { .. }
            | StoreError::NotSupported { .. }
            | StoreError::NotImplemented { .. }
            | StoreError::InvalidPath { .. }
            | StoreError::UnknownConfigurationKey { .. }
    )
}

fn error_kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::PermissionDenied { .. } => "permission denied",
        StoreError::Unauthenticated { .. } => "unauthenticated",
        StoreError::NotFound { .. } => "not found",
        StoreError::AlreadyExists { .. } => "already exists",
        StoreError::Precondition { .. } => "precondition",
        _ => "other",
    }
}

fn equals(found: &[u8], payload: &PutPayload) -> bool {
    let mut rest = found;
    let each = payload.iter().all(|piece| match rest.split_at_checked(piece.len()) {
        Some((head, tail)) => {
            rest = tail;
            head == &piece[..]
        }
        None => false,
    });
    each && rest.is_empty()
}

const REQUEST_RETRIES: RetryPolicy = RetryPolicy {
    pause_min: limits::STORE_PAUSE_MIN,
    pause_max: limits::STORE_PAUSE_MAX,
    attempts_max: Some(limits::STORE_ATTEMPTS_MAX),
};
/// Maximum number of concurrent deletions and listings.
const REQUESTS_AT_ONCE: usize = 16;
