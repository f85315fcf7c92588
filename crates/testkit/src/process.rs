//! Real servers as child processes: on free loopback ports, in a folder of their own, and ended when dropped, also if a
//! test panics.
//!
//! `scripts/servers` installs them under `.cache/servers` (`RINGFENCE_SERVERS_DIR` names another folder). If one is not
//! installed, starting it returns `None` and prints a message on stderr, so that a test can skip itself; under
//! `RINGFENCE_SERVERS=required` it panics instead.

use kernel::{Entropy, OsEntropy};
use std::{
    fs::File,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

/// A child process that is killed when it is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts the process. Its output goes to `log`.
    pub(crate) fn spawn(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).expect("a log file");
        let second = log.try_clone().expect("a second handle");
        let command = command.stdin(Stdio::null()).stdout(Stdio::from(log)).stderr(Stdio::from(second));
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} does not start: {error}")))
    }

    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }

    /// Stops the process in the middle of its work, and waits until it has stopped: the sender of the signal returns
    /// before all threads have stopped, and one of them may still answer a request.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        while !self.is_frozen() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Continues a frozen process.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    fn is_frozen(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("it runs");
        threads.flatten().all(|thread| {
            // The state is the letter after the name in brackets. A thread that has ended has none, or is a zombie.
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

/// Folder where the server `name` is installed.
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

/// A loopback address on which no process listens now. Its port is below those that the kernel assigns (from 32,768
/// on), so that no other process is assigned it before its server starts or while it is down, and so that a client that
/// checks whether it listens is not connected to itself from that very port.
pub(crate) fn free_address() -> SocketAddr {
    loop {
        let port = 10_000 + u16::from_le_bytes(OsEntropy.array()) % 22_000;
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port)) {
            return socket.local_addr().expect("it is bound");
        }
    }
}

/// Whether a process may end while the test waits for it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ends {
    Never,
    /// The wait ends with the process.
    Allowed,
}

/// Waits for `ready` while the process runs, at most two minutes.
pub(crate) fn wait_until(what: &str, log: &Path, process: &mut Process, ends: Ends, mut ready: impl FnMut() -> bool) {
    let output = || std::fs::read_to_string(log).unwrap_or_default();
    for _ in 0..1200 {
        if ready() {
            return;
        }
        if !process.runs() {
            assert!(ends == Ends::Allowed, "{what} has stopped: {}", output());
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
    panic!("{what} was not ready in two minutes: {}", output());
}

pub(crate) fn listens(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}
