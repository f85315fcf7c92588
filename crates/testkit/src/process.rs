//! Real servers as child processes: on free loopback ports, in a folder of their own, gone when
//! dropped, also when a test panics.
//!
//! `scripts/servers` installs them under `.cache/servers` (`RINGFENCE_SERVERS_DIR` names another
//! folder). What is not installed starts as `None`, with a word on stderr, so that a test can skip
//! itself; under `RINGFENCE_SERVERS=required` it is a panic instead.

use kernel::{Entropy, OsEntropy};
use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// A child that is killed when dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it; what it says goes to `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let twin = log.try_clone().expect("a second handle");
        let command = command.stdin(Stdio::null()).stdout(Stdio::from(log)).stderr(Stdio::from(twin));
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Stops it in the middle of whatever it does, and waits until it has: the signal's sender is told before all
    /// threads have stopped, and one of them may answer somebody yet.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        while !self.is_frozen() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Lets a frozen one go on.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn is_frozen(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("it runs");
        threads.flatten().all(|thread| {
            // The state is the letter after the name in brackets. One that has gone has none, or is a zombie.
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with(['T', 'Z']))
        })
    }

    fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.0.id().to_string()]).status();
        assert!(status.as_ref().is_ok_and(ExitStatus::success), "kill -s {name}: {status:?}");
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
pub(crate) fn installed(name: &str) -> Option<PathBuf> {
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

/// An address that nobody listens on just now. Its port is below those that the kernel hands out (from 32,768 on), so
/// that nobody is given it before its server starts, or while it is down; and so that nobody who asks whether it
/// listens is connected with himself, from that very port.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let port = 10_000 + u16::from_le_bytes(OsEntropy.array()) % 22_000;
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port)) {
            return socket.local_addr().expect("it is bound");
        }
    }
}

/// Whether a process may end while it is waited for.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ends {
    Never,
    /// Then nobody waits any longer.
    Allowed,
}

/// Waits for `ready`, as long as the process runs and for at most two minutes.
pub(crate) fn wait_until(what: &str, log: &Path, process: &mut Process, ends: Ends, mut ready: impl FnMut() -> bool) {
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

pub(crate) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
