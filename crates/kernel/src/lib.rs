//! kernel: the words that all floors share.
//!
//! Names, numbers with units, limits, time, entropy, untrusted text, filters and the shape of a
//! document. No I/O: what touches the world (clock, entropy) is a trait handed downward.

mod attributes;
mod clock;
mod document;
mod entropy;
mod error;
mod filter;
mod ids;
pub mod limits;
mod plaintext;
mod presence;
mod settings;
mod stack;
mod traits;
mod untrusted;

pub use attributes::{AttrValue, Attributes, Scalar};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use document::{Audience, Document, Finding, FindingKind, Passage, Severity, Span, Status};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use error::{Code, Error, Result};
pub use filter::{Comparison, DocumentView, Field, Filter};
pub use ids::{
    CommitNo, DocumentId, Incarnation, KeyEpoch, KeyId, LogEpoch, NamespaceName, NamespaceUuid, ObjectUuid,
    OperationId, OperatorName, Principal, RequestId, TenantId,
};
pub use plaintext::Plaintext;
pub use presence::{Presence, Watch};
pub use settings::{
    Action as ScreenAction, Chunking, Distance, Embedding, Language, NamespaceSettings, Original, Quotas, Retention,
    Role, Scope, Screening,
};
pub use stack::{ask_to_wipe_stacks, wipe_stack, wipe_stack_if_asked};
pub use traits::{Absorbed, AuditMark, AuditSink, BoxFuture, Pseudonymiser, ReadAt, TokenSpan, Tokens};
pub use untrusted::Untrusted;
