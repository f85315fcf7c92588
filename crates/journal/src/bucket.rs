//! The object store behind everything remote: create-if-absent, read, list, delete; with an answer
//! that can be relied on, or an error.
//!
//! A request whose reply was lost may have been applied. So a create is tried again with the very
//! same bytes, and when the name is taken the bytes that stand there decide: ours, and it was the
//! lost one; another's, and we came second; none, and the store only was busy (a 409), so again.

use crate::{Error, names::Name};
use futures::{StreamExt, TryStreamExt};
use kernel::limits;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    path::Path as Key,
};
use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

/// The store, and how long we are patient with it.
pub(crate) struct Bucket {
    store: Arc<dyn ObjectStore>,
    /// The same store through a client that sends nothing twice.
    once: Arc<dyn ObjectStore>,
}

/// What became of a create.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// Our bytes stand there, now or since a request whose reply was lost.
    Ours,
    /// Somebody else's do.
    Taken,
}

impl Bucket {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, once: Arc<dyn ObjectStore>) -> Self {
        Self { store, once }
    }

    /// Puts an object that must not be there yet.
    ///
    /// # Errors
    /// `Store`: whether it stands there is not known.
    pub(crate) async fn create(&self, name: &str, bytes: Vec<u8>, what: &'static str) -> Result<Created, Error> {
        let (key, payload) = (Key::from(name), PutPayload::from(bytes));
        let mut patience = Patience::new(what);
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let put = self.store.put_opts(&key, payload.clone(), options);
            match patience.of(put).await {
                Ok(_) => return Ok(Created::Ours),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                    match self.read(name, what).await? {
                        Some(found) if same(&found, &payload) => return Ok(Created::Ours),
                        Some(_) => return Ok(Created::Taken),
                        None => patience.again(None).await?,
                    }
                }
                Err(error) => patience.again(Some(error)).await?,
            }
        }
    }

    /// The same, but the bytes are sent once: an early copy that lands late, when the object was
    /// stored by a second one and deleted since, would bring it back. What the store refused for
    /// sure (a 409 for nothing) is sent again.
    ///
    /// # Errors
    /// `Store`: whether it stands there, or will, is not known.
    pub(crate) async fn create_once(&self, name: &str, bytes: Vec<u8>, what: &'static str) -> Result<Created, Error> {
        let (key, payload) = (Key::from(name), PutPayload::from(bytes));
        let mut patience = Patience::new(what);
        loop {
            let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
            let refused = match patience.of(self.once.put_opts(&key, payload.clone(), options)).await {
                Ok(_) => return Ok(Created::Ours),
                Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => None,
                Err(error) => Some(error),
            };
            match (self.read(name, what).await?, refused) {
                (Some(found), _) if same(&found, &payload) => return Ok(Created::Ours),
                (Some(_), _) => return Ok(Created::Taken),
                (None, None) => patience.again(None).await?,
                (None, Some(source)) => return Err(Error::Store { what, source }),
            }
        }
    }

    /// An object's bytes, `None` when there is none.
    pub(crate) async fn read(&self, name: &str, what: &'static str) -> Result<Option<Vec<u8>>, Error> {
        let mut patience = Patience::new(what);
        let key = Key::from(name);
        loop {
            let get = async { self.store.get(&key).await?.bytes().await };
            match patience.of(get).await {
                Ok(bytes) => return Ok(Some(bytes.into())),
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => patience.again(Some(error)).await?,
            }
        }
    }

    /// Deletes an object; one that is gone is fine.
    pub(crate) async fn delete(&self, name: &str, what: &'static str) -> Result<(), Error> {
        let mut patience = Patience::new(what);
        let key = Key::from(name);
        loop {
            match patience.of(self.store.delete(&key)).await {
                Ok(()) | Err(StoreError::NotFound { .. }) => return Ok(()),
                Err(error) => patience.again(Some(error)).await?,
            }
        }
    }

    /// What stands in a place, or only its log; in order. It is not one moment's picture.
    pub(crate) async fn list(&self, prefix: &str, inside: &str, what: &'static str) -> Result<Vec<Name>, Error> {
        let found = self.keys(&format!("{prefix}{inside}"), what).await?;
        let mut names: Vec<Name> =
            found.iter().filter_map(|key| Name::parse(key.as_ref().strip_prefix(prefix)?)).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Deletes all that stands under a prefix, lower turns before higher ones. What has no name of ours
    /// is in the first.
    pub(crate) async fn remove(&self, prefix: &str, turn: fn(Name) -> u8, what: &'static str) -> Result<(), Error> {
        let turn = |key: &Key| key.as_ref().strip_prefix(prefix).and_then(Name::parse).map_or(0, turn);
        let mut turns = BTreeMap::<u8, Vec<Key>>::new();
        for key in self.keys(prefix, what).await? {
            turns.entry(turn(&key)).or_default().push(key);
        }
        for keys in turns.into_values() {
            let deletes: Vec<_> = keys.iter().map(|key| self.delete(key.as_ref(), what)).collect();
            futures::stream::iter(deletes).buffer_unordered(REQUESTS_AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        Ok(())
    }

    /// Names of the objects in a folder that is no place's.
    pub(crate) async fn names_in(&self, folder: &str, what: &'static str) -> Result<Vec<String>, Error> {
        let prefix = format!("{folder}/");
        let found = self.keys(folder, what).await?;
        let mut names: Vec<_> =
            found.iter().filter_map(|key| Some(key.as_ref().strip_prefix(&prefix)?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// What stands two folders below this one: `ns/3f/<number>`.
    pub(crate) async fn folders_below(&self, folder: &str, what: &'static str) -> Result<Vec<String>, Error> {
        let shards = self.folders(Key::from(folder), what).await?;
        let below = futures::stream::iter(shards).map(|shard| self.folders(shard, what));
        let found: Vec<_> = below.buffer_unordered(REQUESTS_AT_ONCE).try_collect().await?;
        Ok(found.into_iter().flatten().map(String::from).collect())
    }

    async fn folders(&self, folder: Key, what: &'static str) -> Result<Vec<Key>, Error> {
        let mut patience = Patience::new(what);
        loop {
            match patience.of(self.store.list_with_delimiter(Some(&folder))).await {
                Ok(found) => return Ok(found.common_prefixes),
                Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
                Err(error) => patience.again(Some(error)).await?,
            }
        }
    }

    async fn keys(&self, prefix: &str, what: &'static str) -> Result<Vec<Key>, Error> {
        let mut patience = Patience::new(what);
        let prefix = Key::from(prefix.trim_end_matches('/'));
        loop {
            let list = self.store.list(Some(&prefix)).map_ok(|meta| meta.location).try_collect::<Vec<_>>();
            match patience.of(list).await {
                Ok(keys) => return Ok(keys),
                Err(StoreError::NotFound { .. }) => return Ok(Vec::new()),
                Err(error) => patience.again(Some(error)).await?,
            }
        }
    }

    /// A part of an object and the size of the whole, `None` when there is none.
    pub(crate) async fn range(
        &self,
        name: &str,
        range: Range<u64>,
        what: &'static str,
    ) -> Result<Option<(Vec<u8>, u64)>, Error> {
        let mut patience = Patience::new(what);
        let key = Key::from(name);
        loop {
            let get = async {
                let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
                let found = self.store.get_opts(&key, options).await?;
                let size = found.meta.size;
                Ok((found.bytes().await?.into(), size))
            };
            match patience.of(get).await {
                Ok(found) => return Ok(Some(found)),
                Err(StoreError::NotFound { .. }) => return Ok(None),
                Err(error) => patience.again(Some(error)).await?,
            }
        }
    }
}

/// How often and how long something is tried.
struct Patience {
    what: &'static str,
    tries: u32,
    pause: Duration,
}

impl Patience {
    fn new(what: &'static str) -> Self {
        Self { what, tries: 0, pause: limits::STORE_PAUSE_MIN }
    }

    /// One try. A store that says nothing at all is an error too.
    async fn of<T>(&mut self, request: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.tries += 1;
        match tokio::time::timeout(limits::STORE_ANSWER_WAIT, request).await {
            Ok(answer) => answer,
            Err(_) => {
                let source = format!("no answer within {} s", limits::STORE_ANSWER_WAIT.as_secs()).into();
                Err(StoreError::Generic { store: "object store", source })
            }
        }
    }

    /// Waits before the next try, or gives up with what the store said.
    async fn again(&mut self, error: Option<StoreError>) -> Result<(), Error> {
        let hopeless = error.as_ref().is_some_and(is_hopeless);
        if hopeless || self.tries >= limits::STORE_TRIES_MAX {
            let busy = || StoreError::Generic { store: "object store", source: "it says busy again and again".into() };
            return Err(Error::Store { what: self.what, source: error.unwrap_or_else(busy) });
        }
        tracing::debug!(what = self.what, tries = self.tries, error = ?error.as_ref().map(kind), "asking the object store again");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(limits::STORE_PAUSE_MAX);
        Ok(())
    }
}

/// Asking again would bring the same answer.
fn is_hopeless(error: &StoreError) -> bool {
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

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::PermissionDenied { .. } => "permission denied",
        StoreError::Unauthenticated { .. } => "unauthenticated",
        StoreError::NotFound { .. } => "not found",
        StoreError::AlreadyExists { .. } => "already exists",
        StoreError::Precondition { .. } => "precondition",
        _ => "other",
    }
}

fn same(found: &[u8], payload: &PutPayload) -> bool {
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

/// Deletes under way at once.
const REQUESTS_AT_ONCE: usize = 16;
