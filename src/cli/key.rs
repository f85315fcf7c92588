//! `ringfence key`: a tenant's keys: rotate them, see their epochs.

use super::remote::{Remote, members, table};
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Key {
    /// Begin a new key epoch and wrap every key anew; the old epoch is then destroyed.
    Rotate {
        tenant: String,
        /// Follow the operation to its end.
        #[arg(long)]
        wait: bool,
    },
    /// Show epochs and how many keys each wraps.
    Status { tenant: String },
}

pub(crate) fn run(command: Key, remote: &Remote) -> Result<()> {
    let client = remote.control()?;
    let of = |tenant: &str| format!("/admin/v1/tenants/{}/keys", client::encode(tenant));
    match command {
        Key::Rotate { tenant, wait } => {
            let begun = client.call("POST", &format!("{}/rotate", of(&tenant)), Some(&json!({"mode": "rewrap"})))?;
            remote.print(&super::operation::follow(&client, begun, wait)?, members)
        }
        Key::Status { tenant } => remote.print(&client.call("GET", &of(&tenant), None)?, |v| {
            format!("current epoch {}\n{}", v["current"], table(&v["epochs"], &["epoch", "created_at", "objects"]))
        }),
    }
}
