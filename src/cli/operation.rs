//! `ringfence operation`: long-running work, seen from the control plane.

use super::remote::{Remote, members, pages, table, wait};
use anyhow::Result;
use clap::Subcommand;
use client::Client;
use serde_json::{Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Operation {
    /// List operations, newest first.
    List,
    /// Show one.
    Show { id: String },
    /// Ask one to stop.
    Cancel { id: String },
    /// Follow one to its end.
    Wait { id: String },
}

const BASE: &str = "/admin/v1/operations";

pub(crate) fn run(command: Operation, remote: &Remote) -> Result<()> {
    let client = remote.control()?;
    let of = |id: &str| format!("{BASE}/{}", client::encode(id));
    match command {
        Operation::List => {
            let columns = ["id", "kind", "tenant", "status", "waits_for", "created_at", "finished_at"];
            remote.print(&pages(&client, BASE, "operations")?, |v| table(v, &columns))
        }
        Operation::Show { id } => remote.print(&client.call("GET", &of(&id), None)?, members),
        Operation::Cancel { id } => {
            remote.print(&client.call("POST", &format!("{}/cancel", of(&id)), Some(&json!({})))?, members)
        }
        Operation::Wait { id } => remote.print(&wait(&client, &of(&id))?, members),
    }
}

/// The reply of a route that starts an operation; with `--wait` the operation's end.
pub(crate) fn follow(client: &Client, begun: Value, to_the_end: bool) -> Result<Value> {
    let id = begun["operation"]["id"].as_str().or_else(|| begun["operation"].as_str());
    match id {
        Some(id) if to_the_end => wait(client, &format!("{BASE}/{}", client::encode(id))),
        _ => Ok(begun),
    }
}
