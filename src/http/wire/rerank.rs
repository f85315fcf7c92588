//! Wire types of reranking in a request and in `explain`.

use engine::{Rerank, RerankReport};
use serde::{Deserialize, Deserializer, Serialize, de};
use std::fmt;
use utoipa::ToSchema;

/// Whether a model reranks the best candidates: `true` and `{}` use the server's defaults.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum RerankBody {
    Switch(bool),
    Asked(RerankAsk),
}

/// Written by hand, because serde's derived code for an untagged enum buffers the whole value before it examines it.
impl<'de> Deserialize<'de> for RerankBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> de::Visitor<'de> for Either {
            type Value = RerankBody;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or an object of `model` and `depth`")
            }

            fn visit_bool<E>(self, v: bool) -> Result<RerankBody, E> {
                Ok(RerankBody::Switch(v))
            }

            fn visit_map<A: de::MapAccess<'de>>(self, members: A) -> Result<RerankBody, A::Error> {
                RerankAsk::deserialize(de::value::MapAccessDeserializer::new(members)).map(RerankBody::Asked)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// How the best candidates are reranked.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RerankAsk {
    /// Name of a cross-encoder, or of a model with token vectors (late interaction). Absent: the server's
    /// `models.reranker`.
    model: Option<String>,
    /// Number of the best candidates that the model reads: `top_k` to 200. Absent: 50, or `top_k` if that is more.
    depth: Option<usize>,
}

impl RerankBody {
    /// Converts to the engine's type; the engine checks the members.
    pub(crate) fn rerank(self) -> Option<Rerank> {
        match self {
            Self::Switch(false) => None,
            Self::Switch(true) => Some(Rerank::default()),
            Self::Asked(RerankAsk { model, depth }) => Some(Rerank { model, depth }),
        }
    }
}

/// How the candidates were reranked.
#[derive(Serialize, ToSchema)]
pub(crate) struct RerankExplain {
    model: String,
    /// Method: `cross_encoder` or `late_interaction`.
    method: &'static str,
    /// Number of passages that the model read.
    candidates: usize,
}

impl From<RerankReport> for RerankExplain {
    fn from(RerankReport { model, method, candidates }: RerankReport) -> Self {
        Self { model, method, candidates }
    }
}
