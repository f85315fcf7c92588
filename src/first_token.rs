//! The token of the first operator, shown once: in a file of the user's choice, or on a terminal.
//!
//! Never elsewhere: a stderr that is no terminal usually ends in a log, which others read and keep.

use crate::telemetry;
use anyhow::{Context, Result};
use std::{
    fs::{self, File, OpenOptions},
    io::{ErrorKind, IsTerminal, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Where the token will be shown.
pub(crate) struct FirstToken {
    file: Option<Unnamed>,
}

/// A file that is there before it has something to say, under a name beside its own: when the token exists, it can be
/// written.
struct Unnamed {
    file: File,
    path: PathBuf,
    name: PathBuf,
}

impl FirstToken {
    /// Makes sure that the file can be written, if one is named.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn prepare(file: Option<&Path>) -> Result<Self> {
        Ok(Self { file: file.map(Unnamed::make).transpose()? })
    }

    /// Tells the token, if this was a first start.
    ///
    /// # Errors
    /// The file cannot be written. The operator is there then, and `ringfence operator recover` makes another.
    pub(crate) fn tell(self, token: Option<&str>) -> Result<()> {
        match (self.file, token) {
            (Some(unnamed), Some(token)) => {
                let name = unnamed.name.clone();
                let lost = "; the first operator's token is lost: `ringfence operator recover` makes another";
                unnamed.fill(token).with_context(|| format!("cannot write {}{lost}", name.display()))?;
                tracing::info!(file = %name.display(), "the first operator's token is written");
            }
            (Some(unnamed), None) => {
                unnamed.remove();
                tracing::warn!(
                    file = %unnamed.name.display(),
                    remedy = "`ringfence operator recover`, with the server stopped, makes another token",
                    "the file for the first operator's token does not exist; only a first start creates it"
                );
            }
            (None, Some(token)) if std::io::stderr().is_terminal() => {
                telemetry::tell(&format!("operator token (shown once, keep it): {token}"));
            }
            (None, Some(_)) => telemetry::tell(
                "the first operator's token is printed on a terminal only: stop the server and run `ringfence operator \
                 recover`, or start an empty data folder with RINGFENCE_OPERATOR_TOKEN_FILE naming a file to create",
            ),
            (None, None) => {}
        }
        Ok(())
    }
}

impl Unnamed {
    fn make(name: &Path) -> Result<Self> {
        let mut path = name.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        // What an interrupted start left may be readable by others.
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path),
        }
        .map(|file| Self { file, path: path.clone(), name: name.to_owned() })
        .with_context(|| format!("RINGFENCE_OPERATOR_TOKEN_FILE: cannot make {}", path.display()))
    }

    fn fill(mut self, token: &str) -> std::io::Result<()> {
        self.file.write_all(token.as_bytes())?;
        self.file.write_all(b"\n")?;
        self.file.sync_all()?;
        // A link never replaces a file that another process has made meanwhile.
        fs::hard_link(&self.path, &self.name)?;
        fs::remove_file(&self.path)?;
        let folder = self.name.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(kind = ?error.kind(), "an empty file stays");
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
        assert!(!name.exists(), "nothing stands there before there is a token");
        first.tell(Some("rfop_x")).unwrap();
        assert_eq!(fs::read_to_string(&name).unwrap(), "rfop_x\n");
        assert_eq!(fs::metadata(&name).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_later_start_makes_no_file_and_one_that_cannot_be_made_is_told_before_the_start() {
        let folder = tempfile::tempdir().unwrap();
        FirstToken::prepare(Some(&folder.path().join("token"))).unwrap().tell(None).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let error = FirstToken::prepare(Some(&folder.path().join("nowhere/token"))).err().unwrap();
        assert!(format!("{error:#}").contains("RINGFENCE_OPERATOR_TOKEN_FILE"), "{error:#}");
    }
}
