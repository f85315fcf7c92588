//! `ringfence operator`: operators of the control plane. `recover` works while the server is stopped.

use super::{
    connection::ConnectionArgs,
    output::{confirm, members, note, table},
};
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum OperatorCommand {
    /// Create an operator. The token is shown only once.
    Create {
        #[arg(long)]
        name: String,
        /// Role: admin (everything), keys (rotate keys), viewer (read only) or auditor (read only, including the
        /// operators' audit).
        #[arg(long)]
        role: String,
    },
    /// List operators without their tokens.
    List,
    /// Revoke an operator's token immediately.
    Revoke {
        id: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Create a new admin token for a data folder or bucket. The server must be stopped.
    Recover(super::ServerArgs),
}

const BASE: &str = "/admin/v1/operators";

pub(crate) fn run(command: OperatorCommand, connection: &ConnectionArgs) -> Result<()> {
    // `recover` needs neither a server nor a token, which is what was lost.
    if let OperatorCommand::Recover(args) = &command {
        return super::recover::run(connection, args);
    }
    let client = connection.control()?;
    match command {
        OperatorCommand::Recover(_) => Ok(()),
        OperatorCommand::Create { name, role } => {
            let created = client.call("POST", BASE, Some(&json!({"name": name, "role": role})))?;
            connection
                .print(&created, |v| v["token"].as_str().or(v["secret"].as_str()).unwrap_or_default().to_owned())?;
            if !connection.json {
                note(&format!("operator {name}: the line above is the token, which is not shown again"));
            }
            Ok(())
        }
        OperatorCommand::List => connection
            .print(&client.call("GET", BASE, None)?["operators"], |v| table(v, &["id", "name", "role", "created_at"])),
        OperatorCommand::Revoke { id, yes } => {
            confirm(yes, &format!("The token of operator {id} will be refused immediately"))?;
            connection.print(&client.call("DELETE", &format!("{BASE}/{}", client::encode(&id)), None)?, members)
        }
    }
}
