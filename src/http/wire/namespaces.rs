//! Namespaces on the wire.

use super::common::{Commit, nullable};
use crate::http::call::Incoming;
use engine::{EmbeddingAsk, NamespaceChange, NamespaceView, Paged};
use kernel::{Error, ScreenAction};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A namespace's settings. Absent members keep their value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"embedding": {"model": "all-MiniLM-L6-v2"}, "distance": "cosine", "screening": {"injection": "quarantine"}}))]
pub(crate) struct NamespacePut {
    /// Where vectors come from; fixed once the namespace holds documents.
    embedding: Option<EmbeddingBody>,
    /// How vectors are compared; fixed once the namespace holds documents.
    distance: Option<DistanceWord>,
    /// How text is cut; fixed once the namespace holds documents.
    chunking: Option<ChunkingBody>,
    /// How words are compared; fixed once the namespace holds documents.
    text: Option<TextBody>,
    /// What is done with findings.
    screening: Option<ScreeningBody>,
    /// How long documents are kept.
    retention: Option<RetentionBody>,
    /// Whether every document must name its readers. Where it is on, documents without readers, older ones included,
    /// are open to keys with `read_all` only.
    require_readers: Option<bool>,
}

/// A model of the server's, or the length of the callers' own vectors.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbeddingBody {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<u32>,
}

/// How vectors are compared.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DistanceWord {
    Cosine,
    Dot,
    Euclidean,
}

/// How text is cut into passages, in the model's tokens.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChunkingBody {
    /// Longest passage, 16 to 8192.
    max_tokens: u32,
    /// Tokens repeated from the previous passage; at most half of `max_tokens`. Absent: 32, or half if that is less.
    overlap_tokens: Option<u32>,
}

/// How words are compared.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextBody {
    /// By whose rules words are brought to their stems: `english` (the default), `arabic`, `danish`, `dutch`, `finnish`,
    /// `french`, `german`, `greek`, `hungarian`, `italian`, `norwegian`, `portuguese`, `romanian`, `russian`, `spanish`,
    /// `swedish`, `tamil`, `turkish`; or `plain`, as they are written. Chinese, Japanese, Korean and Thai are found under
    /// any of them.
    language: String,
}

/// What is done with each kind of finding. New namespaces quarantine `injection`, and tag `pii` and `secret`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScreeningBody {
    injection: Option<ActionWord>,
    pii: Option<ActionWord>,
    secret: Option<ActionWord>,
}

/// `allow`: nothing, and not recorded. `tag`: recorded with the document. `mask`: replaced in the stored text.
/// `quarantine`: stored, and in no answer until it is reviewed. `reject`: not stored.
#[derive(Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActionWord {
    Allow,
    Tag,
    Mask,
    Quarantine,
    Reject,
}

/// The only value of `retention.original`.
const KEEP: &str = "keep";

/// How long documents are kept.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionBody {
    /// Days from when a document was first stored; no later write or patch extends them. A lower number also applies to
    /// stored documents. Null: documents written from now on have no such end.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    days: Option<Option<u32>>,
    /// `keep` is the only value: the text is kept as long as its document.
    original: Option<String>,
}

impl Incoming for NamespacePut {
    type Checked = NamespaceChange;

    fn check(self) -> Result<NamespaceChange, Error> {
        let screening = self.screening.unwrap_or(ScreeningBody { injection: None, pii: None, secret: None });
        let retention = self.retention.unwrap_or(RetentionBody { days: None, original: None });
        if retention.original.is_some_and(|word| word != KEEP) {
            let remedy = "can only be 'keep': searches answer with passages, which hold the text; limit 'retention.days' or delete documents";
            return Err(Error::invalid("retention.original", remedy));
        }
        Ok(NamespaceChange {
            embedding: self.embedding.map(embedding).transpose()?,
            distance: self.distance.map(kernel::Distance::from),
            chunking: self.chunking.map(|c| kernel::Chunking {
                max_tokens: c.max_tokens,
                overlap_tokens: c
                    .overlap_tokens
                    .unwrap_or(kernel::Chunking::default().overlap_tokens.min(c.max_tokens / 2)),
            }),
            language: self.text.map(|text| kernel::Language::parse(&text.language)).transpose()?,
            injection: screening.injection.map(ScreenAction::from),
            pii: screening.pii.map(ScreenAction::from),
            secret: screening.secret.map(ScreenAction::from),
            retention_days: retention.days,
            require_readers: self.require_readers,
        })
    }
}

fn embedding(body: EmbeddingBody) -> Result<EmbeddingAsk, Error> {
    match (body.model, body.dimensions) {
        (Some(model), None) => Ok(EmbeddingAsk::Model(model)),
        (None, Some(dimensions)) => Ok(EmbeddingAsk::Dimensions(dimensions)),
        _ => Err(Error::invalid("embedding", "must have exactly one of 'model' and 'dimensions'")),
    }
}

impl From<DistanceWord> for kernel::Distance {
    fn from(word: DistanceWord) -> Self {
        match word {
            DistanceWord::Cosine => Self::Cosine,
            DistanceWord::Dot => Self::Dot,
            DistanceWord::Euclidean => Self::Euclidean,
        }
    }
}

impl From<kernel::Distance> for DistanceWord {
    fn from(distance: kernel::Distance) -> Self {
        match distance {
            kernel::Distance::Cosine => Self::Cosine,
            kernel::Distance::Dot => Self::Dot,
            kernel::Distance::Euclidean => Self::Euclidean,
        }
    }
}

impl From<ActionWord> for ScreenAction {
    fn from(word: ActionWord) -> Self {
        match word {
            ActionWord::Allow => Self::Allow,
            ActionWord::Tag => Self::Tag,
            ActionWord::Mask => Self::Mask,
            ActionWord::Quarantine => Self::Quarantine,
            ActionWord::Reject => Self::Reject,
        }
    }
}

impl From<ScreenAction> for ActionWord {
    fn from(action: ScreenAction) -> Self {
        match action {
            ScreenAction::Allow => Self::Allow,
            ScreenAction::Tag => Self::Tag,
            ScreenAction::Mask => Self::Mask,
            ScreenAction::Quarantine => Self::Quarantine,
            ScreenAction::Reject => Self::Reject,
        }
    }
}

/// A namespace.
#[derive(Serialize, ToSchema)]
pub(crate) struct Namespace {
    name: String,
    /// Null until the first document decides.
    embedding: Option<EmbeddingBody>,
    distance: DistanceWord,
    chunking: ChunkingBody,
    text: TextBody,
    screening: ScreeningBody,
    retention: RetentionBody,
    require_readers: bool,
    created_at: String,
    /// Documents that the key sees, quarantined ones included.
    documents: u64,
    /// Their passages.
    passages: u64,
    /// Of the documents that the key sees, with all that they hold: ids, titles, addresses, attributes, readers,
    /// findings, text and vectors. Indexes are not counted.
    bytes: u64,
    /// Documents among them that wait for a review.
    quarantined: u64,
    commit: Commit,
    /// Epoch of the tenant key that wraps this namespace's keys.
    key_epoch: u32,
}

impl From<NamespaceView> for Namespace {
    fn from(view: NamespaceView) -> Self {
        let s = view.settings;
        Self {
            name: view.name.as_str().to_owned(),
            embedding: match s.embedding {
                kernel::Embedding::Default => None,
                kernel::Embedding::Model { name, dimensions } => {
                    Some(EmbeddingBody { model: Some(name), dimensions: Some(dimensions) })
                }
                kernel::Embedding::Own { dimensions } => {
                    Some(EmbeddingBody { model: None, dimensions: Some(dimensions) })
                }
            },
            distance: s.distance.into(),
            chunking: ChunkingBody {
                max_tokens: s.chunking.max_tokens,
                overlap_tokens: Some(s.chunking.overlap_tokens),
            },
            text: TextBody { language: s.language.as_str().to_owned() },
            screening: ScreeningBody {
                injection: Some(s.screening.injection.into()),
                pii: Some(s.screening.pii.into()),
                secret: Some(s.screening.secret.into()),
            },
            retention: RetentionBody { days: Some(s.retention.days), original: Some(KEEP.to_owned()) },
            require_readers: s.require_readers,
            created_at: view.created_at.to_string(),
            documents: view.documents,
            passages: view.passages,
            bytes: view.bytes,
            quarantined: view.quarantined,
            commit: view.commit.into(),
            key_epoch: view.key_epoch.0,
        }
    }
}

/// A page of namespaces.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamespaceList {
    namespaces: Vec<Namespace>,
    /// Give it as `after` for the next page. Null: this was the last.
    next: Option<String>,
}

impl From<Paged<NamespaceView>> for NamespaceList {
    fn from(page: Paged<NamespaceView>) -> Self {
        Self { namespaces: page.items.into_iter().map(Namespace::from).collect(), next: page.next }
    }
}
