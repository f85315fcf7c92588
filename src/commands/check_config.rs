//! `ringfence check-config`: prints the resulting settings without starting anything.

use crate::config::{RootKeySource, Settings, StorageLocation};
use anyhow::{Context, Result};
use cli::{ConnectionArgs, ServerArgs};
use serde_json::{Value, json};

pub(super) fn run(global: &ConnectionArgs, args: &ServerArgs) -> Result<()> {
    let settings = super::settings(args)?;
    if let StorageLocation::Remote(remote) = &settings.storage {
        journal::connect(&remote.url, &remote.options).context("storage")?;
    }
    let document = describe(&settings);
    let mut text = String::from("the configuration is valid\n");
    for (key, value) in document.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        text.push_str(&format!("  {key}: {value}\n"));
    }
    global.print(&document, |_| text)
}

/// The settings without their secrets.
pub(super) fn describe(settings: &Settings) -> Value {
    let listener =
        |l: &crate::config::ListenSettings| format!("{}{}", l.address, if l.tls.is_some() { " (TLS)" } else { "" });
    json!({
        "data_plane": listener(&settings.data_plane),
        "control_plane": listener(&settings.control_plane),
        "data": settings.storage.to_string(),
        "root_key": match &settings.root_key {
            RootKeySource::Value(_) => "RINGFENCE_ROOT_KEY".to_owned(),
            RootKeySource::File(path) => path.display().to_string(),
        },
        "operator_token": if settings.operator_token.is_some() { "given" } else { "created on the first start" },
        "models": {
            "enabled": settings.models.enabled,
            "runtime": settings.models.runtime,
            "folder": settings.models.folder,
            "default": settings.models.default,
            "provider": format!("{:?}", settings.models.provider),
        },
        "connections": settings.descriptors.connections,
        "audit_strict": settings.strict_audit,
        "log": format!("{:?} {:?}", settings.log_level, settings.log_format),
    })
}
