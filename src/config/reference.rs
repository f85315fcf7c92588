//! The reference of every key, written to `schemas/config.md`. A test compares it with [`super::Config`].

/// Each key with its values and default, and its meaning.
pub(super) const KEYS: &[(&str, &str, &str)] = &[
    (
        "data_plane.listen",
        "address, `127.0.0.1:7171`",
        "Address of the data plane, which accepts tenants' API keys. With port 0 the system chooses a port.",
    ),
    ("data_plane.tls_cert", "path, none", "Certificate chain (PEM) of the data plane."),
    ("data_plane.tls_key", "path, none", "Private key (PEM) of that certificate."),
    (
        "data_plane.insecure",
        "true or false, `false`",
        "Serve other machines without TLS, for example behind a proxy that terminates TLS.",
    ),
    (
        "control_plane.listen",
        "address, `127.0.0.1:7172`",
        "Address of the control plane, which accepts operators' tokens.",
    ),
    ("control_plane.tls_cert", "path, none", "Certificate chain (PEM) of the control plane."),
    ("control_plane.tls_key", "path, none", "Private key (PEM) of that certificate."),
    ("control_plane.insecure", "true or false, `false`", "See `data_plane.insecure`."),
    (
        "storage.url",
        "`file:///path`, a path, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`, the user's data folder",
        "Location of all data. `--data` and `RINGFENCE_DATA` override a folder that is named here, and are refused \
         together \
         with an object store. An object store must support creating an object only if it does not exist; every start \
         tests this. `gs` and `az` need a build with `--features gcs` or `azure`.",
    ),
    ("storage.endpoint", "URL, the vendor's", "Address of the object store, if it is not the vendor's own."),
    ("storage.region", "name, `us-east-1`", "S3 region."),
    ("storage.account", "name, none", "Azure storage account."),
    (
        "storage.access_key_id",
        "text, none",
        "S3 access key id; its secret is `RINGFENCE_STORAGE_SECRET`. Without both, the machine's role is used.",
    ),
    ("storage.allow_http", "true or false, `false`", "Accept an endpoint without TLS."),
    (
        "storage.virtual_hosted",
        "true or false, `false`",
        "S3: address objects as `https://bucket.host/key` instead of `https://host/bucket/key`.",
    ),
    ("storage.ca_certificates", "path, none", "Certificate authorities (PEM) to trust in addition to the system's."),
    ("storage.retries", "number, 6", "Retries of a request when the store fails or is unreachable."),
    ("storage.retry_timeout_s", "seconds, 30", "Time after which no retry begins."),
    ("storage.request_timeout_s", "seconds, 30", "Timeout of one attempt."),
    ("storage.connect_timeout_s", "seconds, 5", "Timeout of a connection attempt."),
    (
        "storage.erase_within_hours",
        "hours, 24",
        "Time within which the bytes of a deleted, overwritten, patched or expired document are removed from every \
         object \
         and log. At most 744. With `0` they are removed when segments are merged.",
    ),
    (
        "keys.default",
        "`local` or a provider's name, `local`",
        "Provider that wraps the keys of tenants that name none, and the server's own keys. For the server's own \
         keys, the \
         first start fixes the provider; `ringfence key rotate --server` changes it.",
    ),
    (
        "keys.lease_s",
        "seconds, 45",
        "How long unwrapped keys stay usable after the provider last confirmed them. At most 60.",
    ),
    (
        "keys.outage_s",
        "seconds, 300",
        "How long unwrapped keys stay usable while the provider does not answer at all. A refusal is not an outage.",
    ),
    ("keys.rotate_days", "days, never", "Age at which keys are rotated, unless their tenant has a rule of its own."),
    (
        "key_providers.NAME.kind",
        "`transit`, `pkcs11` or `aws-kms`",
        "Kind of the service: the Transit engine of OpenBao or Vault; a token with a PKCS #11 library; or AWS KMS, \
         which needs \
         a build with `--features aws-kms`.",
    ),
    ("key_providers.NAME.address", "URL", "Transit: address of the service."),
    ("key_providers.NAME.mount", "path, `transit`", "Transit: path where the engine is mounted."),
    ("key_providers.NAME.namespace", "name, none", "Transit: Vault namespace."),
    (
        "key_providers.NAME.module",
        "path",
        "PKCS #11: the vendor's library. It becomes part of the server: anyone who can write this file can obtain all \
         keys.",
    ),
    (
        "key_providers.NAME.token_label",
        "text",
        "PKCS #11: label of the token. The user PIN is in `RINGFENCE_<NAME>_PIN` or in the file that \
         `RINGFENCE_<NAME>_PIN_FILE` names; a wrong PIN is tried only once.",
    ),
    ("key_providers.NAME.region", "name", "KMS: AWS region."),
    ("key_providers.NAME.endpoint", "URL, Amazon's", "KMS: address of the service, if it is not Amazon's own."),
    (
        "key_providers.NAME.access_key_id",
        "text, none",
        "KMS: AWS access key id. Its secret is `RINGFENCE_<NAME>_SECRET`; the session token of a temporary key is \
         `RINGFENCE_<NAME>_TOKEN`; each may also be given as `_FILE`. Without an access key the usual AWS credential \
         chain \
         applies: `AWS_ACCESS_KEY_ID` and the related variables, the files in `~/.aws`, a web identity, the role of a \
         container or of an instance.",
    ),
    (
        "key_providers.NAME.key",
        "name, `ringfence`; KMS: `alias/ringfence`",
        "Key of tenants that name none: in Transit a derived key; in a PKCS #11 token an AES key with this label that \
         cannot \
         be extracted; in KMS an id, ARN or alias. With `key_per_tenant` this is the prefix of the tenants' key names.",
    ),
    (
        "key_providers.NAME.key_per_tenant",
        "true or false, `false`",
        "The server creates a key for each tenant and destroys it with the tenant; after that, backups cannot be \
         opened \
         either. KMS refuses the key at once and deletes it after seven days.",
    ),
    (
        "key_providers.NAME.token_file",
        "path, none",
        "Transit: file with the token, read at each call, so that an agent can renew it. Alternatively, set \
         `RINGFENCE_<NAME>_TOKEN`.",
    ),
    (
        "key_providers.NAME.ca_certificates",
        "path, none",
        "Transit, KMS: certificate authorities (PEM) to trust instead of the default ones.",
    ),
    (
        "key_providers.NAME.allow_http",
        "true or false, `false`",
        "Transit, KMS: allow sending keys to other machines without TLS.",
    ),
    (
        "key_providers.NAME.timeout_s",
        "seconds, 5",
        "Transit, KMS: timeout of one call. A PKCS #11 library has its own timeout.",
    ),
    (
        "models.enabled",
        "true or false, `true`",
        "Whether to load models. With `false`, only text search and callers' own vectors work.",
    ),
    (
        "models.runtime",
        "path, found",
        "`libonnxruntime.so` or its folder. `RINGFENCE_ONNXRUNTIME` takes precedence. If neither is set, it is looked for in \
         `.cache/onnxruntime` of a checkout, in the working folder, beside the program, and in `../lib/ringfence` from \
         there.",
    ),
    (
        "models.folder",
        "path, found",
        "Folder that contains one folder per model. `RINGFENCE_MODELS` takes precedence. If neither is set, it is \
         `.cache/models` of a checkout, `models` in the working folder or beside the program, or \
         `../share/ringfence/models` from there.",
    ),
    ("models.default", "name, `all-MiniLM-L6-v2`", "Model of namespaces that name none."),
    ("models.reranker", "name, the first cross-encoder", "Model of searches with `rerank` that name none."),
    (
        "models.provider",
        "`cpu` or `cuda`, `cpu`",
        "Where models run. A configured GPU is never silently replaced by the CPU.",
    ),
    ("models.device", "number, 0", "Index of the GPU."),
    ("models.allow_cpu", "true or false, `false`", "Run on the CPU, with a warning, when the GPU is not available."),
    ("models.threads", "number, by cores", "Number of model threads."),
    ("limits.cpu_threads", "number, by cores", "Number of threads for searches and screening."),
    (
        "limits.searches",
        "number, 512",
        "Maximum number of concurrent searches of all tenants; one tenant gets at most half.",
    ),
    (
        "limits.writes",
        "number, 256",
        "Maximum number of concurrent writes of all tenants; one tenant gets at most half.",
    ),
    (
        "limits.memory_mib",
        "MiB, 4096",
        "Memory that open namespaces may take before idle ones are closed. In addition, replies and writes may each \
         take an \
         eighth of this number, but at least 256 MiB and 512 MiB respectively; one tenant gets at most half of either.",
    ),
    (
        "limits.flush_mib",
        "MiB, 16",
        "Size of the documents in memory, with everything that they hold, at which a namespace is flushed.",
    ),
    ("limits.flush_rows", "rows, 20000", "Number of rows in memory at which a namespace is flushed."),
    (
        "limits.connections",
        "number, 1024",
        "Maximum number of connections per listener; at most a sixth of the files that the process may open. At the \
         limit, \
         a new connection displaces one that is not serving a request of an authenticated caller.",
    ),
    (
        "index.graph_builder",
        "`own` or `hnsw_rs`, `own`",
        "Builder of the HNSW graphs of large segments. `hnsw_rs` is the reference that benchmarks compare with \
         (`cargo bench \
         --bench graph`); it is slower and builds each graph from scratch.",
    ),
    ("log.level", "`error` `warn` `info` `debug` `trace`, `info`", "Least severe level that is logged."),
    (
        "log.format",
        "`json` or `text`, by stderr",
        "Format of the log. By default text on a terminal, otherwise one JSON object per line.",
    ),
    ("audit.strict", "true or false, `false`", "Hold back the reply to a read until its audit record is durable."),
];

/// The reference as a Markdown page.
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n\
         Generated by `ringfence schemas schemas`; do not edit.\n\n\
         `ringfence serve --config FILE` (or `RINGFENCE_CONFIG`) reads TOML. Every key can be overridden by \
         `RINGFENCE__SECTION__KEY`, e.g. `RINGFENCE__DATA_PLANE__LISTEN`. Unknown keys are refused.\n\n\
         | key | value, default | meaning |\n|---|---|---|\n",
    );
    for (key, value, meaning) in KEYS {
        page.push_str(&format!("| `{key}` | {value} | {meaning} |\n"));
    }
    page.push_str(
        "\nOnly from the environment: `RINGFENCE_CONFIG`, `RINGFENCE_DATA`, `RINGFENCE_ROOT_KEY` (32 bytes as hex or \
         base64) or `RINGFENCE_ROOT_KEY_FILE` (default `ringfence/root.key` in the user's configuration folder), \
         `RINGFENCE_OLD_ROOT_KEY` or `RINGFENCE_OLD_ROOT_KEY_FILE` (the previous root key, while it is being replaced: `docs/keys.md`), \
         `RINGFENCE_OPERATOR_TOKEN` or `RINGFENCE_OPERATOR_TOKEN_FILE` (the first operator's token; if the file does \
         not exist, \
         the first start creates it with mode 0600 and writes a new token into it; with neither variable, the token is \
         printed once, and only on a terminal), \
         `RINGFENCE_ONNXRUNTIME`, `RINGFENCE_MODELS`, `RINGFENCE_STORAGE_SECRET` or `RINGFENCE_STORAGE_SECRET_FILE` \
         (S3 secret access key, Azure account key, or Google service account as JSON), `RINGFENCE_STORAGE_TOKEN` or \
         `RINGFENCE_STORAGE_TOKEN_FILE` (S3 session token). If none of these is set, the role that the platform gives \
         to \
         the machine or pod is used, through the variables of AWS, Google Cloud and Azure.\n\n\
         The command line reads `RINGFENCE_URL`, `RINGFENCE_ADMIN_URL`, `RINGFENCE_API_KEY` or `RINGFENCE_API_KEY_FILE`, \
         `RINGFENCE_OPERATOR_TOKEN` or `RINGFENCE_OPERATOR_TOKEN_FILE`, `RINGFENCE_NAMESPACE` and `RINGFENCE_SIGNING_KEY`.\n",
    );
    page
}
