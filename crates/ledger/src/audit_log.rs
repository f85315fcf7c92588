//! Entry point of the ledger: every audited event is recorded here, and every reply needs the proof that this returns.

use crate::{
    ApiKeyEvent, AuditEvent, AuditPage, Audited, ChainReport, Error, PageReader, RecordQuery, RecordWriter, Rollback,
    Usage,
    chain::{ChainEnv, ChainOwner, HashChain},
    event::{PendingRecord, RollbackFields},
    open_log::OpenLogs,
    rollback::{ACCEPTED, ROLLED_BACK, Rollbacks},
    usage::REFUSED,
    verify::Verifier,
};
use access::{Action, Audit, Grant, Operator, Refusal};
use journal::Storage;
use kernel::{
    AuditOutboxRecord, AuditPosition, AuditSink, BoxFuture, Clock, Code, CommitNo, Entropy, Incarnation, NamespaceName,
    NamespaceUuid, OperationId, TenantId, Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use std::{collections::HashMap, sync::Arc};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use vault::{Directory, Keyspace};

/// Dependencies and limits of an [`AuditLog`].
pub struct AuditLogConfig {
    /// Storage that holds the chains.
    pub storage: Storage,
    /// Looks up the keyspace of a tenant's audit log.
    pub directory: Arc<dyn Directory>,
    /// Keyspace of the operators' audit log.
    pub control: Arc<Keyspace>,
    /// Source of timestamps and of retry delays.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness for keys and nonces.
    pub entropy: Arc<dyn Entropy>,
    /// Owns the writing tasks; shutdown waits for it.
    pub tracker: TaskTracker,
    /// Limit on tenants' logs that are open at once, each with a file; the product uses
    /// [`kernel::limits::AUDIT_LOGS_OPEN_MAX`]. Opening one more first closes idle logs, and waits until one has closed.
    pub chains_open_max: u64,
}

/// The audit logs of all tenants and of the operators, one chain each. Cheap to clone.
#[derive(Clone)]
pub struct AuditLog(Arc<Inner>);

struct Inner {
    shared: Arc<ChainEnv>,
    /// One chain for each tenant. A chain cannot reach another chain's records.
    chains: Mutex<HashMap<Incarnation, Arc<HashChain>>>,
    operators: Arc<HashChain>,
}

impl AuditLog {
    /// Creates the audit log without opening a chain; the first record of a chain opens it.
    pub fn new(config: AuditLogConfig) -> Self {
        let AuditLogConfig { storage, directory, control, clock, entropy, tracker, chains_open_max: open_max } = config;
        let most = usize::try_from(open_max).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(ChainEnv {
            tenant_logs: OpenLogs::new(most as u64, u64::MAX, Arc::clone(&clock), tracker.clone()),
            operators_log: OpenLogs::new(1, u64::MAX, Arc::clone(&clock), tracker.clone()),
            open_log_permits: Arc::new(Semaphore::new(most)),
            rollbacks: Rollbacks::default(),
            storage,
            directory,
            clock,
            entropy,
            tracker,
        });
        let operators = HashChain::new(Arc::clone(&shared), ChainOwner::Server(control));
        Self(Arc::new(Inner { shared, chains: Mutex::default(), operators }))
    }

    /// Finishes a read request. Its record is queued, and the reply does not wait for the disk: queued records are lost
    /// if the machine loses power before the next group commit, which usually follows within milliseconds. Waits while
    /// the tenant's queue is full.
    pub async fn seal<A: Action, T>(&self, grant: Grant<A>, event: AuditEvent, body: T) -> Audited<T> {
        let draft = PendingRecord::from_grant(&grant, self.now()).with_event(event, self.now());
        self.chain(grant.incarnation()).queue(draft).await;
        Audited::new(body)
    }

    /// Like [`seal`](Self::seal), but the record is durable when this returns.
    ///
    /// # Errors
    /// If the record cannot be written. The body is then discarded.
    pub async fn seal_durable<A: Action, T>(
        &self,
        grant: Grant<A>,
        event: AuditEvent,
        body: T,
    ) -> Result<Audited<T>, Audited<kernel::Error>> {
        let draft = PendingRecord::from_grant(&grant, self.now()).with_event(event, self.now());
        match self.chain(grant.incarnation()).write(draft, None).await {
            Ok(()) => Ok(Audited::new(body)),
            Err(error) => Err(Audited::new(error)),
        }
    }

    /// Finishes an admitted request with an error.
    pub async fn refuse<A: Action>(&self, grant: Grant<A>, error: kernel::Error) -> Audited<kernel::Error> {
        let event = AuditEvent::failure(error.code);
        self.seal(grant, event, error).await
    }

    /// Finishes a request that was not admitted. The tenant's chain gets a record if the gate identified the tenant and
    /// asks for one. `route` is the route template, never the path.
    pub async fn refused(&self, refusal: Refusal, route: &'static str) -> Audited<kernel::Error> {
        if let Some((_, incarnation, key)) = refusal.known.as_ref().filter(|_| refusal.audit) {
            let mut draft = PendingRecord::without_grant("api_key", key.to_string(), REFUSED, self.now());
            draft.failure = Some(refusal.error.code.as_str().to_owned());
            draft.route = Some(route.to_owned());
            self.chain(*incarnation).queue(draft).await;
        }
        Audited::new(refusal.error)
    }

    /// Returns a writer for the record of a mutation, to be used once the outcome is known.
    pub fn record_writer<A: Action>(&self, grant: &Grant<A>) -> RecordWriter {
        RecordWriter::new(grant, Arc::clone(&self.0.shared.clock))
    }

    /// Encodes the record of a mutation whose outcome is already known.
    pub fn encode_record<A: Action>(&self, grant: &Grant<A>, event: AuditEvent) -> Vec<u8> {
        self.record_writer(grant).write(event)
    }

    /// Finishes a mutation. Its record is part of the commit, which passes it to [`AuditLog::sink`].
    pub fn sealed_by_commit<A: Action, T>(&self, grant: Grant<A>, commit: CommitNo, body: T) -> Audited<T> {
        tracing::trace!(request = %grant.request(), %commit, "the audit record is part of the commit");
        Audited::new(body)
    }

    /// Acknowledges a request that continues in the background. The background work takes the grant and consumes it at
    /// its end.
    pub fn receipt<A: Action>(&self, grant: &Grant<A>, operation: OperationId) -> Audited<OperationId> {
        tracing::trace!(request = %grant.request(), %operation, "work continues under its grant");
        Audited::new(operation)
    }

    /// The sink that receives the records of commits.
    pub fn sink(&self) -> Arc<dyn AuditSink> {
        Arc::new(Sink(self.clone()))
    }

    /// Starts reading a page of the tenant's own records, oldest first. A key that is restricted to namespaces reads
    /// only records that name one of those.
    ///
    /// # Errors
    /// `key_unavailable`, `internal` when the chain does not open.
    pub async fn read(&self, grant: &Grant<Audit>, reading: RecordQuery) -> Result<PageReader, kernel::Error> {
        let fence = grant.allowed_namespaces().map(<[NamespaceName]>::to_vec);
        self.chain(grant.incarnation()).read(RecordQuery { namespaces: fence, ..reading }).await
    }

    /// Verifies the tenant's whole chain.
    ///
    /// # Errors
    /// `internal`, naming the first record that does not match.
    pub async fn verify(&self, grant: &Grant<Audit>) -> Result<ChainReport, kernel::Error> {
        self.chain(grant.incarnation()).verify().await
    }

    /// Records what an operator is about to do; durable when this returns. If this fails, the caller must not act.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub async fn operator_act(
        &self,
        operator: &Operator,
        act: &'static str,
        tenant: Option<&TenantId>,
    ) -> Result<(), kernel::Error> {
        let mut draft =
            PendingRecord::without_grant("operator", operator.name().to_string(), act, self.now()).with_tenant(tenant);
        draft.request = operator.request().to_string();
        self.0.operators.write(draft, None).await
    }

    /// Records in the operators' audit log what the server did or detected itself; durable when this returns.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub async fn server_act(
        &self,
        act: &'static str,
        tenant: Option<&TenantId>,
        why: Option<&str>,
    ) -> Result<(), kernel::Error> {
        let mut draft =
            PendingRecord::without_grant("server", "ringfence".to_owned(), act, self.now()).with_tenant(tenant);
        draft.failure = why.map(str::to_owned);
        self.0.operators.write(draft, None).await
    }

    /// Records in a tenant's own audit log what an operator did to the tenant or to one of its API keys; durable when
    /// this returns.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub async fn tenant_act(
        &self,
        operator: &Operator,
        act: &'static str,
        incarnation: Incarnation,
        key: Option<&ApiKeyEvent>,
    ) -> Result<(), kernel::Error> {
        self.chain(incarnation).write(self.operator_record_draft(operator, act, key), None).await
    }

    /// Like [`tenant_act`](Self::tenant_act), for an act that must not wait for its record: the record is written as
    /// soon as the chain is writable.
    pub fn tenant_act_later(
        &self,
        operator: &Operator,
        act: &'static str,
        incarnation: Incarnation,
        key: Option<&ApiKeyEvent>,
    ) {
        self.chain(incarnation).queue_operator_act(self.operator_record_draft(operator, act, key));
    }

    /// Encodes the record of an operator's acceptance of a namespace that differs from what its audit log recorded. The
    /// store receives the record and passes it to the tenant's chain.
    pub fn encode_acceptance(&self, operator: &Operator, name: &NamespaceName) -> Vec<u8> {
        let mut draft = self.operator_record_draft(operator, ACCEPTED, None);
        draft.namespace = Some(name.as_str().to_owned());
        draft.encode()
    }

    fn operator_record_draft(
        &self,
        operator: &Operator,
        act: &'static str,
        key: Option<&ApiKeyEvent>,
    ) -> PendingRecord {
        let mut draft = PendingRecord::without_grant("operator", operator.name().to_string(), act, self.now());
        draft.request = operator.request().to_string();
        match key {
            Some(key) => draft.with_api_key(key),
            None => draft,
        }
    }

    /// Returns a namespace that differs from what its tenant's audit log recorded and that the operators' audit log
    /// does not report yet. Returns the same one until [`AuditLog::report_rollback`] succeeds.
    pub fn unreported_rollback(&self) -> Option<Rollback> {
        self.0.shared.rollbacks.unreported()
    }

    /// Reports the rollback in the operators' audit log.
    ///
    /// # Errors
    /// If the record cannot be written.
    pub async fn report_rollback(&self, rollback: Rollback, tenant: Option<&TenantId>) -> Result<(), kernel::Error> {
        self.0.operators.write(self.rollback_draft(rollback).with_tenant(tenant), None).await?;
        self.0.shared.rollbacks.mark_reported();
        Ok(())
    }

    fn rollback_draft(&self, rollback: Rollback) -> PendingRecord {
        let mut draft = PendingRecord::without_grant("server", "ringfence".to_owned(), ROLLED_BACK, self.now());
        draft.failure = Some(Code::RolledBack.as_str().to_owned());
        let Rollback { namespace, recorded, found, .. } = rollback;
        draft.rollback = Some(RollbackFields { log: namespace.to_string(), recorded: recorded.0, found: found.0 });
        draft
    }

    /// Number of namespaces that are refused because they differ from what was recorded of them.
    pub fn rollbacks(&self) -> u64 {
        self.0.shared.rollbacks.count()
    }

    /// Returns the newest recorded commit of each of these namespaces.
    ///
    /// # Errors
    /// `key_unavailable`, `internal` when the chain does not open.
    pub async fn recorded(
        &self,
        incarnation: Incarnation,
        namespaces: &[NamespaceUuid],
    ) -> Result<Vec<Option<AuditPosition>>, kernel::Error> {
        self.chain(incarnation).recorded_all(namespaces).await
    }

    /// Starts reading a page of the operators' audit log, oldest first.
    ///
    /// # Errors
    /// `internal` when the chain does not open.
    pub async fn operator_acts(&self, _operator: &Operator, reading: RecordQuery) -> Result<PageReader, kernel::Error> {
        self.0.operators.read(reading).await
    }

    /// Usage counters of every tenant whose chain was opened since the start of the process; [`AuditLog::open_chain`]
    /// opens one.
    pub fn usage(&self) -> Vec<(Incarnation, Usage)> {
        self.lock().iter().map(|(incarnation, chain)| (*incarnation, chain.usage())).collect()
    }

    /// A tenant's usage counters, if its chain was opened since the start of the process.
    pub fn known_usage(&self, incarnation: Incarnation) -> Option<Usage> {
        self.lock().get(&incarnation)?.known_usage()
    }

    /// A tenant's usage counters; all zero until its chain is opened.
    pub fn usage_of(&self, incarnation: Incarnation) -> Usage {
        self.chain(incarnation).usage()
    }

    /// Opens a tenant's chain, so that its usage counters are known.
    ///
    /// # Errors
    /// `key_unavailable`, `internal` when the chain does not open.
    pub async fn open_chain(&self, incarnation: Incarnation) -> Result<(), kernel::Error> {
        self.chain(incarnation).warm().await
    }

    /// Closes the log of a tenant that is suspended or whose keys may no longer be used. Queued records are written
    /// first; a later record reopens the log if the key is available. Returns whether the log is closed: it stays open
    /// while a task reads or writes it. The chain itself stays in memory, so that a second log of it is never opened.
    pub async fn release(&self, incarnation: Incarnation) -> bool {
        let chain = self.lock().get(&incarnation).cloned();
        match chain {
            Some(chain) => chain.release().await,
            None => true,
        }
    }

    /// Re-encrypts a tenant's whole audit log under the newest key of this keyspace.
    ///
    /// # Errors
    /// Whatever stopped it. A retry does the remaining work.
    pub async fn reencrypt(&self, keyspace: &Arc<Keyspace>) -> Result<(), kernel::Error> {
        let incarnation = keyspace.incarnation().ok_or_else(kernel::Error::not_found)?;
        self.chain(incarnation).reencrypt(keyspace).await
    }

    /// Like [`AuditLog::reencrypt`], for the operators' audit log, whose keyspace was given at construction.
    ///
    /// # Errors
    /// As [`AuditLog::reencrypt`].
    pub async fn reencrypt_operators(&self, keyspace: &Arc<Keyspace>) -> Result<(), kernel::Error> {
        self.0.operators.reencrypt(keyspace).await
    }

    /// Closes the chain of a tenant that is about to be erased and refuses further records. Queued records are written
    /// first if possible. The chain stays registered as closed until [`forget`](Self::forget), so that a concurrent
    /// request is refused instead of opening a second log.
    pub async fn end(&self, incarnation: Incarnation) {
        let chain = self.chain(incarnation);
        if let Err(error) = chain.flush().await {
            tracing::warn!(code = error.code.as_str(), "audit records of a deleted tenant were dropped");
        }
        chain.abandon().await;
    }

    /// Ends a tenant's chain, unless that has happened, and drops it from memory. The next record starts from the log
    /// as it is in storage; an erased tenant no longer has a keyspace.
    pub async fn forget(&self, incarnation: Incarnation) {
        if !self.lock().contains_key(&incarnation) {
            return;
        }
        self.end(incarnation).await;
        self.lock().remove(&incarnation);
    }

    /// Writes all queued records and marks the clean end of each chain.
    pub async fn close(&self) {
        let mut chains: Vec<_> = self.lock().values().cloned().collect();
        chains.push(Arc::clone(&self.0.operators));
        for chain in chains {
            if let Err(error) = chain.mark_clean().await {
                tracing::error!(code = error.code.as_str(), "audit records could not be written before shutdown");
            }
        }
    }

    /// Number of tenants' and operators' logs that are open.
    pub fn open_chains(&self) -> u64 {
        self.0.shared.tenant_logs.stats().open + self.0.shared.operators_log.stats().open
    }

    fn chain(&self, incarnation: Incarnation) -> Arc<HashChain> {
        let fresh = || HashChain::new(Arc::clone(&self.0.shared), ChainOwner::Tenant(incarnation));
        Arc::clone(self.lock().entry(incarnation).or_insert_with(fresh))
    }

    fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Incarnation, Arc<HashChain>>> {
        self.0.chains.lock()
    }
}

struct Sink(AuditLog);

impl AuditSink for Sink {
    fn append_from_outbox(&self, record: AuditOutboxRecord) -> BoxFuture<'_, Result<(), kernel::Error>> {
        Box::pin(async move {
            let draft = PendingRecord::decode(&record.line).ok_or(Error::ForeignRecord)?;
            let accepted = draft.operation == ACCEPTED;
            let commit = Some((record.namespace, record.mark));
            self.0.chain(record.incarnation).write(draft, commit).await?;
            if accepted {
                self.0.0.shared.rollbacks.resolve(record.namespace);
            }
            Ok(())
        })
    }

    fn recorded(
        &self,
        incarnation: Incarnation,
        namespace: NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditPosition>, kernel::Error>> {
        Box::pin(async move { self.0.chain(incarnation).recorded(namespace).await })
    }

    fn rolled_back(
        &self,
        incarnation: Incarnation,
        namespace: NamespaceUuid,
        recorded: AuditPosition,
        found: CommitNo,
    ) {
        let rollback = Rollback { incarnation, namespace, recorded: recorded.commit, found };
        if self.0.0.shared.rollbacks.note(rollback) {
            let (audit_log, draft) = (self.0.clone(), self.0.rollback_draft(rollback));
            // The tenant's audit log gets a record too; the refused request does not wait for it.
            self.0.0.shared.tracker.spawn(async move { audit_log.chain(incarnation).queue(draft).await });
        }
    }
}

impl HashChain {
    async fn verify(self: &Arc<Self>) -> Result<ChainReport, kernel::Error> {
        let mut verifier = None;
        let mut after = Some(0);
        while after.is_some() {
            let page = whole_page(self.read(RecordQuery { after, limit: usize::MAX, ..RecordQuery::default() }).await?)
                .await?;
            let verifier = verifier.get_or_insert_with(|| Verifier::from_genesis(page.head.chain.clone()));
            for record in page.values()? {
                verifier.next(&record)?;
            }
            after = page.next;
        }
        Ok(verifier.unwrap_or_default().report())
    }
}

/// Reads a page on a blocking thread, for callers without a thread pool of their own.
async fn whole_page(mut reader: PageReader) -> Result<AuditPage, kernel::Error> {
    while let Some(piece) = reader.next().await? {
        #[expect(clippy::disallowed_methods, reason = "one at a time for each caller; the runtime bounds its threads")]
        let found = tokio::task::spawn_blocking(move || piece.read()).await.map_err(|_| Error::Closed)??;
        reader.take(found);
    }
    Ok(reader.finish())
}

#[cfg(test)]
mod tests;
