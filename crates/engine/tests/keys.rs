//! Tests of rotations by rule, of overdue and cancelled re-encryptions, and of a process that slept beyond a lease.
//! They use an engine in a folder, a clock that tests advance, and a provider that waits or refuses on demand.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use access::{Action, Grant, Ingest, Operator, RequestInfo, Search, TenantState};
use engine::{
    Engine, EngineConfig, IngestRequest, Mode, NewApiKey, NewTenant, OnConflict, PageRequest, RawBody, RawDocument,
    RotateMode, SearchRequest,
};
use journal::Storage;
use kernel::{
    Attributes, CancelFlag, Clock, Code, DocumentId, KeyEpoch, KeyId, ManualClock, NamespaceName, OperationId,
    OsEntropy, Scope, TenantId, Timestamp, Untrusted,
};
use models::Models;
use registry::{KeyConfig, OperationStatus, OperationView};
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vault::{
    Denial, DestructionReceipt, Key, KeyDescription, KeyProvider, LocalProvider, Providers, RootKey, SecretKey,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A provider of the server's root key that counts as a remote service: it waits or refuses on demand.
struct Service {
    inner: LocalProvider,
    remote: bool,
    mode: Mutex<ProviderMode>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq)]
enum ProviderMode {
    Answers,
    Waits,
    Refuses,
    /// Fails as a provider that cannot be reached.
    Away,
}

impl Service {
    fn new(remote: bool) -> Arc<Self> {
        let inner = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy)).unwrap();
        Arc::new(Self { inner, remote, mode: Mutex::new(ProviderMode::Answers), changed: Condvar::new() })
    }

    fn be(&self, mode: ProviderMode) {
        *self.mode.lock().unwrap() = mode;
        self.changed.notify_all();
    }

    /// Blocks answers until the returned guard is dropped, even by a test that fails.
    fn block(&self) -> BlockedProvider<'_> {
        self.be(ProviderMode::Waits);
        BlockedProvider(self)
    }

    fn asked(&self) -> vault::Result<()> {
        let mode = self.changed.wait_while(self.mode.lock().unwrap(), |mode| *mode == ProviderMode::Waits).unwrap();
        match *mode {
            ProviderMode::Refuses => {
                Err(vault::Error::Denied { provider: "service".to_owned(), why: Denial::Forbidden })
            }
            ProviderMode::Away => {
                Err(vault::Error::Unavailable { provider: "service".to_owned(), reason: "a test".to_owned() })
            }
            ProviderMode::Answers | ProviderMode::Waits => Ok(()),
        }
    }
}

struct BlockedProvider<'a>(&'a Service);

impl Drop for BlockedProvider<'_> {
    fn drop(&mut self) {
        self.0.be(ProviderMode::Answers);
    }
}

impl KeyProvider for Service {
    fn name(&self) -> &str {
        "service"
    }

    fn kind(&self) -> &'static str {
        "test"
    }

    fn default_key(&self) -> &str {
        "root"
    }

    fn key(self: Arc<Self>, _: &str) -> vault::Result<Key> {
        Ok(self)
    }
}

impl RootKey for Service {
    fn provider(&self) -> &str {
        "service"
    }

    fn name(&self) -> &str {
        "root"
    }

    fn is_remote(&self) -> bool {
        self.remote
    }

    fn wrap(&self, context: &[u8], key: &SecretKey) -> vault::Result<Vec<u8>> {
        self.asked()?;
        self.inner.wrap(context, key)
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> vault::Result<SecretKey> {
        self.asked()?;
        self.inner.unwrap(context, wrapped)
    }

    fn facts(&self) -> vault::Result<KeyDescription> {
        self.asked()?;
        self.inner.facts()
    }

    fn destroy(&self) -> vault::Result<DestructionReceipt> {
        self.inner.destroy()
    }
}

struct KeysFixture {
    engine: Engine,
    operator: Operator,
    clock: Arc<ManualClock>,
    service: Arc<Service>,
    tenant: TenantId,
    secret: String,
    tasks: TaskTracker,
    keys: KeyConfig,
    token: String,
    folder: tempfile::TempDir,
}

async fn open_engine(folder: &Path, keys: &KeyConfig, clock: &Arc<ManualClock>) -> (Engine, Option<String>) {
    let storage = Storage::open(&folder.join("data")).await.unwrap();
    let models = Models::unavailable("a test");
    let config = EngineConfig { clock: clock.clone(), ..EngineConfig::new(storage, keys.clone(), models) };
    let (engine, token) = Engine::open(config).await.unwrap();
    (engine, token.map(|token| (*token).clone()))
}

fn operator(engine: &Engine, token: &str) -> Operator {
    engine.gate().operator(Some(token), &[], engine.request_id()).map_err(|refusal| refusal.error).unwrap()
}

impl KeysFixture {
    /// A fixture whose keys have leases.
    async fn remote(lease: Duration) -> Self {
        Self::new(None, Some(lease)).await
    }

    async fn local(rotate_days: Option<u32>) -> Self {
        Self::new(rotate_days, None).await
    }

    async fn new(rotate_days: Option<u32>, lease: Option<Duration>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(Timestamp::from_millis(1_800_000_000_000)));
        let service = Service::new(lease.is_some());
        let keys = KeyConfig::from(Providers::new(service.clone()));
        let keys = KeyConfig { lease: lease.unwrap_or(keys.lease), ..keys };
        let (engine, token) = open_engine(folder.path(), &keys, &clock).await;
        let token = token.unwrap();
        let operator = operator(&engine, &token);
        let tenant = TenantId::parse("acme").unwrap();
        engine.create_tenant(&operator, NewTenant { rotate_days, ..NewTenant::named(tenant.clone()) }).await.unwrap();
        let key = NewApiKey {
            name: "test".to_owned(),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            expires_at: None,
        };
        // An epoch from the same moment in which a re-encryption is requested counts as fresh.
        clock.advance(Duration::from_secs(1));
        let (_, secret) = engine.create_api_key(&operator, &tenant, key).await.unwrap();
        Self {
            engine,
            operator,
            clock,
            service,
            tenant,
            secret: (*secret).clone(),
            tasks: TaskTracker::new(),
            keys,
            token,
            folder,
        }
    }

    /// Creates another API key of the tenant, and returns its id and secret.
    async fn key(&self) -> (KeyId, String) {
        let key = NewApiKey {
            name: "another".to_owned(),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            expires_at: None,
        };
        let (view, secret) = self.engine.create_api_key(&self.operator, &self.tenant, key).await.unwrap();
        (view.id, (*secret).clone())
    }

    /// Shuts the engine down and starts it again.
    async fn restart(self) -> Self {
        self.engine.close(Duration::from_secs(30)).await;
        let Self { engine, operator: before, .. } = self;
        drop((engine, before));
        let (engine, _) = open_engine(self.folder.path(), &self.keys, &self.clock).await;
        let operator = operator(&engine, &self.token);
        Self { engine, operator, ..self }
    }

    async fn admit<A: Action>(&self, namespace: usize) -> Result<Grant<A>, kernel::Error> {
        self.admit_with(&self.secret, namespace).await
    }

    async fn admit_with<A: Action>(&self, secret: &str, namespace: usize) -> Result<Grant<A>, kernel::Error> {
        let namespace = Some(NamespaceName::parse(&format!("n{namespace}")).unwrap());
        let request = self.engine.request_id();
        let ask = RequestInfo { namespace, request, trace: None, cancel: CancelFlag::default() };
        self.engine.admit::<A>(Some(secret), ask).await.map_err(|refusal| refusal.error)
    }

    async fn fill(&self, namespace: usize) {
        self.put(namespace, &format!("text in {namespace}")).await;
    }

    async fn put(&self, namespace: usize, text: &str) {
        let document = RawDocument {
            id: Some(DocumentId::parse("d").unwrap()),
            body: RawBody::Text(Untrusted::new(text.to_owned())),
            media_type: None,
            title: None,
            uri: None,
            attributes: Attributes::default(),
            readers: None,
            vector: Some(vec![1.0; 384]),
            expires_at: None,
        };
        let request =
            IngestRequest { documents: vec![document].into(), refused: Vec::new(), on_conflict: OnConflict::Overwrite };
        let grant = self.admit::<Ingest>(namespace).await.unwrap();
        drop(self.engine.ingest(grant, request).await.map_err(|refused| refused.into_body()).unwrap());
    }

    async fn search_one(&self, namespace: usize) -> Result<(), kernel::Error> {
        self.search_with(self.admit::<Search>(namespace).await?).await
    }

    async fn search_with(&self, grant: Grant<Search>) -> Result<(), kernel::Error> {
        let request = SearchRequest {
            vector: Some(vec![1.0; 384]),
            top_k: 1,
            mode: Some(Mode::Vector),
            ..SearchRequest::default()
        };
        let found = self.engine.search(grant, request).await.map_err(|refused| refused.into_body())?;
        assert_eq!(found.into_body().hits.len(), 1);
        Ok(())
    }

    async fn epochs(&self) -> Vec<u32> {
        let status = self.engine.key_status(&self.operator, &self.tenant).await.unwrap();
        status.epochs.iter().map(|epoch| epoch.epoch.0).collect()
    }

    async fn reencrypt(&self) -> (OperationId, KeyEpoch) {
        self.engine.rotate_keys(&self.operator, &self.tenant, RotateMode::Reencrypt(None), None).await.unwrap()
    }

    /// Number of keyspaces that have a key under the newest epoch.
    async fn rotated_keyspaces(&self) -> u64 {
        let status = self.engine.key_status(&self.operator, &self.tenant).await.unwrap();
        status.rotating.map_or(0, |(done, _)| done)
    }

    async fn audit_record_count(&self, what: &str) -> usize {
        let audit_record_count = self.engine.operator_audit(&self.operator, None, None, 1_000).await.unwrap().lines;
        let named = |act: &[u8]| String::from_utf8_lossy(act).contains(&format!("\"{what}\""));
        audit_record_count.iter().filter(|act| named(act)).count()
    }

    /// The newest operation, whether a rule or an operator started it.
    fn newest(&self) -> Option<OperationView> {
        let page = PageRequest { after: None, limit: 1 };
        self.engine.operations(&self.operator, page).unwrap().items.pop()
    }

    fn status(&self, id: OperationId) -> (OperationStatus, u64, u64) {
        let view = self.engine.operation_for(&self.operator, id).unwrap();
        (view.status, view.progress.done, view.progress.total)
    }

    async fn ended(&self, id: OperationId) -> (OperationStatus, u64, u64) {
        until("the operation ends", async || self.status(id).0.ended()).await;
        self.status(id)
    }
}

/// Searches continuously while the clock runs fast, so that a re-encryption pauses for minutes after each namespace.
/// Stops when the returned function is called.
fn search_continuously(fixture: &Arc<KeysFixture>) -> impl AsyncFnOnce() {
    let stop = CancellationToken::new();
    let (asker, stopped) = (fixture.clone(), stop.clone());
    let asking = fixture.tasks.spawn(async move {
        while !stopped.is_cancelled() {
            asker.search_one(0).await.unwrap();
            asker.clock.advance(Duration::from_secs(1));
        }
    });
    async move || {
        stop.cancel();
        asking.await.unwrap();
    }
}

/// Polls until the condition holds. The key watch checks once a second.
async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    for _ in 0..6_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: not within 30 seconds");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_age_that_a_rule_names_are_rotated() {
    let fixture = KeysFixture::local(Some(7)).await;
    fixture.fill(0).await;
    fixture.clock.advance(DAY * 6);
    // Long enough for the key watch to have checked.
    tokio::time::sleep(kernel::limits::KEY_CHECK * 3).await;
    assert_eq!(fixture.epochs().await, [1], "the keys are six days old");
    fixture.clock.advance(DAY + DAY / 24);
    until("the rule's rotation", async || fixture.epochs().await == [2]).await;
    fixture.search_one(0).await.unwrap();
    assert_eq!(fixture.audit_record_count("key.rotate").await, 1, "and the operators' audit records it");
    fixture.clock.advance(DAY * 8);
    until("the rule's next rotation", async || fixture.epochs().await == [3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_provider_that_does_not_answer_holds_up_no_operator() {
    let fixture = KeysFixture::remote(DAY).await;
    fixture.fill(0).await;
    let (second, revoked) = fixture.key().await;
    // After a restart the tenant opens only with its key.
    let fixture = fixture.restart().await;
    let (engine, operator, tenant) = (&fixture.engine, &fixture.operator, &fixture.tenant);
    fixture.service.be(ProviderMode::Away);
    assert_eq!(engine.tenant(operator, tenant).await.unwrap().state, TenantState::KeyUnavailable);
    let _answers_again = fixture.service.block();
    let resumed = engine.resume_tenant(operator, tenant).await.unwrap();
    assert_eq!(resumed.state, TenantState::Active, "the state before the resumption is not reported");
    engine.revoke_api_key(operator, tenant, &second).await.unwrap();
    assert!(fixture.admit_with::<Search>(&revoked, 0).await.is_err_and(|error| error.code == Code::Unauthenticated));
    assert_eq!(engine.tenant(operator, tenant).await.unwrap().namespaces, None, "unknown, not zero");
    let suspended = engine.suspend_tenant(operator, tenant).await.unwrap();
    assert!(suspended.is_suspended() && suspended.namespaces.is_none(), "{suspended:?}");
    let page = engine.tenants(operator, PageRequest { after: None, limit: 10 }).await.unwrap();
    assert_eq!(page.items.len(), 1);
    assert!(!engine.resume_tenant(operator, tenant).await.unwrap().is_suspended());
    fixture.service.be(ProviderMode::Answers);
    until("its namespaces are counted", async || engine.tenant(operator, tenant).await.unwrap().namespaces == Some(1))
        .await;
    fixture.search_one(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overdue_reencryption_is_reported_once_and_continues() {
    let fixture = Arc::new(KeysFixture::remote(DAY).await);
    fixture.fill(0).await;
    fixture.service.be(ProviderMode::Waits);
    let deadline = fixture.clock.now().plus(Duration::from_secs(3_600));
    let asking = {
        let fixture = fixture.clone();
        fixture.tasks.clone().spawn(async move {
            let mode = RotateMode::Reencrypt(Some(deadline));
            fixture.engine.rotate_keys(&fixture.operator, &fixture.tenant, mode, None).await.unwrap().0
        })
    };
    until("it is written down", async || fixture.audit_record_count("key.reencrypt").await == 1).await;
    tokio::time::sleep(kernel::limits::KEY_CHECK * 3).await;
    assert_eq!(fixture.audit_record_count("key.reencrypt.overdue").await, 0, "an hour is left");
    fixture.clock.advance(Duration::from_secs(7_200));
    until("it is reported", async || fixture.audit_record_count("key.reencrypt.overdue").await == 1).await;
    fixture.clock.advance(Duration::from_secs(7_200));
    tokio::time::sleep(kernel::limits::KEY_CHECK * 3).await;
    assert_eq!(fixture.audit_record_count("key.reencrypt.overdue").await, 1, "once");
    fixture.service.be(ProviderMode::Answers);
    let id = asking.await.unwrap();
    assert_eq!(fixture.ended(id).await, (OperationStatus::Succeeded, 3, 3));
    fixture.search_one(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_reencryption_leaves_everything_readable_and_can_be_continued() {
    const NAMESPACES: usize = 80;
    let fixture = Arc::new(KeysFixture::local(None).await);
    for namespace in 0..NAMESPACES {
        fixture.fill(namespace).await;
    }
    let asking = search_continuously(&fixture);
    let (id, _) = fixture.reencrypt().await;
    until("some are re-encrypted", async || fixture.rotated_keyspaces().await > 2).await;
    fixture.engine.cancel_operation(&fixture.operator, id).await.unwrap();
    let (status, done, total) = fixture.ended(id).await;
    asking().await;
    assert_eq!(status, OperationStatus::Cancelled);
    assert!(2 < done && done < total && total == NAMESPACES as u64 + 2, "{done} of {total}");
    for namespace in 0..NAMESPACES {
        fixture.search_one(namespace).await.unwrap();
        fixture.fill(namespace).await;
    }
    assert!(fixture.epochs().await.len() > 1, "the rest is under the older key, which is kept");
    let (id, _) = fixture.reencrypt().await;
    assert_eq!(fixture.ended(id).await, (OperationStatus::Succeeded, total, total));
    assert_eq!(fixture.epochs().await.len(), 1);
    for namespace in 0..NAMESPACES {
        fixture.search_one(namespace).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_waits_for_its_provider_and_continues() {
    for mode in [ProviderMode::Away, ProviderMode::Refuses] {
        let fixture = KeysFixture::new(Some(7), Some(kernel::limits::KEY_LEASE)).await;
        fixture.fill(0).await;
        fixture.service.be(mode);
        fixture.clock.advance(DAY * 7);
        until("it waits", async || fixture.newest().is_some_and(|view| view.waits_for == Some(Code::KeyUnavailable)))
            .await;
        assert!(!fixture.newest().unwrap().status.ended());
        fixture.service.be(ProviderMode::Answers);
        until("the rule's rotation", async || {
            fixture.clock.advance(Duration::from_secs(5));
            fixture.epochs().await == [2]
        })
        .await;
        let id = fixture.newest().unwrap().id;
        assert_eq!(fixture.ended(id).await, (OperationStatus::Succeeded, 3, 3));
        assert_eq!(fixture.newest().unwrap().waits_for, None);
        // The clock ran far ahead of the key watch, which may have sealed the tenant. It soon asks the provider again.
        until("it is found", async || {
            fixture.clock.advance(Duration::from_secs(1));
            fixture.search_one(0).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_rotation_is_cancelled_at_once_and_fails_at_its_deadline() {
    let fixture = KeysFixture::new(Some(7), Some(kernel::limits::KEY_LEASE)).await;
    fixture.fill(0).await;
    let waits = async || fixture.newest().is_some_and(|view| view.waits_for.is_some());
    fixture.service.be(ProviderMode::Away);
    fixture.clock.advance(DAY * 7);
    until("it waits", waits).await;
    let id = fixture.newest().unwrap().id;
    fixture.engine.cancel_operation(&fixture.operator, id).await.unwrap();
    assert_eq!(fixture.ended(id).await.0, OperationStatus::Cancelled);
    // An hour later the rule starts the next rotation. It is not cancelled, and the provider stays unavailable.
    fixture.clock.advance(DAY / 12);
    until("the next one waits", waits).await;
    let next = fixture.newest().unwrap();
    assert_ne!(next.id, id);
    fixture.clock.advance(kernel::limits::ROTATE_DEADLINE);
    assert_eq!(fixture.ended(next.id).await.0, OperationStatus::Failed);
    let failed = fixture.engine.operation_for(&fixture.operator, next.id).unwrap();
    assert_eq!(failed.error.unwrap().code, "key_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_could_not_begin_does_not_block_the_next() {
    let fixture = KeysFixture::remote(DAY).await;
    fixture.fill(0).await;
    for mode in [RotateMode::Rewrap, RotateMode::Reencrypt(None)] {
        fixture.service.be(ProviderMode::Away);
        let asked = fixture.engine.rotate_keys(&fixture.operator, &fixture.tenant, mode, None).await;
        assert_eq!(asked.unwrap_err().code, Code::KeyUnavailable);
        fixture.service.be(ProviderMode::Answers);
        let (id, _) = fixture.engine.rotate_keys(&fixture.operator, &fixture.tenant, mode, None).await.unwrap();
        assert_eq!(fixture.ended(id).await, (OperationStatus::Succeeded, 3, 3));
        fixture.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reencryption_that_a_stop_interrupts_continues_after_the_next_start() {
    const NAMESPACES: usize = 80;
    let fixture = Arc::new(KeysFixture::local(None).await);
    for namespace in 0..NAMESPACES {
        fixture.fill(namespace).await;
    }
    let asking = search_continuously(&fixture);
    let (id, _) = fixture.reencrypt().await;
    until("some are re-encrypted", async || fixture.rotated_keyspaces().await > 2).await;
    asking().await;
    let fixture = Arc::into_inner(fixture).unwrap().restart().await;
    assert_eq!(fixture.ended(id).await, (OperationStatus::Succeeded, NAMESPACES as u64 + 2, NAMESPACES as u64 + 2));
    assert_eq!(fixture.epochs().await, [2]);
    for namespace in 0..NAMESPACES {
        fixture.search_one(namespace).await.unwrap();
    }
}

/// The sweep that enforces the bound on erasure: a tenant that cannot be opened does not hold up others.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_provider_does_not_answer_does_not_delay_erasure_for_others() {
    let fixture = KeysFixture::remote(DAY * 10).await;
    let first = TenantId::parse("aaa").unwrap();
    fixture.engine.create_tenant(&fixture.operator, NewTenant::named(first)).await.unwrap();
    fixture.put(0, "text that is deleted soon").await;
    fixture.fill(0).await;
    let fixture = fixture.restart().await;
    fixture.search_one(0).await.unwrap();
    // From here on the other tenant, which comes first, cannot be opened.
    fixture.service.be(ProviderMode::Waits);
    let flushes = || fixture.engine.health().stores.flushes;
    let before = flushes();
    fixture.clock.advance(kernel::limits::ERASE_WITHIN * 3 / 4);
    until("the log is rewritten", async || flushes() > before).await;
    fixture.search_one(0).await.unwrap();
    assert_eq!(fixture.engine.health().erasures.sweeps, 0, "it is not over");
    fixture.service.be(ProviderMode::Answers);
    until("it is over", async || fixture.engine.health().erasures.sweeps == 1).await;
    let seen = fixture.engine.health().erasures;
    assert_eq!((seen.namespaces, seen.overdue, seen.unexamined, seen.oldest), (1, 0, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_beyond_a_lease_asks_before_it_serves() {
    let fixture = KeysFixture::remote(kernel::limits::KEY_LEASE).await;
    fixture.fill(0).await;
    fixture.search_one(0).await.unwrap();
    // The key is revoked while the process sleeps. The first request afterwards is refused.
    fixture.service.be(ProviderMode::Refuses);
    fixture.clock.advance(Duration::from_secs(600));
    for _ in 0..3 {
        assert_eq!(fixture.search_one(0).await.unwrap_err().code, Code::KeyUnavailable);
    }
    fixture.service.be(ProviderMode::Answers);
    until("it serves again", async || {
        fixture.clock.advance(Duration::from_secs(5));
        fixture.search_one(0).await.is_ok()
    })
    .await;
    // If the provider did not refuse, the sleep costs one request to it and no lasting refusal.
    fixture.clock.advance(Duration::from_secs(600));
    until("it serves", async || fixture.search_one(0).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_ends_during_a_request_is_not_reported_as_a_missing_namespace() {
    let fixture = KeysFixture::remote(kernel::limits::KEY_LEASE).await;
    fixture.fill(0).await;
    fixture.service.be(ProviderMode::Refuses);
    let grant = fixture.admit::<Search>(0).await.unwrap();
    fixture.clock.advance(Duration::from_secs(600));
    // This holds whether or not the key watch has run.
    assert_eq!(fixture.search_with(grant).await.unwrap_err().code, Code::KeyUnavailable);
}
