//! `ringfence document`: documents of a namespace: list, show, change, delete, review.

use super::remote::{Remote, confirm, members, object, table};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use client::{Client, encode};
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};

#[derive(Debug, Args)]
pub(super) struct Document {
    /// The namespace.
    #[arg(long, global = true, env = "RINGFENCE_NAMESPACE")]
    namespace: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List documents, by id.
    List {
        /// A filter as JSON: {"type": "eq", "key": "$status", "value": "quarantined"}.
        #[arg(long)]
        filter: Option<String>,
        /// Only those of this status: indexed or quarantined.
        #[arg(long, conflicts_with = "filter")]
        status: Option<String>,
        /// Read as these principals (scope act_as).
        #[arg(long = "as", value_name = "PRINCIPAL")]
        acting_as: Vec<String>,
        /// Most documents to list.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Show one document.
    Show {
        id: String,
        /// With its text.
        #[arg(long)]
        text: bool,
    },
    /// Change attributes, readers, address or expiry. Nothing is embedded again.
    Patch(Patch),
    /// Delete documents. They are in no answer once this returns.
    Delete {
        #[command(flatten)]
        which: Which,
        /// Wait until no object, checkpoint or log holds them, and write the certificate of that into this file. Needs
        /// ids. A key with read_all may also name documents that were deleted before.
        #[arg(long, value_name = "FILE", conflicts_with = "filter")]
        erase: Option<PathBuf>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
    /// Release documents from quarantine, as they were reviewed.
    Release {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Commit at which each was reviewed, in the order of the ids, as `document list` and `show` print it; a
        /// document that was written since stays as it is. Without it: as they are when the command begins.
        #[arg(long, value_name = "COMMIT")]
        commit: Vec<u64>,
        /// The reason. The audit holds a pseudonym of it.
        #[arg(long)]
        note: Option<String>,
    },
    /// Delete documents that are in quarantine, as they were reviewed.
    Reject {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Commit at which each was reviewed, in the order of the ids, as `document list` and `show` print it; a
        /// document that was written since stays as it is. Without it: as they are when the command begins.
        #[arg(long, value_name = "COMMIT")]
        commit: Vec<u64>,
        /// The reason. The audit holds a pseudonym of it.
        #[arg(long)]
        note: Option<String>,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// Ids, or all that match.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Which {
    /// Documents.
    ids: Vec<String>,
    /// All that match this filter (JSON).
    #[arg(long)]
    filter: Option<String>,
}

impl Which {
    fn json(&self) -> Result<Value> {
        match &self.filter {
            Some(filter) => Ok(json!({"filter": object("--filter", filter)?})),
            None => Ok(json!({"ids": self.ids})),
        }
    }

    fn text(&self) -> String {
        match &self.filter {
            Some(_) => "all documents that match the filter".to_owned(),
            None => counted(self.ids.len(), "document"),
        }
    }
}

#[derive(Debug, Args)]
struct Patch {
    #[command(flatten)]
    which: Which,
    /// An attribute: year=2026, draft=true, team=sales, tags=["a","b"].
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Remove an attribute.
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// New readers, instead of the present ones.
    #[arg(long, value_name = "PRINCIPAL")]
    readers: Vec<String>,
    /// Let the whole tenant read it.
    #[arg(long, conflicts_with = "readers")]
    open: bool,
    /// Where it came from.
    #[arg(long)]
    uri: Option<String>,
    /// When it is deleted (RFC 3339), or never. The namespace's retention days stay in force.
    #[arg(long, value_name = "TIME|never")]
    expires_at: Option<String>,
}

impl Patch {
    fn json(&self) -> Result<Value> {
        let mut body = self.which.json()?;
        let mut attributes = Map::new();
        for pair in &self.set {
            let (key, value) = pair.split_once('=').context("--set takes KEY=VALUE")?;
            // What is no JSON is a string: people write team=sales.
            let value = match serde_json::from_str(value) {
                Ok(Value::Number(_)) if client::has_long_integer(value) => {
                    bail!("--set {key}: a whole number needs more than 64 bits; quote it to set it as text")
                }
                Ok(json) => json,
                Err(_) => value.into(),
            };
            attributes.insert(key.to_owned(), value);
        }
        attributes.extend(self.unset.iter().map(|key| (key.clone(), Value::Null)));
        if !attributes.is_empty() {
            body["attributes"] = attributes.into();
        }
        if !self.readers.is_empty() || self.open {
            body["readers"] = if self.open { Value::Null } else { json!(self.readers) };
        }
        if let Some(uri) = &self.uri {
            body["uri"] = json!(uri);
        }
        if let Some(time) = &self.expires_at {
            body["expires_at"] = if time == "never" { Value::Null } else { json!(time) };
        }
        Ok(body)
    }
}

pub(crate) fn run(args: Document, remote: &Remote) -> Result<()> {
    let namespace = args.namespace.as_deref().context("no namespace: give --namespace or set RINGFENCE_NAMESPACE")?;
    let client = remote.data()?;
    let base = format!("/v1/namespaces/{}/documents", encode(namespace));
    let post = |verb: &str, body: Value| client.call("POST", &format!("{base}/{verb}"), Some(&body));
    match args.command {
        Command::List { filter, status, acting_as, limit } => {
            let mut body = json!({});
            if let Some(filter) = filter {
                body["filter"] = object("--filter", &filter)?;
            }
            if let Some(status) = status {
                body["filter"] = json!({"type": "eq", "key": "$status", "value": status});
            }
            if !acting_as.is_empty() {
                body["as"] = json!({"principals": acting_as});
            }
            let found = listed(&client, &base, body, limit)?;
            remote.print(&found, |v| {
                table(&v["documents"], &["id", "status", "passages", "commit", "readers", "updated_at", "title"])
            })
        }
        Command::Show { id, text } => {
            let include = if text { "attributes,text" } else { "attributes" };
            let found = client.call("GET", &format!("{base}/{}?include={include}", encode(&id)), None)?;
            remote.print(&found, members)
        }
        Command::Patch(patch) => remote.print(&post("patch", patch.json()?)?, members),
        Command::Delete { which, erase, yes } => {
            confirm(yes, &format!("This deletes {} for good", which.text()))?;
            let mut body = which.json()?;
            let Some(file) = erase else { return remote.print(&post("delete", body)?, members) };
            body["erase"] = true.into();
            let gone = post("delete", body)?;
            let none = || {
                let deleted = &gone["deleted"];
                format!(
                    "{deleted} deleted, and there is no certificate: without the scope read_all it names only documents \
                     that this call has deleted, and with it only ids of which no copy is left"
                )
            };
            let note = gone["certificate"].as_str().with_context(none)?;
            fs::write(&file, note).with_context(|| format!("cannot write {}", file.display()))?;
            remote.print(&gone, |v| format!("deleted {}; certificate in {}", v["deleted"], file.display()))
        }
        Command::Release { ids, commit, note } => {
            let seen = seen(&client, &base, &ids, commit)?;
            reviewed(remote, post("review", review(&ids, &seen, "release", note))?)
        }
        Command::Reject { ids, commit, note, yes } => {
            let seen = seen(&client, &base, &ids, commit)?;
            confirm(yes, &format!("This deletes {} for good", counted(ids.len(), "quarantined document")))?;
            reviewed(remote, post("review", review(&ids, &seen, "reject", note))?)
        }
    }
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// The commit of each of these documents: as it was given, or as it is now; 0 where there is none to be seen.
fn seen(client: &Client, base: &str, ids: &[String], given: Vec<u64>) -> Result<Vec<u64>> {
    if given.len() == ids.len() {
        return Ok(given);
    }
    if !given.is_empty() {
        bail!("{} for {}: give one --commit for each id", counted(given.len(), "commit"), counted(ids.len(), "id"));
    }
    let found = listed(client, base, json!({"ids": ids, "include": []}), ids.len())?;
    let commit = |id: &String| {
        let documents = found["documents"].as_array().map(Vec::as_slice).unwrap_or_default();
        documents.iter().find(|document| document["id"] == **id).and_then(|document| document["commit"].as_u64())
    };
    Ok(ids.iter().map(|id| commit(id).unwrap_or(0)).collect())
}

fn review(ids: &[String], seen: &[u64], decision: &str, note: Option<String>) -> Value {
    let documents: Vec<Value> = ids.iter().zip(seen).map(|(id, commit)| json!({"id": id, "commit": commit})).collect();
    let mut body = json!({"documents": documents, "decision": decision});
    if let Some(note) = note {
        body["note"] = note.into();
    }
    body
}

/// Prints what became of each; one that was not in quarantine, or not as reviewed, makes the command fail.
fn reviewed(remote: &Remote, reply: Value) -> Result<()> {
    remote.print(&reply, |v| table(&v["results"], &["id", "status"]))?;
    let results = reply["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missed = results.iter().filter(|r| !matches!(r["status"].as_str(), Some("released" | "rejected"))).count();
    match missed {
        0 => Ok(()),
        n => bail!("{n} of {} documents were not in quarantine, or no longer as reviewed", results.len()),
    }
}

/// Pages of a list, up to `limit` documents, as one reply.
fn listed(client: &Client, base: &str, mut body: Value, limit: usize) -> Result<Value> {
    let mut documents = Vec::new();
    loop {
        body["limit"] = json!((limit - documents.len()).min(kernel::limits::LIST_LIMIT_MAX));
        let mut page = client.call("POST", &format!("{base}/list"), Some(&body))?;
        if let Value::Array(rows) = page["documents"].take() {
            documents.extend(rows);
        }
        if documents.len() >= limit || page["next"].is_null() {
            page["documents"] = documents.into();
            return Ok(page);
        }
        body["after"] = page["next"].take();
    }
}
