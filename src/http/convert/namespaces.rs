//! Namespaces.

use super::Convert;
use crate::http::request_data::RequestBody;
use api::namespaces::{
    ActionWord, ChunkingBody, DistanceWord, EmbeddingBody, NamespaceInfo, NamespaceList, NamespacePut, RetentionBody,
    ScreeningBody, TextBody,
};
use engine::{EmbeddingChoice, ListPage, NamespaceChange, NamespaceView};
use kernel::{Error, ScreenAction};

/// The only value of `retention.original`.
const KEEP: &str = "keep";

impl RequestBody for NamespacePut {
    type Checked = NamespaceChange;

    fn check(self) -> Result<NamespaceChange, Error> {
        let screening = self.screening.unwrap_or_default();
        let retention = self.retention.unwrap_or_default();
        if retention.original.is_some_and(|word| word != KEEP) {
            let remedy = "can only be 'keep', because searches return passages, which hold the text; set \
                          'retention.days' or delete documents";
            return Err(Error::invalid("retention.original", remedy));
        }
        Ok(NamespaceChange {
            embedding: self.embedding.map(embedding).transpose()?,
            distance: self.distance.map(Convert::convert),
            chunking: self.chunking.map(|c| kernel::Chunking {
                max_tokens: c.max_tokens,
                overlap_tokens: c
                    .overlap_tokens
                    .unwrap_or(kernel::Chunking::default().overlap_tokens.min(c.max_tokens / 2)),
            }),
            language: self.text.map(|text| kernel::Language::parse(&text.language)).transpose()?,
            injection: screening.injection.map(Convert::convert),
            pii: screening.pii.map(Convert::convert),
            secret: screening.secret.map(Convert::convert),
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

impl Convert<kernel::Distance> for DistanceWord {
    fn convert(self) -> kernel::Distance {
        match self {
            DistanceWord::Cosine => kernel::Distance::Cosine,
            DistanceWord::Dot => kernel::Distance::Dot,
            DistanceWord::Euclidean => kernel::Distance::Euclidean,
        }
    }
}

impl Convert<DistanceWord> for kernel::Distance {
    fn convert(self) -> DistanceWord {
        match self {
            kernel::Distance::Cosine => DistanceWord::Cosine,
            kernel::Distance::Dot => DistanceWord::Dot,
            kernel::Distance::Euclidean => DistanceWord::Euclidean,
        }
    }
}

impl Convert<ScreenAction> for ActionWord {
    fn convert(self) -> ScreenAction {
        match self {
            ActionWord::Allow => ScreenAction::Allow,
            ActionWord::Tag => ScreenAction::Tag,
            ActionWord::Mask => ScreenAction::Mask,
            ActionWord::Quarantine => ScreenAction::Quarantine,
            ActionWord::Reject => ScreenAction::Reject,
        }
    }
}

impl Convert<ActionWord> for ScreenAction {
    fn convert(self) -> ActionWord {
        match self {
            ScreenAction::Allow => ActionWord::Allow,
            ScreenAction::Tag => ActionWord::Tag,
            ScreenAction::Mask => ActionWord::Mask,
            ScreenAction::Quarantine => ActionWord::Quarantine,
            ScreenAction::Reject => ActionWord::Reject,
        }
    }
}

impl Convert<NamespaceInfo> for NamespaceView {
    fn convert(self) -> NamespaceInfo {
        let s = self.settings;
        NamespaceInfo {
            name: self.name.as_str().to_owned(),
            embedding: match s.embedding {
                kernel::Embedding::Default => None,
                kernel::Embedding::Model { name, dimensions } => {
                    Some(EmbeddingBody { model: Some(name), dimensions: Some(dimensions) })
                }
                kernel::Embedding::Own { dimensions } => {
                    Some(EmbeddingBody { model: None, dimensions: Some(dimensions) })
                }
            },
            distance: s.distance.convert(),
            chunking: ChunkingBody {
                max_tokens: s.chunking.max_tokens,
                overlap_tokens: Some(s.chunking.overlap_tokens),
            },
            text: TextBody { language: s.language.as_str().to_owned() },
            screening: ScreeningBody {
                injection: Some(s.screening.injection.convert()),
                pii: Some(s.screening.pii.convert()),
                secret: Some(s.screening.secret.convert()),
            },
            retention: RetentionBody { days: Some(s.retention.days), original: Some(KEEP.to_owned()) },
            require_readers: s.require_readers,
            created_at: self.created_at.to_string(),
            documents: self.documents,
            passages: self.passages,
            bytes: self.bytes,
            quarantined: self.quarantined,
            commit: self.commit.convert(),
            key_epoch: self.key_epoch.0,
        }
    }
}

impl Convert<NamespaceList> for ListPage<NamespaceView> {
    fn convert(self) -> NamespaceList {
        NamespaceList { namespaces: self.items.into_iter().map(Convert::convert).collect(), next: self.next }
    }
}
