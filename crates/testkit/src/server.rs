//! The real server binary as a child process, on loopback ports and in a folder of its own.

use crate::{Http, Rng, StoreKey};
use kernel::OsEntropy;
use serde_json::{Value, json};
use std::{
    fs::File,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Settings with which a server starts.
pub struct ServerBuilder {
    binary: PathBuf,
    folder: TempDir,
    env: Vec<(String, String)>,
    disk: DataDisk,
    bucket: bool,
    token: String,
    ulimits: Vec<String>,
}

/// File system of the data folder.
#[derive(Clone)]
enum DataDisk {
    Plain,
    /// A separate file system of this size, in memory.
    Small(String),
    /// The folder, mounted read-only.
    ReadOnly,
}

/// A running or stopped server and its folder.
pub struct Server {
    builder: ServerBuilder,
    child: Option<Child>,
    data: SocketAddr,
    control: SocketAddr,
}

impl ServerBuilder {
    /// Creates settings with a new folder. The server gets its own root key, operator token and ports, and no model.
    ///
    /// # Panics
    /// If no temporary folder can be created.
    pub fn new(binary: impl AsRef<Path>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let (_, token, _) = access::token::mint(access::TokenKind::Operator, &OsEntropy);
        Self {
            binary: binary.as_ref().to_owned(),
            folder,
            env: Vec::new(),
            disk: DataDisk::Plain,
            bucket: false,
            token: token.to_string(),
            ulimits: Vec::new(),
        }
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives the data folder a separate file system of this size (`3m`), in memory and in a mount namespace of its own,
    /// which ends with the process.
    #[must_use]
    pub fn small_disk(mut self, size: &str) -> Self {
        self.disk = DataDisk::Small(size.to_owned());
        self
    }

    /// Starts the server under a limit of the shell's `ulimit`: `-v 3145728` is 3 GiB of address space, and `-S -n 256`
    /// is the limit of a careless unit file.
    #[must_use]
    pub fn ulimit(mut self, limit: &str) -> Self {
        self.ulimits.push(limit.to_owned());
        self
    }

    /// Stores everything in a bucket (`s3://bucket/prefix`) at this endpoint, and nothing in the data folder.
    #[must_use]
    pub fn bucket(mut self, endpoint: &str, url: &str, key: &StoreKey) -> Self {
        self.bucket = true;
        self.env("RINGFENCE__STORAGE__URL", url)
            .env("RINGFENCE__STORAGE__ENDPOINT", endpoint)
            .env("RINGFENCE__STORAGE__ALLOW_HTTP", "true")
            .env("RINGFENCE__STORAGE__REGION", "us-east-1")
            .env("RINGFENCE__STORAGE__ACCESS_KEY_ID", &key.id)
            .env("RINGFENCE_STORAGE_SECRET", &key.secret)
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Panics
    /// If it does not start. The message contains its stderr.
    pub fn start(self) -> Server {
        let mut server = self.stopped();
        server.restart();
        server
    }

    /// Creates a server that does not run yet.
    pub fn stopped(self) -> Server {
        Server { builder: self, child: None, data: free_address(), control: free_address() }
    }
}

impl Server {
    /// The data folder.
    pub fn data_folder(&self) -> PathBuf {
        self.builder.folder.path().join("data")
    }

    /// Address of the data plane.
    pub fn data_address(&self) -> SocketAddr {
        self.data
    }

    /// Address of the control plane.
    pub fn control_address(&self) -> SocketAddr {
        self.control
    }

    /// Token of the operator.
    pub fn operator_token(&self) -> &str {
        &self.builder.token
    }

    /// Root key of the server, as hexadecimal text.
    pub fn root_key(&self) -> String {
        "7a".repeat(32)
    }

    /// Settings of another server with the same root key and operator, on ports of its own and with an empty folder. On
    /// a bucket it is a second server that believes that it owns the bucket.
    pub fn sibling(&self) -> ServerBuilder {
        let mut sibling = ServerBuilder::new(&self.builder.binary);
        (sibling.env, sibling.disk) = (self.builder.env.clone(), self.builder.disk.clone());
        (sibling.bucket, sibling.token) = (self.builder.bucket, self.builder.token.clone());
        sibling.ulimits = self.builder.ulimits.clone();
        sibling
    }

    /// Mounts the data folder read-only, or writable again, from the next start on.
    pub fn read_only(&mut self, yes: bool) {
        self.builder.disk = if yes { DataDisk::ReadOnly } else { DataDisk::Plain };
    }

    /// Sets an environment variable for the following starts. An empty value counts as absent.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.builder.env.retain(|(known, _)| known != name);
        self.builder.env.push((name.to_owned(), value.to_owned()));
    }

    /// Creates a client of the control plane.
    pub fn control(&self) -> Http {
        Http::new(self.control, Some(&self.builder.token))
    }

    /// Creates a client of the data plane with this API key.
    pub fn api(&self, key: &str) -> Http {
        Http::new(self.data, Some(key))
    }

    /// Starts the process again with the same folder and ports.
    ///
    /// # Panics
    /// The same as of [`ServerBuilder::start`].
    pub fn restart(&mut self) {
        assert!(self.try_restart(), "the server does not start: {}", self.stderr());
    }

    /// Does the same as `restart`, but returns whether the server started.
    ///
    /// # Panics
    /// If the process cannot be spawned.
    pub fn try_restart(&mut self) -> bool {
        let root = self.builder.folder.path();
        let log = File::options().create(true).append(true).open(root.join("stderr")).expect("a log file");
        let mut command = self.command();
        command
            .env_clear()
            .env("HOME", root)
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("RINGFENCE_ROOT_KEY", self.root_key())
            .env("RINGFENCE_OPERATOR_TOKEN", &self.builder.token)
            .env("RINGFENCE__DATA_PLANE__LISTEN", self.data.to_string())
            .env("RINGFENCE__CONTROL_PLANE__LISTEN", self.control.to_string())
            .env("RINGFENCE__MODELS__ENABLED", "false")
            .envs(self.builder.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::from(log));
        let mut child = command.spawn().expect("the server binary runs");
        let ready = wait_ready(self.data, &mut child);
        self.child = Some(child);
        ready
    }

    fn command(&self) -> Command {
        let data = self.data_folder();
        let mount = match &self.builder.disk {
            DataDisk::Plain => {
                let limits: String = self.builder.ulimits.iter().map(|limit| format!("ulimit {limit} && ")).collect();
                let mut command = Command::new("sh");
                command.args(["-c", &format!(r#"{limits}exec "$0" "$@""#)]).arg(&self.builder.binary).arg("serve");
                if !self.builder.bucket {
                    command.arg("--data").arg(data);
                }
                return command;
            }
            DataDisk::Small(size) => format!(r#"mount -t tmpfs -o "size={size}" ringfence "$1""#),
            DataDisk::ReadOnly => r#"mount --bind "$1" "$1" && mount -o remount,bind,ro "$1""#.to_owned(),
        };
        std::fs::create_dir_all(&data).expect("a folder to mount on");
        let mut command = Command::new("unshare");
        let script = format!(r#"{mount} && exec "$2" serve --data "$1""#);
        command.args(["-rm", "sh", "-c", &script, "sh"]).arg(data).arg(&self.builder.binary);
        command
    }

    /// Kills the process as a power failure would: no handler runs.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the process to stop and waits. Returns the exit code.
    ///
    /// # Panics
    /// If there is no `kill` program.
    pub fn stop(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let _ = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill runs");
        child.wait().ok().and_then(|s| s.code())
    }

    /// Stops the process in the middle of its work, as a hanging host would.
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Continues a frozen process.
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Kills the process without waiting, so that clients see broken connections.
    pub fn kill_now(&self) {
        self.signal("-9");
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("kill").args([signal, &self.pid().to_string()]).status().expect("kill runs");
    }

    /// Exit status, if the process ended by itself within this time.
    pub fn ended(&mut self, within: Duration) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        for _ in 0..within.as_millis() / 20 {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.try_wait().ok().flatten()
    }

    /// Id of the process.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Whether the process still runs.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Current and peak memory of the process, bytes.
    ///
    /// # Panics
    /// If it does not run.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("the server runs");
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("no {name}"));
            line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).expect("a number of KiB") << 10
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    /// Text that the process has written to stderr.
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.builder.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Creates a tenant.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn tenant(&self, id: &str) {
        self.control().send("POST", "/admin/v1/tenants", &json!({"id": id})).expect("an answer").ok();
    }

    /// Creates an API key and returns its secret.
    ///
    /// # Panics
    /// If the server refuses.
    pub fn key(&self, tenant: &str, scopes: &[&str], principals: &[&str]) -> String {
        let body = json!({"name": "test", "scopes": scopes, "principals": principals});
        let path = format!("/admin/v1/tenants/{tenant}/api-keys");
        let reply = self.control().send("POST", &path, &body).expect("an answer").ok();
        reply["secret"].as_str().expect("a secret").to_owned()
    }
}

impl Drop for Server {
    /// A failing test prints the server's last lines; `RINGFENCE_KEEP_FOLDERS` keeps its folder.
    #[expect(clippy::print_stdout, reason = "the test runner shows a failing test's output")]
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = self.stderr();
            let lines: Vec<&str> = log.lines().collect();
            println!("the server's last lines:\n{}", lines[lines.len().saturating_sub(12)..].join("\n"));
            if std::env::var_os("RINGFENCE_KEEP_FOLDERS").is_some() {
                self.builder.folder.disable_cleanup(true);
                println!("kept: {}", self.builder.folder.path().display());
            }
        }
    }
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port")
}

/// Polls until the health route answers. Returns false if the process ended first.
fn wait_ready(address: SocketAddr, child: &mut Child) -> bool {
    let rng = Rng::new(u64::from(address.port()));
    for _ in 0..3_000 {
        if let Ok(reply) = Http::new(address, None).send("GET", "/healthz", &Value::Null)
            && reply.status == 200
        {
            return true;
        }
        if !matches!(child.try_wait(), Ok(None)) {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5 + rng.below(10)));
    }
    false
}
