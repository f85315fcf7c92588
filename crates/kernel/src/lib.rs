//! kernel: the words that all floors share.
//!
//! Names, numbers with units, limits, time, entropy, untrusted text, filters and the shape of a
//! document. No I/O: what touches the world (clock, entropy) is a trait handed downward.

mod attributes;
mod blocking;
mod clock;
pub mod cost;
mod discard;
mod document;
mod entropy;
mod error;
mod filter;
mod fold;
mod ids;
mod interrupt;
pub mod limits;
mod number;
mod plaintext;
mod presence;
mod rfc3339;
mod settings;
mod stack;
mod traits;
mod untrusted;

pub use attributes::{AttrValue, Attributes, Scalar, heap_bytes as attributes_heap_bytes};
pub use blocking::{HandBack, blocking, give_way, on_blocking};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use discard::Discarded;
pub use document::{Audience, Document, Finding, FindingKind, Passage, ReadersRule, Severity, Span, Status};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use error::{Code, Error, Result};
pub use filter::{
    Column, Comparison, CompiledFilter, DocumentView, Field, Filter, Leaf, MatchWords, Matcher, Node, Wanted,
};
pub use fold::{Folded, Folding, folded, is_ignorable};
pub use ids::{
    CommitNo, DocumentId, Incarnation, KeyEpoch, KeyId, LogEpoch, NamespaceName, NamespaceUuid, ObjectUuid,
    OperationId, OperatorName, Principal, RequestId, TenantId,
};
pub use interrupt::{Interrupt, Interrupted, STEPS_BETWEEN_CHECKS, checkpoint};
pub use number::Number;
pub use plaintext::Plaintext;
pub use presence::{Presence, Watch};
pub use rfc3339::Instant;
pub use settings::{
    Action as ScreenAction, Chunking, Distance, Embedding, Language, NamespaceSettings, Quotas, Retention, Role, Scope,
    Screening,
};
pub use stack::{ask_to_wipe_stacks, wipe_stack, wipe_stack_if_asked};
pub use traits::{
    Absorbed, AuditMark, AuditSink, BoxFuture, Pseudonymiser, ReadAt, TokenSpan, Tokens, WriteMemory, WritePermit,
};
pub use untrusted::{Untrusted, json_bytes};
