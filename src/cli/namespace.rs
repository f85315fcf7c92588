//! `ringfence namespace`: a tenant's namespaces.

use super::{
    connection::{ConnectionArgs, pages},
    output::{confirm, members, table},
};
use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

#[derive(Debug, Subcommand)]
pub(super) enum NamespaceCommand {
    /// Create a namespace, or change one: settings that are not given stay unchanged.
    Create {
        namespace: String,
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// List namespaces.
    List,
    /// Show a namespace.
    Show { namespace: String },
    /// Delete a namespace with all its documents; its key is destroyed first.
    Delete {
        namespace: String,
        /// Do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

/// Settings of a namespace.
#[derive(Debug, Args)]
pub(super) struct SettingsArgs {
    /// Embedding model, one that the server has.
    #[arg(long, conflicts_with = "dimensions")]
    model: Option<String>,
    /// Length of callers' own vectors.
    #[arg(long)]
    dimensions: Option<u32>,
    /// How vectors are compared: cosine, dot or euclidean.
    #[arg(long)]
    distance: Option<String>,
    /// Maximum length of a passage, in the model's tokens.
    #[arg(long, requires = "overlap_tokens")]
    max_tokens: Option<u32>,
    /// Number of tokens repeated from the previous passage.
    #[arg(long, requires = "max_tokens")]
    overlap_tokens: Option<u32>,
    /// Language whose rules reduce words to their stems (english, german, …), or plain.
    #[arg(long)]
    language: Option<String>,
    /// Action on prompt injection: allow, tag, mask, quarantine or reject.
    #[arg(long)]
    injection: Option<String>,
    /// Action on personal data.
    #[arg(long)]
    pii: Option<String>,
    /// Action on credentials.
    #[arg(long)]
    secret: Option<String>,
    /// Number of days after a document was first stored until it is deleted; later writes do not extend them.
    #[arg(long)]
    retention_days: Option<u32>,
    /// Whether documents must name their readers. If so, documents without readers are open only to keys with read_all.
    #[arg(long)]
    require_readers: Option<bool>,
}

impl SettingsArgs {
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

pub(crate) fn run(command: NamespaceCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.data()?;
    let of = |name: &str| format!("/v1/namespaces/{}", client::encode(name));
    match command {
        NamespaceCommand::Create { namespace, settings } => {
            connection.print(&client.call("PUT", &of(&namespace), Some(&settings.json()))?, members)
        }
        NamespaceCommand::List => {
            let columns = ["name", "documents", "passages", "bytes", "created_at"];
            connection.print(&pages(&client, "/v1/namespaces", "namespaces")?, |v| table(v, &columns))
        }
        NamespaceCommand::Show { namespace } => connection.print(&client.call("GET", &of(&namespace), None)?, members),
        NamespaceCommand::Delete { namespace, yes } => {
            confirm(yes, &format!("This permanently deletes the namespace {namespace} with all its documents"))?;
            connection.print(&client.call("DELETE", &of(&namespace), None)?, members)
        }
    }
}
