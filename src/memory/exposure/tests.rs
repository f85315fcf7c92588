use super::*;
use std::os::unix::fs::symlink;

const SECRET: KeyMemory = KeyMemory { kind: KeyMemoryKind::Secret, bytes_locked: 65_536, bytes_unlocked: 0 };
const LOCKED: KeyMemory = KeyMemory { kind: KeyMemoryKind::Locked, ..SECRET };
const PLAIN: KeyMemory = KeyMemory { kind: KeyMemoryKind::Plain, bytes_locked: 0, bytes_unlocked: 65_536 };

/// A folder with the settings of a machine.
struct Machine(tempfile::TempDir);

impl Machine {
    fn new(files: &[(&str, &str)]) -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(path, text)| machine.put(path, text));
        machine
    }
    fn root(&self) -> &Path {
        self.0.path()
    }
    fn put(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    /// Describes the device that holds this folder's file system.
    fn disk(&self, name: &str, files: &[(&str, &str)]) {
        let device = format!("sys/devices/{name}");
        files.iter().for_each(|(path, text)| self.put(&format!("{device}/{path}"), text));
        let number = stat(self.root()).unwrap().st_dev;
        let link = self.root().join(format!("sys/dev/block/{}:{}", major(number), minor(number)));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&link);
        symlink(self.root().join(device), link).unwrap();
    }
}

const SWAPS: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";

#[test]
fn swap_is_reported_unless_it_is_encrypted_or_forbidden() {
    let none = Machine::new(&[("proc/swaps", SWAPS)]);
    assert_eq!(swap(none.root()), None);
    assert_eq!(swap(Machine::new(&[]).root()), None);

    let line = format!("{SWAPS}/swap\\040file                 file\t\t8388604\t\t0\t\t-2\n");
    let machine = Machine::new(&[("proc/swaps", &line), ("swap file", "")]);
    let exposure = swap(machine.root()).unwrap();
    assert!(exposure.found.contains("/swap\\040file") && exposure.remedy.contains("MemorySwapMax=0"), "{exposure:?}");
    machine.disk("sda2", &[("size", "8")]);
    assert!(swap(machine.root()).is_some(), "a disk that is not encrypted");
    machine.disk("dm-0", &[("dm/uuid", "LVM-abc\n"), ("slaves/sda2/size", "8")]);
    assert!(swap(machine.root()).is_some(), "a volume on a disk that is not encrypted");
    machine.disk("dm-1", &[("dm/uuid", "LVM-abc\n"), ("slaves/dm-9/dm/uuid", "CRYPT-LUKS2-0-x\n")]);
    assert_eq!(swap(machine.root()), None, "a volume on an encrypted disk");
    machine.disk("dm-2", &[("dm/uuid", "CRYPT-PLAIN-swap\n")]);
    assert_eq!(swap(machine.root()), None);
    machine.disk("zram0", &[("backing_dev", "none\n")]);
    assert_eq!(swap(machine.root()), None, "it stays in memory");
    machine.disk("zram1", &[("backing_dev", "/dev/sda3\n")]);
    assert!(swap(machine.root()).is_some());

    machine.put("proc/self/cgroup", "0::/system.slice/ringfence.service\n");
    machine.put("sys/fs/cgroup/system.slice/ringfence.service/memory.swap.max", "max\n");
    assert!(swap(machine.root()).is_some());
    machine.put("sys/fs/cgroup/system.slice/memory.swap.max", "0\n");
    assert_eq!(swap(machine.root()), None, "a group above may not swap");
}

#[test]
fn a_small_limit_and_keys_that_could_not_be_locked_are_reported() {
    assert_eq!(memory_lock(SECRET, None), None);
    assert_eq!(memory_lock(SECRET, Some(8 << 20)), None);
    let small = memory_lock(LOCKED, Some(64 << 10)).unwrap();
    assert!(small.found.contains("65536 bytes") && small.remedy.contains("LimitMEMLOCK"), "{small:?}");
    assert!(memory_lock(PLAIN, Some(8 << 20)).unwrap().found.contains("65536 bytes for keys could not be locked"));
    assert!(memory_lock(PLAIN, None).unwrap().found.contains("no limit"));
}

#[test]
fn a_kernel_without_secret_memory_and_one_that_can_hibernate_are_reported() {
    assert_eq!((secret_memory(SECRET), secret_memory(PLAIN)), (None, None));
    assert!(secret_memory(LOCKED).unwrap().remedy.contains("5.14"));
    let machine = Machine::new(&[("sys/power/state", "freeze mem disk\n")]);
    assert!(hibernation(machine.root(), LOCKED).unwrap().remedy.contains("hibernate"));
    assert_eq!(hibernation(machine.root(), SECRET), None);
    let awake = Machine::new(&[("sys/power/state", "freeze mem\n")]);
    assert_eq!(hibernation(awake.root(), LOCKED), None);
    assert_eq!(hibernation(Machine::new(&[]).root(), LOCKED), None);
}

#[test]
fn processes_that_may_trace_each_other_are_reported() {
    for (scope, reported) in [("0\n", true), ("1\n", false), ("2\n", false), ("3\n", false)] {
        let machine = Machine::new(&[("proc/sys/kernel/yama/ptrace_scope", scope)]);
        assert_eq!(ptrace(machine.root()).is_some(), reported, "{scope}");
    }
    assert!(ptrace(Machine::new(&[]).root()).unwrap().found.contains("not there"));
}
