//! The control plane: tenants, their keys and states, operators, operations. Each act is written
//! to the operators' audit before its effect; what cannot be written is not done.
//!
//! An [`Operator`] proves who asks. It is another type than a grant and opens no store: where an
//! act needs a tenant's place (rotate, erase), the gate delegates a custodial grant, with which no
//! text can be read.

use crate::{AuditReply, Engine, Page, Paged};
use access::{Erase, Operator, RotateKey, TenantState};
use kernel::{
    Code, Error, KeyEpoch, KeyId, NamespaceName, OperationId, OperatorName, Role, TenantId, Timestamp, limits,
};
use ledger::{ApiKeyDeed, AuditPage, Reading};
use registry::{
    Begun, Campaign, Certificate, KeyChoice, KeyStatus, KeyView, NewKey, NewTenant, OperationKind, OperationView,
    OperatorView, ServerKeys, TenantChange, TenantView,
};
use zeroize::Zeroizing;

/// How keys are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateMode {
    /// Keys are wrapped again under a new epoch; objects stay as they are.
    Rewrap,
    /// Everything is re-encrypted under new keys, by this time if one is given.
    Reencrypt(Option<Timestamp>),
}

/// One tenant's counters for the operators.
pub type Usage = (TenantId, ledger::Usage);

impl Engine {
    async fn act(&self, operator: &Operator, act: &'static str, tenant: Option<&TenantId>) -> Result<(), Error> {
        self.inner.trail.operator_act(operator, act, tenant).await
    }

    /// Makes a tenant: a fresh incarnation with its own keys.
    pub async fn create_tenant(&self, operator: &Operator, new: NewTenant) -> Result<TenantView, Error> {
        self.act(operator, "tenant.create", Some(&new.id)).await?;
        self.inner.registry.create_tenant(operator, new).await
    }

    /// One tenant.
    pub async fn tenant(&self, operator: &Operator, id: &TenantId) -> Result<TenantView, Error> {
        self.inner.registry.tenant(operator, id).await
    }

    /// Tenants by id.
    pub async fn tenants(&self, operator: &Operator, page: Page) -> Result<Paged<TenantView>, Error> {
        let (items, next) = self.inner.registry.tenants(operator, page.after.as_deref(), page.limit).await;
        Ok(Paged { items, next })
    }

    /// Changes name, class or quotas.
    pub async fn update_tenant(
        &self,
        operator: &Operator,
        id: &TenantId,
        change: TenantChange,
    ) -> Result<TenantView, Error> {
        self.act(operator, "tenant.update", Some(id)).await?;
        let view = self.inner.registry.update_tenant(operator, id, change).await?;
        self.inner.trail.tenant_act_later(operator, "tenant.update", view.incarnation, None).await;
        Ok(view)
    }

    /// Refuses the tenant's requests from now on and drops its data from memory.
    pub async fn suspend_tenant(&self, operator: &Operator, id: &TenantId) -> Result<TenantView, Error> {
        self.act(operator, "tenant.suspend", Some(id)).await?;
        let view = self.inner.registry.suspend(operator, id).await?;
        // Before its audit is closed with the rest of it.
        self.inner.trail.tenant_act_later(operator, "tenant.suspend", view.incarnation, None).await;
        self.let_go(view.incarnation).await;
        Ok(view)
    }

    /// Serves the tenant again.
    pub async fn resume_tenant(&self, operator: &Operator, id: &TenantId) -> Result<TenantView, Error> {
        self.act(operator, "tenant.resume", Some(id)).await?;
        let view = self.inner.registry.resume(operator, id).await?;
        self.inner.trail.tenant_act_later(operator, "tenant.resume", view.incarnation, None).await;
        Ok(view)
    }

    /// Erases a suspended tenant in the background: keys first, then bytes.
    pub async fn delete_tenant(&self, operator: &Operator, id: &TenantId) -> Result<OperationId, Error> {
        let (state, _) = self.inner.registry.state(operator, id)?;
        if state != TenantState::Suspended {
            return Err(Error::new(Code::NotSuspended, "suspend the tenant first"));
        }
        self.act(operator, "tenant.erase", Some(id)).await?;
        let grant = self.inner.gate.delegate::<Erase>(operator, id)?;
        match self.inner.registry.begin_operation(id, OperationKind::EraseTenant).await? {
            Begun::Running(view) => Ok(view.id),
            Begun::Fresh(operation) => {
                let operation_id = operation.id();
                self.start_erase(grant, operation);
                Ok(operation_id)
            }
        }
    }

    /// Creates an API key. The secret is returned once, and only after the tenant's own audit has recorded the key.
    pub async fn create_api_key(
        &self,
        operator: &Operator,
        id: &TenantId,
        new: NewKey,
    ) -> Result<(KeyView, Zeroizing<String>), Error> {
        self.act(operator, "api_key.create", Some(id)).await?;
        let registry = &self.inner.registry;
        let (_, incarnation) = registry.state(operator, id)?;
        let (view, secret) = registry.create_key(operator, id, new).await?;
        let told = self.inner.trail.tenant_act(operator, "api_key.create", incarnation, Some(&deed_of(&view))).await;
        if let Err(error) = told {
            // Its secret was never returned, so the key can only be revoked.
            if let Err(error) = registry.revoke_key(operator, id, &view.id).await {
                tracing::warn!(%error, "an API key whose secret was never returned could not be revoked");
            }
            return Err(error);
        }
        Ok((view, secret))
    }

    /// A tenant's API keys, without secrets.
    pub async fn api_keys(&self, operator: &Operator, id: &TenantId, page: Page) -> Result<Paged<KeyView>, Error> {
        let (items, next) = self.inner.registry.keys(operator, id, page.after.as_deref(), page.limit).await?;
        Ok(Paged { items, next })
    }

    /// Ends an API key at once.
    pub async fn revoke_api_key(&self, operator: &Operator, id: &TenantId, key: &KeyId) -> Result<(), Error> {
        self.act(operator, "api_key.revoke", Some(id)).await?;
        let registry = &self.inner.registry;
        let (_, incarnation) = registry.state(operator, id)?;
        let known = registry.key(operator, id, key).await;
        registry.revoke_key(operator, id, key).await?;
        // Its scopes are known only if the tenant's directory opens; that it was revoked is recorded in any case.
        let deed = known.as_ref().map_or_else(|| ApiKeyDeed::unknown(key), deed_of);
        self.inner.trail.tenant_act_later(operator, "api_key.revoke", incarnation, Some(&deed)).await;
        Ok(())
    }

    /// Starts a rotation, or tells the one that runs.
    pub async fn rotate_keys(
        &self,
        operator: &Operator,
        id: &TenantId,
        mode: RotateMode,
        choice: Option<KeyChoice>,
    ) -> Result<(OperationId, KeyEpoch), Error> {
        if let RotateMode::Reencrypt(deadline) = mode {
            return self.reencrypt_keys(operator, id, choice, deadline).await;
        }
        if let Some(choice) = &choice {
            let (_, incarnation) = self.inner.registry.state(operator, id)?;
            self.inner.registry.may_name_key(operator, incarnation, choice)?;
        }
        self.act(operator, "key.rotate", Some(id)).await?;
        let grant = self.inner.gate.delegate::<RotateKey>(operator, id)?;
        let begun = self.inner.registry.begin_operation(id, OperationKind::RotateKey).await?;
        let epoch = self.inner.registry.begin_rotation(&grant, choice.as_ref()).await;
        match begun {
            Begun::Running(view) => Ok((view.id, epoch?)),
            Begun::Fresh(operation) => {
                let operation_id = operation.id();
                let epoch = match epoch {
                    Ok(epoch) => epoch,
                    Err(error) => {
                        operation.fail(&error).await;
                        return Err(error);
                    }
                };
                self.start_rotate(grant, operation);
                Ok((operation_id, epoch))
            }
        }
    }

    /// Begins a rotation of all tenants.
    pub async fn rotate_all(&self, operator: &Operator, reencrypt: bool, concurrency: u32) -> Result<Campaign, Error> {
        self.act(operator, if reencrypt { "key.reencrypt.all" } else { "key.rotate.all" }, None).await?;
        self.inner.registry.begin_campaign(operator, reencrypt, concurrency).await
    }

    /// The rotation of all tenants that is under way.
    pub fn rotating_all(&self, _: &Operator) -> Option<Campaign> {
        self.inner.registry.campaign()
    }

    /// Starts no further tenant; rotations in progress finish.
    pub async fn stop_rotating_all(&self, operator: &Operator) -> Result<(), Error> {
        self.act(operator, "key.rotate.all.cancel", None).await?;
        self.inner.registry.end_campaign().await
    }

    /// Rotates the server's own keys to the end, even if the client disconnects. Returns the statement about the
    /// previous keys.
    pub async fn rotate_server_keys(
        &self,
        operator: &Operator,
        choice: &KeyChoice,
        reencrypt: bool,
    ) -> Result<Certificate, Error> {
        self.inner.registry.may_name_key(operator, registry::Registry::SERVER, choice)?;
        self.act(operator, if reencrypt { "key.reencrypt.server" } else { "key.rotate.server" }, None).await?;
        self.inner.registry.begin_server_rotation(operator, choice, reencrypt).await?;
        let engine = self.clone();
        let run = self.inner.tracker.spawn(async move { engine.run_server_rotation().await });
        run.await.map_err(|_| Error::internal("a rotation of the server's own keys did not end"))??;
        self.inner.registry.server_certificate().ok_or_else(|| Error::internal("a rotation left no statement"))
    }

    /// The server's own keys.
    pub fn server_keys(&self, operator: &Operator) -> ServerKeys {
        self.inner.registry.server_keys(operator)
    }

    async fn reencrypt_keys(
        &self,
        operator: &Operator,
        id: &TenantId,
        choice: Option<KeyChoice>,
        deadline: Option<Timestamp>,
    ) -> Result<(OperationId, KeyEpoch), Error> {
        if choice.is_some() {
            let why = "cannot change with mode reencrypt: rotate to the other key with mode rewrap first";
            return Err(Error::invalid("key", why));
        }
        let now = self.now();
        let deadline = deadline.unwrap_or_else(|| now.plus(kernel::limits::REENCRYPT_DEADLINE));
        if deadline <= now {
            return Err(Error::invalid("deadline", "must lie in the future"));
        }
        self.act(operator, "key.reencrypt", Some(id)).await?;
        let grant = self.inner.gate.delegate::<RotateKey>(operator, id)?;
        let registry = &self.inner.registry;
        let begun = registry.begin_operation_until(id, OperationKind::Reencrypt, Some(deadline)).await?;
        match begun {
            Begun::Running(view) => {
                let epoch = registry.key_status(operator, id).await?.current;
                Ok((view.id, epoch))
            }
            Begun::Fresh(operation) => {
                let operation_id = operation.id();
                // The fresh epoch is durable when the reply says so.
                let begun = registry.reencrypt(&operation).await;
                let epoch = match begun {
                    Ok(begun) => begun.epoch(),
                    Err(error) => {
                        operation.fail(&error).await;
                        return Err(error);
                    }
                };
                self.start_reencrypt(grant, operation);
                Ok((operation_id, epoch))
            }
        }
    }

    /// Signed statements about keys, newest first; of one tenant's name, if one is given.
    pub fn certificates(&self, operator: &Operator, tenant: Option<&TenantId>) -> Vec<Certificate> {
        self.inner.registry.certificates(operator, tenant)
    }

    /// The key to check them with.
    pub fn signing_key(&self) -> String {
        self.inner.registry.signing_key()
    }

    /// A tenant's key epochs and what each wraps.
    pub async fn key_status(&self, operator: &Operator, id: &TenantId) -> Result<KeyStatus, Error> {
        self.inner.registry.key_status(operator, id).await
    }

    /// Makes an operator; the token is told once.
    pub async fn create_operator(
        &self,
        operator: &Operator,
        name: OperatorName,
        role: Role,
    ) -> Result<(OperatorView, Zeroizing<String>), Error> {
        self.act(operator, "operator.create", None).await?;
        self.inner.registry.create_operator(operator, name, role).await
    }

    /// Operators, without tokens.
    pub fn operators(&self, operator: &Operator) -> Vec<OperatorView> {
        self.inner.registry.operators(operator)
    }

    /// Ends an operator's token at once.
    pub async fn revoke_operator(&self, operator: &Operator, id: &KeyId) -> Result<(), Error> {
        self.act(operator, "operator.revoke", None).await?;
        self.inner.registry.revoke_operator(operator, id).await
    }

    /// Operations, newest first.
    pub fn operations(&self, operator: &Operator, page: Page) -> Result<Paged<OperationView>, Error> {
        let (items, next) = self.inner.registry.operations(operator, page.after.as_deref(), page.limit)?;
        Ok(Paged { items, next })
    }

    /// One operation.
    pub fn operation_for(&self, operator: &Operator, id: OperationId) -> Result<OperationView, Error> {
        self.inner.registry.operation(operator, id)
    }

    /// Asks an operation to stop at its next step.
    pub async fn cancel_operation(&self, operator: &Operator, id: OperationId) -> Result<OperationView, Error> {
        self.act(operator, "operation.cancel", None).await?;
        self.inner.registry.cancel(operator, id)
    }

    /// Counters per tenant since it exists, by name. Those of a tenant that was at work since the start cost nothing; the
    /// chains of a few others are opened for them, and the page ends before there are more.
    pub async fn usage(&self, operator: &Operator, page: Page) -> Paged<Usage> {
        let (trail, mut opened) = (&self.inner.trail, 0);
        let mut items: Vec<Usage> = Vec::new();
        let mut next = None;
        for (id, incarnation) in self.inner.registry.lives_after(operator, page.after.as_deref(), page.limit + 1) {
            let mut known = trail.known_usage(incarnation);
            let full = items.len() == page.limit || (known.is_none() && opened == limits::USAGE_CHAINS_OPENED_MAX);
            if full {
                next = items.last().map(|(id, _)| id.as_str().to_owned());
                break;
            }
            if known.is_none() {
                opened += 1;
                // A chain that does not open shows zeroes; the tenant's own requests tell why.
                let _ = trail.warm(incarnation).await;
                known = trail.known_usage(incarnation);
            }
            items.push((id, known.unwrap_or_default()));
        }
        Paged { items, next }
    }

    /// A page of what operators did, oldest first.
    pub async fn operator_audit(
        &self,
        operator: &Operator,
        since: Option<Timestamp>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<AuditReply, Error> {
        let reading = Reading { since, after, limit, ..Reading::default() };
        let reader = self.inner.trail.operator_acts(operator, reading).await?;
        let presence = kernel::Presence::default();
        let AuditPage { lines, next, head } = self.audit_page(registry::Registry::SERVER, &presence, reader).await?;
        Ok(AuditReply { lines, next, head: Some(self.sign_head(None, head)?) })
    }

    /// Accepts a namespace as its files are, although the tenant's audit has recorded newer or other commits. Both
    /// audits record who did so. Returns whether there was anything to accept.
    pub async fn accept_rollback(
        &self,
        operator: &Operator,
        id: &TenantId,
        namespace: &NamespaceName,
    ) -> Result<bool, Error> {
        let (home, record) = self.inner.registry.custodial_namespace(operator, id, namespace).await?;
        self.act(operator, "namespace.accept_rollback", Some(id)).await?;
        let line = self.inner.trail.accepting(operator, namespace);
        Ok(self.inner.stores.accept_rollback(home, &record.settings, line).await?)
    }
}

fn deed_of(view: &KeyView) -> ApiKeyDeed {
    ApiKeyDeed {
        id: view.id.clone(),
        scopes: view.scopes.clone(),
        principals: view.principals.clone(),
        namespaces: view.namespaces.clone(),
        expires_at: view.expires_at,
    }
}
