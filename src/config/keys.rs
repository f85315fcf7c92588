//! Who keeps root keys: the local root key, and key management services by a name of the user's.

use super::{Config, Environment, KeyProviderConfig, KeyProviderKind, settings::bounded};
use anyhow::{Context, Result, bail};
use kernel::limits;
use std::{path::PathBuf, time::Duration};
use vault::LocalProvider;
use zeroize::Zeroizing;

/// What `[keys]` and `[key_providers]` mean.
#[derive(Clone, Debug)]
pub struct KeysChoice {
    /// The provider of tenants that name none, and of the server's own places.
    pub default: String,
    /// Keys that a provider gave are used for so long without asking again.
    pub lease: Duration,
    /// And for so long while the provider does not answer.
    pub outage_max: Duration,
    /// Rotations are begun for keys of this age.
    pub rotate_every: Option<Duration>,
    /// Providers beside the local one.
    pub providers: Vec<(String, ProviderChoice)>,
}

/// A key management service and how to reach it.
#[derive(Clone, Debug)]
pub enum ProviderChoice {
    /// OpenBao's or Vault's Transit engine.
    Transit(TransitChoice),
}

/// See [`ProviderChoice`].
#[derive(Clone)]
pub struct TransitChoice {
    /// `https://bao.example:8200`.
    pub address: String,
    /// Where the engine is mounted.
    pub mount: String,
    /// Vault's namespace.
    pub namespace: Option<String>,
    /// The key, or the prefix of keys' names.
    pub key: String,
    /// A key for each tenant.
    pub key_per_tenant: bool,
    /// Read at each call; else the token of the environment.
    pub token_file: Option<PathBuf>,
    /// `RINGFENCE_<NAME>_TOKEN`.
    pub token: Option<Zeroizing<String>>,
    /// Certificate authorities.
    pub ca_certificates: Option<PathBuf>,
    /// Of one call.
    pub timeout: Duration,
}

/// Without the token.
impl std::fmt::Debug for TransitChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransitChoice")
            .field("address", &self.address)
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}

impl KeysChoice {
    pub(super) fn new(config: &Config, environment: &Environment) -> Result<Self> {
        let written = &config.keys;
        let seconds = |key: &str, v: Option<u64>, default: Duration, least, most: Duration| {
            bounded(key, v.unwrap_or(default.as_secs()), least, most.as_secs()).map(Duration::from_secs)
        };
        let lease = seconds("keys.lease_s", written.lease_s, limits::KEY_LEASE, 3, limits::KEY_LEASE_MAX)?;
        let hour = Duration::from_secs(3_600);
        let outage_max = seconds("keys.outage_s", written.outage_s, limits::KEY_OUTAGE_MAX, lease.as_secs(), hour)?;
        let days =
            written.rotate_days.map(|d| bounded("keys.rotate_days", d, 1, limits::ROTATE_DAYS_MAX)).transpose()?;
        let default = written.default.clone().unwrap_or_else(|| LocalProvider::NAME.to_owned());
        if default != LocalProvider::NAME && !config.key_providers.contains_key(&default) {
            bail!("keys.default = {default:?}: no such provider; write [key_providers.{default}], or \"local\"");
        }
        let provider = |(name, written): (&String, &KeyProviderConfig)| {
            let choice = provider(name, written, environment).with_context(|| format!("key_providers.{name}"))?;
            Ok((name.clone(), choice))
        };
        let providers = config.key_providers.iter().map(provider).collect::<Result<_>>()?;
        let rotate_every = days.map(|d| Duration::from_secs(u64::from(d) * 86_400));
        Ok(Self { default, lease, outage_max, rotate_every, providers })
    }
}

fn provider(name: &str, written: &KeyProviderConfig, environment: &Environment) -> Result<ProviderChoice> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name == LocalProvider::NAME || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
        bail!(
            "a provider's name has lower-case letters, digits and dashes, begins with a letter, and is not \"local\""
        );
    }
    let KeyProviderKind::Transit = written.kind;
    let variable = format!("RINGFENCE_{}_TOKEN", name.to_uppercase().replace('-', "_"));
    let token = environment.secret(&variable)?;
    match (&token, &written.token_file) {
        (Some(_), Some(_)) => bail!("token_file and {variable} are both set; keep one"),
        (None, None) => {
            bail!("it has no token: set token_file (read at each call, so that an agent may renew it) or {variable}")
        }
        _ => {}
    }
    let address = written.address.clone().context("address is missing, such as \"https://bao.example:8200\"")?;
    let timeout = bounded("timeout_s", written.timeout_s.unwrap_or(5), 1, 30)?;
    Ok(ProviderChoice::Transit(TransitChoice {
        address: address_of(address, written.allow_http == Some(true))?,
        mount: written.mount.clone().unwrap_or_else(|| "transit".to_owned()),
        namespace: written.namespace.clone(),
        key: written.key.clone().unwrap_or_else(|| "ringfence".to_owned()),
        key_per_tenant: written.key_per_tenant.unwrap_or(false),
        token_file: written.token_file.clone(),
        token,
        ca_certificates: written.ca_certificates.clone(),
        timeout: Duration::from_secs(timeout),
    }))
}

/// Keys in the clear go over this: TLS, or a loopback address, or who wrote it knows better.
fn address_of(address: String, allow_http: bool) -> Result<String> {
    let host = address.strip_prefix("http://");
    let loopback = |host: &str| ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own));
    match host {
        Some(host) if !loopback(host) && !allow_http => bail!(
            "address = {address:?} would send keys in the clear: use https://, or allow_http = true if something in \
             between does TLS"
        ),
        None if !address.starts_with("https://") => bail!("address = {address:?}: must begin with https://"),
        _ => Ok(address),
    }
}
