//! `ringfence operator`: operators of the control plane. `recover` works while the server is stopped.

use super::{
    LocalCommands,
    connection::ConnectionArgs,
    output::{Cell, confirm, members, note, table},
};
use anyhow::Result;
use api::{
    admin::{OperatorInfo, OperatorList, OperatorMade, OperatorNew},
    common::Deleted,
};
use clap::Subcommand;

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

pub(crate) fn run(command: OperatorCommand, local: &impl LocalCommands, connection: &ConnectionArgs) -> Result<()> {
    match command {
        // This needs neither a server nor a token, which is what was lost.
        OperatorCommand::Recover(args) => local.recover_operator(connection, &args),
        OperatorCommand::Create { name, role } => {
            let created: OperatorMade =
                connection.control()?.send("POST", BASE, &OperatorNew { name: name.clone(), role })?;
            connection.print(&created, |made| made.token.clone())?;
            if !connection.json {
                note(&format!("operator {name}: the line above is the token, which is not shown again"));
            }
            Ok(())
        }
        OperatorCommand::List => {
            let OperatorList { operators, .. } = connection.control()?.call("GET", BASE)?;
            connection.print(&operators, |list| {
                let row = |o: &OperatorInfo| [o.id.cell(), o.name.cell(), o.role.cell(), o.created_at.cell()];
                table(["id", "name", "role", "created_at"], list.iter().map(row))
            })
        }
        OperatorCommand::Revoke { id, yes } => {
            confirm(yes, &format!("The token of operator {id} will be refused immediately"))?;
            let path = format!("{BASE}/{}", client::encode(&id));
            connection.print(&connection.control()?.call::<Deleted>("DELETE", &path)?, members)
        }
    }
}
