//! The `_control` journal's events and the state they fold into: tenants, operators, operations.

use crate::{
    book::Fold,
    codec::{self, QuotasForm, keyed},
    record::{End, EpochRecord, HouseRecord, Life, OperationRecord, Operator, TenantRecord, Wrapped},
};
use kernel::{Incarnation, KeyId, OperationId, Quotas, TenantId, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// One durable change of the control plane.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ControlEvent {
    /// The first entry of all: the server's own keys.
    Founded(HouseRecord),
    /// Adds an operator; one of the same name leaves.
    OperatorPut(Operator),
    OperatorRemoved {
        #[serde(with = "codec::word")]
        id: KeyId,
    },
    TenantCreated(Box<TenantRecord>),
    TenantChanged {
        #[serde(with = "codec::word")]
        id: TenantId,
        display_name: Option<String>,
        governance_class: Option<String>,
        #[serde(with = "QuotasForm")]
        quotas: Quotas,
    },
    TenantSuspended {
        #[serde(with = "codec::word")]
        id: TenantId,
    },
    TenantResumed {
        #[serde(with = "codec::word")]
        id: TenantId,
    },
    /// A rotation begins: from here on new keys are wrapped under this epoch.
    EpochAdded {
        #[serde(with = "codec::word")]
        id: TenantId,
        epoch: EpochRecord,
    },
    /// The tenant's own two places now stand under the current epoch.
    PlacesRewrapped {
        #[serde(with = "codec::word")]
        id: TenantId,
        directory: Wrapped,
        audit: Wrapped,
    },
    /// A rotation ends: every epoch but the current one is forgotten.
    EpochsRetired {
        #[serde(with = "codec::word")]
        id: TenantId,
    },
    /// An erasure begins: the keys are forgotten, and this is what is left to remove.
    TenantDoomed {
        #[serde(with = "codec::word")]
        id: TenantId,
        prefixes: Vec<String>,
    },
    /// An erasure ends: the name is free again.
    TenantGone {
        #[serde(with = "codec::word")]
        id: TenantId,
    },
    OperationBegun(OperationRecord),
    OperationEnded {
        #[serde(with = "codec::word")]
        id: OperationId,
        end: End,
    },
    /// Nothing happened; its number tells whether the entry before it was written.
    Barrier,
}

/// What the control plane knows.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct ControlState {
    pub(crate) house: Option<HouseRecord>,
    #[serde(with = "keyed")]
    pub(crate) operators: BTreeMap<KeyId, Operator>,
    #[serde(with = "keyed")]
    pub(crate) tenants: BTreeMap<TenantId, TenantRecord>,
    /// Oldest first. Ended ones leave when there are more than `OPERATIONS_KEPT_MAX`.
    pub(crate) operations: VecDeque<OperationRecord>,
    /// An older log or checkpoint holds a wrapped key that must be gone.
    #[serde(skip)]
    purge_due: bool,
}

impl ControlState {
    /// The tenant of this life.
    pub(crate) fn by_incarnation(&self, incarnation: Incarnation) -> Option<&TenantRecord> {
        self.tenants.values().find(|t| t.incarnation == incarnation)
    }

    /// Keeps the history bounded. Unfinished operations never leave.
    fn trim_operations(&mut self) {
        let ended = self.operations.iter().filter(|o| o.end.is_some()).count();
        let mut surplus = ended.saturating_sub(limits::OPERATIONS_KEPT_MAX);
        self.operations.retain(|o| {
            let goes = surplus > 0 && o.end.is_some();
            surplus -= usize::from(goes);
            !goes
        });
    }

    fn change(&mut self, id: &TenantId, change: impl FnOnce(&mut TenantRecord)) {
        // A change of a tenant that is not there cannot be written: decisions are made on this
        // very state, one at a time.
        if let Some(tenant) = self.tenants.get_mut(id) {
            change(tenant);
        }
    }
}

impl Fold for ControlState {
    type Event = ControlEvent;
    const WHAT: &'static str = "control journal";

    fn barrier() -> ControlEvent {
        ControlEvent::Barrier
    }

    fn apply(&mut self, event: ControlEvent) {
        match event {
            ControlEvent::Founded(house) => self.house = Some(house),
            ControlEvent::OperatorPut(operator) => {
                self.operators.retain(|_, o| o.0.name != operator.0.name);
                self.operators.insert(operator.0.id.clone(), operator);
            }
            ControlEvent::OperatorRemoved { id } => drop(self.operators.remove(&id)),
            ControlEvent::TenantCreated(tenant) => drop(self.tenants.insert(tenant.id.clone(), *tenant)),
            ControlEvent::TenantChanged { id, display_name, governance_class, quotas } => {
                self.change(&id, |t| {
                    t.display_name = display_name;
                    t.governance_class = governance_class;
                    t.quotas = quotas;
                });
            }
            ControlEvent::TenantSuspended { id } => self.change(&id, |t| t.life = Life::Suspended),
            ControlEvent::TenantResumed { id } => self.change(&id, |t| t.life = Life::Active),
            ControlEvent::EpochAdded { id, epoch } => self.change(&id, |t| t.keys.epochs.push(epoch)),
            ControlEvent::PlacesRewrapped { id, directory, audit } => self.change(&id, |t| {
                if let Some(place) = &mut t.directory {
                    place.wrapped = directory;
                }
                if let Some(place) = &mut t.audit {
                    place.wrapped = audit;
                }
            }),
            ControlEvent::EpochsRetired { id } => {
                self.change(&id, |t| drop(t.keys.epochs.drain(..t.keys.epochs.len().saturating_sub(1))));
                self.purge_due = true;
            }
            ControlEvent::TenantDoomed { id, prefixes } => {
                self.change(&id, |t| {
                    t.life = Life::Deleting;
                    t.keys.epochs.clear();
                    t.directory = None;
                    t.audit = None;
                    t.doomed = prefixes;
                });
                self.purge_due = true;
            }
            ControlEvent::TenantGone { id } => drop(self.tenants.remove(&id)),
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

    fn purge_due(&self) -> bool {
        self.purge_due
    }

    fn purged(&mut self) {
        self.purge_due = false;
    }
}
