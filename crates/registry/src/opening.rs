//! Opening the registry: the first start, every later one, and recovery of a lost operator token.
//!
//! A first start writes, in this order: `ctl/root.wrap` (the control keyspace's wrapped key; alone it is an empty
//! server) → `Initialized` (the system's keys) → the first operator. A crash after the last one, before the token was
//! printed, leaves an operator whose token is unknown: `ringfence operator recover` makes another.

use crate::{
    Error, Registry, Result,
    control::{ControlEvent, ControlState},
    event_store::{Env, EventStore},
    key_events::KeyEvents,
    keys::{KeyConfig, ProviderClient},
    keyspace_ids,
    open_tenant::open_keyspace,
    record::{EpochRecord, KeyringRecord, KeyspaceRecord, Lifecycle, StoredOperator, SystemRecord, TenantRecord},
    registry::{Inner, mac},
    system_keys::{RootWrap, RootWrapStore},
    tenant_table::OpenTenants,
};
use access::{OperatorRecord, TokenKind, token};
use journal::Storage;
use kernel::{Clock, Entropy, OperatorName, Role, limits};
use parking_lot::RwLock;
use std::sync::{Arc, atomic::AtomicU64};
use tokio_util::task::TaskTracker;
use vault::{Key, Keyspace, KeyspaceKind, Signer, TenantKeys, WrappedKey};
use zeroize::Zeroizing;

impl Registry {
    /// Opens what `storage` holds, or initializes it. On a first start that adopts no token, the result holds the one
    /// operator token, to be shown once.
    ///
    /// This opens no tenant: it takes as long as the control journal needs, whatever the tenants have. `tracker` owns
    /// the tasks that continue after a request.
    ///
    /// # Errors
    /// The root key is not the one that wrapped the control keyspace; the control journal does not open; an adopted
    /// token is malformed.
    pub async fn open(
        storage: Storage,
        keys: impl Into<KeyConfig>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        tracker: TaskTracker,
        adopt_operator: Option<&str>,
    ) -> kernel::Result<(Self, Option<Zeroizing<String>>)> {
        let env = Env { storage, clock, entropy };
        let provider_client = ProviderClient::new(keys.into(), tracker.clone());
        let (control, root) = open_control(&env, &provider_client).await?;
        let (system_audit, signer) = initialize(&env, &provider_client, &control).await?;
        let fresh = ensure_operator(&env, &control, adopt_operator).await?;
        let (open_max, bytes_max) = (limits::TENANTS_OPEN_MAX, limits::DIRECTORIES_BYTES_MAX);
        let tenants = OpenTenants::new(open_max, bytes_max, env.clock.clone(), tracker.clone());
        let inner = Arc::new(Inner {
            env,
            provider_client,
            tracker,
            control,
            root,
            system_audit: Arc::new(system_audit),
            signer,
            tenants,
            live: RwLock::default(),
            key_events: KeyEvents::default(),
            reconciled_generation: AtomicU64::new(0),
        });
        let registry = Self { inner };
        if registry.inner.env.storage.is_shared() {
            // The server that starts last owns the bucket; the previous one notices within a second.
            registry.inner.control.claim().await?;
        }
        registry.finish_interrupted().await?;
        Ok((registry, fresh))
    }

    /// Makes a new admin token while the server is stopped: possession of the root key and the data proves control of
    /// the server. Replaces the operator `recovered` if there is one.
    ///
    /// # Errors
    /// As [`Registry::open`].
    pub async fn recover_operator(
        storage: Storage,
        keys: impl Into<KeyConfig>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> kernel::Result<Zeroizing<String>> {
        let env = Env { storage, clock, entropy };
        let provider_client = ProviderClient::new(keys.into(), TaskTracker::new());
        let (control, _) = open_control(&env, &provider_client).await?;
        let (record, full_token) =
            mint_operator(&env, control.keyspace(), OperatorName::parse("recovered")?, Role::Admin);
        control.write(|_| Ok((Some(ControlEvent::OperatorPut(StoredOperator(Arc::new(record)))), ()))).await?;
        Ok(full_token)
    }

    /// Finishes what a stop interrupted. The control state lists the rotations and erasures, so no tenant is opened for
    /// this: those whose operation has not ended are continued by that, and what a failed erasure has left is removed
    /// in the background.
    async fn finish_interrupted(&self) -> kernel::Result<()> {
        let remains: Vec<_> = self.inner.control.read(|s| {
            let resumed =
                |t: &TenantRecord| s.operations.iter().any(|o| o.end.is_none() && o.incarnation == t.incarnation);
            s.tenants.values().filter(|t| t.life == Lifecycle::Deleting && !resumed(t)).cloned().collect()
        });
        for record in remains {
            let registry = self.clone();
            self.inner.tracker.spawn(async move {
                if let Err(error) = registry.remove_remains(&record, None).await {
                    tracing::error!(incarnation = %record.incarnation, error = &error as &dyn std::error::Error,
                        "an erased tenant's objects could not be removed; its keys are gone");
                }
            });
        }
        self.fail_interrupted().await
    }
}

/// Makes an operator, and the token that is shown once.
pub(crate) fn mint_operator(
    env: &Env,
    control: &Keyspace,
    name: OperatorName,
    role: Role,
) -> (OperatorRecord, Zeroizing<String>) {
    let (id, full_token, secret) = token::mint(TokenKind::Operator, &*env.entropy);
    let mac = mac(control, secret.as_bytes());
    (OperatorRecord { id, name, role, mac, created_at: env.clock.now() }, full_token)
}

async fn open_control(
    env: &Env,
    provider_client: &ProviderClient,
) -> Result<(EventStore<ControlState>, RootWrapStore)> {
    let (root, keyspace) = match RootWrapStore::find(&env.storage, provider_client).await? {
        Some(existing) => existing,
        None => {
            let key = root_key(provider_client)?;
            let names = (key.provider().to_owned(), key.name().to_owned());
            let entropy = env.entropy.clone();
            let (keyspace, wrapped) =
                provider_client.call(key, move |key| Keyspace::create_control(&**key, &*entropy)).await?;
            let wrap = RootWrap::new(names, wrapped, env.clock.now());
            let Some(root) = RootWrapStore::create(&env.storage, wrap).await? else {
                return Err(Error::Damaged("another server initialized this data folder at the same moment"));
            };
            (root, keyspace)
        }
    };
    Ok((EventStore::open(env.clone(), Arc::new(keyspace)).await?, root))
}

/// Returns the key that wraps the system's keyspaces: the default provider's.
fn root_key(provider_client: &ProviderClient) -> Result<Key> {
    let provider = provider_client.config.providers.provider(provider_client.config.providers.default_provider())?;
    let name = provider.default_key().to_owned();
    Ok(provider.key(&name)?)
}

/// Opens the system's audit keyspace and signing key; creates both at the first start.
async fn initialize(
    env: &Env,
    provider_client: &ProviderClient,
    control: &EventStore<ControlState>,
) -> Result<(Keyspace, Signer)> {
    if let Some(system) = control.read(|s| s.system.clone()) {
        let keys = provider_client.open_keyring(Registry::SYSTEM, &system.keys).await?;
        let signer = control.keyspace().signer(&WrappedKey::from(&system.signer))?;
        return Ok((open_keyspace(&keys, KeyspaceKind::Audit, &system.audit)?, signer));
    }
    let (keys, ring) = new_keyring(env, provider_client, Registry::SYSTEM, root_key(provider_client)?, false).await?;
    let (keyspace, audit) = new_keyspace(env, control.keyspace(), &keys, KeyspaceKind::Audit)?;
    let (signer, wrapped) = control.keyspace().create_signer(&*env.entropy)?;
    let system = SystemRecord { keys: ring, audit, signer: wrapped.into() };
    control.write(|_| Ok((Some(ControlEvent::Initialized(system)), ()))).await?;
    Ok((keyspace, signer))
}

/// Makes a keyring with one epoch.
pub(crate) async fn new_keyring(
    env: &Env,
    provider_client: &ProviderClient,
    incarnation: kernel::Incarnation,
    key: Key,
    made: bool,
) -> Result<(TenantKeys, KeyringRecord)> {
    let (provider, name) = (key.provider().to_owned(), key.name().to_owned());
    let entropy = env.entropy.clone();
    let create = move |key: &Key| {
        if made {
            key.create()?;
        }
        TenantKeys::create(&**key, incarnation, &*entropy)
    };
    let (keys, wrapped) = provider_client.call(key, create).await?;
    let epoch = EpochRecord { provider, key: name, made, wrapped: wrapped.into(), created_at: env.clock.now() };
    Ok((keys, KeyringRecord { epochs: vec![epoch] }))
}

/// Makes a keyspace.
pub(crate) fn new_keyspace(
    env: &Env,
    control: &Keyspace,
    keys: &TenantKeys,
    kind: KeyspaceKind,
) -> Result<(Keyspace, KeyspaceRecord)> {
    let uuid = keyspace_ids::generate(control, keys.incarnation(), &*env.entropy);
    let (keyspace, wrapped) = Keyspace::create(keys, kind, uuid, &*env.entropy)?;
    Ok((keyspace, KeyspaceRecord { uuid, wrapped: wrapped.into() }))
}

/// Adds the first operator, or the one whose token the environment supplies. Returns a token that was made here.
async fn ensure_operator(
    env: &Env,
    control: &EventStore<ControlState>,
    adopt: Option<&str>,
) -> Result<Option<Zeroizing<String>>> {
    let first = control.read(|s| s.operators.is_empty());
    let name = OperatorName::parse(if first { "root" } else { "environment" })?;
    let (record, fresh) = match adopt {
        Some(text) => {
            let token = token::adopt(text)?;
            let mac = mac(control.keyspace(), token.secret.as_bytes());
            (OperatorRecord { id: token.id, name, role: Role::Admin, mac, created_at: env.clock.now() }, None)
        }
        None if first => {
            let (record, full_token) = mint_operator(env, control.keyspace(), name, Role::Admin);
            (record, Some(full_token))
        }
        None => return Ok(None),
    };
    let put = move |state: &ControlState| match state.operators.get(&record.id) {
        // The same token was adopted by an earlier start.
        Some(known) if known.0.mac == record.mac && known.0.role == Role::Admin => Ok((None, ())),
        // Adopting this one would take over another operator's public part.
        Some(known) if known.0.name != record.name => Err(Error::Refused(kernel::Error::invalid(
            "RINGFENCE_OPERATOR_TOKEN",
            "has the public part of another operator's token; use that token whole or another one",
        ))),
        _ => Ok((Some(ControlEvent::OperatorPut(StoredOperator(Arc::new(record)))), ())),
    };
    control.write(put).await?;
    Ok(fresh)
}
