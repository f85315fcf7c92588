//! SoftHSM: a hardware module in software, behind the same PKCS #11 library that a real one has.

use crate::process::installed;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

const LABEL: &str = "ringfence";
const PIN: &str = "1234";

/// One token in a folder of its own. Nothing runs: whoever uses it loads [`SoftHsm::module`], which reads the variable
/// `SOFTHSM2_CONF` of its own process when it is initialised. So it is to be set to [`SoftHsm::conf`] in a child, or in
/// the test's own process before the module is loaded (under nextest each test has a process).
pub struct SoftHsm {
    module: PathBuf,
    slot: u64,
    folder: TempDir,
}

impl SoftHsm {
    /// Makes a token; `None` when SoftHSM is not installed. A moment.
    ///
    /// # Panics
    /// When it is installed and makes no token, or is required and not installed.
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
        let said = String::from_utf8_lossy(&output.stdout);
        // "The token has been initialized and is reassigned to slot 1830477213"
        let slot = said.split_whitespace().last().and_then(|word| word.parse().ok());
        let slot = slot.unwrap_or_else(|| panic!("no token: {said}{}", String::from_utf8_lossy(&output.stderr)));
        Some(Self { module, slot, folder })
    }

    /// The PKCS #11 library.
    #[must_use]
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// What `SOFTHSM2_CONF` is to be.
    #[must_use]
    pub fn conf(&self) -> PathBuf {
        conf_in(self.folder.path())
    }

    /// The token's label, which is how it is found: numbers of slots change.
    #[must_use]
    pub fn label(&self) -> &'static str {
        LABEL
    }

    /// The user's PIN.
    #[must_use]
    pub fn pin(&self) -> &'static str {
        PIN
    }

    /// The slot that the token is in.
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
