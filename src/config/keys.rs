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
    /// A hardware module, or what speaks like one.
    Pkcs11(Pkcs11Choice),
    /// Amazon's Key Management Service.
    AwsKms(AwsKmsChoice),
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

/// See [`ProviderChoice`].
#[derive(Clone)]
pub struct Pkcs11Choice {
    /// The vendor's library.
    pub module: PathBuf,
    /// The token's label.
    pub token: String,
    /// `RINGFENCE_<NAME>_PIN`.
    pub pin: Zeroizing<String>,
    /// The key, or the prefix of keys' labels.
    pub key: String,
    /// A key for each tenant.
    pub key_per_tenant: bool,
}

/// Without the PIN.
impl std::fmt::Debug for Pkcs11Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Choice").field("module", &self.module).field("token", &self.token).finish_non_exhaustive()
    }
}

/// See [`ProviderChoice`].
#[derive(Clone, Debug)]
pub struct AwsKmsChoice {
    /// `eu-central-1`.
    pub region: String,
    /// Where it answers, if not in its usual place.
    pub endpoint: Option<String>,
    /// The key, or the prefix of keys' aliases.
    pub key: String,
    /// A key for each tenant.
    pub key_per_tenant: bool,
    /// Whoever Amazon's library finds, if nobody.
    pub credentials: Option<AwsKmsCredentials>,
    /// Certificate authorities.
    pub ca_certificates: Option<PathBuf>,
    /// Of one call.
    pub timeout: Duration,
}

/// An access key.
#[derive(Clone)]
pub struct AwsKmsCredentials {
    /// Its id.
    pub id: String,
    /// `RINGFENCE_<NAME>_SECRET`.
    pub secret: Zeroizing<String>,
    /// `RINGFENCE_<NAME>_TOKEN`, of one that expires.
    pub token: Option<Zeroizing<String>>,
}

/// Without the secrets.
impl std::fmt::Debug for AwsKmsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsKmsCredentials").field("id", &self.id).finish_non_exhaustive()
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
    of_its_kind(written)?;
    let variable = |what: &str| format!("RINGFENCE_{}_{what}", name.to_uppercase().replace('-', "_"));
    Ok(match written.kind {
        KeyProviderKind::Transit => ProviderChoice::Transit(transit(written, environment, &variable("TOKEN"))?),
        KeyProviderKind::Pkcs11 => ProviderChoice::Pkcs11(pkcs11(written, environment, &variable("PIN"))?),
        KeyProviderKind::AwsKms => {
            ProviderChoice::AwsKms(aws_kms(written, environment, &variable("SECRET"), &variable("TOKEN"))?)
        }
    })
}

/// What is written and would not be read is refused.
fn of_its_kind(written: &KeyProviderConfig) -> Result<()> {
    use KeyProviderKind::{AwsKms, Pkcs11, Transit};
    let keys: [(&str, bool, &[KeyProviderKind]); 12] = [
        ("address", written.address.is_some(), &[Transit]),
        ("mount", written.mount.is_some(), &[Transit]),
        ("namespace", written.namespace.is_some(), &[Transit]),
        ("token_file", written.token_file.is_some(), &[Transit]),
        ("module", written.module.is_some(), &[Pkcs11]),
        ("token_label", written.token_label.is_some(), &[Pkcs11]),
        ("region", written.region.is_some(), &[AwsKms]),
        ("endpoint", written.endpoint.is_some(), &[AwsKms]),
        ("access_key_id", written.access_key_id.is_some(), &[AwsKms]),
        ("ca_certificates", written.ca_certificates.is_some(), &[Transit, AwsKms]),
        ("allow_http", written.allow_http.is_some(), &[Transit, AwsKms]),
        ("timeout_s", written.timeout_s.is_some(), &[Transit, AwsKms]),
    ];
    for (key, set, kinds) in keys {
        if set && !kinds.contains(&written.kind) {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            bail!("{key} is for kind {}; this one is {}: remove it", kinds.join(" and "), written.kind.as_str());
        }
    }
    Ok(())
}

fn transit(written: &KeyProviderConfig, environment: &Environment, variable: &str) -> Result<TransitChoice> {
    let token = environment.secret(variable)?;
    match (&token, &written.token_file) {
        (Some(_), Some(_)) => bail!("token_file and {variable} are both set; keep one"),
        (None, None) => {
            bail!("it has no token: set token_file (read at each call, so that an agent may renew it) or {variable}")
        }
        _ => {}
    }
    let address = written.address.clone().context("address is missing, such as \"https://bao.example:8200\"")?;
    Ok(TransitChoice {
        address: address_of("address", address, written.allow_http == Some(true))?,
        mount: written.mount.clone().unwrap_or_else(|| "transit".to_owned()),
        namespace: written.namespace.clone(),
        key: written.key.clone().unwrap_or_else(|| "ringfence".to_owned()),
        key_per_tenant: written.key_per_tenant.unwrap_or(false),
        token_file: written.token_file.clone(),
        token,
        ca_certificates: written.ca_certificates.clone(),
        timeout: timeout_of(written)?,
    })
}

fn pkcs11(written: &KeyProviderConfig, environment: &Environment, variable: &str) -> Result<Pkcs11Choice> {
    let module = written.module.clone().context("module is missing: the path of the vendor's PKCS #11 library")?;
    if !module.is_absolute() {
        bail!("module = {module:?}: must be an absolute path");
    }
    Ok(Pkcs11Choice {
        module,
        token: written.token_label.clone().context("token_label is missing: what the token is called")?,
        pin: environment.secret(variable)?.with_context(|| format!("{variable} (or {variable}_FILE) is missing"))?,
        key: written.key.clone().unwrap_or_else(|| "ringfence".to_owned()),
        key_per_tenant: written.key_per_tenant.unwrap_or(false),
    })
}

fn aws_kms(
    written: &KeyProviderConfig,
    environment: &Environment,
    variable: &str,
    token_variable: &str,
) -> Result<AwsKmsChoice> {
    let secret = environment.secret(variable)?;
    let token = environment.secret(token_variable)?;
    let credentials = match (written.access_key_id.clone(), secret) {
        (Some(id), Some(secret)) => Some(AwsKmsCredentials { id, secret, token }),
        (Some(_), None) => bail!("{variable} (or {variable}_FILE) is missing: the secret of access_key_id"),
        (None, Some(_)) => bail!("access_key_id is missing, whose secret is in {variable}"),
        (None, None) if token.is_some() => bail!("access_key_id and {variable} are missing beside {token_variable}"),
        (None, None) => None,
    };
    let key_per_tenant = written.key_per_tenant.unwrap_or(false);
    let key = written.key.clone().unwrap_or_else(|| "alias/ringfence".to_owned());
    if key_per_tenant && !key.starts_with("alias/") {
        bail!("key = {key:?}: with key_per_tenant it is the beginning of an alias, \"alias/...\"");
    }
    let endpoint = written.endpoint.clone();
    let endpoint = endpoint.map(|e| address_of("endpoint", e, written.allow_http == Some(true))).transpose()?;
    Ok(AwsKmsChoice {
        region: written.region.clone().context("region is missing, such as \"eu-central-1\"")?,
        endpoint,
        key,
        key_per_tenant,
        credentials,
        ca_certificates: written.ca_certificates.clone(),
        timeout: timeout_of(written)?,
    })
}

fn timeout_of(written: &KeyProviderConfig) -> Result<Duration> {
    bounded("timeout_s", written.timeout_s.unwrap_or(5), 1, 30).map(Duration::from_secs)
}

/// Keys in the clear go over this: TLS, or a loopback address, or who wrote it knows better.
fn address_of(key: &str, address: String, allow_http: bool) -> Result<String> {
    let host = address.strip_prefix("http://");
    let loopback = |host: &str| ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own));
    match host {
        Some(host) if !loopback(host) && !allow_http => bail!(
            "{key} = {address:?} would send keys in the clear: use https://, or allow_http = true if something in \
             between does TLS"
        ),
        None if !address.starts_with("https://") => bail!("{key} = {address:?}: must begin with https://"),
        _ => Ok(address),
    }
}
