//! `ringfence api-key`: a tenant's API keys.

use super::{
    connection::{ConnectionArgs, pages},
    output::{Cell, confirm, members, note, table},
};
use anyhow::{Context, Result, bail};
use api::{
    admin::{ApiKey, ApiKeyList, ApiKeyMade, ApiKeyNew},
    common::{Deleted, name},
    strict::Parsed,
};
use clap::Subcommand;
use kernel::{Clock, NamespaceName, Principal, Scope};

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
        #[arg(long, value_delimiter = ',', value_parser = name::<Scope>)]
        scope: Vec<Scope>,
        /// Principal as which the key reads, such as user:alice or group:hr. Without one it reads only documents
        /// without readers.
        #[arg(long, value_parser = name::<Principal>)]
        principal: Vec<Principal>,
        /// Limit the key to this namespace; may be repeated.
        #[arg(long, value_parser = name::<NamespaceName>)]
        namespace: Vec<NamespaceName>,
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
            // An absent list means the default; an empty list would be refused.
            let key = ApiKeyNew {
                name,
                scopes: (!scope.is_empty()).then(|| scope.into_iter().map(Parsed).collect()),
                principals: (!principal.is_empty()).then(|| principal.into_iter().map(Parsed).collect()),
                namespaces: (!namespace.is_empty()).then(|| namespace.into_iter().map(Parsed).collect()),
                expires_at: expires.as_deref().map(end_of).transpose()?,
            };
            let created: ApiKeyMade = client.send("POST", &of(&tenant), &key)?;
            connection.print(&created, |made| made.secret.clone())?;
            if !connection.json {
                let id = &created.key.key_id;
                note(&format!("key {id} of {tenant}: the line above is its secret, which is not shown again"));
            }
            Ok(())
        }
        ApiKeyCommand::List { tenant } => {
            let columns = ["key_id", "name", "scopes", "principals", "namespaces", "created_at", "expires_at"];
            let keys = pages(&client, &of(&tenant), |page: ApiKeyList| (page.api_keys, page.next))?;
            connection.print(&keys, |keys| table(columns, keys.iter().map(row)))
        }
        ApiKeyCommand::Revoke { tenant, id, yes } => {
            confirm(yes, &format!("The API key {id} will be refused from now on"))?;
            let path = format!("{}/{}", of(&tenant), client::encode(&id));
            connection.print(&client.call::<Deleted>("DELETE", &path)?, members)
        }
    }
}

fn row(key: &ApiKey) -> [String; 7] {
    [
        key.key_id.cell(),
        key.name.cell(),
        key.scopes.cell(),
        key.principals.cell(),
        key.namespaces.cell(),
        key.created_at.cell(),
        key.expires_at.cell(),
    ]
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
