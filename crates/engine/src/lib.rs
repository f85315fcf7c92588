//! engine: the flows, one file each. Each route in `src/http/routes.rs` leads to one of them, and from there straight
//! down to the disk.
//!
//! Every data-plane flow consumes its grant and returns an [`ledger::Audited`] reply or error; every control-plane flow
//! writes its audit record before its effect.

mod account;
mod admission;
mod config;
mod context;
mod control;
mod cost;
mod diversify;
mod documents;
mod embed;
mod engine;
mod fetch;
mod fuse;
mod ingest;
mod key_watch;
mod namespaces;
mod ownership;
mod phrases;
mod query;
mod recall;
mod reencrypt;
mod reply_size;
mod rerank;
mod retry;
mod rotate;
mod search;
mod sweeper;
mod types;
mod work;

pub use account::{AuditQuery, AuditReply, TenantUsageReport, WhoamiReply};
pub use admission::Permit;
pub use config::EngineConfig;
pub use context::{ContextReply, ContextRequest, ContextSource, Rendering};
pub use control::{RotateMode, UsageCounters};
pub use engine::{Engine, EngineHealth};
pub use intake::{RawBody, RawDocument, RawPatch, UnsupportedFormat, unsupported_extension, unsupported_format};
pub use ledger::Audited;
pub use namespaces::{EmbeddingChoice, NamespaceChange, NamespaceView};
pub use recall::{RecallProbe, RecallReply, RecallRequest};
pub use registry::{
    ApiKeyView, BulkRotation, Certificate, KeyChoice, KeyState, KeyStatus, NewApiKey, NewTenant, OperationView,
    OperatorView, ProviderHealth, ServerKeys, SignedHead, TenantChange, TenantView,
};
pub use store::{Decision, OnConflict, PageEnd, Quarantine, Reviewed, ReviewedState, Selection};
pub use sweeper::ErasureHealth;
pub use types::{
    DeleteReply, Diversity, DocumentListReply, DocumentOutcome, DocumentReply, FlowResult, Fusion, FusionMethod,
    FusionReport, FusionSignals, FusionWeights, HitScores, Include, IngestReply, IngestRequest, ListPage, ListRequest,
    MinScores, Mode, NamespaceDeleted, PageRequest, PatchReply, PatchRequest, Phrases, RawDocuments, Rerank,
    RerankReport, ResultStatus, ReviewReply, ReviewRequest, SearchExplanation, SearchHit, SearchReply, SearchRequest,
    SegmentSearch, WithPermit,
};
pub use vault::KeyFailure;
