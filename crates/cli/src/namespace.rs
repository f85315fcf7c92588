//! `ringfence namespace`: a tenant's namespaces.

use super::{
    connection::{ConnectionArgs, pages},
    output::{Cell, confirm, members, table},
};
use anyhow::Result;
use api::{
    common::{Deleted, word},
    namespaces::{
        ActionWord, ChunkingBody, DistanceWord, EmbeddingBody, NamespaceInfo, NamespaceList, NamespacePut,
        RetentionBody, ScreeningBody, TextBody,
    },
};
use clap::{Args, Subcommand};

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
    #[arg(long, value_parser = word::<DistanceWord>)]
    distance: Option<DistanceWord>,
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
    #[arg(long, value_parser = word::<ActionWord>)]
    injection: Option<ActionWord>,
    /// Action on personal data.
    #[arg(long, value_parser = word::<ActionWord>)]
    pii: Option<ActionWord>,
    /// Action on credentials.
    #[arg(long, value_parser = word::<ActionWord>)]
    secret: Option<ActionWord>,
    /// Number of days after a document was first stored until it is deleted; later writes do not extend them.
    #[arg(long)]
    retention_days: Option<u32>,
    /// Whether documents must name their readers. If so, documents without readers are open only to keys with read_all.
    #[arg(long)]
    require_readers: Option<bool>,
}

impl SettingsArgs {
    fn put(self) -> NamespacePut {
        let embedding = EmbeddingBody { model: self.model, dimensions: self.dimensions };
        let actions = [self.injection, self.pii, self.secret];
        let [injection, pii, secret] = actions;
        NamespacePut {
            embedding: (embedding.model.is_some() || embedding.dimensions.is_some()).then_some(embedding),
            distance: self.distance,
            chunking: self
                .max_tokens
                .map(|max_tokens| ChunkingBody { max_tokens, overlap_tokens: self.overlap_tokens }),
            text: self.language.map(|language| TextBody { language }),
            screening: actions.iter().any(Option::is_some).then_some(ScreeningBody { injection, pii, secret }),
            retention: self.retention_days.map(|days| RetentionBody { days: Some(Some(days)), original: None }),
            require_readers: self.require_readers,
        }
    }
}

pub(crate) fn run(command: NamespaceCommand, connection: &ConnectionArgs) -> Result<()> {
    let client = connection.data()?;
    let of = |name: &str| format!("/v1/namespaces/{}", client::encode(name));
    match command {
        NamespaceCommand::Create { namespace, settings } => {
            connection.print(&client.send::<NamespaceInfo>("PUT", &of(&namespace), &settings.put())?, members)
        }
        NamespaceCommand::List => {
            let columns = ["name", "documents", "passages", "bytes", "created_at"];
            let list = pages(&client, "/v1/namespaces", |page: NamespaceList| (page.namespaces, page.next))?;
            connection.print(&list, |list| {
                let row = |n: &NamespaceInfo| {
                    [n.name.cell(), n.documents.cell(), n.passages.cell(), n.bytes.cell(), n.created_at.cell()]
                };
                table(columns, list.iter().map(row))
            })
        }
        NamespaceCommand::Show { namespace } => {
            connection.print(&client.call::<NamespaceInfo>("GET", &of(&namespace))?, members)
        }
        NamespaceCommand::Delete { namespace, yes } => {
            confirm(yes, &format!("This permanently deletes the namespace {namespace} with all its documents"))?;
            connection.print(&client.call::<Deleted>("DELETE", &of(&namespace))?, members)
        }
    }
}
