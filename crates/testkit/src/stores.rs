//! Real S3-class servers as child processes: on free loopback ports, in a folder of their own,
//! gone when dropped, also when a test panics.
//!
//! `scripts/servers` installs them under `.cache/servers` (`RINGFENCE_SERVERS_DIR` names another
//! folder). What is not installed starts as `None`, with a word on stderr, so that a test can skip
//! itself; under `RINGFENCE_SERVERS=required` it is a panic instead.

mod ceph;
mod moto;
mod s3s_fs;
mod signed;

pub use ceph::Ceph;
pub use moto::Moto;
pub use s3s_fs::S3sFs;

use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// Who may use a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    /// Access key id.
    pub id: String,
    /// Its secret. Nothing real.
    pub secret: String,
}

impl StoreKey {
    fn for_tests() -> Self {
        Self { id: "testkey".to_owned(), secret: "testsecret".to_owned() }
    }
}

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "ringfence-test";

/// A child that is killed when dropped.
struct Process(Child);

impl Process {
    /// Starts it; what it says goes to `log`.
    fn spawn(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let twin = log.try_clone().expect("a second handle");
        let command = command.stdin(Stdio::null()).stdout(Stdio::from(log)).stderr(Stdio::from(twin));
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The folder where `name` is installed.
#[expect(clippy::print_stderr, reason = "a test that skips itself says why")]
fn installed(name: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache/servers");
    let folder = std::env::var_os("RINGFENCE_SERVERS_DIR").map_or(ours, PathBuf::from).join(name);
    if folder.join(".stamp").is_file() {
        return Some(folder);
    }
    let required = std::env::var("RINGFENCE_SERVERS").is_ok_and(|v| v == "required");
    assert!(!required, "{name} is not installed in {} and RINGFENCE_SERVERS=required", folder.display());
    eprintln!("skipped: {name} is not installed; run scripts/servers {name}");
    None
}

/// An address that nobody listens on just now.
fn free_address() -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    socket.local_addr().expect("it is bound")
}

/// Whether a process may end while it is waited for.
#[derive(Clone, Copy, PartialEq)]
enum Ends {
    Never,
    /// Then nobody waits any longer.
    Allowed,
}

/// Waits for `ready`, as long as the process runs and for at most two minutes.
fn wait_until(what: &str, log: &Path, process: &mut Process, ends: Ends, mut ready: impl FnMut() -> bool) {
    let said = || std::fs::read_to_string(log).unwrap_or_default();
    for _ in 0..1200 {
        if ready() {
            return;
        }
        if !process.runs() {
            assert!(ends == Ends::Allowed, "{what} has stopped: {}", said());
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} was not ready in two minutes: {}", said());
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
