//! The reference of every key, generated into `schemas/config.md`. A test holds it against [`super::Config`].

/// Key, what it takes and its default, what it means.
pub(super) const KEYS: &[(&str, &str, &str)] = &[
    (
        "data_plane.listen",
        "address, `127.0.0.1:7171`",
        "Where tenants' API keys are taken. Port 0 lets the system choose.",
    ),
    ("data_plane.tls_cert", "path, none", "Certificate chain (PEM) of the data plane."),
    ("data_plane.tls_key", "path, none", "Its private key (PEM)."),
    (
        "data_plane.insecure",
        "true or false, `false`",
        "Serve beyond loopback without TLS, for example after a proxy that ends TLS.",
    ),
    ("control_plane.listen", "address, `127.0.0.1:7172`", "Where operators' tokens are taken."),
    ("control_plane.tls_cert", "path, none", "Certificate chain (PEM) of the control plane."),
    ("control_plane.tls_key", "path, none", "Its private key (PEM)."),
    ("control_plane.insecure", "true or false, `false`", "See `data_plane.insecure`."),
    (
        "storage.url",
        "`file:///path`, a path, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, the user's data folder",
        "Where everything is stored. `--data` and `RINGFENCE_DATA` override another folder, and are refused together with an \
         object store. A store must create an object only if it is absent; every start tests that. `gs` and `az` need a \
         build with `--features gcs` or `azure`.",
    ),
    ("storage.endpoint", "URL, the vendor's", "Address of the object store, if it is not the vendor's own."),
    ("storage.region", "name, `us-east-1`", "S3's region."),
    ("storage.account", "name, none", "Azure's storage account."),
    (
        "storage.access_key_id",
        "text, none",
        "S3's access key; its secret is `RINGFENCE_STORAGE_SECRET`. Without both, the machine's role is used.",
    ),
    ("storage.allow_http", "true or false, `false`", "Accept an endpoint without TLS."),
    (
        "storage.virtual_hosted",
        "true or false, `false`",
        "S3: `https://bucket.host/key` instead of `https://host/bucket/key`.",
    ),
    ("storage.ca_certificates", "path, none", "Certificate authorities (PEM) to trust in addition to the system's."),
    ("storage.retries", "number, 6", "Further tries of a request when the store fails or is unreachable."),
    ("storage.retry_timeout_s", "seconds, 30", "After this time no further try begins."),
    ("storage.request_timeout_s", "seconds, 30", "Longest time for one try."),
    ("storage.connect_timeout_s", "seconds, 5", "Longest time to connect."),
    (
        "storage.erase_within_hours",
        "hours, 24",
        "Within this time after a document was deleted, overwritten or patched, or has expired, its bytes are removed from \
         every object and log. At most 744. `0`: they are removed when segments are merged.",
    ),
    (
        "keys.default",
        "`local` or a provider's name, `local`",
        "Provider that wraps the keys of tenants that name none, and the server's own keys. For the latter the first start \
         fixes it; `ringfence key rotate --server` changes it.",
    ),
    (
        "keys.lease_s",
        "seconds, 45",
        "How long unwrapped keys stay usable after the provider last confirmed them. At most 60.",
    ),
    (
        "keys.outage_s",
        "seconds, 300",
        "The same while the provider does not answer at all. A refusal is not an outage.",
    ),
    ("keys.rotate_days", "days, never", "Keys of this age are rotated, unless their tenant has a rule of its own."),
    (
        "key_providers.NAME.kind",
        "`transit`, `pkcs11` or `aws-kms`",
        "What keeps the keys: OpenBao's or Vault's Transit engine; a token with a PKCS #11 library; Amazon's KMS, which needs a \
         build with `--features aws-kms`.",
    ),
    ("key_providers.NAME.address", "URL", "Transit: its address."),
    ("key_providers.NAME.mount", "path, `transit`", "Transit: where the engine is mounted."),
    ("key_providers.NAME.namespace", "name, none", "Transit: Vault's namespace."),
    (
        "key_providers.NAME.module",
        "path",
        "PKCS #11: the vendor's library. It becomes part of the server: anyone who can write this file can get all keys.",
    ),
    (
        "key_providers.NAME.token_label",
        "text",
        "PKCS #11: which token. The user's PIN is `RINGFENCE_<NAME>_PIN` or the file that `RINGFENCE_<NAME>_PIN_FILE` \
         names; a wrong one is tried once.",
    ),
    ("key_providers.NAME.region", "name", "KMS: Amazon's region."),
    ("key_providers.NAME.endpoint", "URL, Amazon's", "KMS: its address, if it is not Amazon's."),
    (
        "key_providers.NAME.access_key_id",
        "text, none",
        "KMS: the access key; its secret is `RINGFENCE_<NAME>_SECRET`, and `RINGFENCE_<NAME>_TOKEN` the session token of \
         one that expires, each also as `_FILE`. Without it Amazon's usual chain applies: `AWS_ACCESS_KEY_ID` and \
         the related variables, the files of `~/.aws`, a web identity, a container's role, an instance's.",
    ),
    (
        "key_providers.NAME.key",
        "name, `ringfence`; KMS: `alias/ringfence`",
        "The key of tenants that name none: in Transit a derived one, in a token an AES key of this label that cannot be \
         extracted, in KMS an id, ARN or alias. With `key_per_tenant` the prefix of their keys' names.",
    ),
    (
        "key_providers.NAME.key_per_tenant",
        "true or false, `false`",
        "The server creates a key for each tenant, and destroys it with the tenant: after that, backups do not open either. KMS \
         deletes a key after seven days, and refuses it at once.",
    ),
    (
        "key_providers.NAME.token_file",
        "path, none",
        "Transit: a file with the token, read at each call, so that an agent may renew it. Or `RINGFENCE_<NAME>_TOKEN`.",
    ),
    (
        "key_providers.NAME.ca_certificates",
        "path, none",
        "Transit, KMS: certificate authorities (PEM) to trust instead of the usual.",
    ),
    ("key_providers.NAME.allow_http", "true or false, `false`", "Transit, KMS: send keys without TLS beyond loopback."),
    (
        "key_providers.NAME.timeout_s",
        "seconds, 5",
        "Transit, KMS: longest time for one call. A PKCS #11 library has its own.",
    ),
    ("models.enabled", "true or false, `true`", "`false`: text search and callers' own vectors only."),
    ("models.runtime", "path, found", "`libonnxruntime.so` or its folder. `RINGFENCE_ONNXRUNTIME` wins."),
    ("models.folder", "path, found", "One folder per model inside. `RINGFENCE_MODELS` wins."),
    ("models.default", "name, `all-MiniLM-L6-v2`", "The model for namespaces that name none."),
    ("models.reranker", "name, the first cross-encoder", "The model for searches with `rerank` that name none."),
    (
        "models.provider",
        "`cpu` or `cuda`, `cpu`",
        "Where models run. A GPU that was asked for is never replaced silently.",
    ),
    ("models.device", "number, 0", "Which GPU."),
    ("models.allow_cpu", "true or false, `false`", "Run on the CPU, with a warning, when the GPU is not available."),
    ("models.threads", "number, by cores", "Model threads."),
    ("limits.cpu_threads", "number, by cores", "Threads for searches and screening."),
    ("limits.searches", "number, 512", "Searches at a time, all tenants together; one tenant gets at most half."),
    ("limits.writes", "number, 256", "Writes at a time, all tenants together; one tenant gets at most half."),
    (
        "limits.memory_mib",
        "MiB, 4096",
        "Memory that open namespaces may take before idle ones are closed. In addition, replies and writes may take an eighth of \
         this number each, but at least 256 and 512 MiB; one tenant gets at most half of either.",
    ),
    ("limits.flush_mib", "MiB, 16", "Documents in memory, with all that they hold, before a namespace is flushed."),
    ("limits.flush_rows", "rows, 20000", "Rows in memory before a namespace is flushed."),
    (
        "limits.connections",
        "number, 1024",
        "Connections of one listener; at most a sixth of the files that the process may open. At the limit a new one \
         displaces one that serves no request of a known caller.",
    ),
    (
        "index.graph_builder",
        "`own` or `hnsw_rs`, `own`",
        "What builds the graphs of large segments. `hnsw_rs` is the reference that benchmarks compare with (`cargo bench \
         --bench graph`); it is slower and builds each graph from the start.",
    ),
    ("log.level", "`error` `warn` `info` `debug` `trace`, `info`", "Least severe level that is logged."),
    ("log.format", "`json` or `text`, by stderr", "Text on a terminal, else one JSON object a line."),
    ("audit.strict", "true or false, `false`", "Hold a read's reply until its audit line is durable."),
];

/// The page.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Generated by `ringfence schemas schemas`; do not edit.\n\n\
         `ringfence serve --config FILE` (or `RINGFENCE_CONFIG`) reads TOML. Every key can be overridden by \
         `RINGFENCE__SECTION__KEY`, e.g. `RINGFENCE__DATA_PLANE__LISTEN`. Unknown keys are refused.\n\n\
         | key | takes, default | meaning |\n|---|---|---|\n",
    );
    for (key, takes, meaning) in KEYS {
        page.push_str(&format!("| `{key}` | {takes} | {meaning} |\n"));
    }
    page.push_str(
        "\nFrom the environment only: `RINGFENCE_CONFIG`, `RINGFENCE_DATA`, `RINGFENCE_ROOT_KEY` (32 bytes as hex or \
         base64) or `RINGFENCE_ROOT_KEY_FILE` (default `ringfence/root.key` in the user's configuration folder), \
         `RINGFENCE_OLD_ROOT_KEY` or `RINGFENCE_OLD_ROOT_KEY_FILE` (the previous root key, while it is being replaced: `docs/keys.md`), \
         `RINGFENCE_OPERATOR_TOKEN` or `RINGFENCE_OPERATOR_TOKEN_FILE` (the first operator's token; the first start creates a file \
         that does not exist, 0600, with a new token in it; with neither, the token is printed once, on a terminal only), \
         `RINGFENCE_ONNXRUNTIME`, `RINGFENCE_MODELS`, `RINGFENCE_STORAGE_SECRET` or `RINGFENCE_STORAGE_SECRET_FILE` \
         (S3's secret access key, Azure's account key, Google's service account as JSON), `RINGFENCE_STORAGE_TOKEN` or \
         `RINGFENCE_STORAGE_TOKEN_FILE` (S3's session token). Where none of these is set, the role that the platform gives to \
         the machine or pod is used, by Amazon's, Google's and Azure's own variables.\n\n\
         The command line reads `RINGFENCE_URL`, `RINGFENCE_ADMIN_URL`, `RINGFENCE_API_KEY` or `RINGFENCE_API_KEY_FILE`, \
         `RINGFENCE_OPERATOR_TOKEN` or `RINGFENCE_OPERATOR_TOKEN_FILE`, `RINGFENCE_NAMESPACE` and `RINGFENCE_SIGNING_KEY`.\n",
    );
    page
}
