//! The `_control` journal's events and the state they fold into: tenants, whose each API key is,
//! operators, operations. All of it is in memory from the start; what a tenant has is not in it.

use crate::{
    Certificate, Result,
    book::Fold,
    campaign::CampaignRecord,
    certificate::{Certificates, Shredding},
    codec::{self, QuotasForm, by_word, keyed},
    house::HouseRotation,
    record::{End, EpochRecord, HouseRecord, KeyPlace, Life, OperationRecord, Operator, TenantRecord, Wrapped},
};
use kernel::{Incarnation, KeyId, OperationId, Quotas, TenantId, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap, VecDeque};
use zeroize::Zeroizing;

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
        rotate_days: Option<u32>,
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
        certificate: Certificate,
    },
    /// An erasure begins: the keys are forgotten, and this is what is left to remove.
    TenantDoomed {
        #[serde(with = "codec::word")]
        id: TenantId,
        prefixes: Vec<String>,
        shredding: Shredding,
    },
    /// An erasure ends: the name is free again.
    TenantGone {
        #[serde(with = "codec::word")]
        id: TenantId,
        certificate: Certificate,
    },
    /// Says whose an API key is, before its tenant's directory knows it.
    KeyFiled {
        #[serde(with = "codec::word")]
        id: KeyId,
        place: KeyPlace,
    },
    /// API keys that open nothing from here on.
    KeysForgotten {
        #[serde(with = "codec::words")]
        ids: Vec<KeyId>,
    },
    /// All tenants' keys are to be rotated.
    CampaignBegun(CampaignRecord),
    CampaignEnded,
    OperationBegun(OperationRecord),
    OperationEnded {
        #[serde(with = "codec::word")]
        id: OperationId,
        end: End,
    },
    /// A rotation of the server's own keys begins.
    HouseRotationBegun(HouseRotation),
    /// A fresh key above the operators' audit.
    HouseEpochAdded(EpochRecord),
    /// The key of the operators' audit, as it is wrapped now.
    HouseAuditRewrapped(Wrapped),
    /// The signing key under the control place's newest key.
    SignerRewrapped(Wrapped),
    /// It ends: the older keys above the operators' audit are forgotten.
    HouseRotated {
        certificate: Certificate,
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
    #[serde(with = "by_word")]
    pub(crate) keys: BTreeMap<KeyId, KeyPlace>,
    /// Oldest first. Ended ones leave when there are more than `OPERATIONS_KEPT_MAX`.
    pub(crate) operations: VecDeque<OperationRecord>,
    pub(crate) certificates: Certificates,
    pub(crate) campaign: Option<CampaignRecord>,
    pub(crate) rotating: Option<HouseRotation>,
    /// An older log or checkpoint holds a wrapped key that must be gone.
    #[serde(skip)]
    purge_due: bool,
    /// Follows from the above.
    #[serde(skip)]
    lives: HashMap<Incarnation, Living>,
}

/// Found without looking through all tenants.
struct Living {
    tenant: TenantId,
    /// How many API keys are filed for it.
    keys: usize,
}

impl ControlState {
    /// The tenant of this life.
    pub(crate) fn by_incarnation(&self, incarnation: Incarnation) -> Option<&TenantRecord> {
        self.tenants.get(&self.lives.get(&incarnation)?.tenant)
    }

    /// How many API keys are filed for this life of a tenant.
    pub(crate) fn keys_of(&self, incarnation: Incarnation) -> usize {
        self.lives.get(&incarnation).map_or(0, |l| l.keys)
    }

    fn settle(&mut self, id: TenantId, incarnation: Incarnation) {
        self.lives.insert(incarnation, Living { tenant: id, keys: 0 });
    }

    fn count_key(&mut self, incarnation: Incarnation, change: impl FnOnce(usize) -> usize) {
        if let Some(living) = self.lives.get_mut(&incarnation) {
            living.keys = change(living.keys);
        }
    }

    fn forget_keys(&mut self, ids: &[KeyId]) {
        for id in ids {
            if let Some(place) = self.keys.remove(id) {
                self.count_key(place.incarnation, |n| n.saturating_sub(1));
            }
        }
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

    fn change_house(&mut self, change: impl FnOnce(&mut HouseRecord)) {
        if let Some(house) = &mut self.house {
            change(house);
        }
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
            ControlEvent::TenantCreated(tenant) => {
                self.settle(tenant.id.clone(), tenant.incarnation);
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
            ControlEvent::EpochsRetired { id, certificate } => {
                self.certificates.push(certificate);
                self.change(&id, |t| drop(t.keys.epochs.drain(..t.keys.epochs.len().saturating_sub(1))));
                self.purge_due = true;
            }
            ControlEvent::TenantDoomed { id, prefixes, shredding } => {
                self.change(&id, |t| {
                    t.life = Life::Deleting;
                    t.keys.epochs.clear();
                    t.directory = None;
                    t.audit = None;
                    t.doomed = prefixes;
                    t.shredding = Some(shredding);
                });
                if let Some(incarnation) = self.tenants.get(&id).map(|t| t.incarnation) {
                    self.keys.retain(|_, k| k.incarnation != incarnation);
                    self.count_key(incarnation, |_| 0);
                }
                self.purge_due = true;
            }
            ControlEvent::TenantGone { id, certificate } => {
                self.certificates.push(certificate);
                if let Some(tenant) = self.tenants.remove(&id) {
                    self.lives.remove(&tenant.incarnation);
                }
            }
            ControlEvent::KeyFiled { id, place } => {
                self.count_key(place.incarnation, |n| n + 1);
                self.keys.insert(id, place);
            }
            ControlEvent::KeysForgotten { ids } => self.forget_keys(&ids),
            ControlEvent::CampaignBegun(campaign) => self.campaign = Some(campaign),
            ControlEvent::CampaignEnded => self.campaign = None,
            ControlEvent::HouseRotationBegun(rotation) => self.rotating = Some(rotation),
            ControlEvent::HouseEpochAdded(epoch) => self.change_house(|house| house.keys.epochs.push(epoch)),
            ControlEvent::HouseAuditRewrapped(wrapped) => self.change_house(|house| house.audit.wrapped = wrapped),
            ControlEvent::SignerRewrapped(wrapped) => self.change_house(|house| house.signer = wrapped),
            ControlEvent::HouseRotated { certificate } => {
                self.certificates.push(certificate);
                self.rotating = None;
                self.change_house(|house| {
                    drop(house.keys.epochs.drain(..house.keys.epochs.len().saturating_sub(1)));
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
        let mut state: Self = codec::decode(Self::WHAT, bytes)?;
        let lives: Vec<_> = state.tenants.values().map(|t| (t.id.clone(), t.incarnation)).collect();
        lives.into_iter().for_each(|(id, incarnation)| state.settle(id, incarnation));
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
