//! Tests of the real process's memory: it is in no dump and closed to other processes, its keys are in pages that no
//! other process can read, and the server reports its exposure.

use serde_json::Value;
use std::{
    fs::{self, File},
    os::unix::{
        fs::{FileExt, MetadataExt, PermissionsExt, chown},
        process::{CommandExt, ExitStatusExt},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// Id of a user other than root.
const NOBODY_UID: u32 = 65_534;

fn lines(log: &str, message: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["message"] == message).collect()
}

/// Ends a process as a crash would. Returns whether that left a dump.
fn crash_dumps_core(child: &mut Child) -> bool {
    crash(child.id());
    child.wait().expect("the process ends").core_dumped()
}

fn crash(pid: u32) {
    assert!(Command::new("kill").args(["-ABRT", &pid.to_string()]).status().expect("kill runs").success());
}

#[test]
fn a_server_that_crashes_leaves_no_dump() {
    let mut server = crate::server().start();
    let limits = fs::read_to_string(format!("/proc/{}/limits", server.pid())).expect("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a limit");
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
    crash(server.pid());
    let status = server.ended(Duration::from_secs(20)).expect("it ends");
    assert!(status.signal() == Some(6) && !status.core_dumped(), "{status}");
}

/// The `/proc` files of a process that may be dumped and traced belong to its user; those of one that may not, to root.
#[test]
fn a_server_is_closed_to_other_processes_of_its_user() {
    let folder = TempDir::new().expect("a folder");
    let root = folder.path().metadata().expect("facts").uid() == 0;
    let user = if root { NOBODY_UID } else { folder.path().metadata().expect("facts").uid() };
    let start = |program: &Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().env("HOME", folder.path()).env("RINGFENCE_ROOT_KEY", "7a".repeat(32));
        command.env("RINGFENCE__DATA_PLANE__LISTEN", "127.0.0.1:0");
        command.env("RINGFENCE__CONTROL_PLANE__LISTEN", "127.0.0.1:0").env("RINGFENCE__MODELS__ENABLED", "false");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if root { command.uid(NOBODY_UID).gid(NOBODY_UID).spawn() } else { command.spawn() }
    };
    chown(folder.path(), Some(user), None).expect("given");
    let owner = |pid: u32| fs::metadata(format!("/proc/{pid}/mem")).expect("runs").uid();

    let mut other = start(Path::new("/bin/sleep"), &["60"]).expect("sleep runs");
    eventually(|| owner(other.id()) == user, "the test can read ordinary memory");
    let _ = (other.kill(), other.wait());

    // The program is copied from the build folder, which may be closed to others; a program that its user cannot read
    // is not dumpable anyway.
    let program = folder.path().join("ringfence");
    let built = Path::new(env!("CARGO_BIN_EXE_ringfence"));
    fs::hard_link(built, &program).or_else(|_| fs::copy(built, &program).map(drop)).expect("a copy");
    assert!(program.metadata().expect("facts").permissions().mode() & 0o005 == 0o005);
    let data = folder.path().join("data");
    let mut server = start(&program, &["serve", "--data", data.to_str().expect("UTF-8")]).expect("the server runs");
    // The check is repeated, because it may not hold in the first moments.
    eventually(|| data.is_dir() && owner(server.id()) == 0, "the server's memory stays open to its user");
    if root {
        let output =
            Command::new("cat").arg(format!("/proc/{}/environ", server.id())).uid(NOBODY_UID).gid(NOBODY_UID).output();
        assert!(!output.expect("cat runs").status.success(), "the root key can be read from its environment");
    }
    assert!(!crash_dumps_core(&mut server));
}

fn eventually(mut holds: impl FnMut() -> bool, what: &str) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{what}");
}

/// Only root can read the memory map of a closed process, and even root cannot read secret memory.
#[test]
fn a_running_servers_keys_cannot_be_read_by_root() {
    let server = crate::server().start();
    server.tenant("acme");
    let messages = lines(&server.stderr(), "key memory");
    assert_eq!(messages.len(), 1, "{}", server.stderr());
    let Ok(maps) = fs::read_to_string(format!("/proc/{}/maps", server.pid())) else { return };
    if messages[0]["kind"] != "secret" || maps.is_empty() {
        return;
    }
    let memory = File::open(format!("/proc/{}/mem", server.pid())).expect("root may");
    let first = |line: &str| u64::from_str_radix(line.split('-').next().unwrap_or_default(), 16).expect("an address");
    let read = |name: &str| {
        let line = maps.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("no {name} in {maps}"));
        memory.read_at(&mut [0; 32], first(line))
    };
    assert_eq!(read("[heap]").expect("the test can read ordinary memory"), 32);
    assert!(read("secretmem").is_err());
}

#[test]
fn log_and_doctor_name_what_exposes_memory_and_the_remedy() {
    let server = crate::server().start();
    let messages = lines(&server.stderr(), "memory is exposed");
    let mut settings: Vec<&str> = messages.iter().map(|line| line["setting"].as_str().expect("a setting")).collect();
    assert!(
        messages.iter().all(|line| line["level"] == "WARN" && line["found"].is_string() && line["remedy"].is_string())
    );

    let output = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["--json", "doctor", "--data"])
        .arg(server.data_folder())
        .env_clear()
        .env("RINGFENCE_ROOT_KEY", server.root_key())
        .env("RINGFENCE__MODELS__ENABLED", "false")
        .output()
        .expect("the binary runs");
    let answer: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let checks = answer["checks"].as_array().expect("checks");
    let keys = checks.iter().find(|check| check["check"] == "key memory").expect("a check of key memory");
    let kind = lines(&server.stderr(), "key memory")[0]["kind"].as_str().expect("a kind").to_owned();
    assert!(keys["found"].as_str().is_some_and(|found| found.starts_with(&kind)), "{keys}");
    // The machine and the user are the same, so the findings are too.
    let known = ["/proc/swaps", "RLIMIT_MEMLOCK", "memfd_secret", "/sys/power/state", "kernel.yama.ptrace_scope"];
    assert!(settings.iter().all(|setting| known.contains(setting)), "{settings:?}");
    let mut found: Vec<&str> = checks.iter().filter_map(|check| check["check"].as_str()).collect();
    found.retain(|check| known.contains(check));
    found.sort_unstable();
    settings.sort_unstable();
    assert_eq!(found, settings, "{answer}");
}
