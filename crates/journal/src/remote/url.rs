//! Address of an object store, parsed and validated before anything is opened.

use super::RemoteError;
use object_store::path::Path;
use std::fmt;

/// Kind of object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoteBackend {
    /// Amazon S3 or a compatible store.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// Memory of this process, for tests; gone when the process ends.
    Memory,
}

/// Address of a store: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or `memory:`. Contains no
/// secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    backend: RemoteBackend,
    bucket: String,
    prefix: Path,
}

impl RemoteUrl {
    /// Whether this names an object store rather than a folder.
    #[must_use]
    pub fn is_remote(text: &str) -> bool {
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        text == "memory:" || SCHEMES.iter().any(|(name, _)| scheme == Some(name))
    }

    /// Parses an address.
    ///
    /// # Errors
    /// `Url`, with a description of what would be right.
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        if text == "memory:" {
            return Ok(Self { backend: RemoteBackend::Memory, bucket: String::new(), prefix: Path::default() });
        }
        let (scheme, rest) = text.split_once("://").ok_or(invalid("it has no scheme; write s3://bucket/prefix"))?;
        let known = SCHEMES.iter().find(|(name, _)| *name == scheme);
        let (_, backend) = known.ok_or(invalid("its scheme is none of s3, gs and az"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // A password in a URL would end up in logs, so a name with any other character is not accepted as a bucket.
        let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || bucket.len() > BUCKET_MAX || !bucket.chars().all(is_allowed) {
            return Err(invalid(
                "what follows :// must be a bucket's name (lower-case letters, digits, - . _), without credentials \
                 or a port; they have keys of their own",
            ));
        }
        if prefix.contains(['?', '#', '%', '\\']) {
            return Err(invalid("the prefix must be plain, without ? # % \\; options have keys of their own"));
        }
        let prefix = Path::parse(prefix).map_err(|_| invalid("the prefix must be names between single slashes"))?;
        Ok(Self { backend: *backend, bucket: bucket.to_owned(), prefix })
    }

    /// Kind of object store.
    #[must_use]
    pub fn backend(&self) -> RemoteBackend {
        self.backend
    }

    /// Name of the bucket or container; empty in memory.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Prefix of every name; empty for the whole bucket.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((scheme, _)) = SCHEMES.iter().find(|(_, backend)| *backend == self.backend) else {
            return f.write_str("memory:");
        };
        write!(f, "{scheme}://{}", self.bucket)?;
        if self.prefix.as_ref().is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

impl RemoteBackend {
    /// Cargo feature that adds this backend; empty for memory, which needs none.
    #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
    pub(super) fn feature(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gcs",
            Self::Azure => "azure",
            Self::Memory => "",
        }
    }
}

impl fmt::Display for RemoteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "S3",
            Self::Gcs => "Google Cloud Storage",
            Self::Azure => "Azure Blob Storage",
            Self::Memory => "memory",
        })
    }
}

fn invalid(reason: &'static str) -> RemoteError {
    RemoteError::Url { reason }
}

const SCHEMES: [(&str, RemoteBackend); 3] =
    [("s3", RemoteBackend::S3), ("gs", RemoteBackend::Gcs), ("az", RemoteBackend::Azure)];

/// Maximum length of a bucket's name in bytes: 63 for all three vendors, 222 for a dotted name of Google's.
const BUCKET_MAX: usize = 222;
