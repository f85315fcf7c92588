//! Amazon's Key Management Service, and what speaks like it: keys are symmetric KMS keys, wraps are ciphertexts of theirs.
//!
//! A wrap is bound to its context by the encryption context, which stands in Amazon's own audit log: so it is the
//! context's bytes, which name nobody. A key may be named by its id, its ARN or an alias; one that this server makes
//! is an alias to a new key.
//!
//! KMS has versions of a key's material and shows none of them: whether and when there is a new one is the key's
//! setting there, and old ones open for as long as the key lives. So nothing here makes or retires versions.

use super::{Denial, Key, KeyFacts, KeyProvider, Receipt, RootKey};
use crate::{Error, Result, SecretKey};
use aws_config::{default_provider::credentials::DefaultCredentialsChain, provider_config::ProviderConfig};
use aws_sdk_kms::{
    Client,
    config::{
        BehaviorVersion, Credentials, Region, SharedCredentialsProvider, SharedHttpClient, retry::RetryConfig,
        timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    primitives::{Blob, DateTimeFormat},
    types::{KeyMetadata, KeySpec, KeyState, KeyUsageType},
};
use aws_smithy_http_client::{
    Builder,
    tls::{self, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

/// Where KMS is and which keys it is to use.
pub struct AwsKmsConfig {
    /// The provider's name.
    pub name: String,
    /// `eu-central-1`.
    pub region: String,
    /// Where it answers, if not where Amazon's does in that region.
    pub endpoint: Option<String>,
    /// The key of tenants that name none; with `key_per_tenant` the prefix of their keys' aliases, `alias/…`.
    pub key: String,
    /// A key for each tenant, made by this server, which has it deleted too.
    pub key_per_tenant: bool,
    /// Who asks.
    pub credentials: AwsCredentials,
    /// Certificate authorities to trust instead of the system's, PEM.
    pub ca_certificates: Option<PathBuf>,
    /// The longest a call may take, with what is tried again.
    pub timeout: Duration,
}

/// Who asks.
pub enum AwsCredentials {
    /// What Amazon's library finds: its variables, the files of `~/.aws`, a web identity, a container's or an
    /// instance's role, in this order.
    Found,
    /// These very ones.
    Key {
        /// The access key's id.
        id: String,
        /// Its secret.
        secret: Zeroizing<String>,
        /// The session token of one that expires.
        token: Option<Zeroizing<String>>,
    },
}

/// See the [module](self).
pub struct AwsKmsProvider {
    name: String,
    key: String,
    key_per_tenant: bool,
    client: Client,
    /// Until it is dropped. Its one thread drives connections; callers wait on their own.
    runtime: Option<Runtime>,
}

impl AwsKmsProvider {
    /// Asks nobody.
    ///
    /// # Errors
    /// [`Error::Provider`] for certificates or keys' names that cannot be used.
    pub fn new(config: AwsKmsConfig) -> Result<Self> {
        let wrong = |problem: String| Error::Provider { provider: config.name.clone(), problem };
        if config.key_per_tenant && !config.key.starts_with(ALIAS) {
            return Err(wrong("with key_per_tenant its key is the beginning of an alias, \"alias/…\"".to_owned()));
        }
        let http = http(config.ca_certificates.as_deref()).map_err(&wrong)?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("aws-kms").enable_all().build();
        let runtime = runtime.map_err(|e| wrong(format!("it cannot have a thread: {e}")))?;
        let region = Region::new(config.region);
        let credentials = match config.credentials {
            AwsCredentials::Key { id, secret, token } => SharedCredentialsProvider::new(Credentials::new(
                id,
                secret.as_str(),
                token.map(|t| t.as_str().to_owned()),
                None,
                "ringfence",
            )),
            AwsCredentials::Found => {
                let found =
                    ProviderConfig::without_region().with_region(Some(region.clone())).with_http_client(http.clone());
                let chain = DefaultCredentialsChain::builder().region(region.clone()).configure(found);
                let chain = answer(&runtime, chain.build());
                SharedCredentialsProvider::new(chain.ok_or_else(|| wrong("it cannot find credentials".to_owned()))?)
            }
        };
        let timeouts =
            TimeoutConfig::builder().operation_timeout(config.timeout).connect_timeout(config.timeout).build();
        let mut settings = aws_sdk_kms::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(region)
            .credentials_provider(credentials)
            .http_client(http)
            .timeout_config(timeouts)
            .retry_config(RetryConfig::standard().with_max_attempts(TRIES));
        settings.set_endpoint_url(config.endpoint);
        let client = Client::from_conf(settings.build());
        let (name, key, key_per_tenant) = (config.name, config.key, config.key_per_tenant);
        Ok(Self { name, key, key_per_tenant, client, runtime: Some(runtime) })
    }

    /// Has a call made and waits for its answer, wherever the caller's thread comes from.
    fn call<T, E>(&self, call: impl Future<Output = std::result::Result<T, SdkError<E>>> + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        E: ProvideErrorMetadata + Send + 'static,
    {
        let answer = self.runtime.as_ref().and_then(|runtime| answer(runtime, call));
        answer.ok_or_else(|| self.unavailable("the call did not end"))?.map_err(|error| self.refused(&error))
    }

    /// What an answer that is no success means. Amazon's own sentences name keys and callers, and are shown to nobody.
    fn refused<E: ProvideErrorMetadata>(&self, error: &SdkError<E>) -> Error {
        match error {
            SdkError::ServiceError(said) => {
                let code = said.err().code().unwrap_or_default();
                match meaning(code) {
                    Meaning::Denied(why) => self.denied(why),
                    Meaning::Unfit => self.problem(format!("it does not take this key or its name ({})", word(code))),
                    Meaning::Outage => {
                        self.unavailable(&format!("it answered {} with status {}", word(code), said.raw().status()))
                    }
                }
            }
            SdkError::TimeoutError(_) => self.unavailable("it took too long"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => self.unavailable("it took too long"),
            SdkError::DispatchFailure(failure) if failure.is_io() || failure.as_other().is_some() => {
                self.unavailable("it cannot be reached")
            }
            SdkError::DispatchFailure(_) => self.unavailable("it cannot be asked: no credentials can be had"),
            _ => self.unavailable("its reply is not understood"),
        }
    }

    fn denied(&self, why: Denial) -> Error {
        Error::Denied { provider: self.name.clone(), why }
    }

    fn unavailable(&self, reason: &str) -> Error {
        Error::Unavailable { provider: self.name.clone(), reason: reason.to_owned() }
    }

    fn problem(&self, problem: String) -> Error {
        Error::Provider { provider: self.name.clone(), problem }
    }

    fn odd(&self) -> Error {
        self.unavailable("its reply lacks what was asked for")
    }
}

/// Without waiting: where it is dropped may be no place to wait.
impl Drop for AwsKmsProvider {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl KeyProvider for AwsKmsProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "aws-kms"
    }

    fn default_key(&self) -> &str {
        &self.key
    }

    fn key_per_tenant(&self) -> Option<&str> {
        self.key_per_tenant.then_some(&self.key)
    }

    fn key(self: Arc<Self>, name: &str) -> Result<Key> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | ':');
        if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(fits) {
            return Err(Error::no_key(&self.name, name));
        }
        Ok(Arc::new(AwsKmsKey { name: name.to_owned(), provider: self }))
    }
}

/// One of its keys.
struct AwsKmsKey {
    provider: Arc<AwsKmsProvider>,
    name: String,
}

impl AwsKmsKey {
    fn describe(&self) -> Result<KeyMetadata> {
        let reply = self.provider.call(self.provider.client.describe_key().key_id(&self.name).send())?;
        reply.key_metadata.ok_or_else(|| self.provider.odd())
    }

    /// A ciphertext of a length that there can be; others are not worth a question, which would be answered otherwise.
    fn blob(&self, wrapped: &[u8]) -> Result<Blob> {
        match wrapped.len() {
            1..=WRAP_BYTES_MAX => Ok(Blob::new(wrapped)),
            _ => Err(self.provider.denied(Denial::NotAuthentic)),
        }
    }
}

impl RootKey for AwsKmsKey {
    fn provider(&self) -> &str {
        &self.provider.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>> {
        let call =
            self.provider.client.encrypt().key_id(&self.name).encryption_context(CONTEXT, STANDARD.encode(context));
        let reply = self.provider.call(call.plaintext(Blob::new(key.bytes().as_slice())).send())?;
        Ok(reply.ciphertext_blob.ok_or_else(|| self.provider.odd())?.into_inner())
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        // A ciphertext names its key. The one that is meant is named beside it, so that no other's is taken.
        let call =
            self.provider.client.decrypt().key_id(&self.name).encryption_context(CONTEXT, STANDARD.encode(context));
        let reply = self.provider.call(call.ciphertext_blob(self.blob(wrapped)?).send())?;
        let plain = Zeroizing::new(reply.plaintext.ok_or_else(|| self.provider.odd())?.into_inner());
        SecretKey::from_slice(&plain).ok_or_else(|| self.provider.odd())
    }

    fn rewrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>> {
        let context = STANDARD.encode(context);
        let call = self.provider.client.re_encrypt().source_key_id(&self.name).destination_key_id(&self.name);
        let call = call.source_encryption_context(CONTEXT, &context).destination_encryption_context(CONTEXT, context);
        let reply = self.provider.call(call.ciphertext_blob(self.blob(wrapped)?).send())?;
        Ok(reply.ciphertext_blob.ok_or_else(|| self.provider.odd())?.into_inner())
    }

    fn facts(&self) -> Result<KeyFacts> {
        let key = self.describe()?;
        match state(key.key_state.as_ref()) {
            State::Usable => {}
            State::Denied => return Err(self.provider.denied(Denial::Disabled)),
            State::Waiting => return Err(self.provider.unavailable("the key cannot be used just now")),
        }
        let other_spec = key.key_spec.is_some_and(|spec| spec != KeySpec::SymmetricDefault);
        if other_spec || key.key_usage.is_some_and(|usage| usage != KeyUsageType::EncryptDecrypt) {
            let problem = format!("key {:?} must be symmetric and for encryption", self.name);
            return Err(self.provider.problem(problem));
        }
        Ok(KeyFacts { algorithm: "aws-kms symmetric-default".to_owned(), ..KeyFacts::default() })
    }

    fn create(&self) -> Result<()> {
        match self.facts() {
            Err(Error::Denied { why: Denial::Missing, .. }) => {}
            there => return there.map(drop),
        }
        // Only an alias can be given a name.
        if !self.name.starts_with(ALIAS) {
            return Err(Error::no_key(&self.provider.name, &self.name));
        }
        let client = &self.provider.client;
        let made = client
            .create_key()
            .key_spec(KeySpec::SymmetricDefault)
            .key_usage(KeyUsageType::EncryptDecrypt)
            .description(format!("Ringfence, {}", self.name))
            .send();
        let made = self.provider.call(made)?.key_metadata.ok_or_else(|| self.provider.odd())?.key_id;
        let named = self.provider.call(client.create_alias().alias_name(&self.name).target_key_id(&made).send());
        if named.is_err() {
            // Nobody would ever find it again.
            let _ = self
                .provider
                .call(client.schedule_key_deletion().key_id(made).pending_window_in_days(PENDING_DAYS).send());
        }
        named.map(drop)
    }

    fn destroy(&self) -> Result<Receipt> {
        match self.scheduled() {
            Err(Error::Denied { why: Denial::Missing, .. }) => {
                Ok(Receipt { destroyed: true, said: "the provider does not know the key".to_owned() })
            }
            Err(Error::Denied { why, .. }) => {
                Ok(Receipt::kept(&format!("the provider does not let this server destroy it: {}", why.as_str())))
            }
            Err(Error::Provider { problem, .. }) => Ok(Receipt::kept(&problem)),
            Err(error) => Err(error),
            Ok(None) => Ok(Receipt::kept("the provider set no time for the deletion: does it have replicas?")),
            Ok(Some(when)) => Ok(Receipt {
                destroyed: true,
                said: format!(
                    "refused from now on and to be deleted at {when}; until then whoever may cancel deletions there can \
                     undo it"
                ),
            }),
        }
    }
}

impl AwsKmsKey {
    /// Has its deletion scheduled, and says for when it is.
    fn scheduled(&self) -> Result<Option<String>> {
        let key = self.describe()?;
        if key.key_state != Some(KeyState::PendingDeletion) {
            let call = self.provider.client.schedule_key_deletion().key_id(key.key_id);
            self.provider.call(call.pending_window_in_days(PENDING_DAYS).send())?;
        }
        // Not what was said but what is so now.
        let key = self.describe()?;
        let date = key.deletion_date.filter(|_| key.key_state == Some(KeyState::PendingDeletion));
        Ok(date.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok()))
    }
}

/// The beginning of an alias.
const ALIAS: &str = "alias/";
/// The one member of the encryption context.
const CONTEXT: &str = "ringfence";
/// The least time between the wish for a deletion and the deletion.
const PENDING_DAYS: i32 = 7;
/// Of one call, within its timeout.
const TRIES: u32 = 3;
/// Of a key's name, bytes.
const NAME_MAX: usize = 256;
/// The largest ciphertext that KMS takes.
const WRAP_BYTES_MAX: usize = 6_144;

/// What an error's code means.
#[derive(Debug, PartialEq, Eq)]
enum Meaning {
    Denied(Denial),
    /// The key is of the wrong kind, or a name no name.
    Unfit,
    Outage,
}

fn meaning(code: &str) -> Meaning {
    Meaning::Denied(match code {
        "AccessDeniedException"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => Denial::Forbidden,
        "DisabledException" | "KMSInvalidStateException" => Denial::Disabled,
        "NotFoundException" => Denial::Missing,
        "InvalidCiphertextException" | "IncorrectKeyException" => Denial::NotAuthentic,
        "InvalidAliasNameException" | "InvalidArnException" | "InvalidKeyUsageException" | "ValidationException" => {
            return Meaning::Unfit;
        }
        _ => return Meaning::Outage,
    })
}

/// A code that looks like one.
fn word(code: &str) -> &str {
    let fits = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits { code } else { "an error" }
}

/// What a key's state means for its use.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Usable,
    Denied,
    Waiting,
}

fn state(state: Option<&KeyState>) -> State {
    match state {
        Some(KeyState::Enabled) => State::Usable,
        Some(
            KeyState::Disabled | KeyState::PendingDeletion | KeyState::PendingReplicaDeletion | KeyState::PendingImport,
        ) => State::Denied,
        _ => State::Waiting,
    }
}

/// TLS by the library that this server has anyway, with the system's authorities or these.
fn http(ca_certificates: Option<&Path>) -> std::result::Result<SharedHttpClient, String> {
    let trusted = match ca_certificates {
        None => TrustStore::default(),
        Some(path) => {
            let pem = std::fs::read(path).map_err(|e| format!("its ca_certificates cannot be read: {e}"))?;
            if !pem.windows(BEGIN.len()).any(|w| w == BEGIN) {
                return Err("its ca_certificates hold no certificate".to_owned());
            }
            TrustStore::empty().with_pem_certificate(pem)
        }
    };
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|_| "its ca_certificates cannot be used".to_owned())?;
    Ok(Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}

/// How a certificate begins in PEM.
const BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Waits for what a runtime of ours does. `None` when it panicked or the runtime is gone.
fn answer<T: Send + 'static>(runtime: &Runtime, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (say, hear) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Nobody listens only when the caller's thread has died.
        let _ = say.send(work.await);
    });
    hear.recv().ok()
}

#[cfg(test)]
mod tests;
