//! What exposes the process's memory that only the machine's settings can close, each with its remedy.

use kernel::limits;
use rustix::{
    fs::{FileType, major, minor, stat},
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use vault::{KeyMemory, KeyMemoryKind, key_memory};

/// A setting of the machine or of the service, what it is, and what would be right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub(crate) setting: &'static str,
    pub(crate) found: String,
    pub(crate) remedy: &'static str,
}

/// Locked memory for the keys of as many places as may be open, four each.
const LOCK_MIN: u64 = (limits::NAMESPACES_OPEN_MAX + limits::AUDIT_CHAINS_OPEN_MAX) * 4 * 32;
/// Deeper than devices are stacked.
const STACKED_MAX: usize = 16;

/// What exposes the memory of this process, on this machine.
pub(crate) fn exposures() -> Vec<Exposure> {
    let keys = key_memory();
    let root = Path::new("/");
    let kinds = [swap(root), lock(keys, lock_limit()), secret(keys), hibernation(root, keys), ptrace(root)];
    kinds.into_iter().flatten().collect()
}

/// Bytes that this process may lock; `None` for as many as it likes.
pub(super) fn lock_limit() -> Option<u64> {
    let free = capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::IPC_LOCK));
    if free { None } else { getrlimit(Resource::Memlock).current }
}

/// Swap that this process may be written to, on a disk that is not seen to be encrypted.
fn swap(root: &Path) -> Option<Exposure> {
    let table = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    let open: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|area| !device(root, area).is_some_and(|device| sealed(&device, STACKED_MAX)))
        .collect();
    (!open.is_empty() && !kept_out(root)).then(|| Exposure {
        setting: "/proc/swaps",
        found: format!("swap on {}, not seen to be encrypted", open.join(", ")),
        remedy: "keep the service out of it (MemorySwapMax=0 in its unit), encrypt it, or turn it off (swapoff)",
    })
}

/// The folder in `/sys` of the block device that is a swap area, or that holds its file.
fn device(root: &Path, area: &str) -> Option<PathBuf> {
    // A space in a name is written so.
    let facts = stat(root.join(area.replace("\\040", " ").trim_start_matches('/'))).ok()?;
    let number = if FileType::from_raw_mode(facts.st_mode).is_block_device() { facts.st_rdev } else { facts.st_dev };
    root.join(format!("sys/dev/block/{}:{}", major(number), minor(number))).canonicalize().ok()
}

/// Whether what is written there is encrypted (dm-crypt, itself or under it), or reaches no disk (zram).
fn sealed(device: &Path, depth: usize) -> bool {
    if device.file_name().is_some_and(|name| name.to_string_lossy().starts_with("zram")) {
        return fs::read_to_string(device.join("backing_dev")).map_or(true, |disk| disk.trim() == "none");
    }
    if fs::read_to_string(device.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return true;
    }
    let under: Vec<_> = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten().collect();
    depth > 0 && !under.is_empty() && under.iter().all(|part| sealed(&part.path(), depth - 1))
}

/// Whether a control group that this process is in may not swap.
fn kept_out(root: &Path) -> bool {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let forbids = |group: &Path| {
        let most = fs::read_to_string(root.join("sys/fs/cgroup").join(group).join("memory.swap.max"));
        most.is_ok_and(|most| most.trim() == "0")
    };
    Path::new(own).ancestors().any(forbids)
}

fn lock(keys: KeyMemory, limit: Option<u64>) -> Option<Exposure> {
    let small = limit.filter(|limit| *limit < LOCK_MIN);
    if small.is_none() && keys.bytes_unlocked == 0 {
        return None;
    }
    let limit = limit.map_or_else(|| "no limit".to_owned(), |bytes| format!("{bytes} bytes"));
    let found = match keys.bytes_unlocked {
        0 => format!("{limit}, less than {LOCK_MIN}: keys beyond it would lie in ordinary memory"),
        bytes => format!("{limit}, and {bytes} bytes for keys could not be locked"),
    };
    let remedy = "raise it: LimitMEMLOCK=infinity in the unit, 'ulimit -l', or the container's ulimits";
    Some(Exposure { setting: "RLIMIT_MEMLOCK", found, remedy })
}

/// Without a word where nothing at all could be locked: [`lock`] says that.
fn secret(keys: KeyMemory) -> Option<Exposure> {
    (keys.kind == KeyMemoryKind::Locked).then(|| Exposure {
        setting: "memfd_secret",
        found: "the kernel gives no secret memory: keys lie in pages that are locked, and that root can read"
            .to_owned(),
        remedy: "run Linux 5.14 or later (secretmem.enable=1 on its command line before 6.5), and let the container's \
                 profile of system calls pass it",
    })
}

/// A kernel that has given secret memory does not hibernate while there is any, and says so in the same file.
fn hibernation(root: &Path, keys: KeyMemory) -> Option<Exposure> {
    let states = fs::read_to_string(root.join("sys/power/state")).unwrap_or_default();
    let possible = keys.kind != KeyMemoryKind::Secret && states.split_whitespace().any(|state| state == "disk");
    possible.then(|| Exposure {
        setting: "/sys/power/state",
        found: "the machine can hibernate: all of its memory is then on disk".to_owned(),
        remedy: "systemctl mask hibernate.target hybrid-sleep.target, or nohibernate on the kernel's command line",
    })
}

fn ptrace(root: &Path) -> Option<Exposure> {
    let scope = fs::read_to_string(root.join("proc/sys/kernel/yama/ptrace_scope"));
    let found = match scope.as_deref().map(str::trim) {
        Ok("0") => "0",
        Err(_) => "not there, which is as 0",
        Ok(_) => return None,
    };
    Some(Exposure {
        setting: "kernel.yama.ptrace_scope",
        found: format!("{found}: processes of one user may trace each other; this one is closed, its clients are not"),
        remedy: "sysctl kernel.yama.ptrace_scope=1, and a user of its own for the server",
    })
}

#[cfg(test)]
mod tests;
