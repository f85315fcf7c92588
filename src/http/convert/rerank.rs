//! Reranking in a request and in `explain`.

use super::Convert;
use api::rerank::{RerankAsk, RerankBody, RerankExplain};
use engine::{Rerank, RerankReport};

/// The engine checks the members.
impl Convert<Option<Rerank>> for RerankBody {
    fn convert(self) -> Option<Rerank> {
        match self {
            Self::Switch(false) => None,
            Self::Switch(true) => Some(Rerank::default()),
            Self::Asked(RerankAsk { model, depth }) => Some(Rerank { model, depth }),
        }
    }
}

impl Convert<RerankExplain> for RerankReport {
    fn convert(self) -> RerankExplain {
        let RerankReport { model, method, candidates } = self;
        RerankExplain { model, method: method.into(), candidates }
    }
}
