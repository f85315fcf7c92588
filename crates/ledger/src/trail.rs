//! The entry point of the ledger: every audited event is recorded here, and every reply needs the proof of it.

use crate::{
    ApiKeyDeed, AuditPage, Audited, ChainReport, Deed, Error, PageReader, Pen, Reading, Rollback, Usage,
    chain::{Chain, Owner, Shared},
    deed::{Draft, RollbackForm},
    rollback::{ACCEPTED, ROLLED_BACK, Rollbacks},
    usage::REFUSED,
    verify::Verifier,
};
use access::{Action, Audit, Grant, Operator, Refusal};
use journal::Storage;
use kernel::{
    Absorbed, AuditMark, AuditSink, BoxFuture, Clock, Code, CommitNo, Entropy, Incarnation, NamespaceName,
    NamespaceUuid, OperationId, TenantId, Timestamp,
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use vault::{Directory, Home};

/// What a trail needs from its environment.
pub struct TrailConfig {
    /// The data folder.
    pub storage: Storage,
    /// Finds the tenants' audit homes.
    pub directory: Arc<dyn Directory>,
    /// The home of the operators' acts.
    pub control: Arc<Home>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Owns the writing tasks; shutdown waits for it.
    pub tracker: TaskTracker,
    /// Tenants' chains whose log may be open at once, each with a file: [`limits::AUDIT_CHAINS_OPEN_MAX`] in the product.
    /// Others are closed first, and what needs one more waits for that.
    pub chains_open_max: u64,
}

/// The audit of all tenants and of the operators: a chain for each. Cheap to clone.
#[derive(Clone)]
pub struct Trail(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    /// One chain for each tenant; none can reach the lines of another.
    chains: Mutex<HashMap<Incarnation, Arc<Chain>>>,
    operators: Arc<Chain>,
    open_max: u64,
    /// One round of closing at a time.
    closing: AtomicBool,
}

impl Trail {
    /// Opens nothing yet: a chain opens with its first line.
    pub fn new(config: TrailConfig) -> Self {
        let TrailConfig { storage, directory, control, clock, entropy, tracker, chains_open_max: open_max } = config;
        let (open, ticks) = (AtomicU64::new(0), AtomicU64::new(0));
        let rollbacks = Rollbacks::default();
        let most = usize::try_from(open_max).unwrap_or(usize::MAX).clamp(1, Semaphore::MAX_PERMITS);
        let (places, make_room) = (Arc::new(Semaphore::new(most)), OnceLock::new());
        let shared = Shared { storage, directory, clock, entropy, tracker, open, places, make_room, rollbacks, ticks };
        let shared = Arc::new(shared);
        let operators = Chain::new(Arc::clone(&shared), Owner::Server(control));
        let closing = AtomicBool::new(false);
        let inner = Arc::new(Inner { shared, chains: Mutex::default(), operators, open_max, closing });
        let weak = Arc::downgrade(&inner);
        let make_room = move || {
            if let Some(inner) = weak.upgrade() {
                Self(inner).make_room();
            }
        };
        // It was created just now, so it is not set yet.
        let _first = inner.shared.make_room.set(Box::new(make_room));
        Self(inner)
    }

    /// Ends a request that read. Its line is queued; the reply does not wait for the disk. What is
    /// queued is lost when the machine loses power before the group commit, usually within
    /// milliseconds. Waits while the tenant's queue is full.
    pub async fn seal<A: Action, T>(&self, grant: Grant<A>, deed: Deed, body: T) -> Audited<T> {
        let draft = Draft::of(&grant, self.now()).with(deed, self.now());
        self.chain(grant.incarnation()).queue(draft).await;
        Audited::new(body)
    }

    /// The same, but the line is durable when this returns.
    ///
    /// # Errors
    /// When the line cannot be written; the body is not given out then.
    pub async fn seal_durable<A: Action, T>(
        &self,
        grant: Grant<A>,
        deed: Deed,
        body: T,
    ) -> Result<Audited<T>, Audited<kernel::Error>> {
        let draft = Draft::of(&grant, self.now()).with(deed, self.now());
        match self.chain(grant.incarnation()).write(draft, None).await {
            Ok(()) => Ok(Audited::new(body)),
            Err(error) => Err(Audited::new(error)),
        }
    }

    /// Ends an admitted request with an error.
    pub async fn refuse<A: Action>(&self, grant: Grant<A>, error: kernel::Error) -> Audited<kernel::Error> {
        let deed = Deed::failure(error.code);
        self.seal(grant, deed, error).await
    }

    /// Ends a request that was not admitted. Its tenant's chain gets a line if the gate knows the
    /// tenant and says so; `route` is the template, never the path.
    pub async fn refused(&self, refusal: Refusal, route: &'static str) -> Audited<kernel::Error> {
        if let Some((_, incarnation, key)) = refusal.known.as_ref().filter(|_| refusal.audit) {
            let mut draft = Draft::bare("api_key", key.to_string(), REFUSED, self.now());
            draft.failure = Some(refusal.error.code.as_str().to_owned());
            draft.route = Some(route.to_owned());
            self.chain(*incarnation).queue(draft).await;
        }
        Audited::new(refusal.error)
    }

    /// A writer for the line of a mutation, to be used when the outcome is known.
    pub fn pen<A: Action>(&self, grant: &Grant<A>) -> Pen {
        Pen::new(grant, Arc::clone(&self.0.shared.clock))
    }

    /// The line of a mutation whose outcome is known already.
    pub fn line<A: Action>(&self, grant: &Grant<A>, deed: Deed) -> Vec<u8> {
        self.pen(grant).write(deed)
    }

    /// Ends a mutation: its line rides in the commit, which hands it to [`Trail::sink`].
    pub fn sealed_by_commit<A: Action, T>(&self, grant: Grant<A>, commit: CommitNo, body: T) -> Audited<T> {
        tracing::trace!(request = %grant.request(), %commit, "line rides in the commit");
        Audited::new(body)
    }

    /// The reply to a request that continues in the background; its grant goes with the work and is
    /// used up there.
    pub fn receipt<A: Action>(&self, grant: &Grant<A>, operation: OperationId) -> Audited<OperationId> {
        tracing::trace!(request = %grant.request(), %operation, "work continues under its grant");
        Audited::new(operation)
    }

    /// The sink to which commits hand their lines.
    pub fn sink(&self) -> Arc<dyn AuditSink> {
        Arc::new(Sink(self.clone()))
    }

    /// A page of the tenant's own lines, oldest first, to be read piece by piece. A key that is limited to
    /// namespaces reads the lines of those.
    ///
    /// # Errors
    /// `key_unavailable`, `internal` when the chain does not open.
    pub async fn read(&self, grant: &Grant<Audit>, reading: Reading) -> Result<PageReader, kernel::Error> {
        let fence = grant.fence().map(<[NamespaceName]>::to_vec);
        self.chain(grant.incarnation()).read(Reading { namespaces: fence, ..reading }).await
    }

    /// Verifies the tenant's whole chain.
    ///
    /// # Errors
    /// `internal` that names the first line that does not match.
    pub async fn verify(&self, grant: &Grant<Audit>) -> Result<ChainReport, kernel::Error> {
        self.chain(grant.incarnation()).verify().await
    }

    /// Records what an operator is about to do; durable when this returns. Without the line
    /// nothing is done.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub async fn operator_act(
        &self,
        operator: &Operator,
        act: &'static str,
        tenant: Option<&TenantId>,
    ) -> Result<(), kernel::Error> {
        let mut draft = Draft::bare("operator", operator.name().to_string(), act, self.now()).about(tenant);
        draft.request = operator.request().to_string();
        self.0.operators.write(draft, None).await
    }

    /// Records in the operators' audit what the server did or met by itself; durable when this returns.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub async fn server_act(
        &self,
        act: &'static str,
        tenant: Option<&TenantId>,
        why: Option<&str>,
    ) -> Result<(), kernel::Error> {
        let mut draft = Draft::bare("server", "ringfence".to_owned(), act, self.now()).about(tenant);
        draft.failure = why.map(str::to_owned);
        self.0.operators.write(draft, None).await
    }

    /// Tells a tenant, in its own audit, what an operator did to it or to one of its API keys; durable when this returns.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub async fn tenant_act(
        &self,
        operator: &Operator,
        act: &'static str,
        incarnation: Incarnation,
        key: Option<&ApiKeyDeed>,
    ) -> Result<(), kernel::Error> {
        self.chain(incarnation).write(self.operators_draft(operator, act, key), None).await
    }

    /// The same for an act that must not wait for its line, which is written as soon as the chain can be.
    pub async fn tenant_act_later(
        &self,
        operator: &Operator,
        act: &'static str,
        incarnation: Incarnation,
        key: Option<&ApiKeyDeed>,
    ) {
        self.chain(incarnation).queue(self.operators_draft(operator, act, key)).await;
    }

    /// The line for an operator's acceptance of a namespace that is not what its audit has recorded. It goes to the store,
    /// which hands it to the tenant's chain.
    pub fn accepting(&self, operator: &Operator, name: &NamespaceName) -> Vec<u8> {
        let mut draft = self.operators_draft(operator, ACCEPTED, None);
        draft.namespace = Some(name.as_str().to_owned());
        draft.encode()
    }

    fn operators_draft(&self, operator: &Operator, act: &'static str, key: Option<&ApiKeyDeed>) -> Draft {
        let mut draft = Draft::bare("operator", operator.name().to_string(), act, self.now());
        draft.request = operator.request().to_string();
        match key {
            Some(key) => draft.of_key(key),
            None => draft,
        }
    }

    /// A namespace that is not what its tenant's audit has recorded, if that is not in the operators' audit yet; the same
    /// one until [`Trail::tell_rollback`] succeeds.
    pub fn untold_rollback(&self) -> Option<Rollback> {
        self.0.shared.rollbacks.untold()
    }

    /// Records it in the operators' audit.
    ///
    /// # Errors
    /// When the line cannot be written.
    pub async fn tell_rollback(&self, rollback: Rollback, tenant: Option<&TenantId>) -> Result<(), kernel::Error> {
        self.0.operators.write(self.rollback_draft(rollback).about(tenant), None).await?;
        self.0.shared.rollbacks.told();
        Ok(())
    }

    fn rollback_draft(&self, rollback: Rollback) -> Draft {
        let mut draft = Draft::bare("server", "ringfence".to_owned(), ROLLED_BACK, self.now());
        draft.failure = Some(Code::RolledBack.as_str().to_owned());
        let Rollback { namespace, recorded, found, .. } = rollback;
        draft.rollback = Some(RollbackForm { log: namespace.to_string(), recorded: recorded.0, found: found.0 });
        draft
    }

    /// Namespaces that are refused because they are not what was recorded of them.
    pub fn rollbacks(&self) -> u64 {
        self.0.shared.rollbacks.count()
    }

    /// How far the tenant's chain has recorded these namespaces.
    ///
    /// # Errors
    /// `key_unavailable`, `internal` when the chain does not open.
    pub async fn recorded(
        &self,
        incarnation: Incarnation,
        namespaces: &[NamespaceUuid],
    ) -> Result<Vec<Option<AuditMark>>, kernel::Error> {
        self.chain(incarnation).recorded_all(namespaces).await
    }

    /// A page of what operators did, oldest first, to be read piece by piece.
    ///
    /// # Errors
    /// `internal` when the chain does not open.
    pub async fn operator_acts(&self, _operator: &Operator, reading: Reading) -> Result<PageReader, kernel::Error> {
        self.0.operators.read(reading).await
    }

    /// Counters of every tenant whose chain was opened since the start; [`Trail::warm`] opens one.
    pub fn usage(&self) -> Vec<(Incarnation, Usage)> {
        self.lock().iter().map(|(incarnation, chain)| (*incarnation, chain.usage())).collect()
    }

    /// One tenant's counters, if its chain was opened since the start.
    pub fn known_usage(&self, incarnation: Incarnation) -> Option<Usage> {
        self.lock().get(&incarnation)?.known_usage()
    }

    /// One tenant's counters; zeroes until its chain was opened.
    pub fn usage_of(&self, incarnation: Incarnation) -> Usage {
        self.chain(incarnation).usage()
    }

    /// Opens a tenant's chain, so that its counters are known.
    ///
    /// # Errors
    /// `key_unavailable`, `internal` when the chain does not open.
    pub async fn warm(&self, incarnation: Incarnation) -> Result<(), kernel::Error> {
        self.chain(incarnation).warm().await
    }

    /// Closes the log of a tenant that is suspended or whose keys may not be used any more; lines that wait are written
    /// first, and what comes later opens it again if its key can be had. Says whether it is closed: not while a task
    /// reads or writes it. The chain itself stays, so that there is never a second log of it.
    pub async fn release(&self, incarnation: Incarnation) -> bool {
        let chain = self.lock().get(&incarnation).cloned();
        match chain {
            Some(chain) => chain.release().await,
            None => true,
        }
    }

    /// Re-encrypts a tenant's whole audit under the newest key of this home.
    ///
    /// # Errors
    /// What stopped it; asked again, it does what is left.
    pub async fn renew(&self, home: &Arc<Home>) -> Result<(), kernel::Error> {
        let incarnation = home.incarnation().ok_or_else(kernel::Error::not_found)?;
        self.chain(incarnation).renew(home).await
    }

    /// The same for the operators' acts, whose home the trail was given.
    ///
    /// # Errors
    /// As [`Trail::renew`].
    pub async fn renew_operators(&self, home: &Arc<Home>) -> Result<(), kernel::Error> {
        self.0.operators.renew(home).await
    }

    /// Takes no more lines of a tenant that is about to be erased and closes its log; lines that wait are written first
    /// if they can be. It stays known as ended until [`forget`](Self::forget), so that a request that comes meanwhile
    /// is refused and opens no second log.
    pub async fn end(&self, incarnation: Incarnation) {
        let chain = self.chain(incarnation);
        if let Err(error) = chain.flush().await {
            tracing::warn!(code = error.code.as_str(), "audit lines of a tenant that is gone were dropped");
        }
        chain.abandon().await;
    }

    /// Ends a tenant's chain, if that was not done, and drops it from memory. The next line begins with the log as it
    /// lies there; an erased tenant's has no home.
    pub async fn forget(&self, incarnation: Incarnation) {
        if !self.lock().contains_key(&incarnation) {
            return;
        }
        self.end(incarnation).await;
        self.lock().remove(&incarnation);
    }

    /// Writes everything that waits, and marks the chains' clean ends.
    pub async fn close(&self) {
        let mut chains: Vec<_> = self.lock().values().cloned().collect();
        chains.push(Arc::clone(&self.0.operators));
        for chain in chains {
            if let Err(error) = chain.rest().await {
                tracing::error!(code = error.code.as_str(), "audit lines could not be written before the end");
            }
        }
    }

    /// Chains whose log is open.
    pub fn open_chains(&self) -> u64 {
        self.0.shared.open.load(Ordering::Relaxed)
    }

    fn chain(&self, incarnation: Incarnation) -> Arc<Chain> {
        let fresh = || Chain::new(Arc::clone(&self.0.shared), Owner::Tenant(incarnation));
        let chain = Arc::clone(self.lock().entry(incarnation).or_insert_with(fresh));
        chain.touch();
        chain
    }

    /// Closes logs in the background, for one that is to be opened.
    fn make_room(&self) {
        if !self.0.closing.swap(true, Ordering::AcqRel) {
            let trail = self.clone();
            self.0.shared.tracker.spawn(async move {
                trail.close_idle().await;
                trail.0.closing.store(false, Ordering::Release);
            });
        }
    }

    /// Closes the logs of chains that are not in use, the longest unused first, until those that wait have their places and
    /// a sixteenth of the limit is free.
    async fn close_idle(&self) {
        let free = usize::try_from(self.0.open_max / 16).unwrap_or(usize::MAX).max(1);
        let mut idle: Vec<_> = self.lock().values().filter_map(|c| Some((c.idle_since()?, Arc::clone(c)))).collect();
        idle.sort_by_key(|(since, _)| *since);
        for (_, chain) in idle {
            if self.0.shared.places.available_permits() >= free {
                return;
            }
            chain.let_go().await;
        }
    }

    fn now(&self) -> Timestamp {
        self.0.shared.clock.now()
    }

    /// Nothing panics while holding this lock in the middle of a change.
    fn lock(&self) -> MutexGuard<'_, HashMap<Incarnation, Arc<Chain>>> {
        self.0.chains.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Sink(Trail);

impl AuditSink for Sink {
    fn absorb(&self, absorbed: Absorbed) -> BoxFuture<'_, Result<(), kernel::Error>> {
        Box::pin(async move {
            let draft = Draft::decode(&absorbed.line).ok_or(Error::Foreign)?;
            let accepted = draft.operation == ACCEPTED;
            let commit = Some((absorbed.namespace, absorbed.mark));
            self.0.chain(absorbed.incarnation).write(draft, commit).await?;
            if accepted {
                self.0.0.shared.rollbacks.settled(absorbed.namespace);
            }
            Ok(())
        })
    }

    fn recorded(
        &self,
        incarnation: Incarnation,
        namespace: NamespaceUuid,
    ) -> BoxFuture<'_, Result<Option<AuditMark>, kernel::Error>> {
        Box::pin(async move { self.0.chain(incarnation).recorded(namespace).await })
    }

    fn rolled_back(&self, incarnation: Incarnation, namespace: NamespaceUuid, recorded: AuditMark, found: CommitNo) {
        let rollback = Rollback { incarnation, namespace, recorded: recorded.commit, found };
        if self.0.0.shared.rollbacks.note(rollback) {
            let (trail, draft) = (self.0.clone(), self.0.rollback_draft(rollback));
            // The tenant's audit gets a line too; the request is refused without waiting for it.
            self.0.0.shared.tracker.spawn(async move { trail.chain(incarnation).queue(draft).await });
        }
    }
}

impl Chain {
    async fn verify(self: &Arc<Self>) -> Result<ChainReport, kernel::Error> {
        let mut verifier = None;
        let mut after = Some(0);
        while after.is_some() {
            let page = whole_page(self.read(Reading { after, limit: usize::MAX, ..Reading::default() }).await?).await?;
            let verifier = verifier.get_or_insert_with(|| Verifier::from_genesis(page.head.chain.clone()));
            for line in page.values()? {
                verifier.next(&line)?;
            }
            after = page.next;
        }
        Ok(verifier.unwrap_or_default().report())
    }
}

/// Reads a page on a thread that may block, for callers without a pool of their own.
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
