//! `ringfence operation`: long-running operations, seen from the control plane.

use super::{
    connection::{ConnectionArgs, pages, wait},
    output::{members, table},
};
use anyhow::Result;
use clap::Subcommand;
use client::Client;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum OperationCommand {
    /// List operations, newest first.
    List,
    /// Show an operation.
    Show { id: String },
    /// Ask an operation to stop.
    Cancel { id: String },
    /// Wait until an operation ends.
    Wait { id: String },
}

const BASE: &str = "/admin/v1/operations";

pub(crate) fn run(command: OperationCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.control()?;
    let of = |id: &str| format!("{BASE}/{}", client::encode(id));
    match command {
        OperationCommand::List => {
            let columns = ["id", "kind", "tenant", "status", "waits_for", "created_at", "finished_at"];
            connection.print(&pages(&client, BASE, "operations")?, |v| table(v, &columns))
        }
        OperationCommand::Show { id } => connection.print(&client.call("GET", &of(&id), None)?, members),
        OperationCommand::Cancel { id } => {
            connection.print(&client.call("POST", &format!("{}/cancel", of(&id)), Some(&json!({})))?, members)
        }
        OperationCommand::Wait { id } => connection.print(&wait(&client, &of(&id))?, members),
    }
}

/// The reply of a route that starts an operation; with `--wait`, the operation after its end.
pub(crate) fn follow(client: &Client, started: Value, wait_for_end: bool) -> Result<Value> {
    let id = started["operation"]["id"].as_str().or_else(|| started["operation"].as_str());
    match id {
        Some(id) if wait_for_end => wait(client, &format!("{BASE}/{}", client::encode(id))),
        _ => Ok(started),
    }
}
