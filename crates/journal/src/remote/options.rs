//! Options of a remote store besides its address. No `Debug` output shows a secret.

use std::{fmt, path::PathBuf, time::Duration};
use zeroize::Zeroizing;

/// How to reach a remote store. Options that do not apply to a backend must be absent for it.
#[derive(Clone)]
pub struct RemoteOptions {
    /// Endpoint URL, e.g. `https://s3.example.com`; `None` for the vendor's own address.
    pub endpoint: Option<String>,
    /// Region of S3; `None` for `us-east-1`.
    pub region: Option<String>,
    /// Storage account of Azure.
    pub account: Option<String>,
    /// Credentials of the client.
    pub credentials: StorageCredentials,
    /// Whether an `http://` endpoint is accepted. Objects are sealed, but the signatures of credentials and the names
    /// are not.
    pub allow_http: bool,
    /// S3: use `https://bucket.host/key` instead of `https://host/bucket/key`.
    pub virtual_hosted: bool,
    /// Certificate authorities (PEM) to trust in addition to the system's.
    pub ca_certificates: Option<PathBuf>,
    /// Limits for retries of a request.
    pub retry: RetryLimits,
    /// Maximum time for one attempt of one request, from connecting to the last byte.
    pub request_timeout: Duration,
    /// Maximum time to connect.
    pub connect_timeout: Duration,
}

/// Limits for retries after an answer of 5xx, 408 or 429, or a lost connection.
///
/// A create may have succeeded although its answer says otherwise; its retry then finds its own object. The caller has
/// to check an `AlreadyExists` for this case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryLimits {
    /// Maximum number of attempts after the first.
    pub retries_max: usize,
    /// No further attempt begins after this time.
    pub timeout: Duration,
    /// Wait before the first retry; doubled, with jitter, each time.
    pub backoff_first: Duration,
    /// Maximum wait between two attempts.
    pub backoff_max: Duration,
}

/// Credentials of the client.
#[derive(Clone, Default)]
pub enum StorageCredentials {
    /// Credentials that the platform gives to this machine: the role of an instance or a pod. The pairs are those of
    /// the platform's own variables ([`ROLE_VARIABLES`]) that are set.
    Role(Vec<(String, Zeroizing<String>)>),
    /// A key of the store: S3's key pair, Azure's account key, Google's service account as JSON.
    Key {
        /// Access key id of S3; empty for other backends.
        id: String,
        /// Secret of the key.
        secret: Zeroizing<String>,
        /// Session token of S3, for keys that expire.
        token: Option<Zeroizing<String>>,
    },
    /// No credentials: requests are not signed.
    #[default]
    Anonymous,
}

/// Variables by which Amazon, Google and Azure pass a role to a process. None holds a long-lived secret.
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
            credentials: StorageCredentials::default(),
            allow_http: false,
            virtual_hosted: false,
            ca_certificates: None,
            retry: RetryLimits::default(),
            request_timeout: REQUEST_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }
}

impl Default for RetryLimits {
    fn default() -> Self {
        Self {
            retries_max: RETRIES_MAX,
            timeout: RETRY_TIMEOUT,
            backoff_first: Duration::from_millis(100),
            backoff_max: Duration::from_secs(5),
        }
    }
}

impl RetryLimits {
    /// A single attempt without retries.
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

/// Shows only the kind of credentials.
impl fmt::Debug for StorageCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Role(_) => "Role(..)",
            Self::Key { .. } => "Key(..)",
            Self::Anonymous => "Anonymous",
        })
    }
}

/// Default maximum time of one attempt. S3's slowest published percentiles for a small object are under a second; 8 MiB
/// over a slow line take 20 seconds.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Default maximum time to connect. Allows five attempts of TCP's first retransmission.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Default number of retries. With the waits in between they outlast about twelve seconds of store failure.
pub const RETRIES_MAX: usize = 6;

/// Default time after which no retry begins; below the 60 s that a client waits for its answer.
pub const RETRY_TIMEOUT: Duration = Duration::from_secs(30);
