//! Wire types of namespaces.

use super::common::{Commit, nullable};
use crate::http::request_data::RequestBody;
use engine::{EmbeddingChoice, ListPage, NamespaceChange, NamespaceView};
use kernel::{Error, ScreenAction};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A namespace's settings. Absent members keep their value.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"embedding": {"model": "all-MiniLM-L6-v2"}, "distance": "cosine", "screening": {"injection": "quarantine"}}))]
pub(crate) struct NamespacePut {
    /// Source of the vectors; fixed once the namespace holds documents.
    embedding: Option<EmbeddingBody>,
    /// How vectors are compared; fixed once the namespace holds documents.
    distance: Option<DistanceWord>,
    /// How text is divided into passages; fixed once the namespace holds documents.
    chunking: Option<ChunkingBody>,
    /// How words are compared; fixed once the namespace holds documents.
    text: Option<TextBody>,
    /// Actions on findings.
    screening: Option<ScreeningBody>,
    /// Retention of documents.
    retention: Option<RetentionBody>,
    /// Whether every document must name its readers. If so, documents without readers, including older ones, are open
    /// only to keys with `read_all`.
    require_readers: Option<bool>,
}

/// A model of the server, or the length of callers' own vectors.
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

/// How text is divided into passages, in the model's tokens.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChunkingBody {
    /// Maximum length of a passage, 16 to 8192.
    max_tokens: u32,
    /// Number of tokens repeated from the previous passage; at most half of `max_tokens`. Absent: 32, or half of
    /// `max_tokens` if that is less.
    overlap_tokens: Option<u32>,
}

/// How words are compared.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TextBody {
    /// Language whose rules reduce words to their stems: `english` (the default), `arabic`, `danish`, `dutch`,
    /// `finnish`, `french`, `german`, `greek`, `hungarian`, `italian`, `norwegian`, `portuguese`, `romanian`,
    /// `russian`, `spanish`, `swedish`, `tamil`, `turkish`; or `plain` for words as they are written. Chinese,
    /// Japanese, Korean and Thai text can be found with any of them.
    language: String,
}

/// Action on each kind of finding. New namespaces quarantine `injection`, and tag `pii` and `secret`.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScreeningBody {
    injection: Option<ActionWord>,
    pii: Option<ActionWord>,
    secret: Option<ActionWord>,
}

/// `allow`: no action, and not recorded. `tag`: recorded with the document. `mask`: replaced in the stored text.
/// `quarantine`: stored, but in no answer until it is reviewed. `reject`: not stored.
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

/// Retention of documents.
#[derive(Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetentionBody {
    /// Number of days after a document was first stored until it is deleted; no later write or patch extends them. A
    /// lower number also applies to stored documents. Null: documents written from now on are not deleted by age.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>)]
    days: Option<Option<u32>>,
    /// `keep` is the only value: the text is kept as long as its document.
    original: Option<String>,
}

impl RequestBody for NamespacePut {
    type Checked = NamespaceChange;

    fn check(self) -> Result<NamespaceChange, Error> {
        let screening = self.screening.unwrap_or(ScreeningBody { injection: None, pii: None, secret: None });
        let retention = self.retention.unwrap_or(RetentionBody { days: None, original: None });
        if retention.original.is_some_and(|word| word != KEEP) {
            let remedy = "can only be 'keep', because searches return passages, which hold the text; set \
                          'retention.days' or delete documents";
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

fn embedding(body: EmbeddingBody) -> Result<EmbeddingChoice, Error> {
    match (body.model, body.dimensions) {
        (Some(model), None) => Ok(EmbeddingChoice::Model(model)),
        (None, Some(dimensions)) => Ok(EmbeddingChoice::Dimensions(dimensions)),
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
    /// Null until the first document determines it.
    embedding: Option<EmbeddingBody>,
    distance: DistanceWord,
    chunking: ChunkingBody,
    text: TextBody,
    screening: ScreeningBody,
    retention: RetentionBody,
    require_readers: bool,
    created_at: String,
    /// Number of documents that the key sees, including quarantined ones.
    documents: u64,
    /// Number of their passages.
    passages: u64,
    /// Bytes of the documents that the key sees, with everything that they hold: ids, titles, addresses, attributes,
    /// readers, findings, text and vectors. Indexes are not counted.
    bytes: u64,
    /// Number of these documents that wait for a review.
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
    /// Value of `after` for the next page. Null on the last page.
    next: Option<String>,
}

impl From<ListPage<NamespaceView>> for NamespaceList {
    fn from(page: ListPage<NamespaceView>) -> Self {
        Self { namespaces: page.items.into_iter().map(Namespace::from).collect(), next: page.next }
    }
}
