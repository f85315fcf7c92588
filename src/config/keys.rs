//! Providers of root keys: the local root key, and key management services by names that the user chooses.

use super::{Config, Environment, KeyProviderKind, KeyProviderSection, settings::bounded};
use anyhow::{Context, Result, bail};
use kernel::limits;
use std::{path::PathBuf, time::Duration};
use vault::LocalProvider;
use zeroize::Zeroizing;

/// The parsed sections `[keys]` and `[key_providers]`.
#[derive(Clone, Debug)]
pub struct KeySettings {
    /// Provider of tenants that name none, and of the system's own keyspaces.
    pub default: String,
    /// How long unwrapped keys are used after the provider last confirmed them.
    pub lease: Duration,
    /// How long unwrapped keys are used while the provider does not answer.
    pub outage_max: Duration,
    /// Age at which keys are rotated.
    pub rotate_every: Option<Duration>,
    /// Providers in addition to the local one, by name.
    pub providers: Vec<(String, KeyProviderSettings)>,
}

/// A key management service and how to reach it.
#[derive(Clone, Debug)]
pub enum KeyProviderSettings {
    /// The Transit engine of OpenBao or Vault.
    Transit(TransitSettings),
    /// A hardware security module, or another token behind a PKCS #11 library.
    Pkcs11(Pkcs11Settings),
    /// AWS Key Management Service.
    AwsKms(AwsKmsSettings),
}

/// Settings of one provider of this kind.
#[derive(Clone)]
pub struct TransitSettings {
    /// Address, such as `https://bao.example:8200`.
    pub address: String,
    /// Path where the engine is mounted.
    pub mount: String,
    /// Vault namespace.
    pub namespace: Option<String>,
    /// Name of the key, or the prefix of keys' names.
    pub key: String,
    /// Whether each tenant gets a key of its own.
    pub key_per_tenant: bool,
    /// File with the token, read at each call; without it `token` is used.
    pub token_file: Option<PathBuf>,
    /// Value of `RINGFENCE_<NAME>_TOKEN`.
    pub token: Option<Zeroizing<String>>,
    /// Certificate authorities to trust (PEM).
    pub ca_certificates: Option<PathBuf>,
    /// Timeout of one call.
    pub timeout: Duration,
}

/// Leaves the token out.
impl std::fmt::Debug for TransitSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransitSettings")
            .field("address", &self.address)
            .field("mount", &self.mount)
            .finish_non_exhaustive()
    }
}

/// Settings of one provider of this kind.
#[derive(Clone)]
pub struct Pkcs11Settings {
    /// Path of the vendor's library.
    pub module: PathBuf,
    /// Label of the token.
    pub token: String,
    /// Value of `RINGFENCE_<NAME>_PIN`.
    pub pin: Zeroizing<String>,
    /// Label of the key, or the prefix of keys' labels.
    pub key: String,
    /// Whether each tenant gets a key of its own.
    pub key_per_tenant: bool,
}

/// Leaves the PIN out.
impl std::fmt::Debug for Pkcs11Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pkcs11Settings")
            .field("module", &self.module)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Settings of one provider of this kind.
#[derive(Clone, Debug)]
pub struct AwsKmsSettings {
    /// AWS region, such as `eu-central-1`.
    pub region: String,
    /// Address of the service, if it is not Amazon's own.
    pub endpoint: Option<String>,
    /// Id, ARN or alias of the key, or the prefix of keys' aliases.
    pub key: String,
    /// Whether each tenant gets a key of its own.
    pub key_per_tenant: bool,
    /// Access key; without one, the AWS library's own chain finds the credentials.
    pub credentials: Option<AwsKmsCredentials>,
    /// Certificate authorities to trust (PEM).
    pub ca_certificates: Option<PathBuf>,
    /// Timeout of one call.
    pub timeout: Duration,
}

/// An AWS access key.
#[derive(Clone)]
pub struct AwsKmsCredentials {
    /// Id of the access key.
    pub id: String,
    /// Value of `RINGFENCE_<NAME>_SECRET`.
    pub secret: Zeroizing<String>,
    /// Value of `RINGFENCE_<NAME>_TOKEN`, the session token of an access key that expires.
    pub token: Option<Zeroizing<String>>,
}

/// Leaves the secrets out.
impl std::fmt::Debug for AwsKmsCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AwsKmsCredentials").field("id", &self.id).finish_non_exhaustive()
    }
}

impl KeySettings {
    pub(super) fn new(config: &Config, environment: &Environment) -> Result<Self> {
        let section = &config.keys;
        let seconds = |key: &str, v: Option<u64>, default: Duration, least, most: Duration| {
            bounded(key, v.unwrap_or(default.as_secs()), least, most.as_secs()).map(Duration::from_secs)
        };
        let lease = seconds("keys.lease_s", section.lease_s, limits::KEY_LEASE, 3, limits::KEY_LEASE_MAX)?;
        let hour = Duration::from_secs(3_600);
        let outage_max = seconds("keys.outage_s", section.outage_s, limits::KEY_OUTAGE_MAX, lease.as_secs(), hour)?;
        let days =
            section.rotate_days.map(|d| bounded("keys.rotate_days", d, 1, limits::ROTATE_DAYS_MAX)).transpose()?;
        let default = section.default.clone().unwrap_or_else(|| LocalProvider::NAME.to_owned());
        if default != LocalProvider::NAME && !config.key_providers.contains_key(&default) {
            bail!("keys.default = {default:?}: no such provider; add [key_providers.{default}] or use \"local\"");
        }
        let provider = |(name, section): (&String, &KeyProviderSection)| {
            let choice = provider(name, section, environment).with_context(|| format!("key_providers.{name}"))?;
            Ok((name.clone(), choice))
        };
        let providers = config.key_providers.iter().map(provider).collect::<Result<_>>()?;
        let rotate_every = days.map(|d| Duration::from_secs(u64::from(d) * 86_400));
        Ok(Self { default, lease, outage_max, rotate_every, providers })
    }
}

fn provider(name: &str, section: &KeyProviderSection, environment: &Environment) -> Result<KeyProviderSettings> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name == LocalProvider::NAME || !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
        bail!(
            "a provider's name consists of lower-case letters, digits and dashes, begins with a letter, and is not \
             \"local\""
        );
    }
    check_kind(section)?;
    let variable = |what: &str| format!("RINGFENCE_{}_{what}", name.to_uppercase().replace('-', "_"));
    Ok(match section.kind {
        KeyProviderKind::Transit => KeyProviderSettings::Transit(transit(section, environment, &variable("TOKEN"))?),
        KeyProviderKind::Pkcs11 => KeyProviderSettings::Pkcs11(pkcs11(section, environment, &variable("PIN"))?),
        KeyProviderKind::AwsKms => {
            KeyProviderSettings::AwsKms(aws_kms(section, environment, &variable("SECRET"), &variable("TOKEN"))?)
        }
    })
}

/// Refuses keys that have no meaning for this kind of provider.
fn check_kind(section: &KeyProviderSection) -> Result<()> {
    use KeyProviderKind::{AwsKms, Pkcs11, Transit};
    let keys: [(&str, bool, &[KeyProviderKind]); 12] = [
        ("address", section.address.is_some(), &[Transit]),
        ("mount", section.mount.is_some(), &[Transit]),
        ("namespace", section.namespace.is_some(), &[Transit]),
        ("token_file", section.token_file.is_some(), &[Transit]),
        ("module", section.module.is_some(), &[Pkcs11]),
        ("token_label", section.token_label.is_some(), &[Pkcs11]),
        ("region", section.region.is_some(), &[AwsKms]),
        ("endpoint", section.endpoint.is_some(), &[AwsKms]),
        ("access_key_id", section.access_key_id.is_some(), &[AwsKms]),
        ("ca_certificates", section.ca_certificates.is_some(), &[Transit, AwsKms]),
        ("allow_http", section.allow_http.is_some(), &[Transit, AwsKms]),
        ("timeout_s", section.timeout_s.is_some(), &[Transit, AwsKms]),
    ];
    for (key, set, kinds) in keys {
        if set && !kinds.contains(&section.kind) {
            let kinds: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
            bail!("{key} is for kind {}; this one is {}: remove it", kinds.join(" and "), section.kind.as_str());
        }
    }
    Ok(())
}

fn transit(section: &KeyProviderSection, environment: &Environment, variable: &str) -> Result<TransitSettings> {
    let token = environment.secret(variable)?;
    match (&token, &section.token_file) {
        (Some(_), Some(_)) => bail!("token_file and {variable} are both set; remove one of them"),
        (None, None) => {
            bail!("there is no token: set token_file (read at each call, so that an agent can renew it) or {variable}")
        }
        _ => {}
    }
    let address = section.address.clone().context("address is missing; an example is \"https://bao.example:8200\"")?;
    Ok(TransitSettings {
        address: checked_address("address", address, section.allow_http == Some(true))?,
        mount: section.mount.clone().unwrap_or_else(|| "transit".to_owned()),
        namespace: section.namespace.clone(),
        key: section.key.clone().unwrap_or_else(|| "ringfence".to_owned()),
        key_per_tenant: section.key_per_tenant.unwrap_or(false),
        token_file: section.token_file.clone(),
        token,
        ca_certificates: section.ca_certificates.clone(),
        timeout: timeout(section)?,
    })
}

fn pkcs11(section: &KeyProviderSection, environment: &Environment, variable: &str) -> Result<Pkcs11Settings> {
    let module = section.module.clone().context("module is missing: the path of the vendor's PKCS #11 library")?;
    if !module.is_absolute() {
        bail!("module = {module:?}: must be an absolute path");
    }
    Ok(Pkcs11Settings {
        module,
        token: section.token_label.clone().context("token_label is missing: the label of the token")?,
        pin: environment.secret(variable)?.with_context(|| format!("{variable} (or {variable}_FILE) is missing"))?,
        key: section.key.clone().unwrap_or_else(|| "ringfence".to_owned()),
        key_per_tenant: section.key_per_tenant.unwrap_or(false),
    })
}

fn aws_kms(
    section: &KeyProviderSection,
    environment: &Environment,
    variable: &str,
    token_variable: &str,
) -> Result<AwsKmsSettings> {
    let secret = environment.secret(variable)?;
    let token = environment.secret(token_variable)?;
    let credentials = match (section.access_key_id.clone(), secret) {
        (Some(id), Some(secret)) => Some(AwsKmsCredentials { id, secret, token }),
        (Some(_), None) => bail!("{variable} (or {variable}_FILE) is missing: the secret of access_key_id"),
        (None, Some(_)) => bail!("access_key_id is missing; its secret is in {variable}"),
        (None, None) if token.is_some() => {
            bail!("{token_variable} is set, but access_key_id and {variable} are missing")
        }
        (None, None) => None,
    };
    let key_per_tenant = section.key_per_tenant.unwrap_or(false);
    let key = section.key.clone().unwrap_or_else(|| "alias/ringfence".to_owned());
    if key_per_tenant && !key.starts_with("alias/") {
        bail!("key = {key:?}: with key_per_tenant this must be the beginning of an alias, \"alias/...\"");
    }
    let endpoint = section.endpoint.clone();
    let endpoint = endpoint.map(|e| checked_address("endpoint", e, section.allow_http == Some(true))).transpose()?;
    Ok(AwsKmsSettings {
        region: section.region.clone().context("region is missing; an example is \"eu-central-1\"")?,
        endpoint,
        key,
        key_per_tenant,
        credentials,
        ca_certificates: section.ca_certificates.clone(),
        timeout: timeout(section)?,
    })
}

fn timeout(section: &KeyProviderSection) -> Result<Duration> {
    bounded("timeout_s", section.timeout_s.unwrap_or(5), 1, 30).map(Duration::from_secs)
}

/// Keys travel unencrypted over this address, so it needs TLS, a loopback address, or the user's explicit permission.
fn checked_address(key: &str, address: String, allow_http: bool) -> Result<String> {
    let host = address.strip_prefix("http://");
    let loopback = |host: &str| ["127.", "localhost", "[::1]"].iter().any(|own| host.starts_with(own));
    match host {
        Some(host) if !loopback(host) && !allow_http => bail!(
            "{key} = {address:?} would send keys unencrypted: use https://, or set allow_http = true if a proxy in \
             between provides TLS"
        ),
        None if !address.starts_with("https://") => bail!("{key} = {address:?}: must begin with https://"),
        _ => Ok(address),
    }
}
