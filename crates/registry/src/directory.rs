//! A tenant's directory journal: its namespaces and API keys, as events and the state they fold into.

use crate::{
    book::Fold,
    codec::{self, keyed},
    record::{ApiKey, NamespaceEntry, Wrapped},
};
use kernel::{KeyId, NamespaceName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One durable change inside a tenant.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum DirectoryEvent {
    /// Adds a namespace or replaces its record.
    NamespacePut(NamespaceEntry),
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

/// What a tenant has.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct DirectoryState {
    #[serde(with = "keyed")]
    pub(crate) namespaces: BTreeMap<NamespaceName, NamespaceEntry>,
    #[serde(with = "keyed")]
    pub(crate) keys: BTreeMap<KeyId, ApiKey>,
    /// Prefixes of dropped namespaces that are not removed yet.
    pub(crate) doomed: Vec<String>,
    /// An older log or checkpoint holds a wrapped key that must be gone.
    #[serde(skip)]
    purge_due: bool,
}

impl Fold for DirectoryState {
    type Event = DirectoryEvent;
    const WHAT: &'static str = "directory journal";

    fn barrier() -> DirectoryEvent {
        DirectoryEvent::Barrier
    }

    fn apply(&mut self, event: DirectoryEvent) {
        match event {
            DirectoryEvent::NamespacePut(entry) => drop(self.namespaces.insert(entry.name.clone(), entry)),
            DirectoryEvent::NamespaceDropped { name, prefix } => {
                self.namespaces.remove(&name);
                self.doomed.push(prefix);
                self.purge_due = true;
            }
            DirectoryEvent::PrefixGone { prefix } => self.doomed.retain(|p| *p != prefix),
            DirectoryEvent::Rewrapped(list) => {
                for Rewrap { name, wrapped } in list {
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

    fn purge_due(&self) -> bool {
        self.purge_due
    }

    fn purged(&mut self) {
        self.purge_due = false;
    }
}
