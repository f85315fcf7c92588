//! The environment of the process as a value, so that tests can supply their own.

use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, path::PathBuf};
use zeroize::Zeroizing;

/// Environment variables by name. Only the variables that Ringfence reads are kept.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

/// An override of one configuration key by a variable.
pub(crate) struct Override {
    /// Name of the variable.
    pub(crate) variable: String,
    /// Section and key in lower case.
    pub(crate) path: Vec<String>,
}

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        let text =
            |(k, v): (std::ffi::OsString, std::ffi::OsString)| Some((k.into_string().ok()?, v.into_string().ok()?));
        Self::of(std::env::vars_os().filter_map(text))
    }

    /// Builds an environment from pairs of name and value.
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let is_read = |name: &str| {
            name.starts_with("RINGFENCE")
                || matches!(name, "HOME" | "XDG_CONFIG_HOME" | "XDG_DATA_HOME")
                || journal::ROLE_VARIABLES.contains(&name)
        };
        Self(pairs.into_iter().filter(|(k, v)| is_read(k) && !v.is_empty()).collect())
    }

    /// Value of a variable; an empty value counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Value of a variable as a path.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    /// A secret from the variable `NAME`, or from the file that the variable `NAME_FILE` names.
    ///
    /// # Errors
    /// Both variables are set, or the file cannot be read.
    pub fn secret(&self, name: &str) -> Result<Option<Zeroizing<String>>> {
        let file = format!("{name}_FILE");
        match (self.get(name), self.get(&file)) {
            (Some(_), Some(_)) => bail!("{name} and {file} are both set; remove one of them"),
            (Some(value), None) => Ok(Some(Zeroizing::new(value.to_owned()))),
            (None, Some(path)) => {
                let text = Zeroizing::new(
                    std::fs::read_to_string(path).with_context(|| format!("{file}: cannot read {path}"))?,
                );
                Ok(Some(Zeroizing::new(text.trim().to_owned())))
            }
            (None, None) => Ok(None),
        }
    }

    pub(crate) fn overrides(&self) -> impl Iterator<Item = (Override, String)> {
        self.0.iter().filter_map(|(variable, value)| {
            let path = variable.strip_prefix("RINGFENCE__")?.to_lowercase();
            let path = path.split("__").map(str::to_owned).collect();
            Some((Override { variable: variable.clone(), path }, value.clone()))
        })
    }
}

/// Shows only names, since some values are secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
