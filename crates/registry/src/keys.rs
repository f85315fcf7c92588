//! Calls to key providers. They run off the runtime's threads, a few per provider at a time, so that a provider that
//! hangs holds up only its own tenants.

use crate::{
    Error, Result,
    record::{EpochRecord, KeyringRecord},
};
use kernel::{Clock, Incarnation, limits};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use vault::{Key, KeyFailure, KeyProvider, LocalProvider, Providers, TenantKeys, WrappedKey};

/// The providers of a server, and how long unwrapped keys may be used without confirmation.
#[derive(Clone)]
pub struct KeyConfig {
    /// Key providers.
    pub providers: Providers,
    /// How long unwrapped keys stay usable after the provider last confirmed them.
    pub lease: Duration,
    /// How long they stay usable while the provider does not answer at all.
    pub outage_max: Duration,
    /// Age at which a tenant's keys are rotated, unless the tenant has a rule of its own.
    pub rotate_every: Option<Duration>,
}

impl From<Providers> for KeyConfig {
    fn from(providers: Providers) -> Self {
        Self { providers, lease: limits::KEY_LEASE, outage_max: limits::KEY_OUTAGE_MAX, rotate_every: None }
    }
}

impl From<LocalProvider> for KeyConfig {
    fn from(local: LocalProvider) -> Self {
        Providers::from(local).into()
    }
}

/// The key that a tenant asks for; the configuration decides what is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChoice {
    /// Name of a provider.
    pub provider: Option<String>,
    /// Name of a key at the provider.
    pub key: Option<String>,
}

/// How a provider has been answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderHealth {
    /// Name of the provider.
    pub name: String,
    /// Kind of the provider.
    pub kind: &'static str,
    /// Why the last call failed, if it did.
    pub trouble: Option<KeyFailure>,
    /// Number of calls since the start.
    pub asked: u64,
    /// Number of calls that were refused.
    pub denied: u64,
    /// Number of calls that were not answered.
    pub failed: u64,
}

/// Client of all key providers. See the [module](self).
pub(crate) struct ProviderClient {
    pub(crate) config: KeyConfig,
    queues: HashMap<String, ProviderQueue>,
    tracker: TaskTracker,
}

struct ProviderQueue {
    permits: Arc<Semaphore>,
    health: Mutex<ProviderHealth>,
}

impl ProviderClient {
    pub(crate) fn new(config: KeyConfig, tracker: TaskTracker) -> Self {
        let queue = |p: &Arc<dyn KeyProvider>| ProviderQueue {
            permits: Arc::new(Semaphore::new(limits::KEY_REQUESTS_MAX)),
            health: Mutex::new(ProviderHealth {
                name: p.name().to_owned(),
                kind: p.kind(),
                trouble: None,
                asked: 0,
                denied: 0,
                failed: 0,
            }),
        };
        let queues = config.providers.iter().map(|p| (p.name().to_owned(), queue(p))).collect();
        Self { config, queues, tracker }
    }

    pub(crate) fn health(&self) -> Vec<ProviderHealth> {
        let mut all: Vec<_> = self.queues.values().map(|queue| queue.health.lock().clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Runs a call that uses a key. A key in this process answers at once, without a task.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        key: Key,
        request: impl FnOnce(&Key) -> vault::Result<T> + Send + 'static,
    ) -> Result<T> {
        let queue = self.queues.get(key.provider());
        let answer = if key.is_remote() {
            let permits = queue.map(|queue| queue.permits.clone()).unwrap_or_else(|| Arc::new(Semaphore::new(1)));
            let permit = permits
                .acquire_owned()
                .await
                .map_err(|_| kernel::Error::internal("calls to key providers have ended"))?;
            // The permit is released when the call ends, even if the caller is gone.
            let task = self.tracker.spawn_blocking(move || {
                let _permit = permit;
                request(&key)
            });
            task.await.map_err(|_| kernel::Error::internal("a request to a key provider did not end"))?
        } else {
            request(&key)
        };
        if let Some(queue) = queue {
            queue.health.lock().note(answer.as_ref().err().and_then(vault::Error::key_failure));
        }
        Ok(answer?)
    }

    /// Returns the key that a choice means for this incarnation of a tenant, and whether this server makes and destroys
    /// it.
    pub(crate) fn choose(&self, choice: &KeyChoice, incarnation: Incarnation) -> Result<(Key, bool)> {
        let providers = &self.config.providers;
        let provider = providers.provider(choice.provider.as_deref().unwrap_or(providers.default_provider()))?;
        let (name, made) = match (&choice.key, provider.key_per_tenant()) {
            (Some(name), _) => (name.clone(), false),
            (None, Some(prefix)) => (format!("{prefix}-{incarnation}"), true),
            (None, None) => (provider.default_key().to_owned(), false),
        };
        Ok((provider.key(&name)?, made))
    }

    /// Returns the key that wraps an epoch.
    pub(crate) fn key_of(&self, epoch: &EpochRecord) -> Result<Key> {
        Ok(self.config.providers.key(&epoch.provider, &epoch.key)?)
    }

    /// Unwraps the keys of a keyring one after another.
    pub(crate) async fn open_keyring(&self, incarnation: Incarnation, keyring: &KeyringRecord) -> Result<TenantKeys> {
        let mut opened: Option<TenantKeys> = None;
        for epoch in &keyring.epochs {
            let wrapped = WrappedKey::from(&epoch.wrapped);
            let key = self.key_of(epoch)?;
            let one = self.call(key, move |key| TenantKeys::open(&**key, incarnation, &[wrapped])).await?;
            opened = Some(match opened {
                None => one,
                Some(others) => others.merged(one)?,
            });
        }
        opened.ok_or_else(|| vault::Error::NoEpoch(kernel::KeyEpoch(1)).into())
    }

    /// Whether a provider can withdraw keys of these epochs.
    pub(crate) fn is_remote(&self, keyring: &KeyringRecord) -> bool {
        keyring.epochs.iter().any(|epoch| self.key_of(epoch).is_ok_and(|key| key.is_remote()))
    }
}

impl ProviderHealth {
    fn note(&mut self, trouble: Option<KeyFailure>) {
        self.asked += 1;
        self.denied += u64::from(matches!(trouble, Some(KeyFailure::Denied(_))));
        self.failed += u64::from(trouble == Some(KeyFailure::Outage));
        self.trouble = trouble;
    }
}

/// Returns what an error says about a tenant's keys, if anything.
pub(crate) fn trouble_of(error: &Error) -> Option<KeyFailure> {
    match error {
        Error::Vault(error) => error.key_failure(),
        _ => None,
    }
}

/// Returns the monotonic time in milliseconds.
pub(crate) fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}
