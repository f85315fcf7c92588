//! Tenants on the control plane: create, look, change, suspend, resume.

use crate::{
    KeyChoice, KeyState, Registry,
    control::{ControlEvent, ControlState},
    opening::{new_place, new_ring},
    record::{Life, TenantRecord},
};
use access::{Operator, TenantState};
use kernel::{Code, Error, Incarnation, KeyEpoch, Quotas, Result, TenantId, Timestamp, limits};
use std::ops::Bound;
use vault::PlaceKind;

/// A tenant to be.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its name.
    pub id: TenantId,
    /// What people call it.
    pub display_name: Option<String>,
    /// A label for the operator's own rules.
    pub governance_class: Option<String>,
    /// What it may use.
    pub quotas: Quotas,
    /// The key that wraps its own.
    pub key: KeyChoice,
    /// Days after which its keys are rotated; `None`: as the configuration says.
    pub rotate_days: Option<u32>,
}

impl NewTenant {
    /// One with nothing but a name: no quotas, the configuration's key.
    pub fn named(id: TenantId) -> Self {
        Self {
            id,
            display_name: None,
            governance_class: None,
            quotas: Quotas::default(),
            key: KeyChoice::default(),
            rotate_days: None,
        }
    }
}

/// What changes of a tenant; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct TenantChange {
    /// What people call it.
    pub display_name: Option<Option<String>>,
    /// A label for the operator's own rules.
    pub governance_class: Option<Option<String>>,
    /// What it may use, all of it.
    pub quotas: Option<Quotas>,
    /// Days after which its keys are rotated.
    pub rotate_days: Option<Option<u32>>,
}

/// A tenant as operators see it.
#[derive(Clone, Debug)]
pub struct TenantView {
    /// Its name.
    pub id: TenantId,
    /// Which life of that name.
    pub incarnation: Incarnation,
    /// Whether it is served.
    pub state: TenantState,
    /// What people call it.
    pub display_name: Option<String>,
    /// A label for the operator's own rules.
    pub governance_class: Option<String>,
    /// What it may use.
    pub quotas: Quotas,
    /// When it was made.
    pub created_at: Timestamp,
    /// The current key epoch; 0 once the keys are destroyed.
    pub key_epoch: KeyEpoch,
    /// Whether its keys can be had.
    pub key_state: KeyState,
    /// The provider and the key that wrap the current epoch; empty once the keys are destroyed.
    pub key: (String, String),
    /// Days after which its keys are rotated, if it has a rule of its own.
    pub rotate_days: Option<u32>,
    /// Its namespaces; 0 while its directory does not open.
    pub namespaces: u64,
}

impl TenantView {
    /// Whether an operator suspended it.
    pub fn is_suspended(&self) -> bool {
        self.state == TenantState::Suspended
    }
}

impl Registry {
    /// Makes a tenant: keys, places and record. Durable when it returns.
    ///
    /// # Errors
    /// `already_exists`; `conflict` while one of that name is being erased; `invalid_request`.
    pub async fn create_tenant(&self, operator: &Operator, new: NewTenant) -> Result<TenantView> {
        check_label("display_name", new.display_name.as_deref())?;
        check_label("governance_class", new.governance_class.as_deref())?;
        let inner = &self.inner;
        let incarnation = Incarnation::random(&*inner.world.entropy);
        check_days(new.rotate_days)?;
        self.may_name_key(operator, incarnation, &new.key)?;
        // Asked before a key is made for it, and decided when it is written.
        inner.control.read(|state| free(state, &new.id))?;
        let (key, made) = inner.asking.choose(&new.key, incarnation)?;
        let (keys, ring) = new_ring(&inner.world, &inner.asking, incarnation, key, made).await?;
        let (_, directory) = new_place(&inner.world, inner.control.home(), &keys, PlaceKind::Directory)?;
        let (_, audit) = new_place(&inner.world, inner.control.home(), &keys, PlaceKind::Audit)?;
        let record = TenantRecord {
            id: new.id,
            incarnation,
            life: Life::Active,
            display_name: new.display_name,
            governance_class: new.governance_class,
            quotas: new.quotas,
            created_at: inner.world.clock.now(),
            keys: ring,
            rotate_days: new.rotate_days,
            directory: Some(directory),
            audit: Some(audit),
            doomed: Vec::new(),
            shredding: None,
        };
        inner
            .write(|state| {
                free(state, &record.id)?;
                Ok((Some(ControlEvent::TenantCreated(Box::new(record.clone()))), ()))
            })
            .await?;
        Ok(self.view(&record, 0))
    }

    /// One tenant. Opens it if it is not, to count its namespaces.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn tenant(&self, _: &Operator, id: &TenantId) -> Result<TenantView> {
        self.tenant_view(id).await
    }

    /// Tenants by name, and where the next page begins. Opens those of the page, as above.
    pub async fn tenants(&self, _: &Operator, after: Option<&str>, limit: usize) -> (Vec<TenantView>, Option<String>) {
        let mut page = self.inner.control.read(|s| {
            let from = after.and_then(|a| TenantId::parse(a).ok());
            let start = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let behind = s.tenants.range((start, Bound::Unbounded)).map(|(id, _)| id);
            let behind = behind.filter(|id| after.is_none_or(|a| id.as_str() > a));
            behind.take(limit.saturating_add(1)).cloned().collect::<Vec<_>>()
        });
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|id| id.as_str().to_owned());
        let mut views = Vec::with_capacity(page.len());
        for id in &page {
            // One that is gone meanwhile is left out.
            views.extend(self.tenant_view(id).await.ok());
        }
        (views, next)
    }

    /// Tenants and the lives they are in, by name, from the first one after `after`. Opens nothing.
    pub fn lives_after(&self, _: &Operator, after: Option<&str>, limit: usize) -> Vec<(TenantId, Incarnation)> {
        self.inner.control.read(|s| {
            let behind = s.tenants.values().filter(|t| after.is_none_or(|a| t.id.as_str() > a));
            behind.take(limit).map(|t| (t.id.clone(), t.incarnation)).collect()
        })
    }

    /// The name of the tenant that lives this life.
    pub fn name_of(&self, incarnation: Incarnation) -> Option<TenantId> {
        self.inner.control.read(|s| s.by_incarnation(incarnation).map(|t| t.id.clone()))
    }

    /// A tenant's state and life, without opening it.
    ///
    /// # Errors
    /// `not_found`.
    pub fn state(&self, _: &Operator, id: &TenantId) -> Result<(TenantState, Incarnation)> {
        let found = self.inner.control.read(|s| s.tenants.get(id).map(|t| (t.life.state(), t.incarnation)));
        found.ok_or_else(Error::not_found)
    }

    /// Changes labels and quotas.
    ///
    /// # Errors
    /// `not_found`, `invalid_request`.
    pub async fn update_tenant(&self, _: &Operator, id: &TenantId, change: TenantChange) -> Result<TenantView> {
        check_label("display_name", change.display_name.iter().flatten().map(String::as_str).next())?;
        check_label("governance_class", change.governance_class.iter().flatten().map(String::as_str).next())?;
        check_days(change.rotate_days.flatten())?;
        self.inner
            .write(|state| {
                let old = state.tenants.get(id).ok_or_else(Error::not_found)?;
                let event = ControlEvent::TenantChanged {
                    id: id.clone(),
                    display_name: change.display_name.unwrap_or_else(|| old.display_name.clone()),
                    governance_class: change.governance_class.unwrap_or_else(|| old.governance_class.clone()),
                    quotas: change.quotas.unwrap_or(old.quotas),
                    rotate_days: change.rotate_days.unwrap_or(old.rotate_days),
                };
                Ok((Some(event), ()))
            })
            .await?;
        self.tenant_view(id).await
    }

    /// Refuses the tenant's requests from now on and drops its namespaces' keys from memory.
    /// A second time changes nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` while it is being erased.
    pub async fn suspend(&self, _: &Operator, id: &TenantId) -> Result<TenantView> {
        self.turn(id, Life::Suspended).await?;
        self.tenant_view(id).await
    }

    /// Serves a suspended tenant again. Tries once more to open a directory that did not open.
    ///
    /// # Errors
    /// `not_found`; `conflict` while it is being erased.
    pub async fn resume(&self, _: &Operator, id: &TenantId) -> Result<TenantView> {
        let incarnation = self.turn(id, Life::Active).await?;
        self.inner.seats.seat_if_known(incarnation).inspect(|seat| seat.forgive());
        self.tenant_view(id).await
    }

    async fn turn(&self, id: &TenantId, to: Life) -> Result<Incarnation> {
        let event = match to {
            Life::Active => ControlEvent::TenantResumed { id: id.clone() },
            _ => ControlEvent::TenantSuspended { id: id.clone() },
        };
        let incarnation = self
            .inner
            .write(|state| {
                let tenant = state.tenants.get(id).ok_or_else(Error::not_found)?;
                if tenant.life == Life::Deleting {
                    return Err(Error::new(Code::Conflict, "the tenant is being erased").into());
                }
                Ok(((tenant.life != to).then_some(event), tenant.incarnation))
            })
            .await?;
        // One that is being opened looks at the control book again when it is.
        if let Some(residence) = self.inner.seats.open(incarnation) {
            residence.set_suspended(to != Life::Active);
        }
        Ok(incarnation)
    }

    /// A tenant as it stands, its namespaces counted; none are seen while its directory does not open.
    async fn tenant_view(&self, id: &TenantId) -> Result<TenantView> {
        let record = self.inner.tenant_record(id)?;
        let residence = self.inner.open(record.incarnation).await.ok();
        let namespaces = residence.map_or(0, |r| r.book().read(|s| s.namespaces.len() as u64));
        Ok(self.view(&record, namespaces))
    }

    fn view(&self, record: &TenantRecord, namespaces: u64) -> TenantView {
        let unopened = record.life == Life::Active && self.inner.seats.unopened(record.incarnation).is_some();
        let current = record.keys.epochs.last();
        TenantView {
            id: record.id.clone(),
            incarnation: record.incarnation,
            state: if unopened { TenantState::KeyUnavailable } else { record.life.state() },
            display_name: record.display_name.clone(),
            governance_class: record.governance_class.clone(),
            quotas: record.quotas,
            created_at: record.created_at,
            key_epoch: record.keys.current(),
            key_state: self.inner.key_state(record),
            key: current.map(|e| (e.provider.clone(), e.key.clone())).unwrap_or_default(),
            rotate_days: record.rotate_days,
            namespaces,
        }
    }
}

/// Whether a tenant of this name may be made.
fn free(state: &ControlState, id: &TenantId) -> Result<(), Error> {
    match state.tenants.get(id).map(|t| t.life) {
        None => Ok(()),
        Some(Life::Deleting) => {
            let message = "a tenant of this name is being erased; try again when the operation is done";
            Err(Error::new(Code::Conflict, message).with_param("id"))
        }
        Some(_) => Err(Error::new(Code::AlreadyExists, "a tenant of this name exists").with_param("id")),
    }
}

fn check_days(days: Option<u32>) -> Result<(), Error> {
    match days {
        Some(0) => Err(Error::invalid("rotate_days", "must be at least 1, or null to follow the configuration")),
        Some(days) if days > limits::ROTATE_DAYS_MAX => {
            Err(Error::invalid("rotate_days", format!("must be at most {}", limits::ROTATE_DAYS_MAX)))
        }
        _ => Ok(()),
    }
}

/// A label is short and has no control characters.
pub(crate) fn check_label(param: &str, label: Option<&str>) -> Result<(), Error> {
    let fits = |l: &str| (1..=limits::LABEL_BYTES_MAX).contains(&l.len()) && !l.chars().any(char::is_control);
    if label.is_none_or(fits) {
        Ok(())
    } else {
        Err(Error::invalid(param, "must be 1 to 256 bytes without control characters"))
    }
}
