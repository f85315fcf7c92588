//! `ringfence tenant`: creates, shows, changes, suspends, resumes and erases tenants.

use super::{
    connection::{ConnectionArgs, pages},
    output::{confirm, members, table},
};
use anyhow::Result;
use clap::{Args, Subcommand};
use client::encode;
use serde_json::{Map, Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum TenantCommand {
    /// Create a tenant.
    Create {
        id: String,
        #[command(flatten)]
        change: TenantChanges,
        #[command(flatten)]
        key: KeyArgs,
    },
    /// List tenants.
    List,
    /// Show a tenant.
    Show { id: String },
    /// Change a tenant's name, class, quotas or rotation; values that are not given stay unchanged.
    Update {
        id: String,
        #[command(flatten)]
        change: TenantChanges,
    },
    /// Refuse the tenant's requests from now on.
    Suspend { id: String },
    /// Serve a suspended tenant again.
    Resume { id: String },
    /// Accept a namespace that is refused with `rolled_back`, in the state of its files, which are older than the
    /// tenant's audit recorded, or otherwise different. Both audits record who accepted it.
    AcceptRollback {
        id: String,
        #[arg(long)]
        namespace: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Erase a suspended tenant: its keys first, then its data.
    Delete {
        id: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
        /// Wait until the operation ends.
        #[arg(long)]
        wait: bool,
    },
}

/// Settings of a tenant.
#[derive(Debug, Args)]
pub(super) struct TenantChanges {
    /// Display name.
    #[arg(long)]
    display_name: Option<String>,
    /// Label for your own rules.
    #[arg(long)]
    governance_class: Option<String>,
    /// Maximum number of documents in all namespaces together.
    #[arg(long)]
    max_documents: Option<u64>,
    /// Maximum number of bytes of documents: ids, titles, addresses, attributes, readers, findings, text and vectors.
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Maximum number of namespaces.
    #[arg(long)]
    max_namespaces: Option<u64>,
    /// Maximum number of requests per minute.
    #[arg(long)]
    requests_per_minute: Option<u64>,
    /// Maximum number of tokens per minute that models process for stored documents and reranked passages.
    #[arg(long)]
    tokens_per_minute: Option<u64>,
    /// Age in days at which the tenant's keys are rotated.
    #[arg(long)]
    rotate_days: Option<u32>,
}

/// The provider's key that wraps a tenant's keys.
#[derive(Debug, Args)]
pub(super) struct KeyArgs {
    /// `local`, or a provider of the server's configuration.
    #[arg(long)]
    key_provider: Option<String>,
    /// Name of the key at the provider.
    #[arg(long)]
    key_name: Option<String>,
}

impl KeyArgs {
    pub(super) fn json(self) -> Option<Value> {
        let members = [("provider", self.key_provider), ("name", self.key_name)];
        let members: Map<String, Value> =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        (!members.is_empty()).then(|| members.into())
    }
}

impl TenantChanges {
    fn json(self) -> Map<String, Value> {
        let quotas = [
            ("documents", self.max_documents),
            ("bytes", self.max_bytes),
            ("namespaces", self.max_namespaces),
            ("requests_per_minute", self.requests_per_minute),
            ("tokens_per_minute", self.tokens_per_minute),
        ];
        let quotas: Map<String, Value> =
            quotas.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        let mut body = Map::new();
        if let Some(name) = self.display_name {
            body.insert("display_name".into(), name.into());
        }
        if let Some(class) = self.governance_class {
            body.insert("governance_class".into(), class.into());
        }
        if let Some(days) = self.rotate_days {
            body.insert("rotate_days".into(), days.into());
        }
        if !quotas.is_empty() {
            body.insert("quotas".into(), quotas.into());
        }
        body
    }
}

const BASE: &str = "/admin/v1/tenants";

pub(crate) fn run(command: TenantCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.control()?;
    let of = |id: &str| format!("{BASE}/{}", encode(id));
    match command {
        TenantCommand::Create { id, change, key } => {
            let mut body = change.json();
            if let Some(key) = key.json() {
                body.insert("key".into(), key);
            }
            body.insert("id".into(), id.into());
            connection.print(&client.call("POST", BASE, Some(&body.into()))?, members)
        }
        TenantCommand::List => connection
            .print(&pages(&client, BASE, "tenants")?, |v| table(v, &["id", "state", "display_name", "created_at"])),
        TenantCommand::AcceptRollback { id, namespace, yes } => {
            let what = format!(
                "The namespace {namespace} of tenant {id} stays in its present state, without what was written later"
            );
            confirm(yes, &what)?;
            let path = format!("{}/namespaces/{}/accept-rollback", of(&id), encode(&namespace));
            connection.print(&client.call("POST", &path, None)?, members)
        }
        TenantCommand::Show { id } => connection.print(&client.call("GET", &of(&id), None)?, members),
        TenantCommand::Update { id, change } => {
            let mut body = change.json();
            if let Some(Value::Object(named)) = body.get_mut("quotas") {
                // The server replaces `quotas` as a whole, so quotas that are not given here are sent with their
                // current values.
                let now = client.call("GET", &of(&id), None)?;
                for (name, quota) in now["quotas"].as_object().into_iter().flatten() {
                    named.entry(name.clone()).or_insert_with(|| quota.clone());
                }
            }
            connection.print(&client.call("PATCH", &of(&id), Some(&body.into()))?, members)
        }
        TenantCommand::Suspend { id } => {
            connection.print(&client.call("POST", &format!("{}/suspend", of(&id)), Some(&json!({})))?, members)
        }
        TenantCommand::Resume { id } => {
            connection.print(&client.call("POST", &format!("{}/resume", of(&id)), Some(&json!({})))?, members)
        }
        TenantCommand::Delete { id, yes, wait: follow } => {
            confirm(yes, &format!("This permanently erases the tenant {id}, its keys and all its documents"))?;
            let started = client.call("DELETE", &of(&id), None)?;
            connection.print(&super::operation::follow(&client, started, follow)?, members)
        }
    }
}
