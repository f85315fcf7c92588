//! `ringfence api-key`: a tenant's API keys.

use super::{
    connection::{ConnectionArgs, pages},
    output::{confirm, members, note, table},
};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use kernel::Clock;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKeyCommand {
    /// Create a key. Its secret is shown only once.
    Create {
        #[arg(long)]
        tenant: String,
        /// Display name.
        #[arg(long, default_value = "cli")]
        name: String,
        /// Scopes of the key. Default: search, ingest, delete. Others: manage (namespaces), review (quarantined
        /// documents and their text), act_as (search for other principals), read_all (every document whatever its
        /// readers), overwrite (replace documents that the key cannot see), vectors, audit.
        #[arg(long, value_delimiter = ',')]
        scope: Vec<String>,
        /// Principal as which the key reads, such as user:alice or group:hr. Without one it reads only documents
        /// without readers.
        #[arg(long)]
        principal: Vec<String>,
        /// Limit the key to this namespace; may be repeated.
        #[arg(long)]
        namespace: Vec<String>,
        /// Lifetime, such as 90d, 12h or 30m.
        #[arg(long)]
        expires: Option<String>,
    },
    /// List keys without their secrets.
    List {
        #[arg(long)]
        tenant: String,
    },
    /// Revoke a key immediately.
    Revoke {
        #[arg(long)]
        tenant: String,
        id: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) fn run(command: ApiKeyCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.control()?;
    let of = |tenant: &str| format!("/admin/v1/tenants/{}/api-keys", client::encode(tenant));
    match command {
        ApiKeyCommand::Create { tenant, name, scope, principal, namespace, expires } => {
            let mut body = json!({"name": name});
            for (member, list) in [("scopes", scope), ("principals", principal), ("namespaces", namespace)] {
                // An absent list means the default; an empty list would be refused.
                if !list.is_empty() {
                    body[member] = list.into();
                }
            }
            if let Some(expires) = expires {
                body["expires_at"] = end_of(&expires)?.into();
            }
            let created = client.call("POST", &of(&tenant), Some(&body))?;
            connection.print(&created, |v| v["secret"].as_str().unwrap_or_default().to_owned())?;
            if !connection.json {
                note(&format!(
                    "key {} of {tenant}: the line above is its secret, which is not shown again",
                    text(&created["key_id"])
                ));
            }
            Ok(())
        }
        ApiKeyCommand::List { tenant } => {
            let columns = ["key_id", "name", "scopes", "principals", "namespaces", "created_at", "expires_at"];
            connection.print(&pages(&client, &of(&tenant), "api_keys")?, |v| table(v, &columns))
        }
        ApiKeyCommand::Revoke { tenant, id, yes } => {
            confirm(yes, &format!("The API key {id} will be refused from now on"))?;
            connection
                .print(&client.call("DELETE", &format!("{}/{}", of(&tenant), client::encode(&id)), None)?, members)
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The time at which a lifetime that starts now ends.
fn end_of(lifetime: &str) -> Result<String> {
    let (number, unit) = lifetime.split_at(lifetime.len().saturating_sub(1));
    let number: u64 = number.parse().context("--expires takes a number and d, h or m, such as 90d")?;
    let seconds = match unit {
        "d" => 86_400,
        "h" => 3_600,
        "m" => 60,
        _ => bail!("--expires takes a number and d, h or m, such as 90d"),
    };
    let lifetime = std::time::Duration::from_secs(number.saturating_mul(seconds));
    Ok(kernel::SystemClock::new().now().plus(lifetime).to_string())
}
