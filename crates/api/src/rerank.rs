//! Reranking, in a request and in `explain`.

use serde::{Deserialize, Deserializer, Serialize, de};
use std::{borrow::Cow, fmt};
use utoipa::ToSchema;

/// Whether a model reranks the best candidates: `true` and `{}` use the server's defaults.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum RerankBody {
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
#[derive(Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RerankAsk {
    /// Name of a cross-encoder, or of a model with token vectors (late interaction). Absent: the server's
    /// `models.reranker`.
    pub model: Option<String>,
    /// Number of the best candidates that the model reads: `top_k` to 200. Absent: 50, or `top_k` if that is more.
    pub depth: Option<usize>,
}

/// How the candidates were reranked.
#[derive(Deserialize, Serialize, ToSchema)]
pub struct RerankExplain {
    pub model: String,
    /// Method: `cross_encoder` or `late_interaction`.
    pub method: Cow<'static, str>,
    /// Number of passages that the model read.
    pub candidates: usize,
}
