//! `ringfence tenant`: make, show, change, suspend, resume and erase tenants.

use super::remote::{Remote, confirm, members, pages, table};
use anyhow::Result;
use clap::{Args, Subcommand};
use client::encode;
use serde_json::{Map, Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Tenant {
    /// Create a tenant.
    Create {
        id: String,
        #[command(flatten)]
        change: Change,
        #[command(flatten)]
        key: KeyWanted,
    },
    /// List tenants.
    List,
    /// Show a tenant.
    Show { id: String },
    /// Change a tenant's name, class, quotas or rotation; what is not named stays.
    Update {
        id: String,
        #[command(flatten)]
        change: Change,
    },
    /// Refuse the tenant's requests from now on.
    Suspend { id: String },
    /// Serve a suspended tenant again.
    Resume { id: String },
    /// Accept a namespace that is refused with `rolled_back`, as its files are: older than, or other than, what the
    /// tenant's audit has recorded. Both audits record who accepted it.
    AcceptRollback {
        id: String,
        #[arg(long)]
        namespace: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Erase a suspended tenant: its keys first, then its data.
    Delete {
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
        /// Follow the operation to its end.
        #[arg(long)]
        wait: bool,
    },
}

/// What can be set.
#[derive(Debug, Args)]
pub(super) struct Change {
    /// Name for people.
    #[arg(long)]
    display_name: Option<String>,
    /// A label for your own rules.
    #[arg(long)]
    governance_class: Option<String>,
    /// Most documents, in all namespaces together.
    #[arg(long)]
    max_documents: Option<u64>,
    /// Most bytes of documents: ids, titles, addresses, attributes, readers, findings, text and vectors.
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Most namespaces.
    #[arg(long)]
    max_namespaces: Option<u64>,
    /// Most requests a minute.
    #[arg(long)]
    requests_per_minute: Option<u64>,
    /// Tokens a minute that models read of stored documents and reranked passages.
    #[arg(long)]
    tokens_per_minute: Option<u64>,
    /// Days after which the tenant's keys are rotated.
    #[arg(long)]
    rotate_days: Option<u32>,
}

/// The key that wraps a tenant's own.
#[derive(Debug, Args)]
pub(super) struct KeyWanted {
    /// `local`, or a provider of the server's configuration.
    #[arg(long)]
    key_provider: Option<String>,
    /// The key's name there.
    #[arg(long)]
    key_name: Option<String>,
}

impl KeyWanted {
    pub(super) fn json(self) -> Option<Value> {
        let members = [("provider", self.key_provider), ("name", self.key_name)];
        let members: Map<String, Value> =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect();
        (!members.is_empty()).then(|| members.into())
    }
}

impl Change {
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

pub(crate) fn run(command: Tenant, remote: &Remote) -> Result<()> {
    let client = remote.control()?;
    let of = |id: &str| format!("{BASE}/{}", encode(id));
    match command {
        Tenant::Create { id, change, key } => {
            let mut body = change.json();
            if let Some(key) = key.json() {
                body.insert("key".into(), key);
            }
            body.insert("id".into(), id.into());
            remote.print(&client.call("POST", BASE, Some(&body.into()))?, members)
        }
        Tenant::List => remote
            .print(&pages(&client, BASE, "tenants")?, |v| table(v, &["id", "state", "display_name", "created_at"])),
        Tenant::AcceptRollback { id, namespace, yes } => {
            let what =
                format!("namespace {namespace} of tenant {id} stays as it is, without what was written since then");
            confirm(yes, &what)?;
            let path = format!("{}/namespaces/{}/accept-rollback", of(&id), encode(&namespace));
            remote.print(&client.call("POST", &path, None)?, members)
        }
        Tenant::Show { id } => remote.print(&client.call("GET", &of(&id), None)?, members),
        Tenant::Update { id, change } => {
            let mut body = change.json();
            if let Some(Value::Object(named)) = body.get_mut("quotas") {
                // The server takes `quotas` as a whole: what is not named here keeps its value.
                let now = client.call("GET", &of(&id), None)?;
                for (name, quota) in now["quotas"].as_object().into_iter().flatten() {
                    named.entry(name.clone()).or_insert_with(|| quota.clone());
                }
            }
            remote.print(&client.call("PATCH", &of(&id), Some(&body.into()))?, members)
        }
        Tenant::Suspend { id } => {
            remote.print(&client.call("POST", &format!("{}/suspend", of(&id)), Some(&json!({})))?, members)
        }
        Tenant::Resume { id } => {
            remote.print(&client.call("POST", &format!("{}/resume", of(&id)), Some(&json!({})))?, members)
        }
        Tenant::Delete { id, yes, wait: follow } => {
            confirm(yes, &format!("This erases the tenant {id}, its keys and all its documents for good"))?;
            let begun = client.call("DELETE", &of(&id), None)?;
            remote.print(&super::operation::follow(&client, begun, follow)?, members)
        }
    }
}
