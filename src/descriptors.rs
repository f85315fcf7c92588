//! Open files: the number that the system allows this process, and how the pools of files and sockets share it.
//!
//! Whatever the limit is, each pool gets a share, and no pool takes what another needs: a hard limit of 256 means fewer
//! connections and fewer open namespaces, and nothing fails for lack of a file descriptor.

use kernel::limits;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Shares of the files that the process may open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptors {
    /// Number of files that the system allows.
    pub allowed: u64,
    /// Maximum number of connections of one listener.
    pub connections: usize,
    /// Threads that wait for the disk; each holds a file open for a moment.
    pub blocking_threads: usize,
    /// Log files and objects that stay open.
    pub files: u64,
    /// Open namespaces.
    pub namespaces: u64,
    /// Open audit logs.
    pub audit_logs: u64,
    /// Open tenant directories.
    pub tenants: u64,
}

impl Descriptors {
    /// The shares of this process, with at most `connections` for one listener.
    pub fn of_process(connections: usize) -> Self {
        Self::of(getrlimit(Resource::Nofile).current, connections)
    }

    /// The shares of a process that may open `allowed` files, where `None` means no limit, if each listener is
    /// configured for `connections_max` connections.
    fn of(allowed: Option<u64>, connections_max: usize) -> Self {
        let allowed = allowed.unwrap_or(SUFFICIENT);
        let usable = allowed.min(SUFFICIENT).saturating_sub(RESERVE);
        let connections = (connections_max.max(1) as u64).min((usable / 6).max(4));
        let blocking_threads = (usable / 8).clamp(8, BLOCKING_THREADS_MAX);
        let files = usable.saturating_sub(2 * connections + blocking_threads).max(16);
        Self {
            allowed,
            // Both numbers are small enough for any `usize`.
            connections: usize::try_from(connections).unwrap_or(connections_max),
            blocking_threads: usize::try_from(blocking_threads).unwrap_or(8),
            files,
            namespaces: (files / 2).min(limits::NAMESPACES_OPEN_MAX),
            audit_logs: (files / 4).min(limits::AUDIT_LOGS_OPEN_MAX),
            tenants: (files / 4).min(limits::TENANTS_OPEN_MAX),
        }
    }
}

impl std::fmt::Display for Descriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { allowed, connections, files, namespaces, .. } = self;
        write!(
            f,
            "{allowed} allowed: {connections} connections per listener, {files} log files and objects, {namespaces} \
             namespaces"
        )
    }
}

/// Raises the soft limit of open files to the hard limit. If the system refuses, the limit stays unchanged.
pub(crate) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_err() {
        tracing::debug!("the limit of open files could not be raised");
    }
}

/// Logs the shares.
pub(crate) fn log(descriptors: Descriptors) {
    let Descriptors { allowed, connections, files, namespaces, audit_logs, tenants, .. } = descriptors;
    tracing::info!(allowed, connections, files, namespaces, audit_logs, tenants, "open files");
    if namespaces < limits::NAMESPACES_OPEN_MAX {
        let remedy = "set LimitNOFILE (systemd), --ulimit nofile (containers) or ulimit -Hn to 65536";
        tracing::warn!(
            allowed,
            remedy,
            "the limit of open files is low: fewer namespaces stay open, and requests to closed ones take longer"
        );
    }
}

/// Files for standard streams, listeners, locks, signals, models, the server's own logs, and calls to other services.
const RESERVE: u64 = 48;
/// Number of files above which more brings no benefit.
const SUFFICIENT: u64 = 1 << 20;
/// The runtime's default number of blocking threads.
const BLOCKING_THREADS_MAX: u64 = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_together_stay_within_the_limit_and_each_gets_something() {
        for allowed in [128, 200, 256, 512, 1_024, 4_096, 20_000, 65_536, 1 << 30] {
            for requested in [1, 64, limits::CONNECTIONS_MAX, 1 << 20] {
                let d = Descriptors::of(Some(allowed), requested);
                let all = RESERVE + 2 * d.connections as u64 + d.blocking_threads as u64 + d.files;
                assert!(all <= allowed, "{d:?}");
                assert!(d.namespaces + d.audit_logs + d.tenants <= d.files, "{d:?}");
                assert!(d.namespaces >= 4 && d.audit_logs >= 4 && d.tenants >= 4, "{d:?}");
                assert!(d.connections >= requested.min(8) && d.connections <= requested, "{d:?}");
            }
        }
        let systemd = Descriptors::of(Some(65_536), limits::CONNECTIONS_MAX);
        assert_eq!((systemd.connections, systemd.namespaces), (limits::CONNECTIONS_MAX, limits::NAMESPACES_OPEN_MAX));
        let unlimited = Descriptors { allowed: SUFFICIENT, ..Descriptors::of(Some(1 << 30), 10) };
        assert_eq!(Descriptors::of(None, 10), unlimited);
    }
}
