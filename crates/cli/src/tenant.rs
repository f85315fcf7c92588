//! `ringfence tenant`: creates, shows, changes, suspends, resumes and erases tenants.

use super::{
    connection::{ConnectionArgs, pages},
    output::{Cell, confirm, members, table},
};
use anyhow::Result;
use api::{
    admin::{QuotasBody, Tenant, TenantList, TenantNew, TenantPatch},
    common::{Accepted, Started},
    keys::KeyWanted,
};
use clap::{Args, Subcommand};
use client::encode;

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
    pub(super) fn wanted(self) -> Option<KeyWanted> {
        let wanted = KeyWanted { provider: self.key_provider, name: self.key_name };
        (wanted.provider.is_some() || wanted.name.is_some()).then_some(wanted)
    }
}

impl TenantChanges {
    /// The quotas, if one was given.
    fn quotas(&self) -> Option<QuotasBody> {
        let quotas = QuotasBody {
            documents: self.max_documents,
            bytes: self.max_bytes,
            namespaces: self.max_namespaces,
            requests_per_minute: self.requests_per_minute,
            tokens_per_minute: self.tokens_per_minute,
        };
        (quotas != QuotasBody::default()).then_some(quotas)
    }
}

const BASE: &str = "/admin/v1/tenants";

pub(crate) fn run(command: TenantCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.control()?;
    let of = |id: &str| format!("{BASE}/{}", encode(id));
    match command {
        TenantCommand::Create { id, change, key } => {
            let tenant = TenantNew {
                id,
                quotas: change.quotas(),
                display_name: change.display_name,
                governance_class: change.governance_class,
                key: key.wanted(),
                rotate_days: change.rotate_days,
            };
            connection.print(&client.send::<Tenant>("POST", BASE, &tenant)?, members)
        }
        TenantCommand::List => {
            let list = pages(&client, BASE, |page: TenantList| (page.tenants, page.next))?;
            connection.print(&list, |list| {
                let row = |t: &Tenant| [t.id.cell(), t.state.cell(), t.display_name.cell(), t.created_at.cell()];
                table(["id", "state", "display_name", "created_at"], list.iter().map(row))
            })
        }
        TenantCommand::AcceptRollback { id, namespace, yes } => {
            let what = format!(
                "The namespace {namespace} of tenant {id} stays in its present state, without what was written later"
            );
            confirm(yes, &what)?;
            let path = format!("{}/namespaces/{}/accept-rollback", of(&id), encode(&namespace));
            connection.print(&client.call::<Accepted>("POST", &path)?, members)
        }
        TenantCommand::Show { id } => connection.print(&client.call::<Tenant>("GET", &of(&id))?, members),
        TenantCommand::Update { id, change } => {
            let mut quotas = change.quotas();
            if let Some(given) = &mut quotas {
                // The server replaces `quotas` as a whole, so quotas that are not given here are sent with their
                // current values.
                let now = client.call::<Tenant>("GET", &of(&id))?.quotas;
                *given = QuotasBody {
                    documents: given.documents.or(now.documents),
                    bytes: given.bytes.or(now.bytes),
                    namespaces: given.namespaces.or(now.namespaces),
                    requests_per_minute: given.requests_per_minute.or(now.requests_per_minute),
                    tokens_per_minute: given.tokens_per_minute.or(now.tokens_per_minute),
                };
            }
            let patch = TenantPatch {
                display_name: change.display_name.map(Some),
                governance_class: change.governance_class.map(Some),
                quotas,
                rotate_days: change.rotate_days.map(Some),
            };
            connection.print(&client.send::<Tenant>("PATCH", &of(&id), &patch)?, members)
        }
        TenantCommand::Suspend { id } => {
            connection.print(&client.call::<Tenant>("POST", &format!("{}/suspend", of(&id)))?, members)
        }
        TenantCommand::Resume { id } => {
            connection.print(&client.call::<Tenant>("POST", &format!("{}/resume", of(&id)))?, members)
        }
        TenantCommand::Delete { id, yes, wait: follow } => {
            confirm(yes, &format!("This permanently erases the tenant {id}, its keys and all its documents"))?;
            let started: Started = client.call("DELETE", &of(&id))?;
            super::operation::follow(connection, &client, &started, &started.operation, follow)
        }
    }
}
