//! The control plane: tenants, their keys and states, operators, operations. Each act is recorded in the operators'
//! audit before it takes effect; an act that cannot be recorded is not carried out.
//!
//! An [`Operator`] proves the caller's identity. It is not a grant and opens no store: if an act needs a tenant's
//! keyspaces (rotate, erase), the gate delegates a custodial grant, with which no text can be read.

use crate::{AuditReply, Engine, ListPage, PageRequest};
use access::{Erase, Operator, RotateKey, TenantState};
use kernel::{
    Code, Error, KeyEpoch, KeyId, NamespaceName, OperationId, OperatorName, Role, TenantId, Timestamp, limits,
};
use ledger::{ApiKeyEvent, AuditPage, RecordQuery};
use registry::{
    ApiKeyView, BegunOperation, BulkRotation, Certificate, KeyChoice, KeyStatus, NewApiKey, NewTenant, OperationKind,
    OperationView, OperatorView, ServerKeys, TenantChange, TenantView,
};
use zeroize::Zeroizing;

/// How long a request for usage waits for one tenant's audit log to open.
const AUDIT_OPEN_WAIT: std::time::Duration = std::time::Duration::from_millis(250);

/// How keys are rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotateMode {
    /// Keys are wrapped again under a new epoch; objects stay as they are.
    Rewrap,
    /// Everything is re-encrypted under new keys, by this time if one is given.
    Reencrypt(Option<Timestamp>),
}

/// One tenant's counters for the operators.
pub type UsageCounters = (TenantId, ledger::Usage);

impl Engine {
    async fn record_act(&self, operator: &Operator, act: &'static str, tenant: Option<&TenantId>) -> Result<(), Error> {
        self.inner.audit_log.operator_act(operator, act, tenant).await
    }

    /// Creates a tenant: a fresh incarnation with its own keys.
    pub async fn create_tenant(&self, operator: &Operator, new: NewTenant) -> Result<TenantView, Error> {
        self.record_act(operator, "tenant.create", Some(&new.id)).await?;
        self.inner.registry.create_tenant(operator, new).await
    }

    /// Returns one tenant.
    pub async fn tenant(&self, operator: &Operator, id: &TenantId) -> Result<TenantView, Error> {
        self.inner.registry.tenant(operator, id).await
    }

    /// Lists tenants by id.
    pub async fn tenants(&self, operator: &Operator, page: PageRequest) -> Result<ListPage<TenantView>, Error> {
        let (items, next) = self.inner.registry.tenants(operator, page.after.as_deref(), page.limit).await;
        Ok(ListPage { items, next })
    }

    /// Changes a tenant's name, class or quotas.
    pub async fn update_tenant(
        &self,
        operator: &Operator,
        id: &TenantId,
        change: TenantChange,
    ) -> Result<TenantView, Error> {
        self.record_act(operator, "tenant.update", Some(id)).await?;
        let view = self.inner.registry.update_tenant(operator, id, change).await?;
        self.inner.audit_log.tenant_act_later(operator, "tenant.update", view.incarnation, None);
        Ok(view)
    }

    /// Refuses the tenant's requests from now on and drops its data from memory, in the background if that takes longer
    /// than a moment.
    pub async fn suspend_tenant(&self, operator: &Operator, id: &TenantId) -> Result<TenantView, Error> {
        self.record_act(operator, "tenant.suspend", Some(id)).await?;
        let view = self.inner.registry.suspend(operator, id).await?;
        // Recorded before the tenant's audit log is closed with everything else of it.
        self.inner.audit_log.tenant_act_later(operator, "tenant.suspend", view.incarnation, None);
        self.drop_from_memory_soon(view.incarnation).await;
        Ok(view)
    }

    /// Serves the tenant again.
    pub async fn resume_tenant(&self, operator: &Operator, id: &TenantId) -> Result<TenantView, Error> {
        self.record_act(operator, "tenant.resume", Some(id)).await?;
        let view = self.inner.registry.resume(operator, id).await?;
        self.inner.audit_log.tenant_act_later(operator, "tenant.resume", view.incarnation, None);
        Ok(view)
    }

    /// Erases a suspended tenant in the background: first its keys, then its bytes.
    pub async fn delete_tenant(&self, operator: &Operator, id: &TenantId) -> Result<OperationId, Error> {
        let (state, _) = self.inner.registry.state(operator, id)?;
        if state != TenantState::Suspended {
            return Err(Error::new(Code::NotSuspended, "suspend the tenant first"));
        }
        self.record_act(operator, "tenant.erase", Some(id)).await?;
        let grant = self.inner.gate.delegate::<Erase>(operator, id)?;
        match self.inner.registry.begin_operation(id, OperationKind::EraseTenant).await? {
            BegunOperation::Running(view) => Ok(view.id),
            BegunOperation::Fresh(operation) => {
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
        new: NewApiKey,
    ) -> Result<(ApiKeyView, Zeroizing<String>), Error> {
        self.record_act(operator, "api_key.create", Some(id)).await?;
        let registry = &self.inner.registry;
        let (_, incarnation) = registry.state(operator, id)?;
        let (view, secret) = registry.create_key(operator, id, new).await?;
        let recorded =
            self.inner.audit_log.tenant_act(operator, "api_key.create", incarnation, Some(&api_key_event(&view))).await;
        if let Err(error) = recorded {
            // The secret was never returned, so the key is of no use and is revoked.
            if let Err(error) = registry.revoke_key(operator, id, &view.id).await {
                tracing::warn!(%error, "an API key whose secret was never returned could not be revoked");
            }
            return Err(error);
        }
        Ok((view, secret))
    }

    /// Lists a tenant's API keys, without secrets.
    pub async fn api_keys(
        &self,
        operator: &Operator,
        id: &TenantId,
        page: PageRequest,
    ) -> Result<ListPage<ApiKeyView>, Error> {
        let (items, next) = self.inner.registry.keys(operator, id, page.after.as_deref(), page.limit).await?;
        Ok(ListPage { items, next })
    }

    /// Revokes an API key at once.
    pub async fn revoke_api_key(&self, operator: &Operator, id: &TenantId, key: &KeyId) -> Result<(), Error> {
        self.record_act(operator, "api_key.revoke", Some(id)).await?;
        let registry = &self.inner.registry;
        let (_, incarnation) = registry.state(operator, id)?;
        let known = registry.revoke_key(operator, id, key).await?;
        // The key's scopes are known only if the tenant's directory opens soon. The revocation is recorded in any case.
        let event = known.as_ref().map_or_else(|| ApiKeyEvent::unknown(key), api_key_event);
        self.inner.audit_log.tenant_act_later(operator, "api_key.revoke", incarnation, Some(&event));
        Ok(())
    }

    /// Starts a rotation, or returns the one in progress.
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
        self.record_act(operator, "key.rotate", Some(id)).await?;
        let grant = self.inner.gate.delegate::<RotateKey>(operator, id)?;
        let begun = self.inner.registry.begin_operation(id, OperationKind::RotateKey).await?;
        let epoch = self.inner.registry.begin_rotation(&grant, choice.as_ref()).await;
        match begun {
            BegunOperation::Running(view) => Ok((view.id, epoch?)),
            BegunOperation::Fresh(operation) => {
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

    /// Starts a rotation of all tenants.
    pub async fn start_bulk_rotation(
        &self,
        operator: &Operator,
        reencrypt: bool,
        concurrency: u32,
    ) -> Result<BulkRotation, Error> {
        self.record_act(operator, if reencrypt { "key.reencrypt.all" } else { "key.rotate.all" }, None).await?;
        self.inner.registry.begin_bulk_rotation(operator, reencrypt, concurrency).await
    }

    /// The rotation of all tenants that is in progress, if any.
    pub fn bulk_rotation(&self, _: &Operator) -> Option<BulkRotation> {
        self.inner.registry.bulk_rotation()
    }

    /// Starts no further tenant; rotations in progress finish.
    pub async fn stop_bulk_rotation(&self, operator: &Operator) -> Result<(), Error> {
        self.record_act(operator, "key.rotate.all.cancel", None).await?;
        self.inner.registry.end_bulk_rotation().await
    }

    /// Rotates the system's keys. The rotation runs to its end even if the client disconnects. Returns the certificate
    /// for the previous keys.
    pub async fn rotate_server_keys(
        &self,
        operator: &Operator,
        choice: &KeyChoice,
        reencrypt: bool,
    ) -> Result<Certificate, Error> {
        self.inner.registry.may_name_key(operator, registry::Registry::SERVER, choice)?;
        self.record_act(operator, if reencrypt { "key.reencrypt.server" } else { "key.rotate.server" }, None).await?;
        self.inner.registry.begin_server_rotation(operator, choice, reencrypt).await?;
        let engine = self.clone();
        let run = self.inner.tracker.spawn(async move { engine.run_server_rotation().await });
        run.await.map_err(|_| Error::internal("a rotation of the server's own keys did not end"))??;
        self.inner.registry.server_certificate().ok_or_else(|| Error::internal("a rotation left no statement"))
    }

    /// Returns the state of the system's keys.
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
        self.record_act(operator, "key.reencrypt", Some(id)).await?;
        let grant = self.inner.gate.delegate::<RotateKey>(operator, id)?;
        let registry = &self.inner.registry;
        let begun = registry.begin_operation_until(id, OperationKind::Reencrypt, Some(deadline)).await?;
        match begun {
            BegunOperation::Running(view) => {
                let epoch = registry.key_status(operator, id).await?.current;
                Ok((view.id, epoch))
            }
            BegunOperation::Fresh(operation) => {
                let operation_id = operation.id();
                // The new epoch is durable before the reply names it.
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

    /// Lists certificates about keys, newest first; those of one tenant if its id is given.
    pub fn certificates(&self, operator: &Operator, tenant: Option<&TenantId>) -> Vec<Certificate> {
        self.inner.registry.certificates(operator, tenant)
    }

    /// The public key that verifies certificates.
    pub fn signing_key(&self) -> String {
        self.inner.registry.signing_key()
    }

    /// Returns a tenant's key epochs and what each wraps.
    pub async fn key_status(&self, operator: &Operator, id: &TenantId) -> Result<KeyStatus, Error> {
        self.inner.registry.key_status(operator, id).await
    }

    /// Creates an operator. The token is returned once.
    pub async fn create_operator(
        &self,
        operator: &Operator,
        name: OperatorName,
        role: Role,
    ) -> Result<(OperatorView, Zeroizing<String>), Error> {
        self.record_act(operator, "operator.create", None).await?;
        self.inner.registry.create_operator(operator, name, role).await
    }

    /// Lists operators, without tokens.
    pub fn operators(&self, operator: &Operator) -> Vec<OperatorView> {
        self.inner.registry.operators(operator)
    }

    /// Revokes an operator's token at once.
    pub async fn revoke_operator(&self, operator: &Operator, id: &KeyId) -> Result<(), Error> {
        self.record_act(operator, "operator.revoke", None).await?;
        self.inner.registry.revoke_operator(operator, id).await
    }

    /// Lists operations, newest first.
    pub fn operations(&self, operator: &Operator, page: PageRequest) -> Result<ListPage<OperationView>, Error> {
        let (items, next) = self.inner.registry.operations(operator, page.after.as_deref(), page.limit)?;
        Ok(ListPage { items, next })
    }

    /// Returns one operation.
    pub fn operation_for(&self, operator: &Operator, id: OperationId) -> Result<OperationView, Error> {
        self.inner.registry.operation(operator, id)
    }

    /// Requests that an operation stop at its next step.
    pub async fn cancel_operation(&self, operator: &Operator, id: OperationId) -> Result<OperationView, Error> {
        self.record_act(operator, "operation.cancel", None).await?;
        self.inner.registry.cancel(operator, id)
    }

    /// Lists the counters of each tenant since its creation, by id. Those of a tenant that was active since the start
    /// are in memory. For a few others the audit log is opened; the page ends before it would take more.
    pub async fn usage(&self, operator: &Operator, page: PageRequest) -> ListPage<UsageCounters> {
        let (audit_log, mut opened) = (&self.inner.audit_log, 0);
        let mut items: Vec<UsageCounters> = Vec::new();
        let mut next = None;
        for (id, incarnation) in self.inner.registry.incarnations_after(operator, page.after.as_deref(), page.limit + 1)
        {
            let mut known = audit_log.known_usage(incarnation);
            let full = items.len() == page.limit || (known.is_none() && opened == limits::USAGE_AUDIT_LOGS_OPENED_MAX);
            if full {
                next = items.last().map(|(id, _)| id.as_str().to_owned());
                break;
            }
            if known.is_none() {
                opened += 1;
                // An audit log that does not open soon shows zeros, and continues to open; the tenant's own requests
                // report why.
                let chains = audit_log.clone();
                let opening = self.inner.tracker.spawn(async move { chains.open_chain(incarnation).await });
                let _ = tokio::time::timeout(AUDIT_OPEN_WAIT, opening).await;
                known = audit_log.known_usage(incarnation);
            }
            items.push((id, known.unwrap_or_default()));
        }
        ListPage { items, next }
    }

    /// Returns a page of the operators' audit, oldest first.
    pub async fn operator_audit(
        &self,
        operator: &Operator,
        since: Option<Timestamp>,
        after: Option<u64>,
        limit: usize,
    ) -> Result<AuditReply, Error> {
        let reading = RecordQuery { since, after, limit, ..RecordQuery::default() };
        let reader = self.inner.audit_log.operator_acts(operator, reading).await?;
        let cancel = kernel::CancelFlag::default();
        let AuditPage { lines, next, head } = self.audit_page(registry::Registry::SERVER, &cancel, reader).await?;
        Ok(AuditReply { lines, next, head: Some(self.sign_head(None, head)?) })
    }

    /// Accepts a namespace as its files are, although the tenant's audit has recorded newer or other commits. Both
    /// audits record the operator. Returns whether there was anything to accept.
    pub async fn accept_rollback(
        &self,
        operator: &Operator,
        id: &TenantId,
        namespace: &NamespaceName,
    ) -> Result<bool, Error> {
        let (keyspace, record) = self.inner.registry.operator_namespace(operator, id, namespace).await?;
        self.record_act(operator, "namespace.accept_rollback", Some(id)).await?;
        let write_record = self.inner.audit_log.encode_acceptance(operator, namespace);
        Ok(self.inner.stores.accept_rollback(keyspace, &record.settings, write_record).await?)
    }
}

fn api_key_event(view: &ApiKeyView) -> ApiKeyEvent {
    ApiKeyEvent {
        id: view.id.clone(),
        scopes: view.scopes.clone(),
        principals: view.principals.clone(),
        namespaces: view.namespaces.clone(),
        expires_at: view.expires_at,
    }
}
