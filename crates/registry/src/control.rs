//! Events of the `_control` journal and the state that is replayed from them: tenants, the owner of each API key,
//! operators, operations. All of it is in memory from the start; what a tenant has is in its directory.

use crate::{
    Certificate, Result,
    bulk_rotation::BulkRotationRecord,
    certificate::{Certificates, ShreddingRecord},
    codec::{self, QuotasForm, keyed, text_keyed_map},
    event_store::State,
    record::{
        EpochRecord, Lifecycle, OperationEnd, OperationRecord, RegisteredKey, StoredOperator, SystemRecord,
        TenantRecord, Wrapped,
    },
    system_keys::SystemRotation,
};
use kernel::{Incarnation, KeyId, OperationId, Quotas, TenantId, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use zeroize::Zeroizing;

/// One durable change to the control state.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ControlEvent {
    /// Records the system's keys; always the first entry.
    Initialized(SystemRecord),
    /// Adds an operator and removes any other of the same name.
    OperatorPut(StoredOperator),
    OperatorRemoved {
        #[serde(with = "codec::text")]
        id: KeyId,
    },
    TenantCreated(Box<TenantRecord>),
    TenantChanged {
        #[serde(with = "codec::text")]
        id: TenantId,
        display_name: Option<String>,
        governance_class: Option<String>,
        #[serde(with = "QuotasForm")]
        quotas: Quotas,
        rotate_days: Option<u32>,
    },
    TenantSuspended {
        #[serde(with = "codec::text")]
        id: TenantId,
    },
    TenantResumed {
        #[serde(with = "codec::text")]
        id: TenantId,
    },
    /// Begins a rotation: new keys are wrapped under this epoch from now on.
    EpochAdded {
        #[serde(with = "codec::text")]
        id: TenantId,
        epoch: EpochRecord,
    },
    /// Stores the wraps of the tenant's own two keyspaces under the current epoch.
    KeyspacesRewrapped {
        #[serde(with = "codec::text")]
        id: TenantId,
        directory: Wrapped,
        audit: Wrapped,
    },
    /// Ends a rotation: every epoch but the current one is forgotten.
    EpochsRetired {
        #[serde(with = "codec::text")]
        id: TenantId,
        certificate: Certificate,
    },
    /// Begins an erasure: the keys are forgotten, and the prefixes remain to be removed.
    TenantDeleting {
        #[serde(with = "codec::text")]
        id: TenantId,
        prefixes: Vec<String>,
        shredding: ShreddingRecord,
    },
    /// Ends an erasure: the name is free again.
    TenantDeleted {
        #[serde(with = "codec::text")]
        id: TenantId,
        certificate: Certificate,
    },
    /// Registers the owner of an API key, before its tenant's directory has the key.
    KeyRegistered {
        #[serde(with = "codec::text")]
        id: KeyId,
        key: RegisteredKey,
    },
    /// Removes API keys, which are refused from now on.
    KeysUnregistered {
        #[serde(with = "codec::text_list")]
        ids: Vec<KeyId>,
    },
    /// Begins a rotation of all tenants' keys.
    BulkRotationBegun(BulkRotationRecord),
    BulkRotationEnded,
    OperationBegun(OperationRecord),
    OperationEnded {
        #[serde(with = "codec::text")]
        id: OperationId,
        end: OperationEnd,
    },
    /// Begins a rotation of the system's keys.
    SystemRotationBegun(SystemRotation),
    /// Adds a fresh key that wraps the keys of the operators' audit.
    SystemEpochAdded(EpochRecord),
    /// Stores the key of the operators' audit under its new wrap.
    SystemAuditRewrapped(Wrapped),
    /// Stores the signing key, wrapped under the control keyspace's newest key.
    SignerRewrapped(Wrapped),
    /// Ends the rotation: the older keys that wrapped the operators' audit are forgotten.
    SystemRotated {
        certificate: Certificate,
    },
    /// Changes nothing; its sequence number tells whether the entry before it was written.
    Barrier,
}

/// The state of the control journal. A member that it does not know is refused: the journal of another build must not
/// be taken for an empty one, whose start would make new keys.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ControlState {
    pub(crate) system: Option<SystemRecord>,
    #[serde(with = "keyed")]
    pub(crate) operators: BTreeMap<KeyId, StoredOperator>,
    #[serde(with = "keyed")]
    pub(crate) tenants: BTreeMap<TenantId, TenantRecord>,
    #[serde(with = "text_keyed_map")]
    pub(crate) keys: BTreeMap<KeyId, RegisteredKey>,
    /// Operations, oldest first. The oldest that ended are dropped when there are more than `OPERATIONS_KEPT_MAX` of
    /// them.
    pub(crate) operations: VecDeque<OperationRecord>,
    pub(crate) certificates: Certificates,
    pub(crate) bulk_rotation: Option<BulkRotationRecord>,
    pub(crate) rotating: Option<SystemRotation>,
    /// An older log or checkpoint holds a wrapped key that must be gone.
    #[serde(skip)]
    purge_due: bool,
    /// Index of the tenants, derived from the fields above.
    #[serde(skip)]
    live_tenants: HashMap<Incarnation, LiveTenant>,
}

/// Index entry that makes a tenant findable without a search through all of them.
struct LiveTenant {
    tenant: TenantId,
    /// Number of API keys that are registered for the tenant.
    keys: usize,
}

impl ControlState {
    /// Returns the tenant of this incarnation.
    pub(crate) fn by_incarnation(&self, incarnation: Incarnation) -> Option<&TenantRecord> {
        self.tenants.get(&self.live_tenants.get(&incarnation)?.tenant)
    }

    /// Returns the number of API keys that are registered for this incarnation of a tenant.
    pub(crate) fn keys_of(&self, incarnation: Incarnation) -> usize {
        self.live_tenants.get(&incarnation).map_or(0, |l| l.keys)
    }

    fn index_tenant(&mut self, id: TenantId, incarnation: Incarnation) {
        self.live_tenants.insert(incarnation, LiveTenant { tenant: id, keys: 0 });
    }

    fn count_key(&mut self, incarnation: Incarnation, change: impl FnOnce(usize) -> usize) {
        if let Some(live) = self.live_tenants.get_mut(&incarnation) {
            live.keys = change(live.keys);
        }
    }

    fn forget_keys(&mut self, ids: &[KeyId]) {
        for id in ids {
            if let Some(key) = self.keys.remove(id) {
                self.count_key(key.incarnation, |n| n.saturating_sub(1));
            }
        }
    }

    /// Bounds the history. Unfinished operations are always kept.
    fn trim_operations(&mut self) {
        let ended = self.operations.iter().filter(|o| o.end.is_some()).count();
        let mut surplus = ended.saturating_sub(limits::OPERATIONS_KEPT_MAX);
        self.operations.retain(|o| {
            let drop_it = surplus > 0 && o.end.is_some();
            surplus -= usize::from(drop_it);
            !drop_it
        });
    }

    fn change_system(&mut self, change: impl FnOnce(&mut SystemRecord)) {
        if let Some(system) = &mut self.system {
            change(system);
        }
    }

    fn change(&mut self, id: &TenantId, change: impl FnOnce(&mut TenantRecord)) {
        // The tenant is always found: the event was decided on this very state, one writer at a time.
        if let Some(tenant) = self.tenants.get_mut(id) {
            change(tenant);
        }
    }
}

impl State for ControlState {
    type Event = ControlEvent;
    const NAME: &'static str = "control journal";

    fn barrier() -> ControlEvent {
        ControlEvent::Barrier
    }

    fn apply(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Initialized(system) => self.system = Some(system),
            ControlEvent::OperatorPut(operator) => {
                self.operators.retain(|_, o| o.0.name != operator.0.name);
                self.operators.insert(operator.0.id.clone(), operator);
            }
            ControlEvent::OperatorRemoved { id } => drop(self.operators.remove(&id)),
            ControlEvent::TenantCreated(tenant) => {
                self.index_tenant(tenant.id.clone(), tenant.incarnation);
                self.tenants.insert(tenant.id.clone(), *tenant);
            }
            ControlEvent::TenantChanged { id, display_name, governance_class, quotas, rotate_days } => {
                self.change(&id, |t| {
                    t.display_name = display_name;
                    t.governance_class = governance_class;
                    t.quotas = quotas;
                    t.rotate_days = rotate_days;
                });
            }
            ControlEvent::TenantSuspended { id } => self.change(&id, |t| t.life = Lifecycle::Suspended),
            ControlEvent::TenantResumed { id } => self.change(&id, |t| t.life = Lifecycle::Active),
            ControlEvent::EpochAdded { id, epoch } => self.change(&id, |t| t.keys.epochs.push(epoch)),
            ControlEvent::KeyspacesRewrapped { id, directory, audit } => self.change(&id, |t| {
                if let Some(keyspace) = &mut t.directory {
                    keyspace.wrapped = directory;
                }
                if let Some(keyspace) = &mut t.audit {
                    keyspace.wrapped = audit;
                }
            }),
            ControlEvent::EpochsRetired { id, certificate } => {
                self.certificates.push(certificate);
                self.change(&id, |t| drop(t.keys.epochs.drain(..t.keys.epochs.len().saturating_sub(1))));
                self.purge_due = true;
            }
            ControlEvent::TenantDeleting { id, prefixes, shredding } => {
                self.change(&id, |t| {
                    t.life = Lifecycle::Deleting;
                    t.keys.epochs.clear();
                    t.directory = None;
                    t.audit = None;
                    t.pending_prefixes = prefixes;
                    t.shredding = Some(shredding);
                });
                if let Some(incarnation) = self.tenants.get(&id).map(|t| t.incarnation) {
                    self.keys.retain(|_, k| k.incarnation != incarnation);
                    self.count_key(incarnation, |_| 0);
                }
                self.purge_due = true;
            }
            ControlEvent::TenantDeleted { id, certificate } => {
                self.certificates.push(certificate);
                if let Some(tenant) = self.tenants.remove(&id) {
                    self.live_tenants.remove(&tenant.incarnation);
                }
            }
            ControlEvent::KeyRegistered { id, key } => {
                self.count_key(key.incarnation, |n| n + 1);
                self.keys.insert(id, key);
            }
            ControlEvent::KeysUnregistered { ids } => self.forget_keys(&ids),
            ControlEvent::BulkRotationBegun(bulk_rotation) => self.bulk_rotation = Some(bulk_rotation),
            ControlEvent::BulkRotationEnded => self.bulk_rotation = None,
            ControlEvent::SystemRotationBegun(rotation) => self.rotating = Some(rotation),
            ControlEvent::SystemEpochAdded(epoch) => self.change_system(|system| system.keys.epochs.push(epoch)),
            ControlEvent::SystemAuditRewrapped(wrapped) => self.change_system(|system| system.audit.wrapped = wrapped),
            ControlEvent::SignerRewrapped(wrapped) => self.change_system(|system| system.signer = wrapped),
            ControlEvent::SystemRotated { certificate } => {
                self.certificates.push(certificate);
                self.rotating = None;
                self.change_system(|system| {
                    drop(system.keys.epochs.drain(..system.keys.epochs.len().saturating_sub(1)));
                });
                self.purge_due = true;
            }
            ControlEvent::OperationBegun(operation) => self.operations.push_back(operation),
            ControlEvent::OperationEnded { id, end } => {
                if let Some(operation) = self.operations.iter_mut().find(|o| o.id == id) {
                    operation.end = Some(end);
                }
                self.trim_operations();
            }
            ControlEvent::Barrier => {}
        }
    }

    fn size(&self) -> usize {
        self.tenants.len() + self.keys.len()
    }

    fn encode(&self) -> Result<Zeroizing<Vec<u8>>> {
        codec::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self> {
        let mut state: Self = codec::decode(Self::NAME, bytes)?;
        let live_tenants: Vec<_> = state.tenants.values().map(|t| (t.id.clone(), t.incarnation)).collect();
        live_tenants.into_iter().for_each(|(id, incarnation)| state.index_tenant(id, incarnation));
        let keys: Vec<_> = state.keys.values().map(|k| k.incarnation).collect();
        keys.into_iter().for_each(|incarnation| state.count_key(incarnation, |n| n + 1));
        Ok(state)
    }

    fn purge_due(&self) -> bool {
        self.purge_due
    }

    fn purged(&mut self) {
        self.purge_due = false;
    }
}
