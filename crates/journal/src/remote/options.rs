//! What a remote store wants to be told beside its address. Secrets are shown by nobody.

use std::{fmt, path::PathBuf, time::Duration};
use zeroize::Zeroizing;

/// How to reach a remote store. What does not concern a backend must be absent there.
#[derive(Clone)]
pub struct RemoteOptions {
    /// Where it answers, e.g. `https://s3.example.com`; absent: the vendor's own address.
    pub endpoint: Option<String>,
    /// S3's region; absent: `us-east-1`.
    pub region: Option<String>,
    /// Azure's storage account.
    pub account: Option<String>,
    /// Who asks.
    pub credentials: Credentials,
    /// Whether an `http://` endpoint is taken. Objects are sealed, but credentials' signatures and names are not.
    pub allow_http: bool,
    /// S3: `https://bucket.host/key` instead of `https://host/bucket/key`.
    pub virtual_hosted: bool,
    /// Certificate authorities (PEM) to trust beside the system's.
    pub ca_certificates: Option<PathBuf>,
    /// How often, and how long, a request is tried again.
    pub retry: Retry,
    /// Longest time for one try of one request, from connecting to the last byte.
    pub request_timeout: Duration,
    /// Longest time to connect.
    pub connect_timeout: Duration,
}

/// How often a request is tried again after an answer of 5xx, 408 or 429, or a lost connection.
///
/// A create may have happened although its answer says otherwise, and its next try then meets its
/// own object: `AlreadyExists` is for the caller to look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries after the first.
    pub retries_max: usize,
    /// No further try begins after this time.
    pub timeout: Duration,
    /// Wait before the first retry; doubled, with jitter, each time.
    pub backoff_first: Duration,
    /// Longest wait between two tries.
    pub backoff_max: Duration,
}

/// Who asks.
#[derive(Clone, Default)]
pub enum Credentials {
    /// What the platform gives to this machine: an instance's or a pod's role. The pairs are the platform's own
    /// variables ([`ROLE_VARIABLES`]), as far as they are set.
    Role(Vec<(String, Zeroizing<String>)>),
    /// A key of the store: S3's pair, Azure's account key, Google's service account as JSON.
    Key {
        /// S3's access key id; empty elsewhere.
        id: String,
        /// Its secret.
        secret: Zeroizing<String>,
        /// S3's session token, for keys that expire.
        token: Option<Zeroizing<String>>,
    },
    /// Nobody: nothing is signed.
    #[default]
    Anonymous,
}

/// Variables by which Amazon, Google and Azure hand a role to a process. None holds a long-lived secret.
pub const ROLE_VARIABLES: &[&str] = &[
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TENANT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
];

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            account: None,
            credentials: Credentials::default(),
            allow_http: false,
            virtual_hosted: false,
            ca_certificates: None,
            retry: Retry::default(),
            request_timeout: REQUEST_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            retries_max: RETRIES_MAX,
            timeout: RETRY_TIMEOUT,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}

impl Retry {
    /// One try and no more.
    pub const NONE: Self =
        Self { retries_max: 0, timeout: Duration::ZERO, backoff_first: Duration::ZERO, backoff_max: Duration::ZERO };
}

impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("account", &self.account)
            .field("credentials", &self.credentials)
            .field("allow_http", &self.allow_http)
            .field("virtual_hosted", &self.virtual_hosted)
            .field("ca_certificates", &self.ca_certificates)
            .field("retry", &self.retry)
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// The kind only.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Role(_) => "Role(..)",
            Self::Key { .. } => "Key(..)",
            Self::Anonymous => "Anonymous",
        })
    }
}

/// S3's slowest published percentiles for a small object are under a second; 8 MiB over a poor line take 20.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Five attempts of TCP's first retransmission.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// With the waits between, about twelve seconds of an unwell store.
pub const RETRIES_MAX: usize = 6;

/// Under the 60 s that a client waits for its answer.
pub const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
