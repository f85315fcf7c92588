//! Every limit, with its unit, its reason and its source.

use std::time::Duration;

/// Largest request body, bytes. 64 MiB: a batch of documents at the document limit; larger files go in several requests.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Largest document as sent, bytes. 32 MiB: a long manual with room to spare.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;
/// Documents in one request. Keeps one commit's memory bounded.
pub const DOCUMENTS_PER_REQUEST_MAX: usize = 1_000;
/// Ids in one request (delete, patch, review, list).
pub const IDS_PER_REQUEST_MAX: usize = 10_000;
/// Document id, bytes (contract).
pub const DOCUMENT_ID_BYTES_MAX: usize = 512;
/// Title, bytes. It is repeated with every hit.
pub const TITLE_BYTES_MAX: usize = 1_024;
/// URI, bytes. The length that browsers and proxies carry.
pub const URI_BYTES_MAX: usize = 2_048;
/// Attributes of one document.
pub const ATTRIBUTES_MAX: usize = 64;
/// Attribute key, bytes.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 128;
/// One attribute string, bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 4_096;
/// Elements of an attribute list.
pub const ATTRIBUTE_LIST_MAX: usize = 256;
/// Readers of one document, and principals of one key or request.
pub const READERS_MAX: usize = 256;
/// Principal, bytes.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Filter nesting. Deeper is a mistake or an attack; the parser is bounded by it.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Nodes of one filter.
pub const FILTER_NODES_MAX: usize = 1_024;
/// Values of one `in`.
pub const FILTER_VALUES_MAX: usize = 1_024;
/// Query text, bytes. Longer than any model reads.
pub const QUERY_BYTES_MAX: usize = 32 << 10;
/// Hits of one search.
pub const TOP_K_MAX: usize = 1_000;
/// Hits when the request does not say.
pub const TOP_K_DEFAULT: usize = 10;
/// Context budget, tokens.
pub const CONTEXT_TOKENS_MAX: usize = 200_000;
/// Page of a list when the request does not say.
pub const LIST_LIMIT_DEFAULT: usize = 100;
/// Page of a list.
pub const LIST_LIMIT_MAX: usize = 1_000;
/// Vector dimensions: smallest and largest.
pub const DIMENSIONS_MIN: usize = 2;
/// See [`DIMENSIONS_MIN`].
pub const DIMENSIONS_MAX: usize = 4_096;
/// Passages of one document. Bounds what one document costs to embed.
pub const PASSAGES_PER_DOCUMENT_MAX: usize = 20_000;
/// How long `min_commit` waits.
pub const MIN_COMMIT_WAIT: Duration = Duration::from_secs(5);
/// How long requests may take to end after SIGTERM.
pub const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// Texts that wait for a model, all tenants together. Half of it, one tenant's share, holds a document at the passage
/// limit; all of it is about 50 MB of text.
pub const MODEL_QUEUE_TEXTS_MAX: usize = 50_000;
/// Refusals of one tenant's known keys that its audit records in a minute. Enough to see an attack, too few to fill the disk by one.
pub const REFUSALS_AUDITED_PER_MINUTE: u64 = 60;
