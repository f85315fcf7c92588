//! Settings of the machine that expose the process's memory and that the process cannot change itself, each with its
//! remedy.

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

/// A setting of the machine or of the service that exposes memory: its name, its value, and the remedy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub(crate) setting: &'static str,
    pub(crate) found: String,
    pub(crate) remedy: &'static str,
}

/// Locked memory in bytes for the keys of as many keyspaces as may be open, four keys each.
const LOCK_MIN: u64 = (limits::NAMESPACES_OPEN_MAX + limits::AUDIT_LOGS_OPEN_MAX) * 4 * 32;
/// More levels than block devices are ever stacked.
const DEVICE_LEVELS_MAX: usize = 16;

/// The settings that expose the memory of this process on this machine.
pub(crate) fn exposures() -> Vec<Exposure> {
    let keys = key_memory();
    let root = Path::new("/");
    let kinds =
        [swap(root), memory_lock(keys, lock_limit()), secret_memory(keys), hibernation(root, keys), ptrace(root)];
    kinds.into_iter().flatten().collect()
}

/// Number of bytes that this process may lock; `None` if there is no limit.
pub(super) fn lock_limit() -> Option<u64> {
    let free = capabilities(None).is_ok_and(|held| held.effective.contains(CapabilitySet::IPC_LOCK));
    if free { None } else { getrlimit(Resource::Memlock).current }
}

/// Reports swap space that this process may be written to, on a disk that is not known to be encrypted.
fn swap(root: &Path) -> Option<Exposure> {
    let table = fs::read_to_string(root.join("proc/swaps")).unwrap_or_default();
    let open: Vec<&str> = table
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().next())
        .filter(|area| !device(root, area).is_some_and(|device| is_protected(&device, DEVICE_LEVELS_MAX)))
        .collect();
    (!open.is_empty() && !swap_forbidden(root)).then(|| Exposure {
        setting: "/proc/swaps",
        found: format!("swap on {} does not appear to be encrypted", open.join(", ")),
        remedy: "keep the service out of swap (MemorySwapMax=0 in its unit), encrypt the swap space, or turn it off \
                 (swapoff)",
    })
}

/// The folder in `/sys` of the block device that is the swap area or that holds its file.
fn device(root: &Path, area: &str) -> Option<PathBuf> {
    // `/proc/swaps` writes a space in a name as `\040`.
    let metadata = stat(root.join(area.replace("\\040", " ").trim_start_matches('/'))).ok()?;
    let number =
        if FileType::from_raw_mode(metadata.st_mode).is_block_device() { metadata.st_rdev } else { metadata.st_dev };
    root.join(format!("sys/dev/block/{}:{}", major(number), minor(number))).canonicalize().ok()
}

/// Whether data on the device is encrypted (dm-crypt, on the device itself or below it) or never reaches a disk (zram).
fn is_protected(device: &Path, depth: usize) -> bool {
    if device.file_name().is_some_and(|name| name.to_string_lossy().starts_with("zram")) {
        return fs::read_to_string(device.join("backing_dev")).map_or(true, |disk| disk.trim() == "none");
    }
    if fs::read_to_string(device.join("dm/uuid")).is_ok_and(|uuid| uuid.starts_with("CRYPT-")) {
        return true;
    }
    let under: Vec<_> = fs::read_dir(device.join("slaves")).into_iter().flatten().flatten().collect();
    depth > 0 && !under.is_empty() && under.iter().all(|part| is_protected(&part.path(), depth - 1))
}

/// Whether a control group of this process forbids swapping.
fn swap_forbidden(root: &Path) -> bool {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let is_zero = |group: &Path| {
        let most = fs::read_to_string(root.join("sys/fs/cgroup").join(group).join("memory.swap.max"));
        most.is_ok_and(|most| most.trim() == "0")
    };
    Path::new(own).ancestors().any(is_zero)
}

fn memory_lock(keys: KeyMemory, limit: Option<u64>) -> Option<Exposure> {
    let small = limit.filter(|limit| *limit < LOCK_MIN);
    if small.is_none() && keys.bytes_unlocked == 0 {
        return None;
    }
    let limit = limit.map_or_else(|| "no limit".to_owned(), |bytes| format!("{bytes} bytes"));
    let found = match keys.bytes_unlocked {
        0 => format!("{limit}, less than {LOCK_MIN}: keys beyond the limit would be held in ordinary memory"),
        bytes => format!("{limit}, and {bytes} bytes for keys could not be locked"),
    };
    let remedy = "raise the limit: LimitMEMLOCK=infinity in the unit, 'ulimit -l', or the container's ulimits";
    Some(Exposure { setting: "RLIMIT_MEMLOCK", found, remedy })
}

/// Returns nothing where no memory at all could be locked, since [`memory_lock`] reports that.
fn secret_memory(keys: KeyMemory) -> Option<Exposure> {
    (keys.kind == KeyMemoryKind::Locked).then(|| Exposure {
        setting: "memfd_secret",
        found: "the kernel provides no secret memory: keys are held in locked pages, which root can read".to_owned(),
        remedy: "run Linux 5.14 or later (secretmem.enable=1 on its command line before 6.5), and allow the system \
                 call \
                 in the container's seccomp profile",
    })
}

/// A kernel that has handed out secret memory does not hibernate while any is in use, and the same file then says so.
fn hibernation(root: &Path, keys: KeyMemory) -> Option<Exposure> {
    let states = fs::read_to_string(root.join("sys/power/state")).unwrap_or_default();
    let possible = keys.kind != KeyMemoryKind::Secret && states.split_whitespace().any(|state| state == "disk");
    possible.then(|| Exposure {
        setting: "/sys/power/state",
        found: "the machine can hibernate, which writes all of its memory to disk".to_owned(),
        remedy: "systemctl mask hibernate.target hybrid-sleep.target, or nohibernate on the kernel's command line",
    })
}

fn ptrace(root: &Path) -> Option<Exposure> {
    let scope = fs::read_to_string(root.join("proc/sys/kernel/yama/ptrace_scope"));
    let found = match scope.as_deref().map(str::trim) {
        Ok("0") => "0",
        Err(_) => "not there, which has the same effect as 0",
        Ok(_) => return None,
    };
    Some(Exposure {
        setting: "kernel.yama.ptrace_scope",
        found: format!(
            "{found}: processes of one user may trace each other; this process is protected, its clients are not"
        ),
        remedy: "set sysctl kernel.yama.ptrace_scope=1, and run the server as a user of its own",
    })
}

#[cfg(test)]
mod tests;
