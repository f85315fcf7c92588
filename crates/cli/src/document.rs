//! `ringfence document`: lists, shows, changes, deletes and reviews documents of a namespace.

use super::{
    connection::{self, ConnectionArgs},
    output::{Cell, confirm, members, table},
};
use anyhow::{Context, Result, bail};
use api::{
    common::{IdList, name},
    documents::{DeletedDocuments, DocumentDelete, DocumentList, DocumentPage, DocumentPatch, Matched, ShownDocument},
    review::{DecisionWord, Review, ReviewEntry, ReviewResults, ReviewedDocument},
    strict::{BoundedList, FilterTree, Parsed, SentAttributes},
};
use clap::{Args, Subcommand};
use client::{Client, encode};
use kernel::{DocumentId, Principal};
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
        #[arg(long = "as", value_name = "PRINCIPAL", value_parser = name::<Principal>)]
        acting_as: Vec<Principal>,
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
        #[arg(required = true, value_parser = name::<DocumentId>)]
        ids: Vec<DocumentId>,
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
        #[arg(required = true, value_parser = name::<DocumentId>)]
        ids: Vec<DocumentId>,
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
    #[arg(value_parser = name::<DocumentId>)]
    ids: Vec<DocumentId>,
    /// All documents that match this filter (JSON).
    #[arg(long)]
    filter: Option<String>,
}

impl DocumentSelection {
    /// The ids or the filter, of which one is given.
    fn parts(&self) -> Result<(Option<IdList>, Option<FilterTree>)> {
        match &self.filter {
            Some(filter) => Ok((None, Some(connection::filter("--filter", filter)?))),
            None => Ok((Some(id_list(&self.ids)), None)),
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
    #[arg(long, value_name = "PRINCIPAL", value_parser = name::<Principal>)]
    readers: Vec<Principal>,
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
    fn patch(self) -> Result<DocumentPatch> {
        let (ids, filter) = self.which.parts()?;
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
        let readers = match (self.open, self.readers) {
            (true, _) => Some(None),
            (false, readers) if readers.is_empty() => None,
            (false, readers) => Some(Some(readers.into_iter().map(Parsed).collect())),
        };
        Ok(DocumentPatch {
            ids,
            filter,
            attributes: (!attributes.is_empty()).then(|| SentAttributes::from_json(&attributes)).transpose()?,
            readers,
            uri: self.uri.map(Some),
            expires_at: self.expires_at.map(|time| (time != "never").then_some(time)),
        })
    }
}

pub(crate) fn run(args: DocumentArgs, connection: &ConnectionArgs) -> Result<()> {
    let namespace =
        args.namespace.as_deref().context("there is no namespace: give --namespace or set RINGFENCE_NAMESPACE")?;
    let client = connection.data()?;
    let base = format!("/v1/namespaces/{}/documents", encode(namespace));
    match args.command {
        DocumentCommand::List { filter, status, acting_as, limit } => {
            let by_status = |status| FilterTree(json!({"type": "eq", "key": "$status", "value": status}));
            let filter = filter.map(|text| connection::filter("--filter", &text)).transpose()?;
            let request = DocumentList {
                filter: filter.or(status.map(by_status)),
                r#as: connection::acting_as(acting_as),
                ..DocumentList::default()
            };
            let found = list_all(&client, &base, request, limit)?;
            connection.print(&found, |found| {
                let columns = ["id", "status", "passages", "commit", "readers", "updated_at", "title"];
                table(columns, found.documents.iter().map(row))
            })
        }
        DocumentCommand::Show { id, text } => {
            let include = if text { "attributes,text" } else { "attributes" };
            let found: ShownDocument = client.call("GET", &format!("{base}/{}?include={include}", encode(&id)))?;
            connection.print(&found, members)
        }
        DocumentCommand::Patch(args) => {
            let changed: Matched = client.send("POST", &format!("{base}/patch"), &args.patch()?)?;
            connection.print(&changed, members)
        }
        DocumentCommand::Delete { which, erase, yes } => {
            confirm(yes, &format!("This permanently deletes {}", which.text()))?;
            let (ids, filter) = which.parts()?;
            let request = DocumentDelete { ids, filter, erase: erase.is_some().then_some(true) };
            let reply: DeletedDocuments = client.send("POST", &format!("{base}/delete"), &request)?;
            let Some(file) = erase else { return connection.print(&reply, members) };
            let missing = || {
                let deleted = reply.deleted;
                format!(
                    "deleted {deleted}, but there is no certificate: without the scope read_all it names only \
                     documents \
                     that this request deleted, and with it only ids of which no copy is left"
                )
            };
            let note = reply.certificate.as_deref().with_context(missing)?;
            fs::write(&file, note).with_context(|| format!("cannot write {}", file.display()))?;
            connection.print(&reply, |reply| format!("deleted {}; certificate in {}", reply.deleted, file.display()))
        }
        DocumentCommand::Release { ids, commit, note } => {
            let commits = reviewed_commits(&client, &base, &ids, commit)?;
            print_review(connection, &client, &base, &review(&ids, &commits, DecisionWord::Release, note))
        }
        DocumentCommand::Reject { ids, commit, note, yes } => {
            let commits = reviewed_commits(&client, &base, &ids, commit)?;
            confirm(yes, &format!("This permanently deletes {}", counted(ids.len(), "quarantined document")))?;
            print_review(connection, &client, &base, &review(&ids, &commits, DecisionWord::Reject, note))
        }
    }
}

fn id_list(ids: &[DocumentId]) -> IdList {
    ids.iter().cloned().map(Parsed).collect()
}

fn row(document: &ShownDocument) -> [String; 7] {
    match document {
        ShownDocument::Whole(d) => [
            d.id.cell(),
            d.status.cell(),
            d.passages.cell(),
            d.commit.0.cell(),
            d.readers.cell(),
            d.updated_at.cell(),
            d.title.cell(),
        ],
        ShownDocument::Withheld(d) => {
            let none = || "-".to_owned();
            [d.id.cell(), d.status.cell(), none(), none(), none(), none(), none()]
        }
    }
}

fn counted(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// The commit of each of these documents: as given, or as it is now; 0 if the key sees no document with the id.
fn reviewed_commits(client: &Client, base: &str, ids: &[DocumentId], given: Vec<u64>) -> Result<Vec<u64>> {
    if given.len() == ids.len() {
        return Ok(given);
    }
    if !given.is_empty() {
        bail!("{} for {}: give one --commit per id", counted(given.len(), "commit"), counted(ids.len(), "id"));
    }
    // An id may name several documents, so all of them are listed.
    let request =
        DocumentList { ids: Some(id_list(ids)), include: Some(BoundedList(Vec::new())), ..DocumentList::default() };
    let found = list_all(client, base, request, usize::MAX)?;
    ids.iter().map(|id| commit_of(&found.documents, id.as_str())).collect()
}

/// The commit of the quarantined document with this id, otherwise that of another document with it, otherwise 0.
fn commit_of(documents: &[ShownDocument], id: &str) -> Result<u64> {
    let state = |document: &ShownDocument| match document {
        ShownDocument::Whole(d) => (d.id == id).then_some((d.status == "quarantined", d.commit.0)),
        ShownDocument::Withheld(d) => (d.id == id).then_some((d.status == "quarantined", 0)),
    };
    let candidates: Vec<(bool, u64)> = documents.iter().filter_map(state).collect();
    let quarantined: Vec<u64> = candidates.iter().filter(|(held, _)| *held).map(|(_, commit)| *commit).collect();
    if quarantined.len() > 1 {
        bail!(
            "{} quarantined documents have the id {id}: name the one that was reviewed with --commit",
            quarantined.len()
        );
    }
    Ok(quarantined.first().copied().or(candidates.first().map(|(_, commit)| *commit)).unwrap_or(0))
}

fn review(ids: &[DocumentId], commits: &[u64], decision: DecisionWord, note: Option<String>) -> Review {
    let entry = |(id, commit): (&DocumentId, &u64)| {
        let id = id.as_str().to_owned();
        ReviewEntry(ReviewedDocument { id, commit: Some(*commit), content_hash: None })
    };
    Review { documents: ids.iter().zip(commits).map(entry).collect(), decision, note }
}

/// Sends a review and prints the result of each document. The command fails if a document was not in quarantine, or has changed since it
/// was reviewed.
fn print_review(connection: &ConnectionArgs, client: &Client, base: &str, review: &Review) -> Result<()> {
    let reply: ReviewResults = client.send("POST", &format!("{base}/review"), review)?;
    let results = &reply.results;
    connection.print(&reply, |_| table(["id", "status"], results.iter().map(|r| [r.id.cell(), r.status.cell()])))?;
    match results.iter().filter(|r| !matches!(&*r.status, "released" | "rejected")).count() {
        0 => Ok(()),
        n => {
            bail!("{n} of {} documents were not in quarantine, or have changed since they were reviewed", results.len())
        }
    }
}

/// Reads pages of a list, up to `limit` documents, and returns them as one reply.
fn list_all(client: &Client, base: &str, mut request: DocumentList, limit: usize) -> Result<DocumentPage> {
    let mut documents = Vec::new();
    loop {
        request.limit = Some((limit - documents.len()).min(kernel::limits::LIST_LIMIT_MAX));
        let mut page: DocumentPage = client.send("POST", &format!("{base}/list"), &request)?;
        documents.append(&mut page.documents);
        if documents.len() >= limit || page.next.is_none() {
            return Ok(DocumentPage { documents, ..page });
        }
        request.after = page.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_applies_to_the_quarantined_document_with_the_id() {
        let document = |id, status, commit| {
            let document = json!({"id": id, "status": status, "commit": commit, "passages": 1, "findings": [],
                "created_at": "", "updated_at": ""});
            serde_json::from_value::<ShownDocument>(document).expect("a document")
        };
        let mut documents =
            vec![document("a", "indexed", 1), document("a", "quarantined", 2), document("b", "indexed", 3)];
        let commits = ["a", "b", "c"].map(|id| commit_of(&documents, id).expect("at most one"));
        assert_eq!(commits, [2, 3, 0]);
        documents.push(document("a", "quarantined", 4));
        let message = commit_of(&documents, "a").expect_err("ambiguous").to_string();
        assert!(message.contains("--commit"), "{message}");
    }
}
