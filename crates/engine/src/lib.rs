//! engine: the flows. One file each: a newcomer follows a route from `src/http/routes.rs` to one
//! of these and from here straight down to the disk.
//!
//! Every data-plane flow consumes its grant and gives back an [`ledger::Audited`] reply or error;
//! every control-plane flow writes its audit line before its effect.

mod answer;
mod config;
mod context;
mod control;
mod cost;
mod diversify;
mod documents;
mod embed;
mod engine;
mod eraser;
mod fetch;
mod fuse;
mod ingest;
mod key_watch;
mod me;
mod namespaces;
mod ownership;
mod patience;
mod phrases;
mod query;
mod recall;
mod reencrypt;
mod reply_size;
mod rerank;
mod rotate;
mod search;
mod turnstile;
mod work;

pub use answer::{
    DeleteReply, Deleted, Diversity, DocumentPage, DocumentReply, DocumentResult, Explain, Flow, Fused, Fusion,
    FusionMethod, Hit, Include, IngestReply, IngestRequest, ListRequest, MinScores, Mode, Page, Paged, PatchReply,
    PatchRequest, Permitted, Phrases, RawDocuments, Rerank, Reranked, ResultStatus, ReviewReply, ReviewRequest, Scores,
    SearchReply, SearchRequest, SegmentSearch, Signals, Weights,
};
pub use config::EngineConfig;
pub use context::{ContextReply, ContextRequest, Rendering, Source};
pub use control::{RotateMode, Usage};
pub use engine::{Engine, Health};
pub use eraser::ErasureHealth;
pub use intake::{Body, RawDocument, RawPatch, UnreadFormat, unread_ending, unread_format};
pub use ledger::Audited;
pub use me::{AuditQuery, AuditReply, TenantUsage, Whoami};
pub use namespaces::{EmbeddingAsk, NamespaceChange, NamespaceView};
pub use recall::{Probe, RecallReply, RecallRequest};
pub use registry::{
    Campaign, Certificate, KeyChoice, KeyState, KeyStatus, KeyView, NewKey, NewTenant, OperationView, OperatorView,
    ProviderHealth, ServerKeys, SignedHead, TenantChange, TenantView,
};
pub use store::{Decision, OnConflict, PageEnd, Quarantine, Reviewed, ReviewedState, Selection};
pub use turnstile::Pass;
pub use vault::KeyTrouble;
