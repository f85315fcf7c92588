//! The Transit engine of OpenBao and Vault: keys are created there, and wraps are Transit ciphertexts.
//!
//! A wrap is bound to its context by a key that Transit derives from it (`derived = true`, `context`), not by
//! associated data: Transit cannot rewrap what was encrypted with associated data.

use super::{Denial, DestructionReceipt, Key, KeyDescription, KeyProvider, RootKey};
use crate::{Error, Result, SecretKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::{path::PathBuf, sync::Arc, time::Duration};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};
use zeroize::Zeroizing;

/// Configuration of [`TransitProvider`].
pub struct TransitConfig {
    /// Name of the provider.
    pub name: String,
    /// Base URL, such as `https://bao.example:8200`.
    pub address: String,
    /// Mount path of the engine, usually `transit`.
    pub mount: String,
    /// Vault namespace, if namespaces are in use.
    pub namespace: Option<String>,
    /// Key of tenants that name none; with `key_per_tenant`, the prefix of the names of their keys.
    pub key: String,
    /// Whether each tenant gets a key of its own, which this server creates and destroys.
    pub key_per_tenant: bool,
    /// Token for requests.
    pub token: TransitToken,
    /// File of certificate authorities to trust instead of the usual ones, PEM.
    pub ca_certificates: Option<PathBuf>,
    /// Time limit of a call.
    pub timeout: Duration,
}

/// Source of the token.
pub enum TransitToken {
    /// An explicit token.
    Value(Zeroizing<String>),
    /// A file that is read at each call, because an agent renews the token.
    File(PathBuf),
}

/// Transit as a key provider; see the [module](self).
pub struct TransitProvider {
    config: TransitConfig,
    agent: Agent,
    /// The token that was last read from the file.
    token: Mutex<Zeroizing<String>>,
}

impl TransitProvider {
    /// Creates the provider without a call to the service.
    ///
    /// # Errors
    /// [`Error::Provider`] for an address or certificates that cannot be used.
    pub fn new(config: TransitConfig) -> Result<Self> {
        // A second installation is refused and harmless: the provider is the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let config_error = |problem: String| Error::Provider { provider: config.name.clone(), problem };
        if !config.address.starts_with("https://") && !config.address.starts_with("http://") {
            return Err(config_error(
                "its address must begin with https:// (or http:// on a loopback address)".to_owned(),
            ));
        }
        let mut tls = TlsConfig::builder();
        if let Some(path) = &config.ca_certificates {
            let pem =
                std::fs::read(path).map_err(|e| config_error(format!("its ca_certificates cannot be read: {e}")))?;
            let roots =
                certificates(&pem).ok_or_else(|| config_error("its ca_certificates hold no certificate".to_owned()))?;
            tls = tls.root_certs(RootCerts::Specific(Arc::new(roots)));
        }
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(config.timeout))
            .max_redirects(0)
            .tls_config(tls.build())
            .build()
            .into();
        Ok(Self { config, agent, token: Mutex::default() })
    }

    fn token(&self) -> Result<Zeroizing<String>> {
        match &self.config.token {
            TransitToken::Value(token) => Ok(token.clone()),
            TransitToken::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => {
                    let token = Zeroizing::new(text.trim().to_owned());
                    drop(Zeroizing::new(text));
                    *self.token.lock() = token.clone();
                    Ok(token)
                }
                // While an agent rewrites the file, the previous token remains valid.
                Err(error) => {
                    let previous = self.token.lock().clone();
                    let why = || self.unavailable(format!("the token file cannot be read: {error}"));
                    if previous.is_empty() { Err(why()) } else { Ok(previous) }
                }
            },
        }
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let url = format!("{}/v1/{}/{path}", self.config.address.trim_end_matches('/'), self.config.mount);
        let bytes = body.map(|b| b.to_string().into_bytes()).unwrap_or_default();
        let token = self.token()?;
        let mut request = ureq::http::Request::builder().method(method).uri(url).header("x-vault-token", &**token);
        if let Some(namespace) = &self.config.namespace {
            request = request.header("x-vault-namespace", namespace);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(bytes).map_err(|_| Error::Provider {
            provider: self.config.name.clone(),
            problem: "its address, mount, token or key name is not valid in a request".to_owned(),
        })?;
        let mut response = self.agent.run(request).map_err(|e| self.unavailable(e.to_string()))?;
        let status = response.status().as_u16();
        let read = response.body_mut().with_config().limit(REPLY_BYTES_MAX).read_to_vec();
        let reply = Zeroizing::new(read.map_err(|e| self.unavailable(e.to_string()))?);
        if (200..300).contains(&status) {
            if reply.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(&reply).map_err(|_| self.unavailable("its reply is not JSON".to_owned()));
        }
        Err(self.translate_error(status, &reply))
    }

    /// Translates an unsuccessful reply. The messages are those of OpenBao and Vault, and are never shown.
    fn translate_error(&self, status: u16, reply: &[u8]) -> Error {
        let reply: Value = serde_json::from_slice(reply).unwrap_or_default();
        let messages =
            reply["errors"].as_array().map(|e| e.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "));
        let messages = messages.unwrap_or_default().to_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| messages.contains(word));
        let why = match status {
            403 => Denial::Forbidden,
            // Either the key or the whole engine does not exist.
            404 => Denial::Missing,
            400 | 500 if has(&["soft-deleted", "disallowed by policy (too old)"]) => Denial::Disabled,
            400 if has(&["key not found"]) => Denial::Missing,
            400 => Denial::NotAuthentic,
            _ => return self.unavailable(format!("it answered with status {status}")),
        };
        Error::Denied { provider: self.config.name.clone(), why }
    }

    fn unavailable(&self, reason: String) -> Error {
        Error::Unavailable { provider: self.config.name.clone(), reason }
    }

    fn incomplete_reply(&self) -> Error {
        self.unavailable("its reply is incomplete".to_owned())
    }
}

impl KeyProvider for TransitProvider {
    fn name(&self) -> &str {
        &self.config.name
    }

    fn kind(&self) -> &'static str {
        "transit"
    }

    fn default_key(&self) -> &str {
        &self.config.key
    }

    fn key_per_tenant(&self) -> Option<&str> {
        self.config.key_per_tenant.then_some(&self.config.key)
    }

    fn key(self: Arc<Self>, name: &str) -> Result<Key> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if !(1..=NAME_MAX).contains(&name.len()) || !name.chars().all(fits) || name.starts_with('.') {
            return Err(Error::no_key(&self.config.name, name));
        }
        Ok(Arc::new(TransitKey { name: name.to_owned(), provider: self }))
    }
}

/// A key of the provider.
struct TransitKey {
    provider: Arc<TransitProvider>,
    name: String,
}

impl TransitKey {
    fn post(&self, act: &str, body: &Value) -> Result<Value> {
        self.provider.call("POST", &format!("{act}/{}", self.name), Some(body))
    }

    fn ciphertext(&self, reply: &Value) -> Result<Vec<u8>> {
        reply["data"]["ciphertext"]
            .as_str()
            .map(|c| c.as_bytes().to_vec())
            .ok_or_else(|| self.provider.incomplete_reply())
    }

    /// Describes the key, which must exist and be a derived key.
    fn derived_key_facts(&self) -> Result<KeyDescription> {
        let reply = self.provider.call("GET", &format!("keys/{}", self.name), None)?;
        let data = &reply["data"];
        let number = |member: &str| data[member].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default();
        let name = &self.provider.config.name;
        if data["soft_deleted"].as_bool() == Some(true) {
            return Err(Error::Denied { provider: name.clone(), why: Denial::Disabled });
        }
        if data["derived"].as_bool() != Some(true) {
            let problem = format!(
                "key {:?} must be created with derived=true, so that wraps are bound to their context",
                self.name
            );
            return Err(Error::Provider { provider: name.clone(), problem });
        }
        let algorithm = data["type"].as_str().unwrap_or("unknown").to_owned();
        Ok(KeyDescription { algorithm, version: number("latest_version"), oldest: number("min_decryption_version") })
    }

    fn ciphertext_text(&self, wrapped: &[u8]) -> Result<String> {
        let not_authentic =
            |_| Error::Denied { provider: self.provider.config.name.clone(), why: Denial::NotAuthentic };
        String::from_utf8(wrapped.to_vec()).map_err(not_authentic)
    }
}

impl RootKey for TransitKey {
    fn provider(&self) -> &str {
        &self.provider.config.name
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn wrap(&self, context: &[u8], key: &SecretKey) -> Result<Vec<u8>> {
        // If the token allows it, Transit creates a missing key on the first encryption, of a kind other than ours: a
        // mistyped name would silently create a key.
        self.derived_key_facts()?;
        let mut body = json!({ "context": STANDARD.encode(context), "plaintext": STANDARD.encode(key.bytes()) });
        let reply = self.post("encrypt", &body);
        wipe(&mut body["plaintext"]);
        self.ciphertext(&reply?)
    }

    fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<SecretKey> {
        let body = json!({ "context": STANDARD.encode(context), "ciphertext": self.ciphertext_text(wrapped)? });
        let mut reply = self.post("decrypt", &body)?;
        let plain = &mut reply["data"]["plaintext"];
        let bytes = Zeroizing::new(
            STANDARD.decode(plain.as_str().ok_or_else(|| self.provider.incomplete_reply())?).unwrap_or_default(),
        );
        wipe(plain);
        SecretKey::from_slice(&bytes).ok_or_else(|| self.provider.incomplete_reply())
    }

    fn rewrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Vec<u8>> {
        let body = json!({ "context": STANDARD.encode(context), "ciphertext": self.ciphertext_text(wrapped)? });
        let reply = self.post("rewrap", &body)?;
        self.ciphertext(&reply)
    }

    fn facts(&self) -> Result<KeyDescription> {
        self.derived_key_facts()
    }

    fn create(&self) -> Result<()> {
        self.post("keys", &json!({ "type": "aes256-gcm96", "derived": true })).map(drop)
    }

    fn new_version(&self) -> Result<()> {
        self.provider.call("POST", &format!("keys/{}/rotate", self.name), Some(&json!({}))).map(drop)
    }

    fn retires_versions(&self) -> bool {
        true
    }

    fn retire_versions(&self) -> Result<()> {
        let newest = self.facts()?.version;
        let body = json!({ "min_decryption_version": newest, "min_encryption_version": newest });
        self.provider.call("POST", &format!("keys/{}/config", self.name), Some(&body))?;
        // Up to here this can be undone; trimmed versions are gone.
        let body = json!({ "min_available_version": newest });
        self.provider.call("POST", &format!("keys/{}/trim", self.name), Some(&body)).map(drop)
    }

    fn destroy(&self) -> Result<DestructionReceipt> {
        let allow = json!({ "deletion_allowed": true });
        let path = format!("keys/{}", self.name);
        let config = self.provider.call("POST", &format!("{path}/config"), Some(&allow));
        let deleted = config.and_then(|_| self.provider.call("DELETE", &path, None));
        match deleted {
            Ok(_) | Err(Error::Denied { why: Denial::Missing, .. }) => {}
            Err(Error::Denied { why, .. }) => {
                return Ok(DestructionReceipt::not_destroyed(&format!(
                    "the provider does not let this server destroy it: {}",
                    why.as_str()
                )));
            }
            Err(error) => return Err(error),
        }
        // The result is what exists now, not the reply to the deletion.
        match self.facts() {
            Err(Error::Denied { why: Denial::Missing, .. }) => Ok(DestructionReceipt {
                destroyed: true,
                said: "deleted; the provider no longer knows the key".to_owned(),
            }),
            Err(Error::Unavailable { provider, reason }) => Err(Error::Unavailable { provider, reason }),
            _ => Ok(DestructionReceipt::not_destroyed("the provider accepted the deletion and still knows the key")),
        }
    }
}

/// Maximum size of a reply in bytes: a reply is a wrapped key or a key's description.
const REPLY_BYTES_MAX: u64 = 1 << 20;
/// Maximum length of a key's name in bytes.
const NAME_MAX: usize = 128;

fn wipe(value: &mut Value) {
    if let Value::String(text) = value.take() {
        drop(Zeroizing::new(text));
    }
}

fn certificates(pem: &[u8]) -> Option<Vec<Certificate<'static>>> {
    let items = ureq::tls::parse_pem(pem);
    let found = items.filter_map(|item| match item {
        Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let found: Vec<_> = found.collect();
    (!found.is_empty()).then_some(found)
}

#[cfg(test)]
mod tests;
