//! Every limit, with its unit, its reason and the source of its value.

use std::time::Duration;

/// Largest request body, bytes. 64 MiB hold a batch of documents at the document limit; larger files take several
/// requests.
pub const BODY_BYTES_MAX: usize = 64 << 20;
/// Largest document as sent, bytes. 32 MiB leave room to spare for a long manual.
pub const DOCUMENT_BYTES_MAX: usize = 32 << 20;
/// Documents in one request. This bounds the memory of one commit.
pub const DOCUMENTS_PER_REQUEST_MAX: usize = 1_000;
/// Ids in one request (delete, patch, review or list).
pub const IDS_PER_REQUEST_MAX: usize = 10_000;
/// Length of a document id, bytes. The contract fixes it.
pub const DOCUMENT_ID_BYTES_MAX: usize = 512;
/// Length of a title, bytes. Every hit repeats its title.
pub const TITLE_BYTES_MAX: usize = 1_024;
/// Length of a URI, bytes. Browsers and proxies carry this length.
pub const URI_BYTES_MAX: usize = 2_048;
/// Attributes of one document.
pub const ATTRIBUTES_MAX: usize = 64;
/// Length of an attribute key, bytes.
pub const ATTRIBUTE_KEY_BYTES_MAX: usize = 128;
/// Length of one attribute string, bytes.
pub const ATTRIBUTE_VALUE_BYTES_MAX: usize = 4_096;
/// Values in one attribute list.
pub const ATTRIBUTE_LIST_MAX: usize = 256;
/// Attribute values in one request, over all its documents. A value of two bytes takes 24 in memory, so together they
/// take at most 24 MiB.
pub const ATTRIBUTE_VALUES_PER_REQUEST_MAX: usize = 1 << 20;
/// Readers of one document, and principals of one key or of one request.
pub const READERS_MAX: usize = 256;
/// Length of a principal, bytes.
pub const PRINCIPAL_BYTES_MAX: usize = 256;
/// Nesting depth of a filter. A deeper filter is a mistake or an attack; this also bounds the parser's recursion.
pub const FILTER_DEPTH_MAX: usize = 32;
/// Nodes in one filter.
pub const FILTER_NODES_MAX: usize = 1_024;
/// Values in one `in`.
pub const FILTER_VALUES_MAX: usize = 1_024;
/// Keys and values of one filter, bytes. 8 MiB are twice what every node takes with a value of the greatest length, so
/// only several `in` of many long values reach it. This bounds the memory of a filter's tables.
pub const FILTER_BYTES_MAX: usize = 8 << 20;
/// Values in one filter, all its lists together. A rule that names more values belongs in an attribute.
pub const FILTER_VALUES_TOTAL_MAX: usize = 16 << 10;
/// Length of a query's text, bytes. It is more than any model reads.
pub const QUERY_BYTES_MAX: usize = 32 << 10;
/// Quoted phrases, and words with a trailing star, in one query; the limit holds for each of the two. Any beyond it are
/// searched as plain words, and the reply says so. 16 is more than a person types, and each costs a scan of its own.
pub const PHRASES_PER_QUERY_MAX: usize = 16;
/// Characters required before a star. With a single one the star would match a fifth of all words.
pub const PREFIX_CHARS_MIN: usize = 2;
/// Words that one word with a star may match. The first ones in their order are taken, and the reply says when there
/// are more. 256 words cost some milliseconds in 100,000 passages.
pub const PREFIX_WORDS_MAX: usize = 256;
/// Highlights in one hit; the first ones are kept. This is enough for any passage of the default length; the reply says
/// when there are more.
pub const HIGHLIGHTS_PER_HIT_MAX: usize = 256;
/// Largest weight of a title's words. At ten times the weight of a passage's words, the title alone decides.
pub const TITLE_WEIGHT_MAX: f32 = 10.0;
/// Hits in one search.
pub const TOP_K_MAX: usize = 1_000;
/// Work that a request may do on a runtime thread, which serves other requests too, in steps of `Cost`. 4 Mi steps take
/// some milliseconds at worst, and usually some tenths of one because costs are upper bounds. All other work runs on
/// the pool.
pub const INLINE_STEPS_MAX: u64 = 4 << 20;
/// How long a pool works for one search, list or fetch, including its waits for a disk or a bucket; then the request
/// fails with `timed_out`. A search of a million passages takes some tens of milliseconds.
pub const ANSWER_WORK_MAX: Duration = Duration::from_secs(30);
/// How long a pool works for one recall measurement, all its queries together. At [`RECALL_ROWS_MAX`] it takes some ten
/// seconds of one core.
pub const RECALL_WORK_MAX: Duration = Duration::from_secs(120);
/// How long documents are parsed and screened for one request, including its waits for a turn; then the request fails
/// with `timed_out` and nothing is stored. Five minutes is as long as its body may take to arrive: the most expensive
/// input takes about a microsecond for each byte, ordinary documents a tenth of that.
pub const PREPARE_WORK_MAX: Duration = Duration::from_secs(300);
/// Bytes of documents that are parsed and screened in one turn: a tenth of a second for the most expensive ones. A
/// longer document has a turn of its own, and yields to others while it runs.
pub const PREPARE_TURN_BYTES: u64 = 128 << 10;
/// How long a write may search for the documents that its filter selects. The namespace's other writes wait meanwhile.
pub const SELECTION_WORK_MAX: Duration = Duration::from_secs(10);
/// Jobs of one tenant that may wait for a bucket inside the pool at the same time. Each holds a thread that other work
/// does not need; jobs beyond the limit are not started, or keep their slot while they wait.
pub const BLOCKED_JOBS_PER_TENANT_MAX: usize = 16;
/// The same limit as [`BLOCKED_JOBS_PER_TENANT_MAX`] for all tenants together.
pub const BLOCKED_JOBS_MAX: usize = 256;
/// Hits in one search that asks for diversity. Each of them compares up to four times as many candidates with the hits
/// before it: 40,000 comparisons of two vectors at most.
pub const DIVERSE_TOP_K_MAX: usize = 100;
/// Hits if the request does not say how many.
pub const TOP_K_DEFAULT: usize = 10;
/// Passages that one search may have reranked. A model reads each of them.
pub const RERANK_DEPTH_MAX: usize = 200;
/// Passages that are reranked if the search does not say how many.
pub const RERANK_DEPTH_DEFAULT: usize = 50;
/// Largest budget of a context, tokens.
pub const CONTEXT_TOKENS_MAX: usize = 200_000;
/// Entries on a page of a list if the request does not say how many.
pub const LIST_LIMIT_DEFAULT: usize = 100;
/// Entries on a page of a list.
pub const LIST_LIMIT_MAX: usize = 1_000;
/// Smallest number of vector dimensions.
pub const DIMENSIONS_MIN: usize = 2;
/// Largest number of vector dimensions.
pub const DIMENSIONS_MAX: usize = 4_096;
/// Passages of one document. This bounds what one document costs to embed.
pub const PASSAGES_PER_DOCUMENT_MAX: usize = 20_000;
/// How long a read waits for its `min_commit`.
pub const MIN_COMMIT_WAIT: Duration = Duration::from_secs(5);
/// How long requests in progress may take to finish after SIGTERM.
pub const DRAIN_WAIT: Duration = Duration::from_secs(30);
/// Texts that wait for a model, all tenants together. Half of it, which is one tenant's share, holds a document at the
/// passage limit; all of it is about 50 MB of text.
pub const MODEL_QUEUE_TEXTS_MAX: usize = 50_000;
/// Refused requests of one tenant's known keys that its audit records in a minute. This is enough to show an attack,
/// and too few for an attack to fill the disk.
pub const REFUSALS_AUDITED_PER_MINUTE: u64 = 60;
/// Rows of one segment, and also its documents. 2^28 keeps row numbers far from the `i32::MAX` at which tantivy ends a
/// posting list.
pub const SEGMENT_ROWS_MAX: u32 = 1 << 28;
/// Plaintext in one page of a sealed object's paged part, bytes. A page of 16 KiB holds ten vectors of 384 values, so
/// that its 32 bytes of seal are negligible; smaller pages open no faster from a disk.
pub const PAGE_BYTES: usize = 16 << 10;
/// Largest paged part of a segment that is read completely when the segment is opened, bytes: about 7,000 passages of
/// 384 dimensions. Reading it costs some 5 ms, and no search of an ordinary tenant waits for a page. Larger parts are
/// read page by page.
pub const RESIDENT_PAGES_BYTES_MAX: u64 = 16 << 20;
/// Smallest read of an object in a bucket, bytes. 64 KiB are four pages; a request for one page takes as long.
pub const REMOTE_BLOCK_BYTES: usize = 64 << 10;
/// Fetched blocks of sealed objects that are kept in memory when the store is a bucket, bytes, all namespaces together.
/// 128 MiB are some eight thousand pages.
pub const REMOTE_BLOCKS_BYTES_MAX: u64 = 128 << 20;
/// Queries in one recall measurement. Each scans everything that is eligible, in a job of its own.
pub const RECALL_QUERIES_MAX: usize = 1_000;
/// Rows that the exact scans of one recall measurement read, all queries together: 100 queries over a million rows take
/// some ten seconds of one core. Quotas count the measurement as one request.
pub const RECALL_ROWS_MAX: u64 = 100_000_000;
/// Vectors above which a segment gets a graph. Below it the exact scan is faster and ingest is an append (measured:
/// 8,000–12,000).
pub const GRAPH_ROWS_MIN: usize = 10_000;
/// Smallest number of vector dimensions for a graph. With fewer, thousands of rows share a code, and a graph search
/// among them finds four of five neighbours (measured with 2 dimensions and 4,000 rows). A scan with its second
/// pass over ambiguous rows finds them all, and costs little where rows are so short.
pub const GRAPH_DIMENSIONS_MIN: usize = 4;
/// Entries of a registry journal between two checkpoints, or a quarter of its records where that is more, so that a
/// large journal is not rewritten after every few changes. This bounds what an opening reads: 256 small JSON entries
/// are under 1 MB.
pub const REGISTRY_CHECKPOINT_ENTRIES: u64 = 256;
/// Open namespaces, if the process may open enough files. Above it, namespaces that no request holds are closed, the
/// longest unused first. Each namespace that was written holds its log file open, and a process that may open no more
/// files fails its next write. Our systemd unit allows 65,536.
pub const NAMESPACES_OPEN_MAX: u64 = 10_000;
/// Open audit logs, one for each active tenant. Above it idle ones are closed, for the same reason as namespaces.
pub const AUDIT_LOGS_OPEN_MAX: u64 = 4_096;
/// Open tenant directories, if the process may open enough files. Each that was written holds its log file open.
pub const TENANTS_OPEN_MAX: u64 = 16_384;
/// Estimated memory of open tenant directories, bytes. Above it unused ones are closed, the longest unused first. 64
/// MiB hold about a thousand tenants of a hundred namespaces each, or 250,000 namespaces.
pub const DIRECTORIES_BYTES_MAX: u64 = 64 << 20;
/// First wait before a tenant directory that did not open is opened again. Each failure doubles the wait, up to
/// [`REOPEN_WAIT_MAX`].
pub const REOPEN_WAIT_MIN: Duration = Duration::from_secs(1);
/// Longest wait of [`REOPEN_WAIT_MIN`].
pub const REOPEN_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long unwrapped keys are used before their provider is asked again. This is the longest time from a provider's
/// refusal to the last read; customers who hold their own keys are promised a minute.
pub const KEY_LEASE: Duration = Duration::from_secs(45);
/// Longest key lease that a configuration may set.
pub const KEY_LEASE_MAX: Duration = Duration::from_secs(60);
/// How long unwrapped keys stay usable after the provider last confirmed them, if it does not answer.
pub const KEY_OUTAGE_MAX: Duration = Duration::from_secs(300);
/// Longest pause before a sealed tenant's provider is asked again.
pub const KEY_REOPEN_WAIT_MAX: Duration = Duration::from_secs(10);
/// Interval at which the leases of tenants' keys are checked.
pub const KEY_CHECK: Duration = Duration::from_secs(1);
/// Certificates that are kept, all tenants together. Each takes about 3 KB. They are meant to be stored elsewhere.
pub const CERTIFICATES_KEPT_MAX: usize = 1_000;
/// Sealed objects that the certificate of an erasure names.
pub const CERTIFICATE_SAMPLES_MAX: usize = 16;
/// Interval at which the server looks for rotations that a policy requires.
pub const ROTATION_CHECK: Duration = Duration::from_secs(60);
/// Rotations required by policies that run at the same time, all tenants together.
pub const ROTATIONS_AT_ONCE: usize = 4;
/// Namespaces that one re-encryption handles at the same time.
pub const REENCRYPTIONS_AT_ONCE: usize = 4;
/// Deadline of a re-encryption for which none was set.
pub const REENCRYPT_DEADLINE: Duration = Duration::from_secs(24 * 3_600);
/// How long a rotation by rewrapping waits for an obstacle to clear. A rotation that does not have to wait takes
/// seconds.
pub const ROTATE_DEADLINE: Duration = Duration::from_secs(24 * 3_600);
/// First pause of a rotation that waits. Each further pause is twice as long.
pub const ROTATION_PAUSE_MIN: Duration = Duration::from_secs(1);
/// Longest pause of a rotation that waits, and so its longest delay after a provider answers again.
pub const ROTATION_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Largest concurrency of a rotation of all tenants.
pub const BULK_ROTATION_CONCURRENCY_MAX: usize = 32;
/// Longest time between two rotations that a policy may set, days.
pub const ROTATE_DAYS_MAX: u32 = 3_650;
/// Requests that one key provider serves at the same time. Each holds a thread.
pub const KEY_REQUESTS_MAX: usize = 16;
/// Finished operations that are kept, all tenants together. This is enough to look up last week's; they take about 0.5
/// MB.
pub const OPERATIONS_KEPT_MAX: usize = 1_000;
/// Unfinished operations of one tenant. A client that reaches the limit does not wait for what it started.
pub const OPERATIONS_RUNNING_PER_TENANT_MAX: usize = 64;
/// Length of an API key's name, of a tenant's display name and of its governance class, bytes. They are labels for
/// people.
pub const LABEL_BYTES_MAX: usize = 256;
/// API keys of one tenant, including expired ones. This bounds the memory of one tenant's credentials.
pub const API_KEYS_PER_TENANT_MAX: usize = 10_000;
/// Namespaces that one API key may list.
pub const NAMESPACES_PER_KEY_MAX: usize = 1_000;
/// Operators of the server. The control plane is meant for a team, not for a company.
pub const OPERATORS_MAX: usize = 1_000;
/// Namespace keys that are rewrapped in one durable entry of a rotation, which is about 32 KB.
pub const REWRAPS_PER_ENTRY: usize = 128;
/// Connections of one listener, if the process may open enough files. It serves a thousand clients; each connection
/// costs a few KiB until it sends a body. At the limit a new connection displaces one that serves no request of a known
/// caller.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Memory for tenants' request bodies at one time, bytes: eight of the largest. A tenant may hold as much as it leaves
/// free: half of it when alone, a third next to one other tenant, so that something always remains for the next one.
pub const BODIES_BYTES_MAX: usize = 8 * BODY_BYTES_MAX;
/// Memory for operators' request bodies at one time, bytes. It is a pool of its own, which no tenant's requests touch.
pub const CONTROL_BODIES_BYTES_MAX: usize = 16 << 20;
/// Largest request body on the control plane, bytes. The largest useful one, an API key with all its principals and
/// namespaces, takes about 200 KiB. This is also the largest body that is parsed on a runtime thread.
pub const CONTROL_BODY_BYTES_MAX: usize = 256 << 10;
/// Largest reply, bytes of its JSON. It equals the largest request body: all documents that came in one body go out in
/// one reply, unless escapes make it longer. A longer reply that cannot be divided is refused.
pub const REPLY_BYTES_MAX: u64 = 64 << 20;
/// Soft limit of a reply, bytes. A search, a context or a list ends before the hit or document that would exceed it,
/// unless that is the first. 16 MiB hold a thousand hits of 16 KB each; the caller asks for the rest, or for less of
/// each.
pub const REPLY_BYTES_SOFT: u64 = 16 << 20;
/// Least memory for replies that are being built or are not yet read, bytes, all tenants together. One tenant may have
/// half of it, which holds the largest reply together with what it is built from.
pub const REPLIES_BYTES_MIN: u64 = 4 * REPLY_BYTES_MAX;
/// Length of the pieces in which a reply is built and sent, bytes. No piece is copied while the reply grows, and each
/// frees its memory once it is written.
pub const REPLY_PIECE_BYTES: usize = 64 << 10;
/// Least memory for writes from their arrival to their commit, bytes, all tenants together. One tenant may have half of
/// it, which holds the largest body four times: as text, as screened text, as a log entry and in its sealed form.
pub const WRITES_BYTES_MIN: u64 = 8 * BODY_BYTES_MAX as u64;
/// How long a client may take to send a request's head, or stay idle between two requests.
pub const HEAD_WAIT: Duration = Duration::from_secs(30);
/// Window in which at least [`BODY_WINDOW_BYTES_MIN`] of a body must arrive, or its end.
pub const BODY_WINDOW: Duration = Duration::from_secs(10);
/// Least bytes of a body in each [`BODY_WINDOW`]. 160 KiB in it are 16 KiB a second, a poor mobile connection. A slower
/// body is refused.
pub const BODY_WINDOW_BYTES_MIN: usize = 160 << 10;
/// How long a whole body may take to arrive. 64 MiB in this time need 1.8 Mbit/s, a slow line.
pub const BODY_WAIT: Duration = Duration::from_secs(300);
/// Window in which a client must take at least [`REPLY_WINDOW_BYTES_MIN`] of a reply while the server waits for it.
pub const REPLY_WINDOW: Duration = Duration::from_secs(15);
/// Least bytes of a reply that a client takes in each [`REPLY_WINDOW`]. A modem takes three times 32 KiB. A connection
/// whose client does not read is closed.
pub const REPLY_WINDOW_BYTES_MIN: u64 = 32 << 10;
/// Bytes of a reply that the operating system buffers for one connection beyond those in flight. Without this limit it
/// takes up to 4 MiB for each client that does not read.
pub const REPLY_UNSENT_BYTES_MAX: u32 = 128 << 10;
/// Connections of one listener that the operating system queues until they are accepted, where it allows this number.
/// Linux allows at most 4,096 by default.
pub const CONNECTIONS_QUEUED_MAX: u32 = 4_096;
/// Time for which a new connection is not displaced by others, however many come, so that it can send its first
/// request. Half a second is two round trips of a poor line; at the connection limit, a newcomer waits no longer than
/// this.
pub const CONNECTION_GRACE: Duration = Duration::from_millis(500);
/// Longest life of a connection. After it the connection ends with its current request, and the client connects again.
pub const CONNECTION_WAIT: Duration = Duration::from_secs(3_600);
/// Time without traffic after which a connection is probed (TCP keepalive).
pub const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// Time between two keepalive probes.
pub const KEEPALIVE_PAUSE: Duration = Duration::from_secs(10);
/// Unanswered keepalive probes after which the connection counts as lost.
pub const KEEPALIVE_PROBES: u32 = 3;
/// How long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT). [`REPLY_WINDOW`] closes the connection of a client
/// that does not read before this does.
pub const UNACKNOWLEDGED_WAIT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
pub const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);
/// Entries of one `include` list, of a key's scopes and of other short lists. A longer list is a mistake.
pub const SHORT_LIST_MAX: usize = 256;
/// Length of a request's head (request line and headers), bytes.
pub const HEAD_BYTES_MAX: usize = 64 << 10;
/// Size of a new log file of a keyspace, bytes. Most keyspaces are small.
pub const LOG_FILE_BYTES_MIN: u64 = 4 << 10;
/// Largest step by which a log file grows, bytes. It doubles up to this step. The limit bounds the pause.
pub const LOG_FILE_STEP_MAX: u64 = 64 << 20;
/// Wiped memory that is kept for the next decrypted bytes of any tenant, bytes: two of the largest buffers that are
/// used briefly ([`RESIDENT_PAGES_BYTES_MAX`]).
pub const POOLED_BYTES_MAX: usize = 32 << 20;
/// Length of one log entry, bytes: several times a request's documents at their limit, with vectors.
pub const LOG_ENTRY_BYTES_MAX: usize = 512 << 20;
/// Largest checkpoint that is stored inside the log itself, bytes. Most namespaces are that small, and an object of its
/// own would cost each of them a block of the disk and a request to open.
pub const CHECKPOINT_INLINE_BYTES_MAX: usize = 256 << 10;
/// Interval at which a server on a bucket checks that it still owns the bucket.
pub const OWNERSHIP_CHECK: Duration = Duration::from_secs(1);
/// Time without an answer to the ownership check after which no request is served, because another server may have
/// taken over.
pub const OWNERSHIP_TIMEOUT: Duration = Duration::from_secs(5);
/// Audiences whose eligible documents a segment remembers. Each takes at most 4 bytes for a row and for a document,
/// where a document takes 512 or more: together a sixteenth of the segment. The oldest is evicted, and is computed
/// again when it is needed.
pub const VISIBLE_SETS_KEPT_MAX: usize = 8;
/// Greatest age of what a namespace on a bucket shows, unless its last check is younger.
pub const STALE_READS_MAX: Duration = Duration::from_secs(1);
/// How long the object store may take for one answer. A request without an answer by then counts as failed.
pub const STORE_ANSWER_WAIT: Duration = Duration::from_secs(30);
/// How often one request to the object store is tried before its caller gets the error.
pub const STORE_ATTEMPTS_MAX: u32 = 8;
/// First pause between two tries. Each further pause is twice as long.
pub const STORE_PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest pause between two tries.
pub const STORE_PAUSE_MAX: Duration = Duration::from_secs(5);
/// Documents that one delete by filter may remove. This bounds one log entry: a million ids are about 40 MB.
pub const DELETES_PER_COMMIT_MAX: u64 = 1_000_000;
/// Ids of the documents that one delete may remove, bytes. They are in its log entry and in its audit record.
pub const DELETE_BYTES_PER_COMMIT_MAX: u64 = 64 << 20;
/// Documents that one patch may rewrite. It is the number that may be listed by id.
pub const PATCHES_PER_COMMIT_MAX: u64 = 10_000;
/// Documents that one patch or review may rewrite, bytes of all their contents. All of the 128 MiB go into one log
/// entry, and are in memory four times until it is written.
pub const PATCH_BYTES_PER_COMMIT_MAX: u64 = 128 << 20;
/// Writes that wait for the writer of one namespace. This is more than its group commit takes at once.
pub const WRITES_QUEUED_MAX: usize = 1_024;
/// Writes that share one log entry, and so one fsync.
pub const WRITES_PER_ENTRY_MAX: usize = 256;
/// Length of the body of one log frame, bytes. 512 MiB hold a request at the body limit with its passages and vectors.
pub const LOG_FRAME_BYTES_MAX: usize = 512 << 20;
/// Audit records that wait for one tenant's audit log; further callers wait. This bounds memory.
pub const AUDIT_QUEUE_RECORDS_MAX: usize = 4_096;
/// Audit records of operators' acts that wait for one tenant's audit log, in addition to the tenant's own; those beyond
/// it are counted as dropped. No tenant can fill this queue, and each operator's act first waits until its own record
/// is durable.
pub const AUDIT_QUEUE_OPERATOR_RECORDS_MAX: usize = 256;
/// Audit records that one group commit takes.
pub const AUDIT_GROUP_RECORDS_MAX: usize = 512;
/// How long a read's audit record waits for others before it is made durable. A disk flush for each search would cost
/// more than the search, whether a hundred tenants are active or one. A crash can lose the records of reads in this
/// last moment.
pub const AUDIT_GROUP_WAIT: Duration = Duration::from_millis(200);
/// Audit records in one sealed chunk. Until this number is reached they stay in the log and in the checkpoint.
pub const AUDIT_CHUNK_RECORDS: usize = 4_096;
/// Bytes of audit records after which a chunk is sealed earlier, because they stay in memory until then.
pub const AUDIT_CHUNK_BYTES: usize = 8 << 20;
/// Audit records on one page of an audit, bytes, unless a single record is longer. A thousand records are about 1 MB;
/// those of deep searches and of deletes by filter are long.
pub const AUDIT_PAGE_BYTES_MAX: usize = 8 << 20;
/// Sealed chunks that one page of an audit opens: about 32 MB where a filter lets few records through. The page ends
/// there and says where the next one begins.
pub const AUDIT_PAGE_CHUNKS_MAX: usize = 8;
/// Audit logs that one page of all tenants' usage opens, because their counters are not yet in memory. Each takes a key
/// and a log to read, once after a start.
pub const USAGE_AUDIT_LOGS_OPENED_MAX: usize = 64;
/// How long an audit log that could not be written waits before a read's record tries again.
pub const AUDIT_RETRY_WAIT: Duration = Duration::from_secs(1);
/// Time after which no object and no log file holds a deleted document, if the configuration sets none. A day is the
/// usual measure for erasure on request; a shorter time rewrites segments with deletions correspondingly more often.
pub const ERASE_WITHIN: Duration = Duration::from_secs(24 * 3_600);
/// Longest time until erasure that may be configured, hours. It is a month, which is the time that the law gives.
pub const ERASE_WITHIN_HOURS_MAX: u64 = 31 * 24;
/// Quarters of the time until erasure after which a rewrite is due. The rest is for finding it and for doing it.
pub const ERASE_DUE_QUARTERS: u32 = 3;
/// Sweeps over all namespaces within the time until erasure. A sweep takes at most half of the remaining time, the
/// rewrites the rest.
pub const ERASE_SWEEPS: u32 = 8;
/// Time from the start of the server to the first sweep: requests come first.
pub const ERASE_FIRST_SWEEP: Duration = Duration::from_secs(60);
/// Interval at which the server checks whether a sweep is due.
pub const ERASE_CHECK: Duration = Duration::from_secs(1);
/// Tenants that are swept at the same time, so that one with much to rewrite does not delay the others.
pub const ERASE_TENANTS_AT_ONCE: usize = 4;
/// Pause of a sweep between two namespaces, as a multiple of the time that the last one took. It is longer while other
/// tenants are swept too: three quarters of one core are left for other work.
pub const ERASE_THROTTLE: u32 = 3;
/// Longest pause of a sweep between two namespaces: a long rewrite must not delay the sweep for as long again.
pub const ERASE_THROTTLE_MAX: Duration = Duration::from_secs(1);
