//! The dependencies of a server apart from its settings: key provider, models, clock and entropy. Tests supply their
//! own.

#[cfg(feature = "aws-kms")]
use crate::config::AwsKmsCredentials;
use crate::config::{
    AwsKmsSettings, KeyProviderSettings, ModelSettings, Pkcs11Settings, RootKeySource, Settings, StorageLocation,
    TransitSettings,
};
use anyhow::{Context, Result, anyhow, bail};
use journal::{Blocking, PROBE_ROUNDS, RemoteOptions, RetryLimits, Storage};
use kernel::{Clock, Entropy, OsEntropy, SystemClock};
use models::{Models, ModelsConfig};
use registry::KeyConfig;
use std::{path::Path, sync::Arc};
#[cfg(feature = "aws-kms")]
use vault::{AwsCredentials, AwsKmsConfig, AwsKmsProvider};
use vault::{KeyProvider, LocalProvider, Providers};
#[cfg(feature = "pkcs11")]
use vault::{Pkcs11Config, Pkcs11Provider};
#[cfg(feature = "transit")]
use vault::{TransitConfig, TransitProvider, TransitToken};

/// Dependencies of a server.
pub struct Dependencies {
    /// Providers that wrap tenants' keys.
    pub keys: KeyConfig,
    /// Models that embed and rerank.
    pub models: Models,
    /// Source of time.
    pub clock: Arc<dyn Clock>,
    /// Source of randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Dependencies {
    /// Builds the parts that the settings name. Loading models takes about a second each.
    ///
    /// # Errors
    /// The root key cannot be loaded, or configured models do not load.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        Ok(Self {
            keys: keys(settings)?,
            models: load_models(&settings.models)?,
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
        })
    }
}

/// The key providers. The first start creates the root key file, but only if the local provider is needed.
///
/// # Errors
/// The root key's value is invalid; its file lies inside the data folder, is readable by other users, or cannot be
/// created; or a key service cannot be used as configured.
pub(crate) fn keys(settings: &Settings) -> Result<KeyConfig> {
    let choice = &settings.keys;
    let mut all: Vec<Arc<dyn KeyProvider>> = Vec::new();
    for (name, provider) in &choice.providers {
        all.push(service(name, provider)?);
    }
    let is_default = |provider: &Arc<dyn KeyProvider>| provider.name() == choice.default;
    // If the default provider is a service, no key file is needed; one that exists is still used.
    let needs_local = choice.default == LocalProvider::NAME
        || match &settings.root_key {
            RootKeySource::Value(_) => true,
            RootKeySource::File(path) => path.exists(),
        };
    if needs_local {
        all.push(local(settings)?);
    }
    let default = all.iter().position(is_default).context("keys.default names no provider")?;
    let first = Providers::new(all.swap_remove(default));
    let providers = all.into_iter().fold(first, Providers::with);
    let (lease, outage_max, rotate_every) = (choice.lease, choice.outage_max, choice.rotate_every);
    Ok(KeyConfig { providers, lease, outage_max, rotate_every })
}

fn service(name: &str, choice: &KeyProviderSettings) -> Result<Arc<dyn KeyProvider>> {
    match choice {
        KeyProviderSettings::Transit(choice) => transit(name, choice),
        KeyProviderSettings::Pkcs11(choice) => pkcs11(name, choice),
        KeyProviderSettings::AwsKms(choice) => aws_kms(name, choice),
    }
}

#[cfg(feature = "transit")]
fn transit(name: &str, choice: &TransitSettings) -> Result<Arc<dyn KeyProvider>> {
    let token = match (&choice.token, &choice.token_file) {
        (Some(token), _) => TransitToken::Value(token.clone()),
        (None, Some(path)) => TransitToken::File(path.clone()),
        (None, None) => bail!("key provider {name} has no token"),
    };
    Ok(Arc::new(TransitProvider::new(TransitConfig {
        name: name.to_owned(),
        address: choice.address.clone(),
        mount: choice.mount.clone(),
        namespace: choice.namespace.clone(),
        key: choice.key.clone(),
        key_per_tenant: choice.key_per_tenant,
        token,
        ca_certificates: choice.ca_certificates.clone(),
        timeout: choice.timeout,
    })?))
}

#[cfg(feature = "pkcs11")]
fn pkcs11(name: &str, choice: &Pkcs11Settings) -> Result<Arc<dyn KeyProvider>> {
    let config = Pkcs11Config {
        name: name.to_owned(),
        module: choice.module.clone(),
        token: choice.token.clone(),
        pin: choice.pin.clone(),
        key: choice.key.clone(),
        key_per_tenant: choice.key_per_tenant,
    };
    Ok(Arc::new(Pkcs11Provider::new(config, Arc::new(OsEntropy))?))
}

#[cfg(feature = "aws-kms")]
fn aws_kms(name: &str, choice: &AwsKmsSettings) -> Result<Arc<dyn KeyProvider>> {
    let credentials = match choice.credentials.clone() {
        Some(AwsKmsCredentials { id, secret, token }) => AwsCredentials::Key { id, secret, token },
        None => AwsCredentials::Found,
    };
    Ok(Arc::new(AwsKmsProvider::new(AwsKmsConfig {
        name: name.to_owned(),
        region: choice.region.clone(),
        endpoint: choice.endpoint.clone(),
        key: choice.key.clone(),
        key_per_tenant: choice.key_per_tenant,
        credentials,
        ca_certificates: choice.ca_certificates.clone(),
        timeout: choice.timeout,
    })?))
}

#[cfg(not(feature = "transit"))]
fn transit(name: &str, _: &TransitSettings) -> Result<Arc<dyn KeyProvider>> {
    unsupported_kind(name, "transit")
}

#[cfg(not(feature = "pkcs11"))]
fn pkcs11(name: &str, _: &Pkcs11Settings) -> Result<Arc<dyn KeyProvider>> {
    unsupported_kind(name, "pkcs11")
}

#[cfg(not(feature = "aws-kms"))]
fn aws_kms(name: &str, _: &AwsKmsSettings) -> Result<Arc<dyn KeyProvider>> {
    unsupported_kind(name, "aws-kms")
}

#[cfg(not(all(feature = "transit", feature = "pkcs11", feature = "aws-kms")))]
fn unsupported_kind(name: &str, kind: &str) -> Result<Arc<dyn KeyProvider>> {
    bail!("key provider {name} is of kind {kind}, which this build does not include: build with --features {kind}")
}

fn local(settings: &Settings) -> Result<Arc<dyn KeyProvider>> {
    let provider = match &settings.root_key {
        RootKeySource::Value(value) => {
            LocalProvider::from_env_value(value, Arc::new(OsEntropy)).context("RINGFENCE_ROOT_KEY")?
        }
        RootKeySource::File(path) => LocalProvider::from_file(path, settings.storage.folder(), Arc::new(OsEntropy))
            .with_context(|| format!("the root key file {}", path.display()))?,
    };
    let old = match &settings.old_root_key {
        None => return Ok(Arc::new(provider)),
        Some(RootKeySource::Value(value)) => {
            LocalProvider::from_env_value(value, Arc::new(OsEntropy)).context("RINGFENCE_OLD_ROOT_KEY")?
        }
        // The old key file must exist: a newly created key would open nothing.
        Some(RootKeySource::File(path)) => LocalProvider::from_existing_file(path, Arc::new(OsEntropy))
            .with_context(|| format!("the old root key file {}", path.display()))?,
    };
    tracing::info!("the old root key only opens what is still wrapped under it; nothing new is wrapped under it");
    Ok(Arc::new(provider.with_previous(old)))
}

/// Opens the data folder, or connects to the bucket and tests the guarantees that Ringfence needs.
///
/// # Errors
/// The folder is in use, or another version wrote it; the bucket cannot be reached, another version wrote it, or it
/// lacks a guarantee that Ringfence depends on.
pub(crate) async fn storage(settings: &Settings) -> Result<Storage> {
    let opened = match &settings.storage {
        StorageLocation::Folder(folder) => Storage::open(folder).await,
        StorageLocation::Remote(remote) => {
            let store = journal::connect(&remote.url, &remote.options)?;
            let once = RemoteOptions { retry: RetryLimits::NONE, ..remote.options.clone() };
            let once = journal::connect(&remote.url, &once)?;
            journal::probe(&*store, &OsEntropy, PROBE_ROUNDS).await.with_context(|| remote.url.to_string())?;
            Storage::remote(store, once, Blocking::Threads).await
        }
    };
    opened.map_err(|e| anyhow!("{}", chain(&kernel::Error::from(e)))).with_context(|| match &settings.storage {
        StorageLocation::Folder(folder) => format!("cannot open the data folder {}", folder.display()),
        StorageLocation::Remote(remote) => format!("cannot open {}", remote.url),
    })
}

/// Loads the configured models, or those found near the working folder or the program. With nothing configured and nothing found, the
/// server offers text search and search by callers' own vectors, and reports it; configured models must load.
pub(crate) fn load_models(choice: &ModelSettings) -> Result<Models> {
    if !choice.enabled {
        return Ok(Models::unavailable("models.enabled is false"));
    }
    let current = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let search_folders: Vec<&Path> = [current.as_deref(), program.as_deref()].into_iter().flatten().collect();
    let found = models::discover(choice.runtime.as_deref(), choice.folder.as_deref(), &search_folders);
    if !choice.configured && (found.runtime.is_none() || found.folder.is_none()) {
        return Ok(Models::unavailable(
            "ONNX Runtime or the models were not found; run scripts/setup, or set RINGFENCE_ONNXRUNTIME and \
             RINGFENCE_MODELS",
        ));
    }
    let config = ModelsConfig {
        runtime: found.runtime,
        folder: found.folder,
        default: choice.default.clone(),
        reranker: choice.reranker.clone(),
        provider: choice.provider,
        threads: choice.threads,
        ..ModelsConfig::default()
    };
    match Models::load(&config) {
        Ok(models) => Ok(models),
        Err(error) => {
            bail!("the models do not load: {} (set models.enabled = false to serve without them)", chain(&error))
        }
    }
}

/// The messages of an error and of its causes, joined in one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        // A wrapping error often repeats the message of its cause.
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        next = cause.source();
    }
    text
}
