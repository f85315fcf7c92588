//! What a tenant may ask about itself.

use crate::{Engine, Flow, work::Asker};
use access::{Audit, Grant, Identity, Operations};
use kernel::{
    DocumentId, Error, Incarnation, KeyId, NamespaceName, OperationId, Presence, Principal, Quotas, Scope, TenantId,
    Timestamp, limits,
};
use ledger::{AuditHead, AuditPage, Deed, PageReader, Reading};
use registry::{OperationView, SignedHead};
use store::Totals;

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
    /// Documents that the key sees; `None` for one without `read_all` that may enter many namespaces.
    pub documents: Option<u64>,
    /// Bytes that they count for quotas; `None` as above.
    pub bytes: Option<u64>,
    /// Namespaces that the key may enter; for one without `read_all`, those in which it sees something, if they are few.
    pub namespaces: u64,
    /// Requests of the tenant since it exists; `None` for a key that is fenced to namespaces or has no
    /// `read_all`.
    pub requests: Option<u64>,
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
    /// Only lines after this number.
    pub after: Option<u64>,
    /// At most this number of lines.
    pub limit: usize,
}

/// A page of an audit.
#[derive(Debug)]
pub struct AuditReply {
    /// Lines as they are stored: canonical JSON, one object each, oldest first.
    pub lines: Vec<Box<[u8]>>,
    /// Where the next page begins: give it as `after`. `None` at the end.
    pub next: Option<u64>,
    /// Where the audit ended when the page was begun, signed by the server.
    pub head: Option<SignedHead>,
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
        let usage = self.usage_under(grant).await?;
        Ok(Whoami {
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
    async fn usage_under(&self, grant: &Grant<access::Whoami>) -> Result<TenantUsage, Error> {
        let (incarnation, registry) = (grant.incarnation(), &self.inner.registry);
        let own = grant.fence().map(|fence| registry.uuids_of(incarnation, fence));
        let namespaces = own.as_ref().map_or_else(|| registry.namespace_count(incarnation), |own| own.len() as u64);
        let mut usage = TenantUsage { namespaces, ..TenantUsage::default() };
        let stored = if !grant.has(Scope::ReadAll) {
            // The stored sums include hidden documents. If one of the namespaces does not open, there is no sum.
            let seen = self.totals_seen(grant).await.unwrap_or(None);
            if let Some((_, namespaces)) = seen {
                usage.namespaces = namespaces;
            }
            seen.map(|(totals, _)| totals)
        } else if let Some(own) = own {
            Some(self.totals_in(incarnation, &own).await?)
        } else {
            self.inner.trail.warm(incarnation).await?;
            usage.requests = Some(self.inner.trail.usage_of(incarnation).requests);
            Some(self.tenant_totals(incarnation).await?)
        };
        (usage.documents, usage.bytes) = (stored.map(|s| s.documents), stored.map(|s| s.bytes));
        Ok(usage)
    }

    /// Sums over what a key without `read_all` sees, and the number of namespaces in which it sees something. Each
    /// namespace is opened for it, so there is no sum for a key that may use many.
    async fn totals_seen(&self, grant: &Grant<access::Whoami>) -> Result<Option<(Totals, u64)>, Error> {
        let (records, more) = self.inner.registry.namespaces(grant, None, SUMMED_NAMESPACES_MAX)?;
        if more.is_some() {
            return Ok(None);
        }
        let (mut sum, mut namespaces) = (Totals::default(), 0);
        for record in records {
            grant.presence().check()?;
            let audience = grant.audience(None, record.settings.readers())?;
            let one = self.inner.stores.totals(grant, &record.name, &record.settings, &audience).await?;
            sum = Totals { documents: sum.documents + one.documents, bytes: sum.bytes + one.bytes, ..sum };
            namespaces += u64::from(one.documents > 0);
        }
        Ok(Some((sum, namespaces)))
    }

    /// One of the tenant's own operations.
    pub async fn operation(&self, grant: Grant<Operations>, id: OperationId) -> Flow<OperationView> {
        let found = self.inner.registry.operation_of(grant.incarnation(), id).ok_or_else(Error::not_found);
        self.settle(grant, found.map(|view| (view, Deed::success()))).await
    }

    /// A page of the tenant's own audit, oldest first; of a key that is fenced to namespaces, the lines of those.
    pub async fn audit(&self, grant: Grant<Audit>, query: AuditQuery) -> Flow<AuditReply> {
        let end = self.audit_under(&grant, query).await.map(|reply| {
            let deed = Deed::success().count("lines", reply.lines.len() as u64);
            (reply, deed)
        });
        self.settle(grant, end).await
    }

    async fn audit_under(&self, grant: &Grant<Audit>, query: AuditQuery) -> Result<AuditReply, Error> {
        let _place = self.inner.searches.enter(grant.incarnation(), 1)?;
        let AuditQuery { since, until, document, principal, after, limit } = query;
        let reading = Reading { since, until, document, principal, namespaces: None, after, limit };
        let reader = self.inner.trail.read(grant, reading).await?;
        let AuditPage { lines, next, head } = self.audit_page(grant.incarnation(), grant.presence(), reader).await?;
        // The head tells the number of all lines, which a key that is limited to namespaces may not know.
        let whose = Some((grant.tenant(), grant.incarnation()));
        let head = grant.fence().is_none().then(|| self.sign_head(whose, head)).transpose()?;
        Ok(AuditReply { lines, next, head })
    }

    /// Where an audit ended, under the server's signature.
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
        presence: &Presence,
        mut reader: PageReader,
    ) -> Result<AuditPage, Error> {
        // A chunk as it was fetched, as it is opened, and the lines that were found.
        let bytes = 2 * reader.piece_bytes() + limits::AUDIT_PAGE_BYTES_MAX as u64;
        let _bytes = self.inner.search_bytes.enter(owner, bytes)?;
        while let Some(piece) = reader.next().await? {
            presence.check()?;
            let found = self.inner.work.cpu(Asker::on_behalf(owner, presence), move || piece.read()).await??;
            reader.take(found);
        }
        Ok(reader.finish())
    }
}

/// Most namespaces over which a key without `read_all` gets sums: each may have to be opened.
const SUMMED_NAMESPACES_MAX: usize = 16;
