//! `ringfence document`: lists, shows, changes, deletes and reviews documents of a namespace.

use super::{
    connection::{ConnectionArgs, object},
    output::{confirm, members, table},
};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use client::{Client, encode};
use serde_json::{Map, Value, json};
use std::{fs, path::PathBuf};

#[derive(Debug, Args)]
pub(super) struct DocumentArgs {
    /// Namespace.
    #[arg(long, global = true, env = "RINGFENCE_NAMESPACE")]
    namespace: Option<String>,
    #[command(subcommand)]
    command: DocumentCommand,
}

#[derive(Debug, Subcommand)]
enum DocumentCommand {
    /// List documents, ordered by id.
    List {
        /// Filter as JSON: {"type": "eq", "key": "$status", "value": "quarantined"}.
        #[arg(long)]
        filter: Option<String>,
        /// Only documents with this status: indexed or quarantined.
        #[arg(long, conflicts_with = "filter")]
        status: Option<String>,
        /// Read as this principal (scope act_as); may be repeated.
        #[arg(long = "as", value_name = "PRINCIPAL")]
        acting_as: Vec<String>,
        /// Maximum number of documents to list.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Show one document.
    Show {
        id: String,
        /// Include the text.
        #[arg(long)]
        text: bool,
    },
    /// Change attributes, readers, uri or expiry. Nothing is embedded again.
    Patch(PatchArgs),
    /// Delete documents. When this returns, no answer contains them any more.
    Delete {
        #[command(flatten)]
        which: DocumentSelection,
        /// Wait until no object, checkpoint or log holds the documents, and write a certificate of this to the file.
        /// Requires ids. A key with read_all may also name documents that were deleted earlier.
        #[arg(long, value_name = "FILE", conflicts_with = "filter")]
        erase: Option<PathBuf>,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
    /// Release reviewed documents from quarantine.
    Release {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Commit at which each document was reviewed, in the order of the ids, as `document list` and `show` print it;
        /// a document that was written since then stays unchanged. Default: the commits when the command begins.
        #[arg(long, value_name = "COMMIT")]
        commit: Vec<u64>,
        /// Reason. The audit records a pseudonym of it.
        #[arg(long)]
        note: Option<String>,
    },
    /// Delete reviewed documents that are in quarantine.
    Reject {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Commit at which each document was reviewed, in the order of the ids, as `document list` and `show` print it;
        /// a document that was written since then stays unchanged. Default: the commits when the command begins.
        #[arg(long, value_name = "COMMIT")]
        commit: Vec<u64>,
        /// Reason. The audit records a pseudonym of it.
        #[arg(long)]
        note: Option<String>,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

/// Documents by their ids, or all that match a filter.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct DocumentSelection {
    /// Ids of documents.
    ids: Vec<String>,
    /// All documents that match this filter (JSON).
    #[arg(long)]
    filter: Option<String>,
}

impl DocumentSelection {
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
struct PatchArgs {
    #[command(flatten)]
    which: DocumentSelection,
    /// Set an attribute, such as year=2026, draft=true, team=sales or tags=["a","b"].
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Remove an attribute.
    #[arg(long, value_name = "KEY")]
    unset: Vec<String>,
    /// Replace the readers by this principal; may be repeated.
    #[arg(long, value_name = "PRINCIPAL")]
    readers: Vec<String>,
    /// Let the whole tenant read the documents.
    #[arg(long, conflicts_with = "readers")]
    open: bool,
    /// Address of the document's source.
    #[arg(long)]
    uri: Option<String>,
    /// Time at which the documents are deleted (RFC 3339), or never. The namespace's retention days stay in force.
    #[arg(long, value_name = "TIME|never")]
    expires_at: Option<String>,
}

impl PatchArgs {
    fn json(&self) -> Result<Value> {
        let mut body = self.which.json()?;
        let mut attributes = Map::new();
        for pair in &self.set {
            let (key, value) = pair.split_once('=').context("--set takes KEY=VALUE")?;
            // Text that is not JSON counts as a string, since people write team=sales.
            let value = match serde_json::from_str(value) {
                Ok(Value::Number(_)) if api::has_long_integer(value) => {
                    bail!("--set {key}: whole numbers have at most 64 bits; quote a longer one to set it as text")
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

pub(crate) fn run(args: DocumentArgs, connection: &ConnectionArgs) -> Result<()> {
    let namespace =
        args.namespace.as_deref().context("there is no namespace: give --namespace or set RINGFENCE_NAMESPACE")?;
    let client = connection.data()?;
    let base = format!("/v1/namespaces/{}/documents", encode(namespace));
    let post = |verb: &str, body: Value| client.call("POST", &format!("{base}/{verb}"), Some(&body));
    match args.command {
        DocumentCommand::List { filter, status, acting_as, limit } => {
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
            let found = list_all(&client, &base, body, limit)?;
            connection.print(&found, |v| {
                table(&v["documents"], &["id", "status", "passages", "commit", "readers", "updated_at", "title"])
            })
        }
        DocumentCommand::Show { id, text } => {
            let include = if text { "attributes,text" } else { "attributes" };
            let found = client.call("GET", &format!("{base}/{}?include={include}", encode(&id)), None)?;
            connection.print(&found, members)
        }
        DocumentCommand::Patch(patch) => connection.print(&post("patch", patch.json()?)?, members),
        DocumentCommand::Delete { which, erase, yes } => {
            confirm(yes, &format!("This permanently deletes {}", which.text()))?;
            let mut body = which.json()?;
            let Some(file) = erase else { return connection.print(&post("delete", body)?, members) };
            body["erase"] = true.into();
            let reply = post("delete", body)?;
            let missing = || {
                let deleted = &reply["deleted"];
                format!(
                    "deleted {deleted}, but there is no certificate: without the scope read_all it names only \
                     documents \
                     that this request deleted, and with it only ids of which no copy is left"
                )
            };
            let note = reply["certificate"].as_str().with_context(missing)?;
            fs::write(&file, note).with_context(|| format!("cannot write {}", file.display()))?;
            connection.print(&reply, |v| format!("deleted {}; certificate in {}", v["deleted"], file.display()))
        }
        DocumentCommand::Release { ids, commit, note } => {
            let commits = reviewed_commits(&client, &base, &ids, commit)?;
            print_review(connection, post("review", review(&ids, &commits, "release", note))?)
        }
        DocumentCommand::Reject { ids, commit, note, yes } => {
            let commits = reviewed_commits(&client, &base, &ids, commit)?;
            confirm(yes, &format!("This permanently deletes {}", counted(ids.len(), "quarantined document")))?;
            print_review(connection, post("review", review(&ids, &commits, "reject", note))?)
        }
    }
}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The commit of each of these documents: as given, or as it is now; 0 if the key sees no document with the id.
fn reviewed_commits(client: &Client, base: &str, ids: &[String], given: Vec<u64>) -> Result<Vec<u64>> {
    if given.len() == ids.len() {
        return Ok(given);
    }
    if !given.is_empty() {
        bail!("{} for {}: give one --commit per id", counted(given.len(), "commit"), counted(ids.len(), "id"));
    }
    // An id may name several documents, so all of them are listed.
    let found = list_all(client, base, json!({"ids": ids, "include": []}), usize::MAX)?;
    let documents = found["documents"].as_array().map(Vec::as_slice).unwrap_or_default();
    ids.iter().map(|id| commit_of(documents, id)).collect()
}

/// The commit of the quarantined document with this id, otherwise that of another document with it, otherwise 0.
fn commit_of(documents: &[Value], id: &str) -> Result<u64> {
    let candidates: Vec<&Value> = documents.iter().filter(|document| document["id"] == *id).collect();
    let quarantined: Vec<&&Value> = candidates.iter().filter(|document| document["status"] == "quarantined").collect();
    if quarantined.len() > 1 {
        bail!(
            "{} quarantined documents have the id {id}: name the one that was reviewed with --commit",
            quarantined.len()
        );
    }
    let one = quarantined.first().copied().or(candidates.first());
    Ok(one.and_then(|document| document["commit"].as_u64()).unwrap_or(0))
}

fn review(ids: &[String], commits: &[u64], decision: &str, note: Option<String>) -> Value {
    let documents: Vec<Value> =
        ids.iter().zip(commits).map(|(id, commit)| json!({"id": id, "commit": commit})).collect();
    let mut body = json!({"documents": documents, "decision": decision});
    if let Some(note) = note {
        body["note"] = note.into();
    }
    body
}

/// Prints the result of each document. The command fails if a document was not in quarantine, or has changed since it
/// was reviewed.
fn print_review(connection: &ConnectionArgs, reply: Value) -> Result<()> {
    connection.print(&reply, |v| table(&v["results"], &["id", "status"]))?;
    let results = reply["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    let missed = results.iter().filter(|r| !matches!(r["status"].as_str(), Some("released" | "rejected"))).count();
    match missed {
        0 => Ok(()),
        n => {
            bail!("{n} of {} documents were not in quarantine, or have changed since they were reviewed", results.len())
        }
    }
}

/// Reads pages of a list, up to `limit` documents, and returns them as one reply.
fn list_all(client: &Client, base: &str, mut body: Value, limit: usize) -> Result<Value> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_applies_to_the_quarantined_document_with_the_id() {
        let document = |id, status, commit| json!({"id": id, "status": status, "commit": commit});
        let mut documents =
            vec![document("a", "indexed", 1), document("a", "quarantined", 2), document("b", "indexed", 3)];
        let commits = ["a", "b", "c"].map(|id| commit_of(&documents, id).expect("at most one"));
        assert_eq!(commits, [2, 3, 0]);
        documents.push(document("a", "quarantined", 4));
        let message = commit_of(&documents, "a").expect_err("ambiguous").to_string();
        assert!(message.contains("--commit"), "{message}");
    }
}
