//! Rotations by rule, late and cancelled re-encryptions, and a process that slept beyond a lease: an engine in a folder,
//! with a clock that tests move and a provider that waits or refuses when told.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail their test")]

use access::{Action, Ask, Grant, Ingest, Operator, Search};
use engine::{
    Body, Engine, EngineConfig, IngestRequest, Mode, NewKey, NewTenant, OnConflict, Page, RawDocument, RotateMode,
    SearchRequest,
};
use journal::Storage;
use kernel::{
    Attributes, Clock, Code, DocumentId, KeyEpoch, ManualClock, NamespaceName, OperationId, OsEntropy, Presence, Scope,
    TenantId, Timestamp, Untrusted,
};
use models::Models;
use registry::{KeyConfig, OperationStatus, OperationView};
use std::{
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use vault::{Denial, Key, KeyFacts, KeyProvider, LocalProvider, Providers, Receipt, RootKey, SecretKey};

const DAY: Duration = Duration::from_secs(86_400);

/// A provider of the server's own key that counts as a service: it waits or refuses when told.
struct Service {
    inner: LocalProvider,
    remote: bool,
    mood: Mutex<Mood>,
    changed: Condvar,
}

#[derive(Clone, Copy, PartialEq)]
enum Mood {
    Answers,
    Waits,
    Refuses,
    /// Does not answer.
    Away,
}

impl Service {
    fn new(remote: bool) -> Arc<Self> {
        let inner = LocalProvider::from_env_value(&"5a".repeat(32), Arc::new(OsEntropy)).unwrap();
        Arc::new(Self { inner, remote, mood: Mutex::new(Mood::Answers), changed: Condvar::new() })
    }

    fn be(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
        self.changed.notify_all();
    }

    fn asked(&self) -> vault::Result<()> {
        let mood = self.changed.wait_while(self.mood.lock().unwrap(), |mood| *mood == Mood::Waits).unwrap();
        match *mood {
            Mood::Refuses => Err(vault::Error::Denied { provider: "service".to_owned(), why: Denial::Forbidden }),
            Mood::Away => {
                Err(vault::Error::Unavailable { provider: "service".to_owned(), reason: "a test".to_owned() })
            }
            Mood::Answers | Mood::Waits => Ok(()),
        }
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

    fn facts(&self) -> vault::Result<KeyFacts> {
        self.asked()?;
        self.inner.facts()
    }

    fn destroy(&self) -> vault::Result<Receipt> {
        self.inner.destroy()
    }
}

struct World {
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

async fn opened(folder: &Path, keys: &KeyConfig, clock: &Arc<ManualClock>) -> (Engine, Option<String>) {
    let storage = Storage::open(&folder.join("data")).await.unwrap();
    let models = Models::unavailable("a test");
    let config = EngineConfig { clock: clock.clone(), ..EngineConfig::new(storage, keys.clone(), models) };
    let (engine, token) = Engine::open(config).await.unwrap();
    (engine, token.map(|token| (*token).clone()))
}

fn operator(engine: &Engine, token: &str) -> Operator {
    engine.gate().operator(Some(token), &[], engine.request_id()).map_err(|refusal| refusal.error).unwrap()
}

impl World {
    /// One whose keys have leases.
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
        let (engine, token) = opened(folder.path(), &keys, &clock).await;
        let token = token.unwrap();
        let operator = operator(&engine, &token);
        let tenant = TenantId::parse("acme").unwrap();
        engine.create_tenant(&operator, NewTenant { rotate_days, ..NewTenant::named(tenant.clone()) }).await.unwrap();
        let key = NewKey {
            name: "test".to_owned(),
            scopes: Scope::ALL.to_vec(),
            principals: Vec::new(),
            namespaces: Vec::new(),
            expires_at: None,
        };
        // An epoch of the very moment in which a re-encryption is asked for counts as fresh.
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

    /// Stops in peace and starts again.
    async fn restart(self) -> Self {
        self.engine.close(Duration::from_secs(30)).await;
        let Self { engine, operator: before, .. } = self;
        drop((engine, before));
        let (engine, _) = opened(self.folder.path(), &self.keys, &self.clock).await;
        let operator = operator(&engine, &self.token);
        Self { engine, operator, ..self }
    }

    async fn admit<A: Action>(&self, namespace: usize) -> Result<Grant<A>, kernel::Error> {
        let namespace = Some(NamespaceName::parse(&format!("n{namespace}")).unwrap());
        let request = self.engine.request_id();
        let ask = Ask { namespace, request, trace: None, presence: Presence::default() };
        self.engine.admit::<A>(Some(&self.secret), ask).await.map_err(|refusal| refusal.error)
    }

    async fn fill(&self, namespace: usize) {
        self.put(namespace, &format!("what stands in {namespace}")).await;
    }

    async fn put(&self, namespace: usize, text: &str) {
        let document = RawDocument {
            id: Some(DocumentId::parse("d").unwrap()),
            body: Body::Text(Untrusted::new(text.to_owned())),
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

    async fn finds(&self, namespace: usize) -> Result<(), kernel::Error> {
        self.finds_as(self.admit::<Search>(namespace).await?).await
    }

    async fn finds_as(&self, grant: Grant<Search>) -> Result<(), kernel::Error> {
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

    /// Places that have a key under the newest epoch.
    async fn rotated_places(&self) -> u64 {
        let status = self.engine.key_status(&self.operator, &self.tenant).await.unwrap();
        status.rotating.map_or(0, |(done, _)| done)
    }

    async fn acts(&self, what: &str) -> usize {
        let acts = self.engine.operator_audit(&self.operator, None, None, 1_000).await.unwrap().lines;
        let named = |act: &[u8]| String::from_utf8_lossy(act).contains(&format!("\"{what}\""));
        acts.iter().filter(|act| named(act)).count()
    }

    /// The rotation that a rule or somebody has begun last.
    fn newest(&self) -> Option<OperationView> {
        let page = Page { after: None, limit: 1 };
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

/// Asks on and on, by a clock that runs fast: so a re-encryption rests behind each namespace for minutes. Ends when told.
fn asks_meanwhile(world: &Arc<World>) -> impl AsyncFnOnce() {
    let stop = CancellationToken::new();
    let (asker, stopped) = (world.clone(), stop.clone());
    let asking = world.tasks.spawn(async move {
        while !stopped.is_cancelled() {
            asker.finds(0).await.unwrap();
            asker.clock.advance(Duration::from_secs(1));
        }
    });
    async move || {
        stop.cancel();
        asking.await.unwrap();
    }
}

/// Asks until it is so; the watch looks once a second.
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
    let world = World::local(Some(7)).await;
    world.fill(0).await;
    world.clock.advance(DAY * 6);
    // So long that the watch has looked.
    tokio::time::sleep(kernel::limits::KEY_CHECK * 3).await;
    assert_eq!(world.epochs().await, [1], "they are six days old");
    world.clock.advance(DAY + DAY / 24);
    until("the rule's rotation", async || world.epochs().await == [2]).await;
    world.finds(0).await.unwrap();
    assert_eq!(world.acts("key.rotate").await, 1, "and an operators' line says so");
    world.clock.advance(DAY * 8);
    until("the rule's next rotation", async || world.epochs().await == [3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_reencryption_is_told_once_and_goes_on() {
    let world = Arc::new(World::remote(DAY).await);
    world.fill(0).await;
    world.service.be(Mood::Waits);
    let deadline = world.clock.now().plus(Duration::from_secs(3_600));
    let asking = {
        let world = world.clone();
        world.tasks.clone().spawn(async move {
            let mode = RotateMode::Reencrypt(Some(deadline));
            world.engine.rotate_keys(&world.operator, &world.tenant, mode, None).await.unwrap().0
        })
    };
    until("it is written down", async || world.acts("key.reencrypt").await == 1).await;
    tokio::time::sleep(kernel::limits::KEY_CHECK * 3).await;
    assert_eq!(world.acts("key.reencrypt.overdue").await, 0, "an hour is left");
    world.clock.advance(Duration::from_secs(7_200));
    until("it is told", async || world.acts("key.reencrypt.overdue").await == 1).await;
    world.clock.advance(Duration::from_secs(7_200));
    tokio::time::sleep(kernel::limits::KEY_CHECK * 3).await;
    assert_eq!(world.acts("key.reencrypt.overdue").await, 1, "once");
    world.service.be(Mood::Answers);
    let id = asking.await.unwrap();
    assert_eq!(world.ended(id).await, (OperationStatus::Succeeded, 3, 3));
    world.finds(0).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reencryption_that_is_cancelled_midway_leaves_what_opens_and_is_gone_on_with() {
    const NAMESPACES: usize = 80;
    let world = Arc::new(World::local(None).await);
    for namespace in 0..NAMESPACES {
        world.fill(namespace).await;
    }
    let asking = asks_meanwhile(&world);
    let (id, _) = world.reencrypt().await;
    until("it has begun with some", async || world.rotated_places().await > 2).await;
    world.engine.cancel_operation(&world.operator, id).await.unwrap();
    let (status, done, total) = world.ended(id).await;
    asking().await;
    assert_eq!(status, OperationStatus::Cancelled);
    assert!(2 < done && done < total && total == NAMESPACES as u64 + 2, "{done} of {total}");
    for namespace in 0..NAMESPACES {
        world.finds(namespace).await.unwrap();
        world.fill(namespace).await;
    }
    assert!(world.epochs().await.len() > 1, "what is left stands under the older key, which is kept");
    let (id, _) = world.reencrypt().await;
    assert_eq!(world.ended(id).await, (OperationStatus::Succeeded, total, total));
    assert_eq!(world.epochs().await.len(), 1);
    for namespace in 0..NAMESPACES {
        world.finds(namespace).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_waits_for_its_provider_and_goes_on() {
    for mood in [Mood::Away, Mood::Refuses] {
        let world = World::new(Some(7), Some(kernel::limits::KEY_LEASE)).await;
        world.fill(0).await;
        world.service.be(mood);
        world.clock.advance(DAY * 7);
        until("it waits", async || world.newest().is_some_and(|view| view.waits_for == Some(Code::KeyUnavailable)))
            .await;
        assert!(!world.newest().unwrap().status.ended());
        world.service.be(Mood::Answers);
        until("the rule's rotation", async || {
            world.clock.advance(Duration::from_secs(5));
            world.epochs().await == [2]
        })
        .await;
        let id = world.newest().unwrap().id;
        assert_eq!(world.ended(id).await, (OperationStatus::Succeeded, 3, 3));
        assert_eq!(world.newest().unwrap().waits_for, None);
        // The clock ran far ahead of the watch, which may have sealed the tenant; it asks again soon.
        until("it is found", async || {
            world.clock.advance(Duration::from_secs(1));
            world.finds(0).await.is_ok()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_waits_is_cancelled_at_once_and_gives_up_in_the_end() {
    let world = World::new(Some(7), Some(kernel::limits::KEY_LEASE)).await;
    world.fill(0).await;
    let waits = async || world.newest().is_some_and(|view| view.waits_for.is_some());
    world.service.be(Mood::Away);
    world.clock.advance(DAY * 7);
    until("it waits", waits).await;
    let id = world.newest().unwrap().id;
    world.engine.cancel_operation(&world.operator, id).await.unwrap();
    assert_eq!(world.ended(id).await.0, OperationStatus::Cancelled);
    // An hour later the rule begins the next one. Nobody cancels that, and the provider stays away.
    world.clock.advance(DAY / 12);
    until("the next one waits", waits).await;
    let next = world.newest().unwrap();
    assert_ne!(next.id, id);
    world.clock.advance(kernel::limits::ROTATE_DEADLINE);
    assert_eq!(world.ended(next.id).await.0, OperationStatus::Failed);
    let failed = world.engine.operation_for(&world.operator, next.id).unwrap();
    assert_eq!(failed.error.unwrap().code, "key_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_could_not_begin_leaves_nothing_in_the_way_of_the_next() {
    let world = World::remote(DAY).await;
    world.fill(0).await;
    for mode in [RotateMode::Rewrap, RotateMode::Reencrypt(None)] {
        world.service.be(Mood::Away);
        let asked = world.engine.rotate_keys(&world.operator, &world.tenant, mode, None).await;
        assert_eq!(asked.unwrap_err().code, Code::KeyUnavailable);
        world.service.be(Mood::Answers);
        let (id, _) = world.engine.rotate_keys(&world.operator, &world.tenant, mode, None).await.unwrap();
        assert_eq!(world.ended(id).await, (OperationStatus::Succeeded, 3, 3));
        world.clock.advance(Duration::from_secs(1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_middle_of_a_reencryption_is_no_failure_and_the_next_start_goes_on() {
    const NAMESPACES: usize = 80;
    let world = Arc::new(World::local(None).await);
    for namespace in 0..NAMESPACES {
        world.fill(namespace).await;
    }
    let asking = asks_meanwhile(&world);
    let (id, _) = world.reencrypt().await;
    until("it has begun with some", async || world.rotated_places().await > 2).await;
    asking().await;
    let world = Arc::into_inner(world).unwrap().restart().await;
    assert_eq!(world.ended(id).await, (OperationStatus::Succeeded, NAMESPACES as u64 + 2, NAMESPACES as u64 + 2));
    assert_eq!(world.epochs().await, [2]);
    for namespace in 0..NAMESPACES {
        world.finds(namespace).await.unwrap();
    }
}

/// The walk that keeps the bound on erasure: a tenant that it cannot get past holds up no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_provider_does_not_answer_keeps_the_dead_of_no_other() {
    let world = World::remote(DAY * 10).await;
    let first = TenantId::parse("aaa").unwrap();
    world.engine.create_tenant(&world.operator, NewTenant::named(first)).await.unwrap();
    world.put(0, "what is dead soon").await;
    world.fill(0).await;
    let world = world.restart().await;
    world.finds(0).await.unwrap();
    // From here on the other one, which comes first, cannot be opened.
    world.service.be(Mood::Waits);
    let flushes = || world.engine.health().stores.flushes;
    let before = flushes();
    world.clock.advance(kernel::limits::ERASE_WITHIN * 3 / 4);
    until("the log is begun anew", async || flushes() > before).await;
    world.finds(0).await.unwrap();
    assert_eq!(world.engine.health().erasures.walks, 0, "it is not over");
    world.service.be(Mood::Answers);
    until("it is over", async || world.engine.health().erasures.walks == 1).await;
    let seen = world.engine.health().erasures;
    assert_eq!((seen.namespaces, seen.overdue, seen.unseen, seen.oldest), (1, 0, 0, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_slept_beyond_a_lease_asks_before_it_serves() {
    let world = World::remote(kernel::limits::KEY_LEASE).await;
    world.fill(0).await;
    world.finds(0).await.unwrap();
    // The key is taken away while the process sleeps: the very first request behind it is refused.
    world.service.be(Mood::Refuses);
    world.clock.advance(Duration::from_secs(600));
    for _ in 0..3 {
        assert_eq!(world.finds(0).await.unwrap_err().code, Code::KeyUnavailable);
    }
    world.service.be(Mood::Answers);
    until("it serves again", async || {
        world.clock.advance(Duration::from_secs(5));
        world.finds(0).await.is_ok()
    })
    .await;
    // And where nobody said no, the sleep costs a question and no refusal that stays.
    world.clock.advance(Duration::from_secs(600));
    until("it serves", async || world.finds(0).await.is_ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_lease_ends_in_the_middle_of_a_request_is_not_said_to_have_no_namespace() {
    let world = World::remote(kernel::limits::KEY_LEASE).await;
    world.fill(0).await;
    world.service.be(Mood::Refuses);
    let grant = world.admit::<Search>(0).await.unwrap();
    world.clock.advance(Duration::from_secs(600));
    // Whether or not the watch has come by.
    assert_eq!(world.finds_as(grant).await.unwrap_err().code, Code::KeyUnavailable);
}
