//! `ringfence operator`: who may run the control plane. `recover` works with the server stopped.

use super::remote::{Remote, confirm, members, note, table};
use anyhow::Result;
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub(super) enum Operator {
    /// Create an operator. The token is shown once.
    Create {
        #[arg(long)]
        name: String,
        /// admin (everything), keys (rotate keys), viewer (look only) or auditor (look, and read the operators' audit).
        #[arg(long)]
        role: String,
    },
    /// List operators, without tokens.
    List,
    /// End an operator's token at once.
    Revoke {
        id: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Create a new admin token for a data folder or bucket. The server must be stopped.
    Recover(super::ServerArgs),
}

const BASE: &str = "/admin/v1/operators";

pub(crate) fn run(command: Operator, remote: &Remote) -> Result<()> {
    // Needs no server, and no token: that is what was lost.
    if let Operator::Recover(args) = &command {
        return super::recover::run(remote, args);
    }
    let client = remote.control()?;
    match command {
        Operator::Recover(_) => Ok(()),
        Operator::Create { name, role } => {
            let made = client.call("POST", BASE, Some(&json!({"name": name, "role": role})))?;
            remote.print(&made, |v| v["token"].as_str().or(v["secret"].as_str()).unwrap_or_default().to_owned())?;
            if !remote.json {
                note(&format!("operator {name}: the line above is the token and is not shown again"));
            }
            Ok(())
        }
        Operator::List => remote
            .print(&client.call("GET", BASE, None)?["operators"], |v| table(v, &["id", "name", "role", "created_at"])),
        Operator::Revoke { id, yes } => {
            confirm(yes, &format!("The operator {id} is locked out at once"))?;
            remote.print(&client.call("DELETE", &format!("{BASE}/{}", client::encode(&id)), None)?, members)
        }
    }
}
