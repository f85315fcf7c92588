//! `ringfence key`: rotates the encryption keys of tenants and of the server, and shows their epochs.

use super::{
    connection::ConnectionArgs,
    output::{members, table},
    tenant::KeyArgs,
};
use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::json;
use std::{fs, path::PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create a new key epoch, wrap every key under it, and destroy the previous epoch.
    Rotate {
        #[arg(required_unless_present_any = ["all", "server"], conflicts_with_all = ["all", "server"])]
        tenant: Option<String>,
        /// Rotate the server's own keys, which protect its control keyspace and the operators' audit.
        #[arg(long, conflicts_with_all = ["all", "wait", "deadline"])]
        server: bool,
        /// Rotate the keys of all tenants, a few at a time; `key rotating` shows the progress.
        #[arg(long, conflicts_with_all = ["wait", "deadline", "key_provider", "key_name"])]
        all: bool,
        /// With --all: number of tenants at a time, 1 to 32. Default: 4.
        #[arg(long, requires = "all")]
        concurrency: Option<u32>,
        /// After a compromise: re-encrypt every object under new keys, instead of only wrapping keys again.
        #[arg(long)]
        reencrypt: bool,
        /// With --reencrypt: time by which it should finish (RFC 3339). Default: in 24 hours. A late one continues,
        /// with a warning.
        #[arg(long, requires = "reencrypt")]
        deadline: Option<String>,
        #[command(flatten)]
        key: KeyArgs,
        /// Wait until the operation ends.
        #[arg(long)]
        wait: bool,
    },
    /// Show the progress of the rotation of all tenants' keys.
    Rotating {
        /// Stop starting new tenants; rotations in progress finish.
        #[arg(long)]
        cancel: bool,
    },
    /// Show whether the key is available, its epochs, and how many keys each wraps.
    Status {
        #[arg(required_unless_present = "server", conflicts_with = "server")]
        tenant: Option<String>,
        /// Show the server's own keys.
        #[arg(long)]
        server: bool,
    },
    /// Show signed certificates about destroyed keys, newest first.
    Certificates {
        /// Only certificates of this tenant, which may be an erased one.
        tenant: Option<String>,
        /// Write the newest one to this file, for `ringfence audit verify`.
        #[arg(long, requires = "tenant")]
        output: Option<PathBuf>,
    },
    /// Show the public key with which `ringfence audit verify` checks certificates and exports.
    Public,
}

const ALL: &str = "/admin/v1/keys/rotate";
const SERVER: &str = "/admin/v1/keys/server";

pub(crate) fn run(command: KeyCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.control()?;
    let of = |tenant: &str| format!("/admin/v1/tenants/{}/keys", client::encode(tenant));
    match command {
        KeyCommand::Rotate { tenant, server, all, concurrency, reencrypt, deadline, key, wait } => {
            let mut body = json!({"mode": if reencrypt { "reencrypt" } else { "rewrap" }});
            if server {
                if let Some(key) = key.json() {
                    body["key"] = key;
                }
                let done = client.call("POST", &format!("{SERVER}/rotate"), Some(&body))?;
                return connection
                    .print(&done, |v| format!("done; certificate:\n{}", v["note"].as_str().unwrap_or("-")));
            }
            let Some(tenant) = tenant.filter(|_| !all) else {
                if let Some(concurrency) = concurrency {
                    body["concurrency"] = concurrency.into();
                }
                return connection.print(&client.call("POST", ALL, Some(&body))?, members);
            };
            if let Some(deadline) = deadline {
                body["deadline"] = deadline.into();
            }
            if let Some(key) = key.json() {
                body["key"] = key;
            }
            let begun = client.call("POST", &format!("{}/rotate", of(&tenant)), Some(&body))?;
            connection.print(&super::operation::follow(&client, begun, wait)?, members)
        }
        KeyCommand::Rotating { cancel } => {
            let method = if cancel { "DELETE" } else { "GET" };
            connection.print(&client.call(method, ALL, None)?, members)
        }
        KeyCommand::Certificates { tenant, output } => {
            let query = tenant.map(|t| format!("?tenant={}", client::encode(&t))).unwrap_or_default();
            let found = client.call("GET", &format!("/admin/v1/certificates{query}"), None)?;
            let Some(output) = output else {
                return connection
                    .print(&found, |v| table(&v["certificates"], &["at", "kind", "tenant", "incarnation"]));
            };
            let note = found["certificates"][0]["note"].as_str().context("there is no certificate for this tenant")?;
            fs::write(&output, note).with_context(|| format!("cannot write {}", output.display()))?;
            connection
                .print(&found["certificates"][0], |v| format!("{} of {} in {}", v["kind"], v["at"], output.display()))
        }
        KeyCommand::Public => {
            let found = client.call("GET", "/admin/v1/signing-key", None)?;
            connection.print(&found, |v| v["key"].as_str().unwrap_or_default().to_owned())
        }
        KeyCommand::Status { tenant: None, .. } => connection.print(&client.call("GET", SERVER, None)?, |v| {
            let rotating = match v["rotating"]["mode"].as_str() {
                Some(mode) => format!("\n{mode} since {}", v["rotating"]["begun_at"].as_str().unwrap_or("-")),
                None => String::new(),
            };
            format!(
                "control keyspace: key {} of provider {} since {}, epochs {}\noperators' audit:\n{}{rotating}",
                v["key"].as_str().unwrap_or("-"),
                v["provider"].as_str().unwrap_or("-"),
                v["created_at"].as_str().unwrap_or("-"),
                v["control_epochs"],
                table(&v["audit_epochs"], &["epoch", "created_at", "provider", "key"])
            )
        }),
        KeyCommand::Status { tenant: Some(tenant), .. } => {
            connection.print(&client.call("GET", &of(&tenant), None)?, |v| {
                let columns = ["epoch", "created_at", "age_days", "provider", "key", "objects", "wraps"];
                let text = |value: &serde_json::Value| value.as_str().unwrap_or("-").to_owned();
                format!(
                    "key {} of provider {}: {}{}\nkeys encrypted with {}, objects with {}\ncurrent epoch {}, next \
                 rotation {}\n{}",
                    text(&v["key"]["name"]),
                    text(&v["key"]["provider"]),
                    text(&v["key"]["state"]),
                    v["key"]["why"].as_str().map(|why| format!(" ({why})")).unwrap_or_default(),
                    text(&v["algorithms"]["keys"]),
                    text(&v["algorithms"]["objects"]),
                    v["current"],
                    text(&v["next_rotation"]),
                    table(&v["epochs"], &columns)
                )
            })
        }
    }
}
