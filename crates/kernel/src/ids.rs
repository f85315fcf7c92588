//! Names and numbers. A name grants no access: it is parsed once at the border and then proves its form, never an
//! authority.

use crate::{Entropy, Error, limits};
use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $param:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Box<str>);

        impl $name {
            /// Checks the form of a name.
            ///
            /// # Errors
            /// `invalid_request`, which states the rule.
            pub fn parse(raw: &str) -> Result<Self, Error> {
                let check: fn(&str) -> bool = $check;
                if check(raw) {
                    Ok(Self(raw.into()))
                } else {
                    Err(Error::invalid($param, $rule))
                }
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! displayed {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}

macro_rules! redacted {
    ($($name:ident),*) => {$(
        /// Shows only the length, because the customer chose this text.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }
    )*};
}

name!(
    /// Name of a tenant: `[a-z0-9][a-z0-9-]{0,62}`. It grants no access.
    TenantId, "tenant", "must be 1 to 63 of a-z, 0-9 and '-', not starting with '-'",
    |s| (1..=63).contains(&s.len())
        && !s.starts_with('-')
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
name!(
    /// Name of a namespace in its tenant: `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`.
    NamespaceName, "namespace", "must be 1 to 128 of A-Z, a-z, 0-9, '.', '_' and '-', starting with a letter or digit",
    |s| (1..=128).contains(&s.len())
        && s.as_bytes()[0].is_ascii_alphanumeric()
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
);
name!(
    /// A reader, for example `user:alice` or `group:engineering`. Principals are compared byte by byte.
    Principal, "principal", "must be 'kind:name', 3 to 256 bytes, without control characters, kind of a-z",
    |s| s.len() <= limits::PRINCIPAL_BYTES_MAX
        && !s.chars().any(char::is_control)
        && s.split_once(':').is_some_and(|(kind, name)| {
            !kind.is_empty() && !name.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        })
);
name!(
    /// Public part of an API key or operator token: 12 base62 characters.
    KeyId, "key_id", "must be 12 letters or digits",
    |s| s.len() == 12 && s.bytes().all(|b| b.is_ascii_alphanumeric())
);
name!(
    /// Name of an operator, of the same form as a tenant's.
    OperatorName, "name", "must be 1 to 63 of a-z, 0-9 and '-', not starting with '-'",
    |s| (1..=63).contains(&s.len())
        && !s.starts_with('-')
        && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
);
displayed!(TenantId, KeyId, OperatorName);
redacted!(NamespaceName, Principal);

/// Id of a document: 1 to 512 bytes without control characters.
///
/// Two documents can share an id if no reader of either may see the other (ADR 28). Each still has a key of its own, by
/// which the store tells them apart: the id and, for all but the first, a disambiguator. Only the store writes and
/// compares keys; [`DocumentId::as_str`] never shows a disambiguator. Equality and order are those of keys, in which
/// documents of one id are adjacent, the oldest first.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentId {
    key: Box<str>,
    /// Length of the id in the key, bytes.
    id_bytes: u16,
}

impl DocumentId {
    /// Checks the form of an id.
    ///
    /// # Errors
    /// `invalid_request`, which states the rule.
    pub fn parse(raw: &str) -> Result<Self, Error> {
        let fits = (1..=limits::DOCUMENT_ID_BYTES_MAX).contains(&raw.len()) && !raw.chars().any(char::is_control);
        match u16::try_from(raw.len()) {
            Ok(id_bytes) if fits => Ok(Self { key: raw.into(), id_bytes }),
            _ => Err(Error::invalid("id", "must be 1 to 512 bytes without control characters")),
        }
    }

    /// Parses a key as [`DocumentId::key`] returned it.
    ///
    /// # Errors
    /// `invalid_request` for anything else.
    pub fn from_key(key: &str) -> Result<Self, Error> {
        let Some((id, digits)) = key.split_once(DISAMBIGUATOR_SEPARATOR) else { return Self::parse(key) };
        let form = digits.len() == DISAMBIGUATOR_DIGITS
            && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if !form {
            return Err(Error::invalid("id", "has an invalid disambiguator"));
        }
        Ok(Self { key: key.into(), ..Self::parse(id)? })
    }

    /// The id as the caller gave it.
    pub fn as_str(&self) -> &str {
        self.key.get(..usize::from(self.id_bytes)).unwrap_or_default()
    }

    /// The id with its disambiguator, which no other document in the namespace has.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The id that a key contains.
    pub fn id_in(key: &str) -> &str {
        key.split_once(DISAMBIGUATOR_SEPARATOR).map_or(key, |(id, _)| id)
    }

    /// The same id without a disambiguator.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { key: self.as_str().into(), id_bytes: self.id_bytes }
    }

    /// Key of another document of this id, the `nth` that a commit writes. Later commits give later keys.
    #[must_use]
    pub fn disambiguated(&self, commit: CommitNo, nth: u32) -> Self {
        Self { key: format!("{}{DISAMBIGUATOR_SEPARATOR}{:016x}{nth:08x}", self.as_str(), commit.0).into(), ..*self }
    }
}

/// Shows only the length, because the customer chose this text.
impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DocumentId({} bytes)", self.id_bytes)
    }
}

/// Separates an id from its disambiguator. No id contains it, and every character of an id sorts after it.
const DISAMBIGUATOR_SEPARATOR: char = '\u{1}';
/// Digits of a commit and of a number within it, in hexadecimal.
const DISAMBIGUATOR_DIGITS: usize = 24;

macro_rules! uuid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Creates a random one (UUID version 4).
            pub fn random(entropy: &dyn Entropy) -> Self {
                let mut bytes = [0; 16];
                entropy.fill(&mut bytes);
                Self(*uuid::Builder::from_random_bytes(bytes).as_uuid().as_bytes())
            }

            /// Creates one from its 16 bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Its 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Parses the hyphenated form.
            ///
            /// # Errors
            /// `invalid_request` if the text is no UUID.
            pub fn parse(text: &str) -> Result<Self, Error> {
                uuid::Uuid::parse_str(text)
                    .map(|u| Self(*u.as_bytes()))
                    .map_err(|_| Error::invalid("id", "must be a UUID"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                uuid::Uuid::from_bytes(self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

uuid!(
    /// One life of a tenant. A tenant that is created again under the same name is another incarnation.
    Incarnation
);
uuid!(
    /// One life of a namespace. It is never reused.
    NamespaceUuid
);
uuid!(
    /// Id of an immutable object.
    ObjectUuid
);
uuid!(
    /// Id of a long-running operation.
    OperationId
);
uuid!(
    /// Id of a request, which `x-request-id` and the audit show.
    RequestId
);

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $int:ty) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $int);

        impl $name {
            /// The next number.
            ///
            /// # Panics
            /// If the number space is exhausted, which takes longer than any machine lives.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("the number space is not exhausted"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number!(
    /// Number of a commit in its namespace. It grows with every write.
    CommitNo, u64
);
number!(
    /// Epoch of a log's writer. It is not the epoch of a key.
    LogEpoch, u32
);
number!(
    /// Epoch of the tenant key that wraps. It is not the epoch of a log.
    KeyEpoch, u32
);

#[cfg(test)]
mod tests;
