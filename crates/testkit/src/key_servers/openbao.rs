//! OpenBao with its transit engine, whose keys encrypt and never leave it. It is one node on disk (its integrated
//! storage) with one unseal key, so that a killed server has its data after a restart.

use crate::{
    Http, Reply,
    process::{Ends, Process, free_address, installed, wait_until},
};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// A running OpenBao, unsealed, with transit at `transit`.
pub struct OpenBao {
    program: PathBuf,
    address: SocketAddr,
    unseal_key: String,
    token: String,
    process: Option<Process>,
    folder: TempDir,
}

impl OpenBao {
    /// Starts a server; `None` if OpenBao is not installed. It takes about two seconds, most of them for its first
    /// election; a restart takes a fraction of a second.
    ///
    /// # Panics
    /// If it is installed and does not start, or is required and not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = installed("openbao")?.join("bin/bao");
        let folder = TempDir::new().expect("a temporary folder");
        let address = free_address();
        configure(folder.path(), address, free_address());
        let mut bao = Self { program, address, unseal_key: String::new(), token: String::new(), process: None, folder };
        bao.spawn();
        let created = bao.admin("PUT", "sys/init", &json!({"secret_shares": 1, "secret_threshold": 1}));
        bao.unseal_key = text(&created["keys"][0]);
        bao.token = text(&created["root_token"]);
        bao.unseal();
        bao.admin("POST", "sys/mounts/transit", &json!({"type": "transit"}));
        Some(bao)
    }

    /// URL of the server, `http://127.0.0.1:port`, the same after a restart.
    #[must_use]
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Socket address of the server, for a proxy in front of it.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        self.address
    }

    /// Root token, which permits everything.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Sends a request under `/v1/` with this token; `Value::Null` sends no body.
    ///
    /// # Errors
    /// If the server cannot be reached or ends the connection.
    pub fn request(&self, token: &str, method: &str, path: &str, body: &Value) -> std::io::Result<Reply> {
        Http::new(self.address, Some(token)).send(method, &format!("/v1/{path}"), body)
    }

    /// Creates a key (`aes256-gcm96`) that may be deleted. A derived key requires a context for every use, and encrypts
    /// under a key of that context.
    ///
    /// # Panics
    /// If OpenBao refuses. The same holds for the methods that follow.
    pub fn create_key(&self, name: &str, derived: bool) {
        self.admin("POST", &key(name, ""), &json!({"type": "aes256-gcm96", "derived": derived}));
        self.admin("POST", &key(name, "/config"), &json!({"deletion_allowed": true}));
    }

    /// Gives the key a new version. Ciphertexts of older versions still decrypt.
    pub fn rotate(&self, name: &str) {
        self.admin("POST", &key(name, "/rotate"), &Value::Null);
    }

    /// From now on, ciphertexts of versions below this one do not decrypt.
    pub fn set_min_decryption_version(&self, name: &str, version: u64) {
        self.admin("POST", &key(name, "/config"), &json!({"min_decryption_version": version}));
    }

    /// Disables the key until [`OpenBao::soft_restore`].
    pub fn soft_delete(&self, name: &str) {
        self.admin("DELETE", &key(name, "/soft-delete"), &Value::Null);
    }

    /// Enables a disabled key.
    pub fn soft_restore(&self, name: &str) {
        self.admin("POST", &key(name, "/soft-delete-restore"), &Value::Null);
    }

    /// Deletes the key permanently.
    pub fn delete(&self, name: &str) {
        self.admin("DELETE", &key(name, ""), &Value::Null);
    }

    /// OpenBao's information on the key: `latest_version`, `min_decryption_version`, `soft_deleted` and more.
    #[must_use]
    pub fn key_info(&self, name: &str) -> Value {
        self.admin("GET", &key(name, ""), &Value::Null)["data"].take()
    }

    /// Creates or replaces a policy, in OpenBao's own language.
    pub fn policy(&self, name: &str, hcl: &str) {
        self.admin("PUT", &format!("sys/policies/acl/{name}"), &json!({"policy": hcl}));
    }

    /// Creates a token with the permissions of these policies. It may also look itself up.
    #[must_use]
    pub fn token_with(&self, policies: &[&str]) -> String {
        let created = self.admin("POST", "auth/token/create", &json!({"policies": policies}));
        text(&created["auth"]["client_token"])
    }

    /// Revokes a token at once.
    pub fn revoke_token(&self, token: &str) {
        self.admin("POST", "auth/token/revoke", &json!({"token": token}));
    }

    /// Seals the server: it discards the key of its storage, answers, and serves no request.
    pub fn seal(&self) {
        self.admin("PUT", "sys/seal", &Value::Null);
    }

    /// Unseals the server and waits until it serves.
    ///
    /// # Panics
    /// If it is not ready in two minutes.
    pub fn unseal(&mut self) {
        self.admin("PUT", "sys/unseal", &json!({"key": self.unseal_key}));
        // Until its election is over, it answers as a standby.
        self.wait(|status| status == 200);
    }

    /// Stops the process in the middle of its work: connections are accepted and no request is answered.
    ///
    /// # Panics
    /// If it does not run. The same holds for [`OpenBao::thaw`].
    pub fn freeze(&self) {
        self.running().freeze();
    }

    /// Continues a frozen process.
    pub fn thaw(&self) {
        self.running().thaw();
    }

    /// Kills the process as a power failure would: connections are refused.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Starts the server again on the same port and disk, still sealed.
    ///
    /// # Panics
    /// If it is not ready in two minutes.
    pub fn restart_sealed(&mut self) {
        self.kill();
        self.spawn();
    }

    /// Starts the server again on the same port and disk and waits until it serves.
    ///
    /// # Panics
    /// If it is not ready in two minutes.
    pub fn restart(&mut self) {
        self.restart_sealed();
        self.unseal();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("OpenBao runs")
    }

    fn spawn(&mut self) {
        let folder = self.folder.path();
        let mut command = Command::new(&self.program);
        command.args(["server", "-config=config.hcl"]).current_dir(folder).env_clear().env("HOME", folder);
        self.process = Some(Process::spawn(&mut command, &folder.join("log")));
        self.wait(|_| true);
    }

    /// Waits for a health status that `fits` accepts.
    fn wait(&mut self, fits: impl Fn(u16) -> bool) {
        let (address, log) = (self.address, self.folder.path().join("log"));
        let process = self.process.as_mut().expect("it was started");
        wait_until("OpenBao", &log, process, Ends::Never, || {
            let reply = Http::new(address, None).send("GET", "/v1/sys/health", &Value::Null);
            reply.is_ok_and(|reply| fits(reply.status))
        });
    }

    /// Sends a request with the root token and returns the JSON of the success.
    fn admin(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.request(&self.token, method, path, body);
        let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        assert!(
            (200..300).contains(&reply.status),
            "{method} {path}: {} {}",
            reply.status,
            String::from_utf8_lossy(&reply.body)
        );
        reply.json()
    }
}

fn key(name: &str, rest: &str) -> String {
    format!("transit/keys/{name}{rest}")
}

fn text(value: &Value) -> String {
    value.as_str().expect("OpenBao answers with text").to_owned()
}

/// Writes the configuration: no TLS, no user interface, no telemetry, and elections as quick as possible.
fn configure(folder: &Path, address: SocketAddr, cluster: SocketAddr) {
    let data = folder.join("data");
    std::fs::create_dir(&data).expect("a folder for the data");
    let text = format!(
        r#"ui = false
api_addr = "http://{address}"
cluster_addr = "https://{cluster}"
listener "tcp" {{
  address = "{address}"
  cluster_address = "{cluster}"
  tls_disable = true
}}
storage "raft" {{
  path = "{}"
  node_id = "one"
  performance_multiplier = 1
}}
"#,
        data.display()
    );
    std::fs::write(folder.join("config.hcl"), text).expect("a configuration");
}
