//! A tenant's directory journal: its namespaces and API keys, as events and the state they fold into.

use crate::{
    Result,
    book::Fold,
    codec,
    record::{ApiKey, NamespaceEntry, Wrapped},
};
use kernel::{KeyId, NamespaceName, NamespaceSettings};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use zeroize::Zeroizing;

mod form;

/// One durable change inside a tenant.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum DirectoryEvent {
    /// Adds a namespace or replaces its record.
    NamespacePut {
        #[serde(with = "codec::word")]
        name: NamespaceName,
        entry: NamespaceEntry,
    },
    /// The record and its wrapped key are forgotten; the prefix is left to remove.
    NamespaceDropped {
        #[serde(with = "codec::word")]
        name: NamespaceName,
        prefix: String,
    },
    /// What a dropped namespace left is removed.
    PrefixGone {
        prefix: String,
    },
    /// Place keys under the current epoch.
    Rewrapped(Vec<Rewrap>),
    KeyCreated(ApiKey),
    KeyRevoked {
        #[serde(with = "codec::word")]
        id: KeyId,
    },
    /// Nothing happened; its number tells whether the entry before it was written.
    Barrier,
}

/// One namespace's key, wrapped anew.
#[derive(Serialize, Deserialize)]
pub(crate) struct Rewrap {
    #[serde(with = "codec::word")]
    pub(crate) name: NamespaceName,
    pub(crate) wrapped: Wrapped,
}

/// What a tenant has. Its stored form is in [`form`].
#[derive(Default)]
pub(crate) struct DirectoryState {
    pub(crate) namespaces: BTreeMap<NamespaceName, NamespaceEntry>,
    pub(crate) keys: BTreeMap<KeyId, ApiKey>,
    /// Prefixes of dropped namespaces that are not removed yet.
    pub(crate) doomed: Vec<String>,
    /// How many keys each of the tenant's epochs has wrapped.
    wraps: BTreeMap<u32, u64>,
    /// An older log or checkpoint holds a wrapped key that must be gone.
    purge_due: bool,
    /// Settings that were put last: most namespaces of a tenant share theirs.
    recent: VecDeque<Arc<NamespaceSettings>>,
}

impl DirectoryState {
    /// How many keys of namespaces the tenant's key of this epoch has wrapped.
    pub(crate) fn wraps(&self, epoch: u32) -> u64 {
        self.wraps.get(&epoch).copied().unwrap_or_default()
    }

    fn count_wrap(&mut self, epoch: u32) {
        *self.wraps.entry(epoch).or_default() += 1;
    }

    /// Estimated bytes in memory.
    pub(crate) fn bytes(&self) -> u64 {
        (self.namespaces.len() * NAMESPACE_BYTES + self.keys.len() * KEY_BYTES) as u64
    }

    fn put(&mut self, name: NamespaceName, mut entry: NamespaceEntry) {
        match self.recent.iter().find(|known| **known == entry.settings) {
            Some(known) => entry.settings = known.clone(),
            None => {
                self.recent.truncate(RECENT_MAX - 1);
                self.recent.push_front(entry.settings.clone());
            }
        }
        self.namespaces.insert(name, entry);
    }
}

impl Fold for DirectoryState {
    type Event = DirectoryEvent;
    const WHAT: &'static str = "directory journal";

    fn barrier() -> DirectoryEvent {
        DirectoryEvent::Barrier
    }

    fn apply(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::NamespacePut { name, entry } => {
                // Settings that change bring the wrap that is there.
                if self.namespaces.get(&name).is_none_or(|known| known.place.wrapped != entry.place.wrapped) {
                    self.count_wrap(entry.place.wrapped.epoch);
                }
                self.put(name, entry);
            }
            DirectoryEvent::NamespaceDropped { name, prefix } => {
                self.namespaces.remove(&name);
                self.doomed.push(prefix);
                self.purge_due = true;
            }
            DirectoryEvent::PrefixGone { prefix } => self.doomed.retain(|p| *p != prefix),
            DirectoryEvent::Rewrapped(list) => {
                for Rewrap { name, wrapped } in list {
                    self.count_wrap(wrapped.epoch);
                    if let Some(entry) = self.namespaces.get_mut(&name) {
                        entry.place.wrapped = wrapped;
                    }
                }
            }
            DirectoryEvent::KeyCreated(key) => drop(self.keys.insert(key.0.id.clone(), key)),
            DirectoryEvent::KeyRevoked { id } => drop(self.keys.remove(&id)),
            DirectoryEvent::Barrier => {}
        }
    }

    fn size(&self) -> usize {
        self.namespaces.len() + self.keys.len()
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        form::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        form::decode(bytes)
    }

    fn purge_due(&self) -> bool {
        self.purge_due
    }

    fn purged(&mut self) {
        self.purge_due = false;
    }
}

/// One namespace's record, bytes: name, entry, wrapped key and its share of the map, as measured by
/// `crates/engine/benches/many_namespaces`.
const NAMESPACE_BYTES: usize = 256;
/// One API key's record, bytes; some hold long lists.
const KEY_BYTES: usize = 512;
/// Different settings that are remembered to be shared.
const RECENT_MAX: usize = 16;
