//! Reranking on the wire: what a request asks of it, and what `explain` says.

use engine::{Rerank, Reranked};
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

/// By hand: serde's derived code for an untagged enum buffers everything that is sent before it looks at it.
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
    /// A cross-encoder, or a model with token vectors (late interaction). Absent: the server's `models.reranker`.
    model: Option<String>,
    /// How many of the best candidates it reads: `top_k` to 200. Absent: 50, or `top_k` where that is more.
    depth: Option<usize>,
}

impl RerankBody {
    /// What the engine takes; the engine judges the members.
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
    /// `cross_encoder` or `late_interaction`.
    method: &'static str,
    /// Passages that the model read.
    candidates: usize,
}

impl From<Reranked> for RerankExplain {
    fn from(Reranked { model, method, candidates }: Reranked) -> Self {
        Self { model, method, candidates }
    }
}
