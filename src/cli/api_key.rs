//! `ringfence api-key`: credentials of a tenant.

use super::remote::{Remote, confirm, members, note, pages, table};
use anyhow::{Context, Result, bail};
use clap::Subcommand;
use kernel::Clock;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum ApiKey {
    /// Create a key. Its secret is shown once.
    Create {
        #[arg(long)]
        tenant: String,
        /// Name for people.
        #[arg(long, default_value = "cli")]
        name: String,
        /// What it may do. By default: search, ingest, delete. Further: manage (namespaces), review (quarantined
        /// documents and their text), act_as (search for other principals), read_all (every document whatever its
        /// readers), overwrite (write over documents that the key does not see), vectors, audit.
        #[arg(long, value_delimiter = ',')]
        scope: Vec<String>,
        /// Principal as which it reads, such as user:alice or group:hr. Without one it reads documents without readers
        /// only.
        #[arg(long)]
        principal: Vec<String>,
        /// Only these namespaces.
        #[arg(long)]
        namespace: Vec<String>,
        /// Lifetime: 90d, 12h or 30m.
        #[arg(long)]
        expires: Option<String>,
    },
    /// List keys, without secrets.
    List {
        #[arg(long)]
        tenant: String,
    },
    /// End a key at once.
    Revoke {
        #[arg(long)]
        tenant: String,
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) fn run(command: ApiKey, remote: &Remote) -> Result<()> {
    let client = remote.control()?;
    let of = |tenant: &str| format!("/admin/v1/tenants/{}/api-keys", client::encode(tenant));
    match command {
        ApiKey::Create { tenant, name, scope, principal, namespace, expires } => {
            let mut body = json!({"name": name});
            for (member, list) in [("scopes", scope), ("principals", principal), ("namespaces", namespace)] {
                // Absent is the default; an empty list would be no key for anything.
                if !list.is_empty() {
                    body[member] = list.into();
                }
            }
            if let Some(expires) = expires {
                body["expires_at"] = end_of(&expires)?.into();
            }
            let made = client.call("POST", &of(&tenant), Some(&body))?;
            remote.print(&made, |v| v["secret"].as_str().unwrap_or_default().to_owned())?;
            if !remote.json {
                note(&format!(
                    "key {} of {tenant}: the line above is its secret and is not shown again",
                    text(&made["key_id"])
                ));
            }
            Ok(())
        }
        ApiKey::List { tenant } => {
            let columns = ["key_id", "name", "scopes", "principals", "namespaces", "created_at", "expires_at"];
            remote.print(&pages(&client, &of(&tenant), "api_keys")?, |v| table(v, &columns))
        }
        ApiKey::Revoke { tenant, id, yes } => {
            confirm(yes, &format!("The key {id} is refused from now on"))?;
            remote.print(&client.call("DELETE", &format!("{}/{}", of(&tenant), client::encode(&id)), None)?, members)
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A lifetime from now on, as a time.
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
