//! moto: S3 in Python, in memory. It honours `If-None-Match`.

use super::{BUCKET, Ends, Process, StoreKey, free_address, installed, listens, signed, wait_until};
use std::{net::SocketAddr, process::Command};
use tempfile::TempDir;

/// A running moto.
pub struct Moto {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl Moto {
    /// Starts one; `None` when it is not installed. About two seconds.
    ///
    /// # Panics
    /// When it is installed and does not come up, or is required and not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let code = installed("moto")?;
        let folder = TempDir::new().expect("a temporary folder");
        let (address, log) = (free_address(), folder.path().join("log"));
        let mut command = Command::new("python3");
        command
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &address.port().to_string()])
            .current_dir(folder.path())
            .env("PYTHONPATH", code)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HOME", folder.path());
        let mut process = Process::spawn(&mut command, &log);
        wait_until("moto", &log, &mut process, Ends::Never, || listens(address));
        let made = signed::make_bucket(address, &StoreKey::for_tests(), BUCKET);
        assert!(made.as_ref().is_some_and(|r| r.status == 200), "moto makes no bucket: {made:?}");
        Some(Self { address, _process: process, _folder: folder })
    }

    /// `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its key.
    #[must_use]
    pub fn credentials(&self) -> StoreKey {
        StoreKey::for_tests()
    }

    /// Its bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }
}
