//! Open files: what the system allows this process, and how the pools that hold files or sockets share it.
//!
//! Whatever is allowed, each pool gets a share, and no pool takes what another needs: with a hard limit of 256 there are
//! fewer connections and fewer open namespaces, and nothing fails for lack of a file.

use kernel::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How the files that the process may open are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// What the system allows, files.
    pub allowed: u64,
    /// Connections of one listener, at most.
    pub connections: usize,
    /// Threads that wait for the disk; each has a file open for a moment.
    pub blocking_threads: usize,
    /// Logs and objects that stay open.
    pub files: u64,
    /// Open namespaces.
    pub namespaces: u64,
    /// Open audit logs.
    pub audit_chains: u64,
    /// Open tenants' directories.
    pub tenants: u64,
}

impl Descriptors {
    /// The shares of this process, with at most `connections` of one listener.
    pub fn of_process(connections: usize) -> Self {
        Self::of(getrlimit(Resource::Nofile).current, connections)
    }

    /// The shares of a process that may open `allowed` files; `None` is without a limit.
    fn of(allowed: Option<u64>, wanted: usize) -> Self {
        let allowed = allowed.unwrap_or(ENOUGH);
        let usable = allowed.min(ENOUGH).saturating_sub(RESERVE);
        let connections = (wanted.max(1) as u64).min((usable / 6).max(4));
        let blocking_threads = (usable / 8).clamp(8, BLOCKING_THREADS_MAX);
        let files = usable.saturating_sub(2 * connections + blocking_threads).max(16);
        Self {
            allowed,
            // Both are small.
            connections: usize::try_from(connections).unwrap_or(wanted),
            blocking_threads: usize::try_from(blocking_threads).unwrap_or(8),
            files,
            namespaces: (files / 2).min(limits::NAMESPACES_OPEN_MAX),
            audit_chains: (files / 4).min(limits::AUDIT_CHAINS_OPEN_MAX),
            tenants: (files / 4).min(limits::TENANTS_OPEN_MAX),
        }
    }
}

impl std::fmt::Display for Descriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { allowed, connections, files, namespaces, .. } = self;
        write!(
            f,
            "{allowed} allowed: {connections} connections of each listener, {files} logs and objects, {namespaces} namespaces"
        )
    }
}

/// Raises the soft limit of open files to the hard one. If the system refuses, the limit stays as it was.
pub(crate) fn raise() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::debug!("the limit of open files stays as it was");
    }
}

/// Logs what the process got.
pub(crate) fn tell(got: Descriptors) {
    let Descriptors { allowed, connections, files, namespaces, audit_chains, tenants, .. } = got;
    tracing::info!(allowed, connections, files, namespaces, audit_chains, tenants, "open files");
    if namespaces < limits::NAMESPACES_OPEN_MAX {
        let remedy = "set LimitNOFILE (systemd), --ulimit nofile (containers) or ulimit -Hn to 65536";
        tracing::warn!(
            allowed,
            remedy,
            "few files may be open: fewer namespaces stay open, and cold ones answer later"
        );
    }
}

/// For standard streams, listeners, locks, signals, models, the server's own logs, and calls to other services.
const RESERVE: u64 = 48;
/// The most files that are ever needed.
const ENOUGH: u64 = 1 << 20;
/// As many as the runtime has by default.
const BLOCKING_THREADS_MAX: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_pools_together_take_more_than_is_allowed_and_none_gets_nothing() {
        for allowed in [128, 200, 256, 512, 1_024, 4_096, 20_000, 65_536, 1 << 30] {
            for wanted in [1, 64, limits::CONNECTIONS_MAX, 1 << 20] {
                let d = Descriptors::of(Some(allowed), wanted);
                let all = RESERVE + 2 * d.connections as u64 + d.blocking_threads as u64 + d.files;
                assert!(all <= allowed, "{d:?}");
                assert!(d.namespaces + d.audit_chains + d.tenants <= d.files, "{d:?}");
                assert!(d.namespaces >= 4 && d.audit_chains >= 4 && d.tenants >= 4, "{d:?}");
                assert!(d.connections >= wanted.min(8) && d.connections <= wanted, "{d:?}");
            }
        }
        let unit = Descriptors::of(Some(65_536), limits::CONNECTIONS_MAX);
        assert_eq!((unit.connections, unit.namespaces), (limits::CONNECTIONS_MAX, limits::NAMESPACES_OPEN_MAX));
        let endless = Descriptors { allowed: ENOUGH, ..Descriptors::of(Some(1 << 30), 10) };
        assert_eq!(Descriptors::of(None, 10), endless);
    }
}
