//! `ringfence key`: rotates the encryption keys of tenants and of the server, and shows their epochs.

use super::{
    connection::ConnectionArgs,
    output::{Cell, members, table},
    tenant::KeyArgs,
};
use anyhow::{Context, Result};
use api::{
    common::Deleted,
    keys::{
        CertificateList, Epoch, Keys, Rotate, RotateAll, RotateServer, RotateWord, Rotating, RotatingAll, ServerEpoch,
        ServerKeyStatus, SignedCertificate, SigningKey,
    },
};
use clap::Subcommand;
use std::{fs, path::PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Create a new key epoch, wrap every key under it, and destroy the previous epoch.
    Rotate {
        #[arg(required_unless_present_any = ["all", "server"], conflicts_with_all = ["all", "server"])]
        tenant: Option<String>,
        /// Rotate the server's own keys, which protect its control keyspace and the operators' audit.
        #[arg(long, conflicts_with_all = ["all", "wait", "deadline"])]
        server: bool,
        /// Rotate the keys of all tenants, a few at a time; `key rotating` shows the progress.
        #[arg(long, conflicts_with_all = ["wait", "deadline", "key_provider", "key_name"])]
        all: bool,
        /// With --all: number of tenants at a time, 1 to 32. Default: 4.
        #[arg(long, requires = "all")]
        concurrency: Option<u32>,
        /// After a compromise: re-encrypt every object under new keys, instead of only wrapping keys again.
        #[arg(long)]
        reencrypt: bool,
        /// With --reencrypt: time by which it should finish (RFC 3339). Default: in 24 hours. A late one continues,
        /// with a warning.
        #[arg(long, requires = "reencrypt")]
        deadline: Option<String>,
        #[command(flatten)]
        key: KeyArgs,
        /// Wait until the operation ends.
        #[arg(long)]
        wait: bool,
    },
    /// Show the progress of the rotation of all tenants' keys.
    Rotating {
        /// Stop starting new tenants; rotations in progress finish.
        #[arg(long)]
        cancel: bool,
    },
    /// Show whether the key is available, its epochs, and how many keys each wraps.
    Status {
        #[arg(required_unless_present = "server", conflicts_with = "server")]
        tenant: Option<String>,
        /// Show the server's own keys.
        #[arg(long)]
        server: bool,
    },
    /// Show signed certificates about destroyed keys, newest first.
    Certificates {
        /// Only certificates of this tenant, which may be an erased one.
        tenant: Option<String>,
        /// Write the newest one to this file, for `ringfence audit verify`.
        #[arg(long, requires = "tenant")]
        output: Option<PathBuf>,
    },
    /// Show the public key with which `ringfence audit verify` checks certificates and exports.
    Public,
}

const ALL: &str = "/admin/v1/keys/rotate";
const SERVER: &str = "/admin/v1/keys/server";

pub(crate) fn run(command: KeyCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.control()?;
    let of = |tenant: &str| format!("/admin/v1/tenants/{}/keys", client::encode(tenant));
    match command {
        KeyCommand::Rotate { tenant, server, all, concurrency, reencrypt, deadline, key, wait } => {
            let mode = if reencrypt { RotateWord::Reencrypt } else { RotateWord::Rewrap };
            if server {
                let request = RotateServer { mode, key: key.wanted() };
                let done: SignedCertificate = client.send("POST", &format!("{SERVER}/rotate"), &request)?;
                return connection.print(&done, |done| format!("done; certificate:\n{}", done.note));
            }
            let Some(tenant) = tenant.filter(|_| !all) else {
                let begun: RotatingAll = client.send("POST", ALL, &RotateAll { mode, concurrency })?;
                return connection.print(&begun, members);
            };
            let request = Rotate { mode, deadline, key: key.wanted() };
            let begun: Rotating = client.send("POST", &format!("{}/rotate", of(&tenant)), &request)?;
            super::operation::follow(connection, &client, &begun, &begun.operation, wait)
        }
        KeyCommand::Rotating { cancel: true } => connection.print(&client.call::<Deleted>("DELETE", ALL)?, members),
        KeyCommand::Rotating { cancel: false } => connection.print(&client.call::<RotatingAll>("GET", ALL)?, members),
        KeyCommand::Certificates { tenant, output } => {
            let query = tenant.map(|t| format!("?tenant={}", client::encode(&t))).unwrap_or_default();
            let found: CertificateList = client.call("GET", &format!("/admin/v1/certificates{query}"))?;
            let Some(output) = output else {
                return connection.print(&found, |found| {
                    let row = |c: &SignedCertificate| [&c.at, &c.kind, &c.tenant, &c.incarnation].map(Cell::cell);
                    table(["at", "kind", "tenant", "incarnation"], found.certificates.iter().map(row))
                });
            };
            let newest = found.certificates.first().context("there is no certificate for this tenant")?;
            fs::write(&output, &newest.note).with_context(|| format!("cannot write {}", output.display()))?;
            connection.print(newest, |c| format!("{} of {} in {}", c.kind, c.at, output.display()))
        }
        KeyCommand::Public => {
            let found: SigningKey = client.call("GET", "/admin/v1/signing-key")?;
            connection.print(&found, |found| found.key.clone())
        }
        KeyCommand::Status { tenant: None, .. } => connection.print(&client.call("GET", SERVER)?, server_keys),
        KeyCommand::Status { tenant: Some(tenant), .. } => connection.print(&client.call("GET", &of(&tenant))?, keys),
    }
}

/// The server's own keys as text for people.
fn server_keys(status: &ServerKeyStatus) -> String {
    let ServerKeyStatus { provider, key, created_at, control_epochs, audit_epochs, rotating } = status;
    let rotating = rotating.as_ref().map(|r| format!("\n{} since {}", r.mode, r.begun_at)).unwrap_or_default();
    let row = |e: &ServerEpoch| [e.epoch.cell(), e.created_at.cell(), e.provider.cell(), e.key.cell()];
    let epochs = table(["epoch", "created_at", "provider", "key"], audit_epochs.iter().map(row));
    format!(
        "control keyspace: key {key} of provider {provider} since {created_at}, epochs [{}]\noperators' \
         audit:\n{epochs}{rotating}",
        control_epochs.cell()
    )
}

/// A tenant's keys as text for people.
fn keys(keys: &Keys) -> String {
    let held = &keys.key;
    let why = held.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default();
    let row = |e: &Epoch| {
        let (objects, wraps) = (e.objects.cell(), e.wraps.cell());
        [e.epoch.cell(), e.created_at.cell(), e.age_days.cell(), e.provider.cell(), e.key.cell(), objects, wraps]
    };
    let columns = ["epoch", "created_at", "age_days", "provider", "key", "objects", "wraps"];
    format!(
        "key {} of provider {}: {}{why}\nkeys encrypted with {}, objects with {}\ncurrent epoch {}, next rotation {}\n{}",
        held.name,
        held.provider,
        held.state,
        keys.algorithms.keys,
        keys.algorithms.objects,
        keys.current,
        keys.next_rotation.cell(),
        table(columns, keys.epochs.iter().map(row))
    )
}
