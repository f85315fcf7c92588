//! A tenant's directory journal: events about its namespaces and API keys, and the state that is replayed from them.

use crate::{
    Result, codec,
    event_store::State,
    record::{NamespaceEntry, StoredApiKey, Wrapped},
};
use kernel::{KeyId, NamespaceName, NamespaceSettings};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};
use zeroize::Zeroizing;

mod checkpoint_format;

/// One durable change to a tenant's directory.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum DirectoryEvent {
    /// Adds a namespace or replaces its record.
    NamespacePut {
        #[serde(with = "codec::text")]
        name: NamespaceName,
        entry: NamespaceEntry,
    },
    /// Forgets the record and its wrapped key; the objects under the prefix remain to be removed.
    NamespaceDropped {
        #[serde(with = "codec::text")]
        name: NamespaceName,
        prefix: String,
    },
    /// The objects that a dropped namespace left are removed.
    PrefixDeleted {
        prefix: String,
    },
    /// Keyspace keys that are now wrapped under the current epoch.
    Rewrapped(Vec<RewrappedKey>),
    KeyCreated(StoredApiKey),
    KeyRevoked {
        #[serde(with = "codec::text")]
        id: KeyId,
    },
    /// Changes nothing; its sequence number tells whether the entry before it was written.
    Barrier,
}

/// The newly wrapped key of one namespace.
#[derive(Serialize, Deserialize)]
pub(crate) struct RewrappedKey {
    #[serde(with = "codec::text")]
    pub(crate) name: NamespaceName,
    pub(crate) wrapped: Wrapped,
}

/// What a tenant has. [`checkpoint_format`] holds its stored form.
#[derive(Default)]
pub(crate) struct DirectoryState {
    pub(crate) namespaces: BTreeMap<NamespaceName, NamespaceEntry>,
    pub(crate) keys: BTreeMap<KeyId, StoredApiKey>,
    /// Prefixes of dropped namespaces whose objects are not removed yet.
    pub(crate) pending_prefixes: Vec<String>,
    /// Number of keys that each of the tenant's epochs has wrapped.
    wraps: BTreeMap<u32, u64>,
    /// An older log or checkpoint holds a wrapped key that must be gone.
    purge_due: bool,
    /// Settings that were stored most recently. Most namespaces of a tenant have equal settings and share one copy.
    recent_settings: VecDeque<Arc<NamespaceSettings>>,
}

impl DirectoryState {
    /// Number of namespace keys that the tenant's key of this epoch has wrapped.
    pub(crate) fn wraps(&self, epoch: u32) -> u64 {
        self.wraps.get(&epoch).copied().unwrap_or_default()
    }

    fn count_wrap(&mut self, epoch: u32) {
        *self.wraps.entry(epoch).or_default() += 1;
    }

    /// Estimated size in memory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        (self.namespaces.len() * NAMESPACE_BYTES + self.keys.len() * KEY_BYTES) as u64
    }

    fn put(&mut self, name: NamespaceName, mut entry: NamespaceEntry) {
        match self.recent_settings.iter().find(|known| **known == entry.settings) {
            Some(known) => entry.settings = known.clone(),
            None => {
                self.recent_settings.truncate(RECENT_SETTINGS_MAX - 1);
                self.recent_settings.push_front(entry.settings.clone());
            }
        }
        self.namespaces.insert(name, entry);
    }
}

impl State for DirectoryState {
    type Event = DirectoryEvent;
    const NAME: &'static str = "directory journal";

    fn barrier() -> DirectoryEvent {
        DirectoryEvent::Barrier
    }

    fn apply(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::NamespacePut { name, entry } => {
                // A change of settings carries the existing wrap, which was counted before.
                if self.namespaces.get(&name).is_none_or(|known| known.keyspace.wrapped != entry.keyspace.wrapped) {
                    self.count_wrap(entry.keyspace.wrapped.epoch);
                }
                self.put(name, entry);
            }
            DirectoryEvent::NamespaceDropped { name, prefix } => {
                self.namespaces.remove(&name);
                self.pending_prefixes.push(prefix);
                self.purge_due = true;
            }
            DirectoryEvent::PrefixDeleted { prefix } => self.pending_prefixes.retain(|p| *p != prefix),
            DirectoryEvent::Rewrapped(list) => {
                for RewrappedKey { name, wrapped } in list {
                    self.count_wrap(wrapped.epoch);
                    if let Some(entry) = self.namespaces.get_mut(&name) {
                        entry.keyspace.wrapped = wrapped;
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
        checkpoint_format::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        checkpoint_format::decode(bytes)
    }

    fn purge_due(&self) -> bool {
        self.purge_due
    }

    fn purged(&mut self) {
        self.purge_due = false;
    }
}

/// Bytes for the record of one namespace: name, entry, wrapped key and its share of the map, as measured by
/// `crates/engine/benches/many_namespaces`.
const NAMESPACE_BYTES: usize = 256;
/// Bytes for the record of one API key. Some keys hold long lists.
const KEY_BYTES: usize = 512;
/// Number of distinct settings that are kept to be shared.
const RECENT_SETTINGS_MAX: usize = 16;
