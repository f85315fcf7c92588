//! Ceph: one monitor, three OSDs on disk and the S3 gateway. Every object is stored on three OSDs and acknowledged by
//! at least two, so one may fail at any time.

use super::{BUCKET, StoreKey, signed};
use crate::process::{Ends, Process, free_address, installed, listens, wait_until};
use kernel::{Entropy, OsEntropy};
use std::{
    io::{Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// Number of OSDs.
const OSDS: usize = 3;

/// Number of starts after which an OSD counts as broken.
const STARTS_MAX: usize = 10;

/// A running cluster.
pub struct Ceph {
    code: PathBuf,
    gateway_address: SocketAddr,
    // The fields are in the order in which the processes stop.
    gateway: Option<Process>,
    osds: [Option<Process>; OSDS],
    _monitor: Process,
    folder: TempDir,
}

impl Ceph {
    /// Starts a cluster; `None` if Ceph is not installed. It takes about ten seconds and 250 MB of memory.
    ///
    /// # Panics
    /// If it is installed and does not start, or is required and not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let code = installed("ceph")?;
        let folder = TempDir::new().expect("a temporary folder");
        let (monitor_address, gateway_address) = (free_address(), free_address());
        let fsid = uuid();
        configure(&code, folder.path(), &fsid, monitor_address, gateway_address);
        let address = format!("[v1:{monitor_address}]");
        run(&code, folder.path(), &["monmaptool", "--create", "--addv", "a", &address, "--fsid", &fsid, "monmap"]);
        run(&code, folder.path(), &["ceph-mon", "-i", "a", "--mkfs", "--monmap", "monmap"]);
        let mut monitor = spawn(&code, folder.path(), &["ceph-mon", "-i", "a", "-f"]);
        // Without a monitor, everything else would wait for it for five minutes and then not say why.
        let log = folder.path().join("mon.a.log");
        wait_until("the monitor", &log, &mut monitor, Ends::Never, || listens(monitor_address));
        let mut ceph =
            Self { code, gateway_address, gateway: None, osds: [const { None }; OSDS], _monitor: monitor, folder };
        for osd in 0..OSDS {
            let data = ceph.folder.path().join(format!("osd.{osd}"));
            std::fs::create_dir(data).expect("a folder for an OSD");
            ceph.run(&["ceph-osd", "-i", &osd.to_string(), "--mkfs", "--osd-uuid", &uuid()]);
        }
        for osd in 0..OSDS {
            ceph.spawn_osd(osd);
        }
        (0..OSDS).for_each(|osd| ceph.wait_osd(osd));
        let key = StoreKey::for_tests();
        let user = ["radosgw-admin", "user", "create", "--uid=test", "--display-name=test"];
        let keys = [format!("--access-key={}", key.id), format!("--secret-key={}", key.secret)];
        ceph.run(&[&user[..], &[&keys[0], &keys[1]]].concat());
        ceph.start_gateway();
        let created = signed::make_bucket(gateway_address, &key, BUCKET);
        assert!(created.as_ref().is_some_and(|r| r.status == 200), "Ceph creates no bucket: {created:?}");
        Some(ceph)
    }

    /// URL of the gateway, `http://127.0.0.1:port`, the same after a restart.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.gateway_address)
    }

    /// Credentials of the gateway.
    #[must_use]
    pub fn credentials(&self) -> StoreKey {
        StoreKey::for_tests()
    }

    /// Name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }

    /// Number of OSDs. Their indexes start at 0.
    #[must_use]
    pub fn osds(&self) -> usize {
        OSDS
    }

    /// Kills an OSD as a power failure would. Writes continue while the others run.
    pub fn kill_osd(&mut self, osd: usize) {
        self.osds[osd] = None;
    }

    /// Starts an OSD again on its disk and waits until it serves. It then catches up by itself; objects that it lacks
    /// are fetched when they are requested.
    pub fn start_osd(&mut self, osd: usize) {
        self.spawn_osd(osd);
        self.wait_osd(osd);
    }

    /// Waits until an OSD serves. An OSD that contacts the monitor before the monitor knows the cluster's id is
    /// rejected ("wrong fsid") and ends: it is started again, as an init system would do.
    fn wait_osd(&mut self, osd: usize) {
        let (socket, log) = (self.socket(osd), self.log("ceph-osd"));
        let active = || admin_command(&socket, r#"{"prefix":"status"}"#).is_some_and(|s| s.contains("\"active\""));
        for _ in 0..STARTS_MAX {
            let process = self.osds[osd].as_mut().expect("it was started");
            wait_until("an OSD", &log, process, Ends::Allowed, active);
            if process.runs() {
                return;
            }
            self.spawn_osd(osd);
        }
        panic!("an OSD ended {STARTS_MAX} times: {}", std::fs::read_to_string(log).unwrap_or_default());
    }

    /// Kills the gateway as a power failure would.
    pub fn kill_gateway(&mut self) {
        self.gateway = None;
    }

    /// Starts the gateway on the same port and waits until it listens.
    pub fn start_gateway(&mut self) {
        let mut process = spawn(&self.code, self.folder.path(), &["radosgw", "-n", "client.rgw", "-f"]);
        let address = self.gateway_address;
        wait_until("the gateway", &self.log("radosgw"), &mut process, Ends::Never, || listens(address));
        self.gateway = Some(process);
    }

    fn spawn_osd(&mut self, osd: usize) {
        self.osds[osd] = None;
        // The socket that a killed OSD left would not answer.
        let _ = std::fs::remove_file(self.socket(osd));
        let command = ["ceph-osd", "-i", &osd.to_string(), "-f"];
        self.osds[osd] = Some(spawn(&self.code, self.folder.path(), &command));
    }

    fn run(&self, words: &[&str]) {
        run(&self.code, self.folder.path(), words);
    }

    fn socket(&self, osd: usize) -> PathBuf {
        self.folder.path().join(format!("osd.{osd}.asok"))
    }

    fn log(&self, program: &str) -> PathBuf {
        self.folder.path().join(format!("{program}.out"))
    }
}

fn command(code: &Path, folder: &Path, words: &[&str]) -> Command {
    let (program, rest) = words.split_first().expect("a program");
    let libraries = code.join("usr/lib/x86_64-linux-gnu");
    let paths = [libraries.clone(), libraries.join("ceph"), code.join("lib/x86_64-linux-gnu")];
    let mut command = Command::new(code.join("usr/bin").join(program));
    command
        .args(rest)
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LD_LIBRARY_PATH", std::env::join_paths(paths).expect("paths without a colon"))
        .env("CEPH_CONF", folder.join("ceph.conf"));
    command
}

fn spawn(code: &Path, folder: &Path, words: &[&str]) -> Process {
    Process::spawn(&mut command(code, folder, words), &folder.join(format!("{}.out", words[0])))
}

fn run(code: &Path, folder: &Path, words: &[&str]) {
    let output = command(code, folder, words).output();
    let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", words[0]));
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Answer of a daemon on its admin socket: a length in big-endian, then text.
fn admin_command(socket: &Path, question: &str) -> Option<String> {
    let mut stream = UnixStream::connect(socket).ok()?;
    stream.write_all(format!("{question}\0").as_bytes()).ok()?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut text = String::new();
    stream.take(u64::from(u32::from_be_bytes(length))).read_to_string(&mut text).ok()?;
    Some(text)
}

fn uuid() -> String {
    let bytes: [u8; 16] = OsEntropy.array();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    // Ceph checks for version 4 and variant 1.
    format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..])
}

/// Writes the configuration: small, quick to detect a failed daemon, and without keys, since everything is on the
/// loopback. The monitor uses its older protocol, because the gateway cannot connect without a key by the newer one. It
/// runs however full the disk is: by default it ends when a twentieth is free, which on a large shared disk is plenty.
fn configure(code: &Path, folder: &Path, fsid: &str, monitor: SocketAddr, gateway: SocketAddr) {
    let (code, here) = (code.display(), folder.display());
    let libraries = format!("{code}/usr/lib/x86_64-linux-gnu");
    let text = format!(
        "[global]
fsid = {fsid}
mon host = v1:{monitor}
mon initial members = a
public addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
run dir = {here}
admin socket = {here}/$name.asok
pid file =
log file = {here}/$name.log
log to stderr = false
keyring = {here}/keyring
osd class dir = {libraries}/rados-classes
erasure code dir = {libraries}/ceph/erasure-code
plugin dir = {libraries}/ceph
osd pool default size = {OSDS}
osd pool default min size = 2
osd pool default pg num = 4
osd pool default pgp num = 4
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon max pg per osd = 5000
mon data = {here}/mon
mon data avail crit = -1
mon data avail warn = -1
mon osd min down reporters = 1
mon osd reporter subtree level = osd
mon osd down out interval = 0
paxos propose interval = 0.05
osd data = {here}/osd.$id
osd objectstore = bluestore
osd memory target = 939524096
osd class update on start = false
osd heartbeat interval = 1
osd heartbeat grace = 4
bluestore block size = 2147483648
bluestore block create = true
bluestore block db create = false
bluestore block wal create = false
bluestore cache autotune = false
bluestore cache size = 33554432
rgw frontends = beast endpoint={gateway}
rgw data = {here}/rgw
rgw enable apis = s3
rgw run sync thread = false
"
    );
    std::fs::write(folder.join("ceph.conf"), text).expect("a configuration");
    std::fs::create_dir(folder.join("mon")).expect("a folder for the monitor");
}
