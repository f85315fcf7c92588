//! kernel: the types that all crates share.
//!
//! It holds names, numbers with units, limits, time, entropy, untrusted text, filters and the shape of a document. It
//! does no I/O: access to the outside world (clock, entropy) is a trait whose implementation callers pass in.

mod attributes;
mod blocking;
mod byte_reader;
mod cancel;
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
mod retry;
mod rfc3339;
mod settings;
mod stack;
mod traits;
mod turns;
mod untrusted;

pub use attributes::{AttrValue, Attributes, Scalar, heap_bytes as attributes_heap_bytes};
pub use blocking::{PoolHooks, blocking, set_pool_hooks, yield_to_others};
pub use byte_reader::{ByteReader, MalformedBytes};
pub use cancel::{CancelFlag, DropGuard};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use discard::DeferredDrop;
pub use document::{Audience, Document, Finding, FindingKind, Passage, ReadersRule, Severity, Span, Status};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use error::{Code, Error, Result};
pub use filter::{
    Column, Comparison, CompiledFilter, DocumentView, Field, Filter, FilterValue, Leaf, MatchWords, Matcher, Node,
};
pub use fold::{Folded, Folding, folded, is_ignorable};
pub use ids::{
    CommitNo, DocumentId, Incarnation, KeyEpoch, KeyId, LogEpoch, NamespaceName, NamespaceUuid, ObjectUuid,
    OperationId, OperatorName, Principal, RequestId, TenantId,
};
pub use interrupt::{Interrupt, Interrupted, STEPS_BETWEEN_CHECKS, checkpoint};
pub use number::Number;
pub use plaintext::Plaintext;
pub use retry::{Pauses, RetryPolicy};
pub use rfc3339::Instant;
pub use settings::{
    Chunking, Distance, Embedding, Language, NamespaceSettings, Quotas, Retention, Role, Scope, ScreenAction, Screening,
};
pub use stack::{request_stack_wipes, wipe_stack, wipe_stack_if_requested};
pub use traits::{
    AuditOutboxRecord, AuditPosition, AuditSink, BoxFuture, Pseudonymiser, ReadAt, TokenSpan, Tokens, WriteMemory,
    WritePermit,
};
pub use turns::Turns;
pub use untrusted::{Untrusted, json_bytes};

/// A decoder that tests feed with mutated bytes: its name, inputs that it accepts, and the decoder, which must not
/// panic.
#[doc(hidden)]
pub type FuzzTarget = (&'static str, fn() -> Vec<Vec<u8>>, fn(&[u8]));
