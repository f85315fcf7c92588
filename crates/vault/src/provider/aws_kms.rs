//! Amazon's Key Management Service and compatible services: keys are symmetric KMS keys, and wraps are KMS ciphertexts.
//!
//! A wrap is bound to its context by the encryption context. That appears in Amazon's own audit log, so it is the
//! context's bytes, which identify no tenant. A key may be named by its id, its ARN or an alias; a key that this server
//! creates is named by an alias.
//!
//! KMS has versions of a key's material but does not expose them: whether and when there is a new one is a setting of
//! the key there, and old versions decrypt for as long as the key exists. So this provider neither creates nor retires
//! versions.

use super::{Denial, DestructionReceipt, Key, KeyDescription, KeyProvider, RootKey};
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

/// Configuration of [`AwsKmsProvider`].
pub struct AwsKmsConfig {
    /// Name of the provider.
    pub name: String,
    /// Region, such as `eu-central-1`.
    pub region: String,
    /// Endpoint URL, if it is not Amazon's for that region.
    pub endpoint: Option<String>,
    /// Key of tenants that name none; with `key_per_tenant`, the prefix of the aliases of their keys, `alias/…`.
    pub key: String,
    /// Whether each tenant gets a key of its own, which this server creates and schedules for deletion.
    pub key_per_tenant: bool,
    /// Credentials for KMS.
    pub credentials: AwsCredentials,
    /// File of certificate authorities to trust instead of the system's, PEM.
    pub ca_certificates: Option<PathBuf>,
    /// Time limit of a call, including retries.
    pub timeout: Duration,
}

/// Credentials for KMS.
pub enum AwsCredentials {
    /// Credentials that Amazon's library finds, in this order: its environment variables, the files of `~/.aws`, a web
    /// identity, the role of a container or an instance.
    Found,
    /// Explicit credentials.
    Key {
        /// Id of the access key.
        id: String,
        /// Secret of the access key.
        secret: Zeroizing<String>,
        /// Session token of temporary credentials.
        token: Option<Zeroizing<String>>,
    },
}

/// KMS as a key provider; see the [module](self).
pub struct AwsKmsProvider {
    name: String,
    key: String,
    key_per_tenant: bool,
    client: Client,
    /// Runtime of the client, `None` only during drop. Its one thread drives the connections; callers block on their
    /// own threads.
    runtime: Option<Runtime>,
}

impl AwsKmsProvider {
    /// Creates the provider without a call to the service.
    ///
    /// # Errors
    /// [`Error::Provider`] for certificates or key names that cannot be used.
    pub fn new(config: AwsKmsConfig) -> Result<Self> {
        let config_error = |problem: String| Error::Provider { provider: config.name.clone(), problem };
        if config.key_per_tenant && !config.key.starts_with(ALIAS) {
            return Err(config_error(
                "with key_per_tenant its key must be the beginning of an alias, \"alias/…\"".to_owned(),
            ));
        }
        let http = http_client(config.ca_certificates.as_deref()).map_err(&config_error)?;
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).thread_name("aws-kms").enable_all().build();
        let runtime = runtime.map_err(|e| config_error(format!("it cannot start a thread: {e}")))?;
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
                let chain = run_to_completion(&runtime, chain.build());
                SharedCredentialsProvider::new(
                    chain.ok_or_else(|| config_error("it cannot find credentials".to_owned()))?,
                )
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

    /// Runs a call on the provider's runtime and waits for its result; the caller may be on any thread.
    fn call<T, E>(&self, call: impl Future<Output = std::result::Result<T, SdkError<E>>> + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        E: ProvideErrorMetadata + Send + 'static,
    {
        let outcome = self.runtime.as_ref().and_then(|runtime| run_to_completion(runtime, call));
        outcome.ok_or_else(|| self.unavailable("the call did not end"))?.map_err(|error| self.translate_error(&error))
    }

    /// Translates a failed call. Amazon's own messages name keys and callers, so they are never shown.
    fn translate_error<E: ProvideErrorMetadata>(&self, error: &SdkError<E>) -> Error {
        match error {
            SdkError::ServiceError(said) => {
                let code = said.err().code().unwrap_or_default();
                match classify(code) {
                    KmsErrorClass::Denied(why) => self.denied(why),
                    KmsErrorClass::Unfit => {
                        self.problem(format!("it does not accept this key or its name ({})", printable_code(code)))
                    }
                    KmsErrorClass::Outage => self.unavailable(&format!(
                        "it answered {} with status {}",
                        printable_code(code),
                        said.raw().status()
                    )),
                }
            }
            SdkError::TimeoutError(_) => self.unavailable("it took too long"),
            SdkError::DispatchFailure(failure) if failure.is_timeout() => self.unavailable("it took too long"),
            SdkError::DispatchFailure(failure) if failure.is_io() || failure.as_other().is_some() => {
                self.unavailable("it cannot be reached")
            }
            SdkError::DispatchFailure(_) => self.unavailable("it cannot be called: no credentials are available"),
            _ => self.unavailable("its reply cannot be interpreted"),
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

    fn incomplete_reply(&self) -> Error {
        self.unavailable("its reply is incomplete")
    }
}

/// Shuts the runtime down without waiting, because the drop may happen where a thread must not block.
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

/// A key of the provider.
struct AwsKmsKey {
    provider: Arc<AwsKmsProvider>,
    name: String,
}

impl AwsKmsKey {
    fn describe(&self) -> Result<KeyMetadata> {
        let reply = self.provider.call(self.provider.client.describe_key().key_id(&self.name).send())?;
        reply.key_metadata.ok_or_else(|| self.provider.incomplete_reply())
    }

    /// Checks that a ciphertext has a possible length. KMS rejects other lengths with an error that would not mean "not
    /// authentic".
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
        Ok(reply.ciphertext_blob.ok_or_else(|| self.provider.incomplete_reply())?.into_inner())
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        // A ciphertext names its own key. The expected key is named too, so that KMS does not use another one.
        let call =
            self.provider.client.decrypt().key_id(&self.name).encryption_context(CONTEXT, STANDARD.encode(context));
        let reply = self.provider.call(call.ciphertext_blob(self.blob(wrapped)?).send())?;
        let plain = Zeroizing::new(reply.plaintext.ok_or_else(|| self.provider.incomplete_reply())?.into_inner());
        SecretKey::from_slice(&plain).ok_or_else(|| self.provider.incomplete_reply())
    }

    fn rewrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>> {
        let context = STANDARD.encode(context);
        let call = self.provider.client.re_encrypt().source_key_id(&self.name).destination_key_id(&self.name);
        let call = call.source_encryption_context(CONTEXT, &context).destination_encryption_context(CONTEXT, context);
        let reply = self.provider.call(call.ciphertext_blob(self.blob(wrapped)?).send())?;
        Ok(reply.ciphertext_blob.ok_or_else(|| self.provider.incomplete_reply())?.into_inner())
    }

    fn facts(&self) -> Result<KeyDescription> {
        let key = self.describe()?;
        match usability(key.key_state.as_ref()) {
            KeyUsability::Usable => {}
            KeyUsability::Denied => return Err(self.provider.denied(Denial::Disabled)),
            KeyUsability::Waiting => return Err(self.provider.unavailable("the key cannot be used now")),
        }
        let other_spec = key.key_spec.is_some_and(|spec| spec != KeySpec::SymmetricDefault);
        if other_spec || key.key_usage.is_some_and(|usage| usage != KeyUsageType::EncryptDecrypt) {
            let problem = format!("key {:?} must be symmetric and for encryption", self.name);
            return Err(self.provider.problem(problem));
        }
        Ok(KeyDescription { algorithm: "aws-kms symmetric-default".to_owned(), ..KeyDescription::default() })
    }

    fn create(&self) -> Result<()> {
        match self.facts() {
            Err(Error::Denied { why: Denial::Missing, .. }) => {}
            there => return there.map(drop),
        }
        // Only an alias has a name that can be chosen.
        if !self.name.starts_with(ALIAS) {
            return Err(Error::no_key(&self.provider.name, &self.name));
        }
        let client = &self.provider.client;
        let request = client
            .create_key()
            .key_spec(KeySpec::SymmetricDefault)
            .key_usage(KeyUsageType::EncryptDecrypt)
            .description(format!("Ringfence, {}", self.name))
            .send();
        let created = self.provider.call(request)?.key_metadata.ok_or_else(|| self.provider.incomplete_reply())?.key_id;
        let alias_created =
            self.provider.call(client.create_alias().alias_name(&self.name).target_key_id(&created).send());
        if alias_created.is_err() {
            // Without its alias the key would never be found again.
            let _ = self
                .provider
                .call(client.schedule_key_deletion().key_id(created).pending_window_in_days(PENDING_DAYS).send());
        }
        alias_created.map(drop)
    }

    fn destroy(&self) -> Result<DestructionReceipt> {
        match self.schedule_deletion() {
            Err(Error::Denied { why: Denial::Missing, .. }) => {
                Ok(DestructionReceipt { destroyed: true, said: "the provider does not know the key".to_owned() })
            }
            Err(Error::Denied { why, .. }) => Ok(DestructionReceipt::not_destroyed(&format!(
                "the provider does not let this server destroy it: {}",
                why.as_str()
            ))),
            Err(Error::Provider { problem, .. }) => Ok(DestructionReceipt::not_destroyed(&problem)),
            Err(error) => Err(error),
            Ok(None) => Ok(DestructionReceipt::not_destroyed(
                "the provider set no time for the deletion: does it have replicas?",
            )),
            Ok(Some(when)) => Ok(DestructionReceipt {
                destroyed: true,
                said: format!(
                    "refused from now on and to be deleted at {when}; until then anyone who may cancel deletions there can \
                     undo it"
                ),
            }),
        }
    }
}

impl AwsKmsKey {
    /// Schedules the deletion of the key, and returns the scheduled time.
    fn schedule_deletion(&self) -> Result<Option<String>> {
        let key = self.describe()?;
        if key.key_state != Some(KeyState::PendingDeletion) {
            let call = self.provider.client.schedule_key_deletion().key_id(key.key_id);
            self.provider.call(call.pending_window_in_days(PENDING_DAYS).send())?;
        }
        // The result is the key's current state, not the reply to the request.
        let key = self.describe()?;
        let date = key.deletion_date.filter(|_| key.key_state == Some(KeyState::PendingDeletion));
        Ok(date.and_then(|date| date.fmt(DateTimeFormat::DateTime).ok()))
    }
}

/// Prefix of aliases.
const ALIAS: &str = "alias/";
/// Name of the only entry of the encryption context.
const CONTEXT: &str = "ringfence";
/// Days between the request and the deletion: the minimum that KMS allows.
const PENDING_DAYS: i32 = 7;
/// Attempts per call, within its timeout.
const TRIES: u32 = 3;
/// Maximum length of a key's name in bytes.
const NAME_MAX: usize = 256;
/// Size in bytes of the largest ciphertext that KMS accepts.
const WRAP_BYTES_MAX: usize = 6_144;

/// Meaning of an error code.
#[derive(Debug, PartialEq, Eq)]
enum KmsErrorClass {
    Denied(Denial),
    /// The key is of the wrong kind, or the name is invalid.
    Unfit,
    Outage,
}

fn classify(code: &str) -> KmsErrorClass {
    KmsErrorClass::Denied(match code {
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
            return KmsErrorClass::Unfit;
        }
        _ => return KmsErrorClass::Outage,
    })
}

/// Returns the error code if it is safe to print.
fn printable_code(code: &str) -> &str {
    let fits = (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric());
    if fits { code } else { "an error" }
}

/// Whether a key is usable in its current state.
#[derive(Debug, PartialEq, Eq)]
enum KeyUsability {
    Usable,
    Denied,
    Waiting,
}

fn usability(state: Option<&KeyState>) -> KeyUsability {
    match state {
        Some(KeyState::Enabled) => KeyUsability::Usable,
        Some(
            KeyState::Disabled | KeyState::PendingDeletion | KeyState::PendingReplicaDeletion | KeyState::PendingImport,
        ) => KeyUsability::Denied,
        _ => KeyUsability::Waiting,
    }
}

/// Builds an HTTP client with the server's TLS library, trusting the system's certificate authorities or those of the
/// file.
fn http_client(ca_certificates: Option<&Path>) -> std::result::Result<SharedHttpClient, String> {
    let trusted = match ca_certificates {
        None => TrustStore::default(),
        Some(path) => {
            let pem = std::fs::read(path).map_err(|e| format!("its ca_certificates cannot be read: {e}"))?;
            if !pem.windows(PEM_BEGIN.len()).any(|w| w == PEM_BEGIN) {
                return Err("its ca_certificates hold no certificate".to_owned());
            }
            TrustStore::empty().with_pem_certificate(pem)
        }
    };
    let context = TlsContext::builder().with_trust_store(trusted).build();
    let context = context.map_err(|_| "its ca_certificates cannot be used".to_owned())?;
    Ok(Builder::new().tls_provider(tls::Provider::Rustls(CryptoMode::AwsLc)).tls_context(context).build_https())
}

/// First line of a certificate in PEM.
const PEM_BEGIN: &[u8] = b"-----BEGIN CERTIFICATE-----";

/// Runs `work` on the runtime and waits for its result. `None` when it panicked or the runtime is gone.
fn run_to_completion<T: Send + 'static>(
    runtime: &Runtime,
    work: impl Future<Output = T> + Send + 'static,
) -> Option<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime.spawn(async move {
        // Sending fails only when the caller's thread has died.
        let _ = sender.send(work.await);
    });
    receiver.recv().ok()
}

#[cfg(test)]
mod tests;
