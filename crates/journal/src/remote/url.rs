//! The address of an object store, taken apart and checked before anything is opened.

use super::RemoteError;
use object_store::path::Path;
use std::fmt;

/// Who keeps the objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Amazon S3, or what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
    /// This process's memory: for tests, gone with it.
    Memory,
}

/// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix` or `memory:`. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl {
    backend: Backend,
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

    /// Takes `text` apart.
    ///
    /// # Errors
    /// `Url`, with what would be right.
    pub fn parse(text: &str) -> Result<Self, RemoteError> {
        if text == "memory:" {
            return Ok(Self { backend: Backend::Memory, bucket: String::new(), prefix: Path::default() });
        }
        let (scheme, rest) = text.split_once("://").ok_or(wrong("it has no scheme; write s3://bucket/prefix"))?;
        let known = SCHEMES.iter().find(|(name, _)| *name == scheme);
        let (_, backend) = known.ok_or(wrong("its scheme is none of s3, gs and az"))?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        // A password in a URL would end up in logs: a name with anything but these is no bucket.
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if bucket.is_empty() || bucket.len() > BUCKET_MAX || !bucket.chars().all(fits) {
            return Err(wrong(
                "what follows :// must be a bucket's name (lower-case letters, digits, - . _), without credentials \
                 or a port; they have keys of their own",
            ));
        }
        if prefix.contains(['?', '#', '%', '\\']) {
            return Err(wrong("the prefix must be plain, without ? # % \\; options have keys of their own"));
        }
        let prefix = Path::parse(prefix).map_err(|_| wrong("the prefix must be names between single slashes"))?;
        Ok(Self { backend: *backend, bucket: bucket.to_owned(), prefix })
    }

    /// Who keeps the objects.
    #[must_use]
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// The bucket, or container; empty in memory.
    #[must_use]
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// What stands before every name; empty for the whole bucket.
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

impl Backend {
    /// The feature of this build that brings it; none is needed in memory.
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

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "S3",
            Self::Gcs => "Google Cloud Storage",
            Self::Azure => "Azure Blob Storage",
            Self::Memory => "memory",
        })
    }
}

fn wrong(reason: &'static str) -> RemoteError {
    RemoteError::Url { reason }
}

const SCHEMES: [(&str, Backend); 3] = [("s3", Backend::S3), ("gs", Backend::Gcs), ("az", Backend::Azure)];

/// Longest name of a bucket, bytes: 63 for all three, 222 for a dotted one of Google's.
const BUCKET_MAX: usize = 222;
