//! What a server is built from beside its settings: key provider, models, clock, entropy.
//! Tests bring their own.

#[cfg(feature = "aws-kms")]
use crate::config::AwsKmsCredentials;
use crate::config::{
    AwsKmsChoice, ModelsChoice, Pkcs11Choice, Place, ProviderChoice, RootKey, Settings, TransitChoice,
};
use anyhow::{Context, Result, anyhow, bail};
use journal::{Blocking, PROBE_ROUNDS, RemoteOptions, Retry, Storage};
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

/// The parts.
pub struct Parts {
    /// Who wraps tenants' keys.
    pub keys: KeyConfig,
    /// What embeds.
    pub models: Models,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

impl Parts {
    /// As the settings say. Loads models, which takes about a second each.
    ///
    /// # Errors
    /// The root key cannot be had, or models that were asked for do not load.
    pub fn from_settings(settings: &Settings) -> Result<Self> {
        Ok(Self {
            keys: keys(settings)?,
            models: load_models(&settings.models)?,
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(OsEntropy),
        })
    }
}

/// The key providers. The root key file is made by a first start, but only where something is to stand under it.
///
/// # Errors
/// The root key's value is none; its file lies inside the data folder, is readable by others, or cannot be made; a
/// service cannot be used as it is configured.
pub(crate) fn keys(settings: &Settings) -> Result<KeyConfig> {
    let choice = &settings.keys;
    let mut all: Vec<Arc<dyn KeyProvider>> = Vec::new();
    for (name, provider) in &choice.providers {
        all.push(service(name, provider)?);
    }
    let is_default = |provider: &Arc<dyn KeyProvider>| provider.name() == choice.default;
    // Whose default is a service needs no key file, unless there is one.
    let local_wanted = choice.default == LocalProvider::NAME
        || match &settings.root_key {
            RootKey::Value(_) => true,
            RootKey::File(path) => path.exists(),
        };
    if local_wanted {
        all.push(local(settings)?);
    }
    let default = all.iter().position(is_default).context("keys.default names no provider")?;
    let first = Providers::new(all.swap_remove(default));
    let providers = all.into_iter().fold(first, Providers::with);
    let (lease, outage_max, rotate_every) = (choice.lease, choice.outage_max, choice.rotate_every);
    Ok(KeyConfig { providers, lease, outage_max, rotate_every })
}

fn service(name: &str, choice: &ProviderChoice) -> Result<Arc<dyn KeyProvider>> {
    match choice {
        ProviderChoice::Transit(choice) => transit(name, choice),
        ProviderChoice::Pkcs11(choice) => pkcs11(name, choice),
        ProviderChoice::AwsKms(choice) => aws_kms(name, choice),
    }
}

#[cfg(feature = "transit")]
fn transit(name: &str, choice: &TransitChoice) -> Result<Arc<dyn KeyProvider>> {
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
fn pkcs11(name: &str, choice: &Pkcs11Choice) -> Result<Arc<dyn KeyProvider>> {
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
fn aws_kms(name: &str, choice: &AwsKmsChoice) -> Result<Arc<dyn KeyProvider>> {
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
fn transit(name: &str, _: &TransitChoice) -> Result<Arc<dyn KeyProvider>> {
    left_out(name, "transit")
}

#[cfg(not(feature = "pkcs11"))]
fn pkcs11(name: &str, _: &Pkcs11Choice) -> Result<Arc<dyn KeyProvider>> {
    left_out(name, "pkcs11")
}

#[cfg(not(feature = "aws-kms"))]
fn aws_kms(name: &str, _: &AwsKmsChoice) -> Result<Arc<dyn KeyProvider>> {
    left_out(name, "aws-kms")
}

#[cfg(not(all(feature = "transit", feature = "pkcs11", feature = "aws-kms")))]
fn left_out(name: &str, kind: &str) -> Result<Arc<dyn KeyProvider>> {
    bail!("key provider {name} is of kind {kind}, which this build leaves out: build with --features {kind}")
}

fn local(settings: &Settings) -> Result<Arc<dyn KeyProvider>> {
    let provider = match &settings.root_key {
        RootKey::Value(value) => {
            LocalProvider::from_env_value(value, Arc::new(OsEntropy)).context("RINGFENCE_ROOT_KEY")?
        }
        RootKey::File(path) => LocalProvider::from_file(path, settings.place.folder(), Arc::new(OsEntropy))
            .with_context(|| format!("the root key file {}", path.display()))?,
    };
    let old = match &settings.old_root_key {
        None => return Ok(Arc::new(provider)),
        Some(RootKey::Value(value)) => {
            LocalProvider::from_env_value(value, Arc::new(OsEntropy)).context("RINGFENCE_OLD_ROOT_KEY")?
        }
        // It must be there: a fresh one in its place would open nothing.
        Some(RootKey::File(path)) => LocalProvider::from_old_file(path, Arc::new(OsEntropy))
            .with_context(|| format!("the old root key file {}", path.display()))?,
    };
    tracing::info!("the old root key opens what stands under it yet; nothing is wrapped under it");
    Ok(Arc::new(provider.with_previous(old)))
}

/// Opens the folder, or reaches the bucket and has it prove itself.
///
/// # Errors
/// The folder is in use or another version's; the bucket cannot be reached, is another version's, or
/// does not keep what Ringfence stands on.
pub(crate) async fn storage(settings: &Settings) -> Result<Storage> {
    let opened = match &settings.place {
        Place::Folder(folder) => Storage::open(folder).await,
        Place::Remote(remote) => {
            let store = journal::connect(&remote.url, &remote.options)?;
            let once = RemoteOptions { retry: Retry::NONE, ..remote.options.clone() };
            let once = journal::connect(&remote.url, &once)?;
            journal::probe(&*store, &OsEntropy, PROBE_ROUNDS).await.with_context(|| remote.url.to_string())?;
            Storage::remote(store, once, Blocking::Threads).await
        }
    };
    opened.map_err(|e| anyhow!("{}", chain(&kernel::Error::from(e)))).with_context(|| match &settings.place {
        Place::Folder(folder) => format!("cannot open the data folder {}", folder.display()),
        Place::Remote(remote) => format!("cannot open {}", remote.url),
    })
}

/// Loads what is configured or lies at hand. With nothing configured and nothing found the server
/// serves text search and callers' own vectors, and says so; what is configured must load.
pub(crate) fn load_models(choice: &ModelsChoice) -> Result<Models> {
    if !choice.enabled {
        return Ok(Models::unavailable("models.enabled is false"));
    }
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    let near: Vec<&Path> = [here.as_deref(), program.as_deref()].into_iter().flatten().collect();
    let found = models::discover(choice.runtime.as_deref(), choice.folder.as_deref(), &near);
    if !choice.configured && (found.runtime.is_none() || found.folder.is_none()) {
        return Ok(Models::unavailable(
            "no ONNX Runtime and models were found; run scripts/setup, or set RINGFENCE_ONNXRUNTIME and RINGFENCE_MODELS",
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
        Err(error) => bail!("the models do not load: {} (models.enabled = false serves without them)", chain(&error)),
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        // A border error often says what its cause says.
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}
