//! Administration of tenants: create, read, change, suspend, resume.

use crate::{
    KeyChoice, KeyState, Registry,
    control::{ControlEvent, ControlState},
    opening::{new_keyring, new_keyspace},
    record::{Lifecycle, TenantRecord},
};
use access::{Operator, TenantState};
use kernel::{Code, Error, Incarnation, KeyEpoch, Quotas, Result, TenantId, Timestamp, limits};
use std::{
    ops::Bound,
    pin::{Pin, pin},
    time::Duration,
};
use tokio::time::Sleep;
use vault::KeyspaceKind;

/// Description of a tenant to be created.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Name of the tenant.
    pub id: TenantId,
    /// Name for people.
    pub display_name: Option<String>,
    /// A label for the operator's own rules.
    pub governance_class: Option<String>,
    /// Limits on what it may use.
    pub quotas: Quotas,
    /// Key of a provider that wraps the tenant's own.
    pub key: KeyChoice,
    /// Days after which its keys are rotated; `None` follows the configuration.
    pub rotate_days: Option<u32>,
}

impl NewTenant {
    /// Describes a tenant with nothing but a name: no quotas, the configuration's key.
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

/// Changes to a tenant; `None` leaves a field as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantChange {
    /// Name for people.
    pub display_name: Option<Option<String>>,
    /// A label for the operator's own rules.
    pub governance_class: Option<Option<String>>,
    /// Limits on what it may use; they replace all of the present ones.
    pub quotas: Option<Quotas>,
    /// Days after which its keys are rotated.
    pub rotate_days: Option<Option<u32>>,
}

/// A tenant as operators see it.
#[derive(Clone, Debug)]
pub struct TenantView {
    /// Name of the tenant.
    pub id: TenantId,
    /// Incarnation under that name.
    pub incarnation: Incarnation,
    /// Whether the tenant is served.
    pub state: TenantState,
    /// Name for people.
    pub display_name: Option<String>,
    /// A label for the operator's own rules.
    pub governance_class: Option<String>,
    /// Limits on what it may use.
    pub quotas: Quotas,
    /// When it was created.
    pub created_at: Timestamp,
    /// The current key epoch; 0 once the keys are destroyed.
    pub key_epoch: KeyEpoch,
    /// Whether its keys are available.
    pub key_state: KeyState,
    /// The provider and the key that wrap the current epoch; empty once the keys are destroyed.
    pub key: (String, String),
    /// Days after which its keys are rotated, if it has a rule of its own.
    pub rotate_days: Option<u32>,
    /// Number of its namespaces; `None` if its directory does not open, or not soon enough.
    pub namespaces: Option<u64>,
}

impl TenantView {
    /// Whether an operator suspended it.
    pub fn is_suspended(&self) -> bool {
        self.state == TenantState::Suspended
    }
}

impl Registry {
    /// Creates a tenant: keys, keyspaces and record. It is durable when this returns.
    ///
    /// # Errors
    /// `already_exists`; `conflict` while a tenant of that name is being erased; `invalid_request`.
    pub async fn create_tenant(&self, operator: &Operator, new: NewTenant) -> Result<TenantView> {
        check_label("display_name", new.display_name.as_deref())?;
        check_label("governance_class", new.governance_class.as_deref())?;
        let inner = &self.inner;
        let incarnation = Incarnation::random(&*inner.env.entropy);
        check_days(new.rotate_days)?;
        self.may_name_key(operator, incarnation, &new.key)?;
        // The name is checked before a key is made for it, and again when the record is written.
        inner.control.read(|state| free(state, &new.id))?;
        let (key, made) = inner.provider_client.choose(&new.key, incarnation)?;
        let (keys, ring) = new_keyring(&inner.env, &inner.provider_client, incarnation, key, made).await?;
        let (_, directory) = new_keyspace(&inner.env, inner.control.keyspace(), &keys, KeyspaceKind::Directory)?;
        let (_, audit) = new_keyspace(&inner.env, inner.control.keyspace(), &keys, KeyspaceKind::Audit)?;
        let record = TenantRecord {
            id: new.id,
            incarnation,
            life: Lifecycle::Active,
            display_name: new.display_name,
            governance_class: new.governance_class,
            quotas: new.quotas,
            created_at: inner.env.clock.now(),
            keys: ring,
            rotate_days: new.rotate_days,
            directory: Some(directory),
            audit: Some(audit),
            pending_prefixes: Vec::new(),
            shredding: None,
        };
        inner
            .write(|state| {
                free(state, &record.id)?;
                Ok((Some(ControlEvent::TenantCreated(Box::new(record.clone()))), ()))
            })
            .await?;
        Ok(self.view(&record, Some(0)))
    }

    /// Returns one tenant. Opens it if it is closed, to count its namespaces.
    ///
    /// # Errors
    /// `not_found`.
    pub async fn tenant(&self, _: &Operator, id: &TenantId) -> Result<TenantView> {
        self.tenant_view(id).await
    }

    /// Returns tenants in order of name, and where the next page begins. Opens the tenants of the page to count their
    /// namespaces.
    pub async fn tenants(&self, _: &Operator, after: Option<&str>, limit: usize) -> (Vec<TenantView>, Option<String>) {
        let mut page = self.inner.control.read(|s| {
            let from = after.and_then(|a| TenantId::parse(a).ok());
            let start = from.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
            let following = s.tenants.range((start, Bound::Unbounded)).map(|(id, _)| id);
            let following = following.filter(|id| after.is_none_or(|a| id.as_str() > a));
            following.take(limit.saturating_add(1)).cloned().collect::<Vec<_>>()
        });
        let more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| more).map(|id| id.as_str().to_owned());
        let mut views = Vec::with_capacity(page.len());
        let mut page_timeout = pin!(tokio::time::sleep(PAGE_WAIT));
        for id in &page {
            // A tenant that was deleted meanwhile is left out.
            views.extend(self.view_within(id, page_timeout.as_mut()).await.ok());
        }
        (views, next)
    }

    /// Returns tenants and their incarnations in order of name, after the given name. Opens nothing.
    pub fn incarnations_after(&self, _: &Operator, after: Option<&str>, limit: usize) -> Vec<(TenantId, Incarnation)> {
        self.inner.control.read(|s| {
            let following = s.tenants.values().filter(|t| after.is_none_or(|a| t.id.as_str() > a));
            following.take(limit).map(|t| (t.id.clone(), t.incarnation)).collect()
        })
    }

    /// Returns the name of the tenant that has this incarnation.
    pub fn tenant_name(&self, incarnation: Incarnation) -> Option<TenantId> {
        self.inner.control.read(|s| s.by_incarnation(incarnation).map(|t| t.id.clone()))
    }

    /// Returns a tenant's state and incarnation, without opening it.
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

    /// Refuses the tenant's requests from now on and drops its namespaces' keys from memory. Suspending a suspended
    /// tenant changes nothing.
    ///
    /// # Errors
    /// `not_found`; `conflict` while it is being erased.
    pub async fn suspend(&self, _: &Operator, id: &TenantId) -> Result<TenantView> {
        self.set_suspension(id, Lifecycle::Suspended).await?;
        self.tenant_view(id).await
    }

    /// Serves a suspended tenant again, and retries a directory that did not open.
    ///
    /// # Errors
    /// `not_found`; `conflict` while it is being erased.
    pub async fn resume(&self, _: &Operator, id: &TenantId) -> Result<TenantView> {
        let incarnation = self.set_suspension(id, Lifecycle::Active).await?;
        self.inner.tenants.retry_now(&incarnation);
        self.tenant_view(id).await
    }

    async fn set_suspension(&self, id: &TenantId, to: Lifecycle) -> Result<Incarnation> {
        let event = match to {
            Lifecycle::Active => ControlEvent::TenantResumed { id: id.clone() },
            _ => ControlEvent::TenantSuspended { id: id.clone() },
        };
        let incarnation = self
            .inner
            .write(|state| {
                let tenant = state.tenants.get(id).ok_or_else(Error::not_found)?;
                if tenant.life == Lifecycle::Deleting {
                    return Err(Error::new(Code::Conflict, "the tenant is being erased").into());
                }
                Ok(((tenant.life != to).then_some(event), tenant.incarnation))
            })
            .await?;
        // A tenant that is being opened right now reads the control state again when it is open.
        if let Some(open_tenant) = self.inner.tenants.get(&incarnation) {
            open_tenant.set_suspended(to != Lifecycle::Active);
        }
        Ok(incarnation)
    }

    /// Returns a tenant's present state, with the number of its namespaces if it opens soon enough.
    async fn tenant_view(&self, id: &TenantId) -> Result<TenantView> {
        self.view_within(id, pin!(tokio::time::sleep(VIEW_WAIT))).await
    }

    /// Does the same, but opens nothing once `timeout` has elapsed. A key provider that does not answer, perhaps the
    /// tenant's own, must not hold up an operator. An opening that is no longer waited for continues.
    async fn view_within(&self, id: &TenantId, timeout: Pin<&mut Sleep>) -> Result<TenantView> {
        let record = self.inner.tenant_record(id)?;
        let mut open = self.inner.served(record.incarnation);
        // Both the page's time and the tenant's own bound the wait.
        if open.is_none() && !timeout.is_elapsed() {
            open = tokio::select! {
                biased;
                opened = self.inner.open(record.incarnation) => opened.ok(),
                () = tokio::time::sleep(VIEW_WAIT) => None,
                () = timeout => None,
            };
        }
        Ok(self.view(&record, open.map(|r| r.directory().read(|s| s.namespaces.len() as u64))))
    }

    fn view(&self, record: &TenantRecord, namespaces: Option<u64>) -> TenantView {
        let failed = self.inner.tenants.failed(&record.incarnation);
        // After a resume the next attempt is made at once.
        let unopened = record.life == Lifecycle::Active && failed.is_some_and(|failed| !failed.retry_at.is_zero());
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

/// How long an operator's request about a tenant waits for the tenant to open.
const VIEW_WAIT: Duration = Duration::from_millis(250);
/// How long the openings of all tenants on a page may take together.
const PAGE_WAIT: Duration = Duration::from_secs(5);

/// Whether a tenant of this name may be created.
fn free(state: &ControlState, id: &TenantId) -> Result<(), Error> {
    match state.tenants.get(id).map(|t| t.life) {
        None => Ok(()),
        Some(Lifecycle::Deleting) => {
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

/// Checks that a label is short and has no control characters.
pub(crate) fn check_label(param: &str, label: Option<&str>) -> Result<(), Error> {
    let fits = |l: &str| (1..=limits::LABEL_BYTES_MAX).contains(&l.len()) && !l.chars().any(char::is_control);
    if label.is_none_or(fits) {
        Ok(())
    } else {
        Err(Error::invalid(param, "must be 1 to 256 bytes without control characters"))
    }
}
