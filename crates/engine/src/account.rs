//! Flows in which a tenant reads about itself: its key, its usage, its operations and its audit.

use crate::{Engine, FlowResult, work::TaskContext};
use access::{Audit, Grant, Identity, Operations};
use kernel::{
    CancelFlag, DocumentId, Error, Incarnation, KeyId, NamespaceName, OperationId, Principal, Quotas, Scope, TenantId,
    Timestamp, limits,
};
use ledger::{AuditEvent, AuditHead, AuditPage, PageReader, RecordQuery};
use registry::{OperationView, SignedHead};
use store::Totals;

/// Reply that identifies the caller and what it may do.
#[derive(Debug)]
pub struct WhoamiReply {
    /// Tenant of the key.
    pub tenant: TenantId,
    /// Id of the API key.
    pub key_id: KeyId,
    /// Name of the API key.
    pub name: String,
    /// Scopes of the key.
    pub scopes: Vec<Scope>,
    /// Principals of the key.
    pub principals: Vec<Principal>,
    /// Namespaces that the key may use; empty means all.
    pub namespaces: Vec<NamespaceName>,
    /// Expiry of the key, if it has one.
    pub expires_at: Option<Timestamp>,
    /// Quotas of the tenant.
    pub quotas: Quotas,
    /// Usage that the key may know.
    pub usage: TenantUsageReport,
}

/// Usage of a tenant, as far as the key may know it.
#[derive(Clone, Copy, Debug, Default)]
pub struct TenantUsageReport {
    /// Documents that the key sees; `None` for a key without `read_all` that may use many namespaces.
    pub documents: Option<u64>,
    /// Bytes of these documents as quotas count them; `None` as above.
    pub bytes: Option<u64>,
    /// Namespaces that the key may use; for a key without `read_all`, those in which it sees a document, if they are
    /// few.
    pub namespaces: u64,
    /// Requests of the tenant since its creation; `None` for a key that is restricted to namespaces or lacks
    /// `read_all`.
    pub requests: Option<u64>,
}

/// Selects audit records.
#[derive(Debug, Default)]
pub struct AuditQuery {
    /// Only records from this time on.
    pub since: Option<Timestamp>,
    /// Only records before this time.
    pub until: Option<Timestamp>,
    /// Only records that name this document.
    pub document: Option<DocumentId>,
    /// Only records on behalf of this principal.
    pub principal: Option<Principal>,
    /// Only records after this number.
    pub after: Option<u64>,
    /// Most records to return.
    pub limit: usize,
}

/// Reply with a page of an audit.
#[derive(Debug)]
pub struct AuditReply {
    /// Records as they are stored: canonical JSON, one object each, oldest first.
    pub lines: Vec<Box<[u8]>>,
    /// Cursor to pass as `after` for the next page; `None` at the end.
    pub next: Option<u64>,
    /// Head of the audit when reading began, signed by the server.
    pub head: Option<SignedHead>,
}

impl Engine {
    /// Returns the scopes, quotas and usage of the caller.
    pub async fn whoami(&self, grant: Grant<access::Whoami>) -> FlowResult<WhoamiReply> {
        let end = self.whoami_under(&grant).await.map(|me| (me, AuditEvent::success()));
        self.finish_read(grant, end).await
    }

    async fn whoami_under(&self, grant: &Grant<access::Whoami>) -> Result<WhoamiReply, Error> {
        let Identity::Key(key_id) = grant.identity() else {
            return Err(Error::not_found());
        };
        let key = self.inner.registry.credentials().key(key_id).ok_or_else(Error::not_found)?;
        let usage = self.usage_under(grant).await?;
        Ok(WhoamiReply {
            tenant: grant.tenant().clone(),
            key_id: key_id.clone(),
            name: key.name.clone(),
            scopes: key.scopes.clone(),
            principals: key.principals.clone(),
            namespaces: key.namespaces.clone(),
            expires_at: key.expires_at,
            quotas: *grant.quotas(),
            usage,
        })
    }

    /// The usage that the caller may know: sums over what it sees.
    async fn usage_under(&self, grant: &Grant<access::Whoami>) -> Result<TenantUsageReport, Error> {
        let (incarnation, registry) = (grant.incarnation(), &self.inner.registry);
        let own = grant.allowed_namespaces().map(|fence| registry.uuids_of(incarnation, fence));
        let namespaces = own.as_ref().map_or_else(|| registry.namespace_count(incarnation), |own| own.len() as u64);
        let mut usage = TenantUsageReport { namespaces, ..TenantUsageReport::default() };
        let stored = if !grant.has(Scope::ReadAll) {
            // The stored totals include hidden documents. If one of the namespaces does not open, there is no total.
            let visible = self.visible_totals(grant).await.unwrap_or(None);
            if let Some((_, namespaces)) = visible {
                usage.namespaces = namespaces;
            }
            visible.map(|(totals, _)| totals)
        } else if let Some(own) = own {
            Some(self.totals_in(incarnation, &own).await?)
        } else {
            self.inner.audit_log.open_chain(incarnation).await?;
            usage.requests = Some(self.inner.audit_log.usage_of(incarnation).requests);
            Some(self.tenant_totals(incarnation).await?)
        };
        (usage.documents, usage.bytes) = (stored.map(|s| s.documents), stored.map(|s| s.bytes));
        Ok(usage)
    }

    /// Sums over what a key without `read_all` sees, and the number of namespaces in which it sees something. Each
    /// namespace is opened for it, so there is no sum for a key that may use many.
    async fn visible_totals(&self, grant: &Grant<access::Whoami>) -> Result<Option<(Totals, u64)>, Error> {
        let (records, more) = self.inner.registry.namespaces(grant, None, SUMMED_NAMESPACES_MAX)?;
        if more.is_some() {
            return Ok(None);
        }
        let (mut sum, mut namespaces) = (Totals::default(), 0);
        for record in records {
            grant.cancel_flag().check()?;
            let audience = grant.audience(None, record.settings.readers())?;
            let one = self.inner.stores.totals(grant, &record.name, &record.settings, &audience).await?;
            sum = Totals { documents: sum.documents + one.documents, bytes: sum.bytes + one.bytes, ..sum };
            namespaces += u64::from(one.documents > 0);
        }
        Ok(Some((sum, namespaces)))
    }

    /// Returns an operation that the caller's key started, or any operation of the tenant for a key that sees all of
    /// it.
    pub async fn operation(&self, grant: Grant<Operations>, id: OperationId) -> FlowResult<OperationView> {
        let found = self.inner.registry.operation_of(&grant, id).ok_or_else(Error::not_found);
        self.finish_read(grant, found.map(|view| (view, AuditEvent::success()))).await
    }

    /// Returns a page of the tenant's own audit, oldest first. A key that is restricted to namespaces gets their
    /// records only.
    pub async fn audit(&self, grant: Grant<Audit>, query: AuditQuery) -> FlowResult<AuditReply> {
        let end = self.audit_under(&grant, query).await.map(|reply| {
            let event = AuditEvent::success().count("lines", reply.lines.len() as u64);
            (reply, event)
        });
        self.finish_read(grant, end).await
    }

    async fn audit_under(&self, grant: &Grant<Audit>, query: AuditQuery) -> Result<AuditReply, Error> {
        let _permit = self.inner.searches.acquire(grant.incarnation(), 1)?;
        let AuditQuery { since, until, document, principal, after, limit } = query;
        let reading = RecordQuery { since, until, document, principal, namespaces: None, after, limit };
        let reader = self.inner.audit_log.read(grant, reading).await?;
        let AuditPage { lines, next, head } = self.audit_page(grant.incarnation(), grant.cancel_flag(), reader).await?;
        // The head contains the number of all records, which a key that is restricted to namespaces may not know.
        let whose = Some((grant.tenant(), grant.incarnation()));
        let head = grant.allowed_namespaces().is_none().then(|| self.sign_head(whose, head)).transpose()?;
        Ok(AuditReply { lines, next, head })
    }

    /// Signs the head of an audit with the server's key.
    pub(crate) fn sign_head(
        &self,
        whose: Option<(&TenantId, Incarnation)>,
        head: AuditHead,
    ) -> Result<SignedHead, Error> {
        let AuditHead { chain, lines, head } = head;
        self.inner.registry.sign_audit_head(whose, chain, lines, head)
    }

    /// Reads a page chunk by chunk: bytes are fetched without holding a computing thread, and each chunk is decrypted
    /// and filtered on the pool, in the turn of the audit's tenant. Ends between two chunks when the client has
    /// disconnected.
    pub(crate) async fn audit_page(
        &self,
        owner: Incarnation,
        cancel: &CancelFlag,
        mut reader: PageReader,
    ) -> Result<AuditPage, Error> {
        // A chunk as fetched and as decrypted, and the records that were found.
        let bytes = 2 * reader.piece_bytes() + limits::AUDIT_PAGE_BYTES_MAX as u64;
        let _bytes = self.inner.search_bytes.acquire(owner, bytes)?;
        while let Some(piece) = reader.next().await? {
            cancel.check()?;
            let found = self.inner.work.cpu(TaskContext::on_behalf(owner, cancel), move || piece.read()).await??;
            reader.take(found);
        }
        Ok(reader.finish())
    }
}

/// Most namespaces over which a key without `read_all` gets totals, because each may have to be opened.
const SUMMED_NAMESPACES_MAX: usize = 16;
