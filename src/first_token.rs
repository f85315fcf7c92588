//! Shows the first operator's token once: in a file of the user's choice, or on a terminal.
//!
//! The token is never written elsewhere: a stderr that is not a terminal usually ends in a log, which other people read
//! and keep.

use crate::telemetry;
use anyhow::{Context, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// The destination of the token.
pub(crate) struct FirstToken {
    file: Option<PendingFile>,
}

/// A file that is created under a temporary name before the token exists, so that the token can certainly be written.
struct PendingFile {
    file: File,
    path: PathBuf,
    name: PathBuf,
}

impl FirstToken {
    /// Makes sure that the file can be written, if one is named.
    ///
    /// # Errors
    /// The file cannot be created.
    pub(crate) fn prepare(file: Option<&Path>) -> Result<Self> {
        Ok(Self { file: file.map(PendingFile::create).transpose()? })
    }

    /// Shows the token, if this was a first start.
    ///
    /// # Errors
    /// The file cannot be written. The operator exists by then, and `ringfence operator recover` creates another token.
    pub(crate) fn show(self, token: Option<&str>) -> Result<()> {
        match (self.file, token) {
            (Some(pending), Some(token)) => {
                let name = pending.name.clone();
                let remedy = "; the first operator's token is lost: create another with `ringfence operator recover`";
                pending.publish(token).with_context(|| format!("cannot write {}{remedy}", name.display()))?;
                tracing::info!(file = %name.display(), "wrote the first operator's token");
            }
            (Some(pending), None) => {
                pending.remove();
                tracing::warn!(
                    file = %pending.name.display(),
                    remedy = "stop the server and run `ringfence operator recover` to create another token",
                    "the file for the first operator's token does not exist; only a first start creates it"
                );
            }
            (None, Some(token)) if std::io::stderr().is_terminal() => {
                telemetry::print_line(&format!("operator token (shown only once, so store it now): {token}"));
            }
            (None, Some(_)) => telemetry::print_line(
                "the first operator's token is only printed on a terminal: stop the server and run `ringfence operator \
                 recover`, or start an empty data folder with RINGFENCE_OPERATOR_TOKEN_FILE naming a file to create",
            ),
            (None, None) => {}
        }
        Ok(())
    }
}

impl PendingFile {
    fn create(name: &Path) -> Result<Self> {
        let mut path = name.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        // A file that an interrupted start left behind may be readable by others.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path),
        }
        .map(|file| Self { file, path: path.clone(), name: name.to_owned() })
        .with_context(|| format!("RINGFENCE_OPERATOR_TOKEN_FILE: cannot create {}", path.display()))
    }

    fn publish(mut self, token: &str) -> std::io::Result<()> {
        self.file.write_all(token.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.file.sync_all()?;
        // A hard link never replaces a file that another process has created meanwhile.
        fs::hard_link(&self.path, &self.name)?;
        fs::remove_file(&self.path)?;
        let folder = self.name.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(kind = ?error.kind(), "an empty file was not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_token_is_in_the_file_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("operator.token");
        fs::write(folder.path().join("operator.token.new"), "left by a start that was cut off").unwrap();
        let first = FirstToken::prepare(Some(&name)).unwrap();
        assert!(!name.exists(), "the file does not exist before the token");
        first.show(Some("rfop_x")).unwrap();
        assert_eq!(fs::read_to_string(&name).unwrap(), "rfop_x\n");
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_later_start_creates_no_file_and_a_file_that_cannot_be_created_fails_the_start() {
        let folder = tempfile::tempdir().unwrap();
        FirstToken::prepare(Some(&folder.path().join("token"))).unwrap().show(None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = FirstToken::prepare(Some(&folder.path().join("nowhere/token"))).err().unwrap();
        assert!(format!("{error:#}").contains("RINGFENCE_OPERATOR_TOKEN_FILE"), "{error:#}");
    }
}
