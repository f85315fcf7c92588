//! [`Config`] holds what a person wrote; [`Settings`] holds what the server uses: parsed, checked against bounds, and
//! with units.
//!
//! The environment variables `RINGFENCE__SECTION__KEY` override a file in TOML. Nothing is ignored: an error names the
//! source, the key and a valid value.

mod environment;
mod keys;
mod reference;
mod sections;
mod settings;
mod storage;

pub use environment::Environment;
pub use keys::{AwsKmsCredentials, AwsKmsSettings, KeyProviderSettings, KeySettings, Pkcs11Settings, TransitSettings};
pub use reference::reference;
pub use sections::{
    AuditSection, Format, GraphBuilderSetting, IndexSection, KeyProviderKind, KeyProviderSection, KeysSection, Level,
    LimitsSection, ListenerSection, LogSection, ModelsSection, ProviderSetting, StorageSection,
};
pub use settings::{ListenSettings, LogFormat, ModelSettings, RootKeySource, Settings};
pub use storage::{RemoteSettings, StorageLocation};

use anyhow::{Context, Result, bail};
use api::strict::InputError;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

/// Everything that the configuration file can contain.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Listener for tenants' API keys.
    pub data_plane: ListenerSection,
    /// Listener for operators' tokens.
    pub control_plane: ListenerSection,
    /// Storage of all data.
    pub storage: StorageSection,
    /// Providers of root keys, leases and rotation.
    pub keys: KeysSection,
    /// Key management services, by names that the user chooses.
    pub key_providers: BTreeMap<String, KeyProviderSection>,
    /// Models for embedding and reranking.
    pub models: ModelsSection,
    /// Limits of concurrency and memory.
    pub limits: LimitsSection,
    /// Indexing of large segments.
    pub index: IndexSection,
    /// Logging on stderr.
    pub log: LogSection,
    /// Auditing of reads.
    pub audit: AuditSection,
}

impl Config {
    /// Reads the file, if one is given, and applies the environment's overrides.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML; or a key is unknown or has an invalid value.
    pub fn load(file: Option<&Path>, environment: &Environment) -> Result<Self> {
        let mut table = match file {
            Some(path) => read(path)?,
            None => toml::Table::new(),
        };
        let source = file.map_or("configuration".to_owned(), |f| f.display().to_string());
        for (key, value) in environment.overrides() {
            set_key(&mut table, &key.path, &value).with_context(|| format!("{} does not name a key", key.variable))?;
        }
        parse(table.clone()).map_err(|c| {
            let variable = environment.overrides().map(|(k, _)| k).find(|k| k.path.join(".") == c.path);
            let source = variable.map_or(source, |k| k.variable);
            let value = value_at(&table, &c.path).map(|v| format!(" (it is {v})")).unwrap_or_default();
            anyhow::anyhow!("{source}: {} {}{value}", c.path, c.rule)
        })
    }
}

/// Parses a table that was merged from several sources. An error names the key and the rule, and quotes no value.
fn parse(table: toml::Table) -> Result<Config, InputError> {
    serde_path_to_error::deserialize(toml::Value::Table(table))
        .map_err(|e| InputError::of(&e.path().to_string(), e.inner().message()))
}

fn read(path: &Path) -> Result<toml::Table> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the configuration file {}", path.display()))?;
    text.parse::<toml::Table>().with_context(|| format!("{} is not valid TOML", path.display()))
}

/// Sets one key. A text that parses as a TOML value becomes that value; any other text becomes a string.
fn set_key(table: &mut toml::Table, path: &[String], text: &str) -> Result<()> {
    let [sections @ .., key] = path else { bail!("the form must be RINGFENCE__SECTION__KEY") };
    if sections.is_empty() || path.iter().any(String::is_empty) {
        bail!("the form must be RINGFENCE__SECTION__KEY");
    }
    let value = format!("x = {text}")
        .parse::<toml::Table>()
        .ok()
        .and_then(|mut t| t.remove("x"))
        .filter(|v| !v.is_datetime() && !v.is_table())
        .unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut section = table;
    for name in sections {
        let entry = section.entry(name.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let toml::Value::Table(inner) = entry else { bail!("the section is not a table") };
        section = inner;
    }
    section.insert(key.clone(), value);
    Ok(())
}

fn value_at(table: &toml::Table, path: &str) -> Option<String> {
    let (section, rest) = path.split_once('.')?;
    let value = rest.split('.').try_fold(table.get(section)?, |value, key| value.get(key))?;
    Some(value.to_string())
}

#[cfg(test)]
mod tests;
