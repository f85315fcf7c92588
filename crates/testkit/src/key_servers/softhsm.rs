//! SoftHSM: a hardware security module in software, with the same PKCS #11 library interface as a real one.

use crate::process::installed;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const LABEL: &str = "ringfence";
const PIN: &str = "1234";

/// One token in a folder of its own. No process runs: a user loads [`SoftHsm::module`], which reads the variable
/// `SOFTHSM2_CONF` of the user's process when it is initialised. It therefore has to be set to [`SoftHsm::conf`] in a
/// child process, or in the test's own process before the module is loaded (under nextest each test has its own
/// process).
pub struct SoftHsm {
    module: PathBuf,
    slot: u64,
    folder: TempDir,
}

impl SoftHsm {
    /// Creates a token; `None` if SoftHSM is not installed. It takes a moment.
    ///
    /// # Panics
    /// If it is installed and creates no token, or is required and not installed.
    #[must_use]
    pub fn start() -> Option<Self> {
        let code = installed("softhsm2")?;
        let module = code.join("usr/lib/softhsm/libsofthsm2.so");
        let folder = TempDir::new().expect("a temporary folder");
        configure(folder.path());
        let output = Command::new(code.join("usr/bin/softhsm2-util"))
            .arg("--module")
            .arg(&module)
            .args(["--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "5678"])
            .env_clear()
            .env("SOFTHSM2_CONF", conf_in(folder.path()))
            .output()
            .expect("softhsm2-util starts");
        let output_text = String::from_utf8_lossy(&output.stdout);
        // "The token has been initialized and is reassigned to slot 1830477213"
        let slot = output_text.split_whitespace().last().and_then(|word| word.parse().ok());
        let slot = slot.unwrap_or_else(|| panic!("no token: {output_text}{}", String::from_utf8_lossy(&output.stderr)));
        Some(Self { module, slot, folder })
    }

    /// Path of the PKCS #11 library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Value for `SOFTHSM2_CONF`.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        conf_in(self.folder.path())
    }

    /// Label of the token, by which it is found: slot numbers change.
    #[must_use]
    pub fn label(&self) -> &'static str {
        LABEL
    }

    /// PIN of the user.
    #[must_use]
    pub fn pin(&self) -> &'static str {
        PIN
    }

    /// Slot of the token.
    #[must_use]
    pub fn slot(&self) -> u64 {
        self.slot
    }
}

fn conf_in(folder: &Path) -> PathBuf {
    folder.join("softhsm2.conf")
}

fn configure(folder: &Path) {
    let tokens = folder.join("tokens");
    std::fs::create_dir(&tokens).expect("a folder for tokens");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n", tokens.display());
    std::fs::write(conf_in(folder), text).expect("a configuration");
}
