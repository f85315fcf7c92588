//! Asking key providers: off the runtime's threads, a few questions of one provider at a time, so that one that hangs
//! holds up its own tenants and nobody else's.

use crate::{
    Error, Result,
    record::{EpochRecord, KeyringRecord},
};
use kernel::{Clock, Incarnation, limits};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use vault::{Key, KeyProvider, KeyTrouble, LocalProvider, Providers, TenantKeys, WrappedKey};

/// The providers of a server, and for how long what they gave may be used without asking again.
#[derive(Clone)]
pub struct KeyConfig {
    /// Them.
    pub providers: Providers,
    /// Keys that a provider gave serve for so long after it last said yes.
    pub lease: Duration,
    /// And for so long while it does not answer at all.
    pub outage_max: Duration,
    /// A rotation is begun for keys of this age, where their tenant has no rule of its own.
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

/// Which key a tenant wants; what is absent is the configuration's to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyChoice {
    /// A provider's name.
    pub provider: Option<String>,
    /// A key's name there.
    pub key: Option<String>,
}

/// How a provider has been answering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderHealth {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: &'static str,
    /// What the last question met, if it was not answered with yes.
    pub trouble: Option<KeyTrouble>,
    /// Questions since the start, those refused, and those not answered.
    pub asked: u64,
    /// See `asked`.
    pub denied: u64,
    /// See `asked`.
    pub failed: u64,
}

/// See the [module](self).
pub(crate) struct Asking {
    pub(crate) config: KeyConfig,
    lines: HashMap<String, Line>,
    tracker: TaskTracker,
}

struct Line {
    open: Arc<Semaphore>,
    health: Mutex<ProviderHealth>,
}

impl Asking {
    pub(crate) fn new(config: KeyConfig, tracker: TaskTracker) -> Self {
        let line = |p: &Arc<dyn KeyProvider>| Line {
            open: Arc::new(Semaphore::new(limits::KEY_QUESTIONS_MAX)),
            health: Mutex::new(ProviderHealth {
                name: p.name().to_owned(),
                kind: p.kind(),
                trouble: None,
                asked: 0,
                denied: 0,
                failed: 0,
            }),
        };
        let lines = config.providers.iter().map(|p| (p.name().to_owned(), line(p))).collect();
        Self { config, lines, tracker }
    }

    pub(crate) fn health(&self) -> Vec<ProviderHealth> {
        let mut all: Vec<_> = self.lines.values().map(|l| lock(&l.health).clone()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Asks about a key. A key in this process answers at once.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        key: Key,
        question: impl FnOnce(&Key) -> vault::Result<T> + Send + 'static,
    ) -> Result<T> {
        let line = self.lines.get(key.provider());
        let answer = if key.is_remote() {
            let open = line.map(|l| l.open.clone()).unwrap_or_else(|| Arc::new(Semaphore::new(1)));
            let turn =
                open.acquire_owned().await.map_err(|_| kernel::Error::internal("no more questions are asked"))?;
            // The turn goes with the question: whoever asked may go.
            let asked = self.tracker.spawn_blocking(move || {
                let _turn = turn;
                question(&key)
            });
            asked.await.map_err(|_| kernel::Error::internal("a question to a key provider did not end"))?
        } else {
            question(&key)
        };
        if let Some(line) = line {
            lock(&line.health).note(answer.as_ref().err().and_then(vault::Error::key_trouble));
        }
        Ok(answer?)
    }

    /// The key that a choice means for a tenant of this life, and whether this server makes and destroys it.
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

    /// The key that an epoch stands under.
    pub(crate) fn key_of(&self, epoch: &EpochRecord) -> Result<Key> {
        Ok(self.config.providers.key(&epoch.provider, &epoch.key)?)
    }

    /// A ring's keys, unwrapped one after another.
    pub(crate) async fn ring(&self, incarnation: Incarnation, ring: &KeyringRecord) -> Result<TenantKeys> {
        let mut opened: Option<TenantKeys> = None;
        for epoch in &ring.epochs {
            let wrapped = WrappedKey::from(&epoch.wrapped);
            let key = self.key_of(epoch)?;
            let one = self.ask(key, move |key| TenantKeys::open(&**key, incarnation, &[wrapped])).await?;
            opened = Some(match opened {
                None => one,
                Some(others) => others.joined(one)?,
            });
        }
        opened.ok_or_else(|| vault::Error::NoEpoch(kernel::KeyEpoch(1)).into())
    }

    /// Whether keys of these epochs can be taken away by a provider.
    pub(crate) fn is_remote(&self, ring: &KeyringRecord) -> bool {
        ring.epochs.iter().any(|epoch| self.key_of(epoch).is_ok_and(|key| key.is_remote()))
    }
}

impl ProviderHealth {
    fn note(&mut self, trouble: Option<KeyTrouble>) {
        self.asked += 1;
        self.denied += u64::from(matches!(trouble, Some(KeyTrouble::Denied(_))));
        self.failed += u64::from(trouble == Some(KeyTrouble::Outage));
        self.trouble = trouble;
    }
}

/// What an error says of a tenant's keys, if anything.
pub(crate) fn trouble_of(error: &Error) -> Option<KeyTrouble> {
    match error {
        Error::Vault(error) => error.key_trouble(),
        _ => None,
    }
}

/// A monotonic time in milliseconds.
pub(crate) fn millis(clock: &dyn Clock) -> u64 {
    u64::try_from(clock.monotonic().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Every change under it is a few assignments.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
