//! What a tenant may ask about itself.

use crate::{Engine, Flow};
use access::{Audit, Grant, Identity, Operations};
use kernel::{DocumentId, Error, KeyId, NamespaceName, OperationId, Principal, Quotas, Scope, TenantId, Timestamp};
use ledger::Deed;
use registry::OperationView;

/// Who the caller is and what it may do.
#[derive(Debug)]
pub struct Whoami {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its key.
    pub key_id: KeyId,
    /// The key's name.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whom it stands for.
    pub principals: Vec<Principal>,
    /// Where; empty is everywhere.
    pub namespaces: Vec<NamespaceName>,
    /// Until when.
    pub expires_at: Option<Timestamp>,
    /// The tenant's quotas.
    pub quotas: Quotas,
    /// What of them is used.
    pub usage: TenantUsage,
}

/// What a tenant has and has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantUsage {
    /// Documents stored.
    pub documents: u64,
    /// Bytes of documents stored: all that they hold, indexes beside it.
    pub bytes: u64,
    /// Namespaces.
    pub namespaces: u64,
    /// Requests since the tenant exists.
    pub requests: u64,
}

/// Which audit lines.
#[derive(Debug, Default)]
pub struct AuditQuery {
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Only those that name this document.
    pub document: Option<DocumentId>,
    /// Only those on behalf of this principal.
    pub principal: Option<Principal>,
    /// At most so many.
    pub limit: usize,
}

impl Engine {
    /// Scopes, quotas and usage of the caller.
    pub async fn whoami(&self, grant: Grant<access::Whoami>) -> Flow<Whoami> {
        let end = self.whoami_under(&grant).await.map(|me| (me, Deed::success()));
        self.settle(grant, end).await
    }

    async fn whoami_under(&self, grant: &Grant<access::Whoami>) -> Result<Whoami, Error> {
        let Identity::Key(key_id) = grant.identity() else {
            return Err(Error::not_found());
        };
        let key = self.inner.registry.credentials().key(key_id).ok_or_else(Error::not_found)?;
        let totals = self.tenant_totals(grant).await?;
        self.inner.trail.warm(grant.incarnation()).await?;
        Ok(Whoami {
            tenant: grant.tenant().clone(),
            key_id: key_id.clone(),
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            principals: key.principals.clone(),
            namespaces: key.namespaces.clone(),
            expires_at: key.expires_at,
            quotas: *grant.quotas(),
            usage: TenantUsage {
                documents: totals.documents,
                bytes: totals.bytes,
                namespaces: self.inner.registry.all_namespaces(grant).len() as u64,
                requests: self.inner.trail.usage_of(grant.incarnation()).requests,
            },
        })
    }

    /// One of the tenant's own operations.
    pub async fn operation(&self, grant: Grant<Operations>, id: OperationId) -> Flow<OperationView> {
        let found = self.inner.registry.operation_of(grant.incarnation(), id).ok_or_else(Error::not_found);
        self.settle(grant, found.map(|view| (view, Deed::success()))).await
    }

    /// The tenant's own audit, oldest first.
    pub async fn audit(&self, grant: Grant<Audit>, query: AuditQuery) -> Flow<Vec<serde_json::Value>> {
        let read = self.inner.trail.read(
            &grant,
            ledger::Reading {
                since: query.since,
                until: query.until,
                document: query.document,
                principal: query.principal,
                limit: query.limit,
            },
        );
        let end = read.await.map(|lines| {
            let deed = Deed::success().count("lines", lines.len() as u64);
            (lines, deed)
        });
        self.settle(grant, end).await
    }
}
