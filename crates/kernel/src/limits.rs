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
/// Attribute values of all documents of one request. A value of two bytes takes 24 in memory: together 24 MiB.
pub const ATTRIBUTE_VALUES_PER_REQUEST_MAX: usize = 1 << 20;
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
/// Keys and values of one filter, bytes. 8 MiB: twice what every node with a value of the greatest length takes, so only
/// several `in` of many long values meet it. Bounds the memory of a filter's tables.
pub const FILTER_BYTES_MAX: usize = 8 << 20;
/// Values of one filter, all of its lists together. A rule that names more belongs into an attribute.
pub const FILTER_VALUES_IN_ALL_MAX: usize = 16 << 10;
/// Query text, bytes. Longer than any model reads.
pub const QUERY_BYTES_MAX: usize = 32 << 10;
/// Quoted phrases, and words with a star, of one query, each. Further ones are looked for as plain words, and the reply
/// says so. 16: more than a person types, and each costs a scan of its own.
pub const PHRASES_PER_QUERY_MAX: usize = 16;
/// Letters before a star. With one it would stand for a fifth of all words.
pub const PREFIX_CHARS_MIN: usize = 2;
/// Words that one word with a star may stand for, the first in their order; the reply says when there are more. 256:
/// some milliseconds in 100,000 passages.
pub const PREFIX_WORDS_MAX: usize = 256;
/// Places that are highlighted in one hit, the first ones. Enough for any passage of the default length; the reply says
/// when there are more.
pub const HIGHLIGHTS_PER_HIT_MAX: usize = 256;
/// Largest weight of a title's words. Ten times a passage's: from there the title alone decides.
pub const TITLE_WEIGHT_MAX: f32 = 10.0;
/// Hits of one search.
pub const TOP_K_MAX: usize = 1_000;
/// Work that a request may do on the runtime's thread, which serves others too, in steps of `Cost`. 4 Mi steps: some
/// milliseconds at worst, and because costs are upper bounds usually some tenths of one. Everything else runs on the
/// pool.
pub const INLINE_STEPS_MAX: u64 = 4 << 20;
/// How long a pool works for one search, list or fetch, waits for a disk or a bucket included; then `timed_out`. A
/// search of a million passages takes some tens of milliseconds.
pub const ANSWER_WORK_MAX: Duration = Duration::from_secs(30);
/// The same for one measurement of recall, all its queries together: some ten seconds of one core at [`RECALL_ROWS_MAX`].
pub const RECALL_WORK_MAX: Duration = Duration::from_secs(120);
/// How long documents are read and screened for one request, its waits for a turn included; then `timed_out`, and
/// nothing is stored. Five minutes, as long as its body may take to arrive: what is made to cost the most takes about a
/// microsecond for each byte, ordinary documents a tenth of that.
pub const PREPARE_WORK_MAX: Duration = Duration::from_secs(300);
/// Documents that are read and screened without another turn, bytes: a tenth of a second of the dearest. A longer one has
/// a turn of its own, and gives way inside.
pub const PREPARED_AT_ONCE_BYTES: u64 = 128 << 10;
/// How long a write may look for the documents that its filter selects. The namespace's other writes wait meanwhile.
pub const SELECTION_WORK_MAX: Duration = Duration::from_secs(10);
/// Jobs of one tenant that wait for a bucket inside the pool at the same time, and those of all tenants. Each holds a
/// thread that others do not need; further ones are not begun, or wait where they are.
pub const BLOCKED_JOBS_PER_TENANT_MAX: usize = 16;
/// See [`BLOCKED_JOBS_PER_TENANT_MAX`].
pub const BLOCKED_JOBS_MAX: usize = 256;
/// Hits of one search that asks for diversity: each compares up to four times as many candidates with those before
/// it, 40,000 comparisons of two vectors at most.
pub const DIVERSE_TOP_K_MAX: usize = 100;
/// Hits when the request does not say.
pub const TOP_K_DEFAULT: usize = 10;
/// Passages that one search may have reranked: a model reads each of them.
pub const RERANK_DEPTH_MAX: usize = 200;
/// Passages reranked where a search does not say how many.
pub const RERANK_DEPTH_DEFAULT: usize = 50;
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
/// Rows, and documents, of one segment. 2^28: row numbers stay far from the `i32::MAX` at which tantivy ends a posting list.
pub const SEGMENT_ROWS_MAX: u32 = 1 << 28;
/// Plaintext of one page of a sealed object's paged part, bytes. 16 KiB: a page holds ten vectors of 384 values, and 32
/// bytes of seal beside it are nothing; smaller pages open no faster from a disk.
pub const PAGE_BYTES: usize = 16 << 10;
/// A segment's paged part up to which it is read whole at opening, bytes: about 7,000 passages of 384 dimensions. It
/// costs some 5 ms, and no search of an ordinary tenant waits for a page. Larger ones are read page by page.
pub const RESIDENT_PAGES_BYTES_MAX: u64 = 16 << 20;
/// What is fetched of an object in a bucket at least, bytes. 64 KiB: four pages; a request takes as long for one.
pub const REMOTE_BLOCK_BYTES: usize = 64 << 10;
/// Fetched blocks of sealed objects that are kept in memory when the store is a bucket, all namespaces together.
/// 128 MiB: some eight thousand pages.
pub const REMOTE_BLOCKS_BYTES_MAX: u64 = 128 << 20;
/// Queries of one measurement of recall. Each scans everything that is eligible, in a job of its own.
pub const RECALL_QUERIES_MAX: usize = 1_000;
/// Rows that the exact scans of one measurement of recall read, all queries together: 100 queries over a million rows,
/// some ten seconds of one core. Quotas count one request.
pub const RECALL_ROWS_MAX: u64 = 100_000_000;
/// Vectors above which a segment gets a graph. Below, the exact scan wins and ingest is an append (measured: 8,000–12,000).
pub const GRAPH_ROWS_MIN: usize = 10_000;
/// Vectors of fewer numbers get no graph: thousands of rows share a code, and a walk among them finds four neighbours of
/// five (measured, 2 numbers, 4,000 rows). A scan that looks twice finds all, and costs little where rows are so short.
pub const GRAPH_DIMENSIONS_MIN: usize = 4;
/// Entries of a registry journal between two checkpoints, or a quarter of its records where that is more, so that a
/// large book is not written again for every few changes. Bounds what an opening reads: 256 small JSON entries are under 1 MB.
pub const REGISTRY_CHECKPOINT_ENTRIES: u64 = 256;
/// Open namespaces, if the process may open enough files. Above it those that no request holds are closed, the longest
/// unused first: each that was written holds its log file open, and a process that may open no more files fails its next
/// write. Our unit allows 65,536.
pub const NAMESPACES_OPEN_MAX: u64 = 10_000;
/// Open audit logs, one for each active tenant. Above it, idle ones are closed, for the same reason.
pub const AUDIT_CHAINS_OPEN_MAX: u64 = 4_096;
/// Open tenants' directories, if the process may open enough files. Each that was written holds its log file open.
pub const TENANTS_OPEN_MAX: u64 = 16_384;
/// Estimated bytes of open tenants' directories. Above it, unused ones are closed, the longest unused first.
/// 64 MiB: about a thousand tenants of a hundred namespaces, or 250,000 namespaces.
pub const DIRECTORIES_BYTES_MAX: u64 = 64 << 20;
/// How long a tenant's directory that did not open is not tried again; doubled by each failure up to
/// [`REOPEN_WAIT_MAX`].
pub const REOPEN_WAIT_MIN: Duration = Duration::from_secs(1);
/// See [`REOPEN_WAIT_MIN`].
pub const REOPEN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long unwrapped keys are used before their provider is asked again: the most from a provider's refusal to the
/// last read. A minute is what customers who hold their own keys are promised.
pub const KEY_LEASE: Duration = Duration::from_secs(45);
/// The longest lease that a configuration may ask for.
pub const KEY_LEASE_MAX: Duration = Duration::from_secs(60);
/// How long unwrapped keys are used after the last confirmation of a provider that does not answer.
pub const KEY_OUTAGE_MAX: Duration = Duration::from_secs(300);
/// Longest pause before a sealed tenant's provider is asked again.
pub const KEY_REOPEN_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often the leases of tenants' keys are looked at.
pub const KEY_CHECK: Duration = Duration::from_secs(1);
/// Signed statements that are remembered, all tenants together: about 3 KB each. They are made to be kept elsewhere.
pub const CERTIFICATES_KEPT_MAX: usize = 1_000;
/// Sealed objects that an erasure's certificate names.
pub const CERTIFICATE_SAMPLES_MAX: usize = 16;
/// How often rotations that a rule wants are looked for.
pub const ROTATION_CHECK: Duration = Duration::from_secs(60);
/// Rotations of a rule at once, all tenants together.
pub const ROTATIONS_AT_ONCE: usize = 4;
/// Namespaces of one re-encryption that are re-encrypted at the same time.
pub const REENCRYPTIONS_AT_ONCE: usize = 4;
/// When a re-encryption without a deadline of its own should be finished.
pub const REENCRYPT_DEADLINE: Duration = Duration::from_secs(24 * 3_600);
/// How long a rotation by rewrapping waits for an obstacle to pass; one that does not wait takes seconds.
pub const ROTATE_DEADLINE: Duration = Duration::from_secs(24 * 3_600);
/// The first pause of a rotation that waits; each further one is twice as long.
pub const ROTATION_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause, and so the longest delay after a provider answers again.
pub const ROTATION_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Rotations of all tenants at the same time, at most.
pub const CAMPAIGN_CONCURRENCY_MAX: usize = 32;
/// The longest time between two rotations that a policy may ask for, days.
pub const ROTATE_DAYS_MAX: u32 = 3_650;
/// Questions that one key provider is asked at the same time. Each holds a thread.
pub const KEY_QUESTIONS_MAX: usize = 16;
/// Ended operations that are remembered, all tenants together. Enough to look up last week's; about 0.5 MB.
pub const OPERATIONS_KEPT_MAX: usize = 1_000;
/// Unfinished operations of one tenant. More is a client that does not wait for what it began.
pub const OPERATIONS_RUNNING_PER_TENANT_MAX: usize = 64;
/// Name of an API key, display name and governance class of a tenant, bytes. They are labels for people.
pub const LABEL_BYTES_MAX: usize = 256;
/// API keys of one tenant, expired ones counted. Bounds the memory that one tenant's credentials take.
pub const API_KEYS_PER_TENANT_MAX: usize = 10_000;
/// Namespaces that one API key names.
pub const NAMESPACES_PER_KEY_MAX: usize = 1_000;
/// Operators. The control plane is for a team, not for a company.
pub const OPERATORS_MAX: usize = 1_000;
/// Namespace keys rewrapped in one durable entry of a rotation: about 32 KB.
pub const REWRAPS_PER_ENTRY: usize = 128;
/// Connections of one listener, if the process may open enough files. A thousand clients; each costs a few KiB until
/// it sends a body. At the limit a new one displaces one that serves no request of a known caller.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Bytes of request bodies of tenants that are held at once. Eight of the largest. A tenant may hold as much as it leaves
/// free: alone half of it, beside another a third, and there is always something left for the next.
pub const BODIES_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;
/// Bytes of operators' request bodies that are held at once: a pool of its own, which no tenant's requests touch.
pub const CONTROL_BODIES_BYTES_MAX: usize = 16 << 20;
/// Largest request body on the control plane, bytes. The largest that makes sense there, an API key with all its
/// principals and namespaces, takes about 200 KiB; this is also what is parsed without leaving the runtime's thread.
pub const CONTROL_BODY_BYTES_MAX: usize = 256 << 10;
/// Largest reply, bytes of its JSON. As large as a request body: every document that came in one goes out in one, except
/// where escapes make it longer. What cannot be divided and is longer is refused.
pub const REPLY_BYTES_MAX: u64 = 64 << 20;
/// A search, a context or a list ends before the hit or document that would make its reply longer than this, bytes,
/// unless it is the first. 16 MiB: a thousand hits of 16 KB each; the caller asks for the rest, or for less of each.
pub const REPLY_BYTES_SOFT: u64 = 16 << 20;
/// Least memory for replies that are made or not yet read, bytes, all tenants together. One tenant has half of it: the
/// largest reply beside what it is made from.
pub const REPLIES_BYTES_MIN: u64 = 4 * REPLY_BYTES_MAX;
/// A reply's bytes are made and sent in pieces of this length, so that none is copied while it grows and each gives
/// its memory back once it is written.
pub const REPLY_PIECE_BYTES: usize = 64 << 10;
/// Least memory for writes between their arrival and their commit, bytes, all tenants together. One tenant has half of
/// it: the largest body four times, as text, as screened text, as a log entry and as its sealed form.
pub const WRITES_BYTES_MIN: u64 = 8 * BODY_BYTES_MAX as u64;
/// How long a client may take to send its request's head, or stay idle between two requests.
pub const HEAD_WAIT: Duration = Duration::from_secs(30);
/// In each such window at least [`BODY_WINDOW_BYTES_MIN`] of a body must arrive, or its end.
pub const BODY_WINDOW: Duration = Duration::from_secs(10);
/// See [`BODY_WINDOW`]. 160 KiB: 16 KiB a second, a poor mobile line. A body that dribbles is refused.
pub const BODY_WINDOW_BYTES_MIN: usize = 160 << 10;
/// How long a whole body may take. 64 MiB in it is a slow line of 1.8 Mbit/s.
pub const BODY_WAIT: Duration = Duration::from_secs(300);
/// While a client makes the server wait with a reply, it must take at least [`REPLY_WINDOW_BYTES_MIN`] in each such window.
pub const REPLY_WINDOW: Duration = Duration::from_secs(15);
/// See [`REPLY_WINDOW`]. 32 KiB: a modem takes three times as much. A connection whose client does not read is closed.
pub const REPLY_WINDOW_BYTES_MIN: u64 = 32 << 10;
/// Bytes of a reply that the system holds for one connection beyond what is on its way. Without it the system takes up to
/// 4 MiB for each client that does not read.
pub const REPLY_UNSENT_BYTES_MAX: u32 = 128 << 10;
/// Connections of one listener that the system holds until they are accepted, where it allows as many. 4,096: the most
/// that Linux allows by default.
pub const CONNECTIONS_QUEUED_MAX: u32 = 4_096;
/// A new connection keeps its place for this time however many others come, so that it can send its first request. Half a
/// second: two round trips of a poor line; while a crowd fills all places, a newcomer waits for one no longer than this.
pub const CONNECTION_GRACE: Duration = Duration::from_millis(500);
/// How long one connection lives at most; then it ends after the request it is at, and its client connects again.
pub const CONNECTION_WAIT: Duration = Duration::from_secs(3_600);
/// Silence of a client after which its connection is probed (TCP keepalive).
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Between two probes.
pub const KEEPALIVE_PAUSE: Duration = Duration::from_secs(10);
/// Probes without an answer after which the connection is dead.
pub const KEEPALIVE_PROBES: u32 = 3;
/// How long sent bytes may stay without an acknowledgement (TCP_USER_TIMEOUT). [`REPLY_WINDOW`] closes a client that does
/// not read before that.
pub const UNACKNOWLEDGED_WAIT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Members of one `include` list, scopes of a key, and other short lists. More is a mistake.
pub const SHORT_LIST_MAX: usize = 256;
/// Bytes of a request's head (line and headers).
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// A place's log file when it is new, bytes. Most places are small.
pub const LOG_FILE_BYTES_MIN: u64 = 4 << 10;
/// The most by which a log file grows at once, bytes; it doubles up to there. Bounds the pause.
pub const LOG_FILE_STEP_MAX: u64 = 64 << 20;
/// Wiped memory that is kept for the next decrypted bytes of any tenant, bytes: two of the largest buffers that are
/// used briefly ([`RESIDENT_PAGES_BYTES_MAX`]).
pub const ROOMS_KEPT_BYTES_MAX: usize = 32 << 20;
/// One log entry, bytes: a request's documents at their limit, with vectors, several times over.
pub const LOG_ENTRY_BYTES_MAX: usize = 512 << 20;
/// Bytes that wait for one place's log; callers beyond wait. Bounds memory.
pub const LOG_QUEUE_BYTES_MAX: usize = 128 << 20;
/// Bytes that one group commit takes from the queue (one entry may be larger). Bounds latency.
pub const LOG_GROUP_BYTES_MAX: usize = 16 << 20;
/// A checkpoint up to here stands inside the log itself, bytes. Most namespaces are that small, and an
/// object of its own would cost each of them a block of the disk and a request to open.
pub const CHECKPOINT_INLINE_BYTES_MAX: usize = 256 << 10;
/// How often a server on a bucket asks whether the bucket is still its own.
pub const OWNERSHIP_CHECK: Duration = Duration::from_secs(1);
/// After this time without an answer no request is served: another server may have taken over.
pub const OWNERSHIP_DOUBT: Duration = Duration::from_secs(5);
/// Audiences whose eligible documents a part remembers. At most 4 bytes a row and document each, where a document takes
/// 512 or more: a sixteenth of the part. The oldest gives way and is looked up again when it is asked for.
pub const SIGHTS_KEPT_MAX: usize = 8;
/// Greatest age of what a namespace on a bucket shows, unless its last check is younger.
pub const STALE_READS_MAX: Duration = Duration::from_secs(1);
/// How long the object store may take for one answer. Longer counts as lost.
pub const STORE_ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How often one request to the object store is made before its caller hears of it.
pub const STORE_TRIES_MAX: u32 = 8;
/// The first pause between two tries; each is twice the one before.
pub const STORE_PAUSE_MIN: Duration = Duration::from_millis(50);
/// And the longest.
pub const STORE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Documents that one delete by filter may remove. Bounds one log entry: a million ids are about 40 MB.
pub const DELETES_PER_COMMIT_MAX: u64 = 1_000_000;
/// Ids of the documents that one delete may remove, bytes: they stand in its log entry and in its audit line.
pub const DELETE_BYTES_PER_COMMIT_MAX: u64 = 64 << 20;
/// Documents that one patch may rewrite. As many as may be named by id.
pub const PATCHES_PER_COMMIT_MAX: u64 = 10_000;
/// Documents that one patch or review may rewrite, bytes of all that they hold. 128 MiB: they stand in one log entry, and are in
/// memory four times until it is written.
pub const PATCH_BYTES_PER_COMMIT_MAX: u64 = 128 << 20;
/// Writes that wait for one namespace's writer. More than its group commit takes at once.
pub const WRITES_QUEUED_MAX: usize = 1_024;
/// Writes that share one log entry, and so one fsync.
pub const WRITES_PER_ENTRY_MAX: usize = 256;
/// Body of one log frame, bytes. 512 MiB: a request at the body limit with its passages and vectors.
pub const LOG_FRAME_BYTES_MAX: usize = 512 << 20;
/// Audit lines that wait for one tenant's chain; callers beyond wait. Bounds memory.
pub const AUDIT_QUEUE_LINES_MAX: usize = 4_096;
/// Lines that one group commit takes.
pub const AUDIT_GROUP_LINES_MAX: usize = 512;
/// How long a read's line waits for others before it is made durable. A flush of the disk for each search would cost
/// more than the search, with a hundred tenants at work as with one; what a crash may take is what the last moment asked.
pub const AUDIT_GROUP_WAIT: Duration = Duration::from_millis(200);
/// Lines of one sealed chunk; fewer stand in the log and the checkpoint.
pub const AUDIT_CHUNK_LINES: usize = 4_096;
/// Bytes of lines that are moved out of an audit log earlier: they are in memory until then.
pub const AUDIT_CHUNK_BYTES: usize = 8 << 20;
/// Bytes of lines in one page of an audit, unless a single line is longer. A thousand lines are 1 MB or so; those of deep
/// searches and of deletes by filter are long.
pub const AUDIT_PAGE_BYTES_MAX: usize = 8 << 20;
/// Sealed chunks that one page of an audit opens: 32 MB or so where a filter passes few lines. The page ends there and
/// says where the next one begins.
pub const AUDIT_PAGE_CHUNKS_MAX: usize = 8;
/// Audit chains that one page of all tenants' usage opens, because nothing else knows their counters yet. Each is a key
/// and a log to read, once since the start.
pub const USAGE_CHAINS_OPENED_MAX: usize = 64;
/// How long a chain that could not be written waits before a read's line tries again.
pub const AUDIT_RETRY_WAIT: Duration = Duration::from_secs(1);
/// By when no object and no log file holds a deleted document, if the configuration does not say. A day is the usual
/// measure for erasure on request; a shorter time rewrites segments with deletions that much more often.
pub const ERASE_WITHIN: Duration = Duration::from_secs(24 * 3_600);
/// The longest bound that may be configured, hours: a month, which is how long the law gives.
pub const ERASE_WITHIN_HOURS_MAX: u64 = 31 * 24;
/// Quarters of the bound after which a rewrite is due: the rest is for finding it and for doing it.
pub const ERASE_DUE_QUARTERS: u32 = 3;
/// Sweeps over all namespaces within the bound. A sweep takes at most half of what is left of it, the rewrites the
/// rest.
pub const ERASE_WALKS: u32 = 8;
/// How long after a start the first sweep begins: requests come first.
pub const ERASE_FIRST_WALK: Duration = Duration::from_secs(60);
/// How often it is checked whether a sweep is due.
pub const ERASE_CHECK: Duration = Duration::from_secs(1);
/// Tenants that are swept at the same time: one with much to rewrite does not delay the others.
pub const ERASE_TENANTS_AT_ONCE: usize = 4;
/// Between two namespaces a sweep pauses this many times as long as the last one took, and longer if other tenants are
/// swept too: three quarters of one core are left for other work.
pub const ERASE_REST: u32 = 3;
/// Longest such pause: a long rewrite must not delay the sweep for as long again.
pub const ERASE_REST_MAX: Duration = Duration::from_secs(1);
