//! `ringfence operation`: long-running operations, seen from the control plane.

use super::{
    connection::{ConnectionArgs, pages, wait},
    output::{Cell, members, table},
};
use anyhow::Result;
use api::operations::{Operation, OperationList};
use clap::Subcommand;
use client::Client;
use serde::Serialize;

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
            let list = pages(&client, BASE, |page: OperationList| (page.operations, page.next))?;
            connection.print(&list, |list| table(columns, list.iter().map(row)))
        }
        OperationCommand::Show { id } => connection.print(&client.call::<Operation>("GET", &of(&id))?, members),
        OperationCommand::Cancel { id } => {
            connection.print(&client.call::<Operation>("POST", &format!("{}/cancel", of(&id)))?, members)
        }
        OperationCommand::Wait { id } => connection.print(&wait(&client, &of(&id))?, members),
    }
}

fn row(operation: &Operation) -> [String; 7] {
    [
        operation.id.cell(),
        operation.kind.cell(),
        operation.tenant.cell(),
        operation.status.cell(),
        operation.waits_for.cell(),
        operation.created_at.cell(),
        operation.finished_at.cell(),
    ]
}

/// Prints the reply of a route that starts an operation or, with `--wait`, the operation after its end.
pub(crate) fn follow<T: Serialize>(
    connection: &ConnectionArgs,
    client: &Client,
    started: &T,
    operation: &str,
    wait_for_end: bool,
) -> Result<()> {
    if !wait_for_end {
        return connection.print(started, members);
    }
    connection.print(&wait(client, &format!("{BASE}/{}", client::encode(operation)))?, members)
}
