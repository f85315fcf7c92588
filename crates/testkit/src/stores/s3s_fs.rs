//! s3s-fs: files served as S3. It checks `If-None-Match` before it writes and not atomically with the write: a store
//! that the probe must refuse.

use super::{BUCKET, StoreKey};
use crate::process::{Ends, Process, free_address, installed, listens, wait_until};
use std::{net::SocketAddr, process::Command};
use tempfile::TempDir;

/// A running s3s-fs.
pub struct S3sFs {
    address: SocketAddr,
    _process: Process,
    _folder: TempDir,
}

impl S3sFs {
    /// Starts a server; `None` if s3s-fs is not installed.
    ///
    /// # Panics
    /// If it is installed and does not start, or is required and not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let program = installed("s3s-fs")?.join("bin/s3s-fs");
        let folder = TempDir::new().expect("a temporary folder");
        let (address, log, root) = (free_address(), folder.path().join("log"), folder.path().join("root"));
        std::fs::create_dir_all(root.join(BUCKET)).expect("a bucket is a folder");
        let key = StoreKey::for_tests();
        let mut command = Command::new(program);
        command
            .args(["--host", "127.0.0.1", "--port", &address.port().to_string()])
            .args(["--access-key", &key.id, "--secret-key", &key.secret])
            .arg(&root);
        let mut process = Process::spawn(&mut command, &log);
        wait_until("s3s-fs", &log, &mut process, Ends::Never, || listens(address));
        Some(Self { address, _process: process, _folder: folder })
    }

    /// URL of the server, `http://127.0.0.1:port`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Credentials of the server.
    #[must_use]
    pub fn credentials(&self) -> StoreKey {
        StoreKey::for_tests()
    }

    /// Name of the bucket.
    #[must_use]
    pub fn bucket(&self) -> &'static str {
        BUCKET
    }
}
