//! `ringfence namespace`: a tenant's namespaces.

use super::remote::{Remote, confirm, members, pages, table};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum Namespace {
    /// Create a namespace, or change one: what is not named stays.
    Create {
        namespace: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// List namespaces.
    List,
    /// Show one.
    Show { namespace: String },
    /// Delete one with all its documents; its key is destroyed first.
    Delete {
        namespace: String,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
}

/// What can be set.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Embedding model, one that the server has.
    #[arg(long, conflicts_with = "dimensions")]
    model: Option<String>,
    /// Length of the callers' own vectors.
    #[arg(long)]
    dimensions: Option<u32>,
    /// cosine, dot or euclidean.
    #[arg(long)]
    distance: Option<String>,
    /// Longest passage, in the model's tokens.
    #[arg(long, requires = "overlap_tokens")]
    max_tokens: Option<u32>,
    /// Tokens repeated from the passage before.
    #[arg(long, requires = "max_tokens")]
    overlap_tokens: Option<u32>,
    /// Language whose rules bring words to their stems (english, german, …), or plain.
    #[arg(long)]
    language: Option<String>,
    /// What is done with prompt injection: allow, tag, mask, quarantine or reject.
    #[arg(long)]
    injection: Option<String>,
    /// What is done with personal data.
    #[arg(long)]
    pii: Option<String>,
    /// What is done with credentials.
    #[arg(long)]
    secret: Option<String>,
    /// Days from when a document was first stored until it is deleted; later writes do not extend them.
    #[arg(long)]
    retention_days: Option<u32>,
    /// Whether documents must name their readers. If so, documents without readers are open to keys with read_all only.
    #[arg(long)]
    require_readers: Option<bool>,
}

impl Settings {
    fn json(self) -> Value {
        let mut body = json!({});
        match (self.model, self.dimensions) {
            (Some(model), _) => body["embedding"] = json!({"model": model}),
            (None, Some(dimensions)) => body["embedding"] = json!({"dimensions": dimensions}),
            (None, None) => {}
        }
        if let Some(distance) = self.distance {
            body["distance"] = distance.into();
        }
        if let (Some(max), Some(overlap)) = (self.max_tokens, self.overlap_tokens) {
            body["chunking"] = json!({"max_tokens": max, "overlap_tokens": overlap});
        }
        if let Some(language) = self.language {
            body["text"] = json!({"language": language});
        }
        let screens = [("injection", self.injection), ("pii", self.pii), ("secret", self.secret)];
        let screens: Map<String, Value> =
            screens.into_iter().filter_map(|(name, action)| Some((name.to_owned(), action?.into()))).collect();
        if !screens.is_empty() {
            body["screening"] = screens.into();
        }
        if let Some(days) = self.retention_days {
            body["retention"] = json!({"days": days});
        }
        if let Some(require) = self.require_readers {
            body["require_readers"] = require.into();
        }
        body
    }
}

pub(crate) fn run(command: Namespace, remote: &Remote) -> Result<()> {
    let client = remote.data()?;
    let of = |name: &str| format!("/v1/namespaces/{}", client::encode(name));
    match command {
        Namespace::Create { namespace, settings } => {
            remote.print(&client.call("PUT", &of(&namespace), Some(&settings.json()))?, members)
        }
        Namespace::List => {
            let columns = ["name", "documents", "passages", "bytes", "created_at"];
            remote.print(&pages(&client, "/v1/namespaces", "namespaces")?, |v| table(v, &columns))
        }
        Namespace::Show { namespace } => remote.print(&client.call("GET", &of(&namespace), None)?, members),
        Namespace::Delete { namespace, yes } => {
            confirm(yes, &format!("This deletes the namespace {namespace} with all its documents for good"))?;
            remote.print(&client.call("DELETE", &of(&namespace), None)?, members)
        }
    }
}
