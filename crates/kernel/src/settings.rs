//! Settings of namespaces, tenants and credentials.

use crate::{Error, FindingKind, ReadersRule, Timestamp, limits};

/// Measure that compares vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Distance {
    /// Angle. Vectors are normalised when they are stored.
    #[default]
    Cosine,
    /// Inner product of the vectors.
    Dot,
    /// Euclidean distance.
    Euclidean,
}

/// Action that a screen's finding leads to, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ScreenAction {
    /// The finding has no effect and is not recorded.
    Allow,
    /// The finding is recorded with the document.
    Tag,
    /// The text of the finding is replaced before it is stored.
    Mask,
    /// The document is stored, but held back until it is reviewed.
    Quarantine,
    /// The document is not stored.
    Reject,
}

/// Source of the vectors.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Embedding {
    /// The server's default model, if one is available when the first document arrives.
    #[default]
    Default,
    /// A model of the server.
    Model {
        /// Name of the model.
        name: String,
        /// Dimensions of the model's vectors.
        dimensions: u32,
    },
    /// The callers' own vectors of this length, or text only if it is 0.
    Own {
        /// Length of a vector.
        dimensions: u32,
    },
}

impl Embedding {
    /// Length of a stored vector; 0 if no vectors are stored.
    pub fn dimensions(&self) -> usize {
        match self {
            Embedding::Default => 0,
            Embedding::Model { dimensions, .. } | Embedding::Own { dimensions } => *dimensions as usize,
        }
    }
}

/// How text is split into passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Longest passage, in the model's tokens.
    pub max_tokens: u32,
    /// Tokens that are repeated from the previous passage.
    pub overlap_tokens: u32,
}

impl Default for Chunking {
    /// 254 tokens and 2 special ones fill the default model's 256. The overlap keeps a sentence that crosses a border
    /// whole in one passage.
    fn default() -> Self {
        Self { max_tokens: 254, overlap_tokens: 32 }
    }
}

/// Action for each kind of finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screening {
    /// Action for injection attempts.
    pub injection: ScreenAction,
    /// Action for personal data.
    pub pii: ScreenAction,
    /// Action for credentials.
    pub secret: ScreenAction,
}

impl Default for Screening {
    /// Injection attempts are held back; personal data and credentials are tagged.
    fn default() -> Self {
        Self { injection: ScreenAction::Quarantine, pii: ScreenAction::Tag, secret: ScreenAction::Tag }
    }
}

impl Screening {
    /// Action for one kind of finding.
    pub fn action(&self, kind: FindingKind) -> ScreenAction {
        match kind {
            FindingKind::Injection => self.injection,
            FindingKind::Pii => self.pii,
            FindingKind::Secret => self.secret,
        }
    }
}

/// How long documents live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Retention {
    /// Days for which a document is kept after it was first stored.
    pub days: Option<u32>,
}

impl Retention {
    /// Time at which a document expires: its own `expires_at` or the end of the namespace's retention, whichever comes
    /// first.
    pub fn end_of(&self, created_at: Timestamp, own: Option<Timestamp>) -> Option<Timestamp> {
        let Some(days) = self.days else { return own };
        let days = i64::from(days).checked_mul(MILLIS_A_DAY);
        let end = days.and_then(|days| created_at.as_millis().checked_add(days)).map(Timestamp::from_millis);
        match (own, end) {
            (Some(own), Some(end)) => Some(own.min(end)),
            (own, end) => own.or(end),
        }
    }
}

const MILLIS_A_DAY: i64 = 24 * 60 * 60 * 1_000;

/// Settings of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NamespaceSettings {
    /// Source of the vectors. Fixed once the namespace holds documents.
    pub embedding: Embedding,
    /// Measure that compares vectors. Fixed once the namespace holds documents.
    pub distance: Distance,
    /// How text is split into passages. Fixed once the namespace holds documents.
    pub chunking: Chunking,
    /// Language whose rules compare words. Fixed once the namespace holds documents.
    pub language: Language,
    /// Actions for findings.
    pub screening: Screening,
    /// How long documents live.
    pub retention: Retention,
    /// Whether a document must name its readers.
    pub require_readers: bool,
}

impl NamespaceSettings {
    /// The rule for the readers of documents.
    pub fn readers(&self) -> ReadersRule {
        if self.require_readers { ReadersRule::Required } else { ReadersRule::Optional }
    }

    /// The settings that decide how a document is stored, as bytes. The same content is judged again under other ones,
    /// so that a stricter policy also reaches documents that are already stored.
    pub fn policy_bytes(&self) -> Vec<u8> {
        let Screening { injection, pii, secret } = self.screening;
        let mut out = vec![injection as u8, pii as u8, secret as u8, self.require_readers.into()];
        out.extend(self.chunking.max_tokens.to_le_bytes());
        out.extend(self.chunking.overlap_tokens.to_le_bytes());
        out.extend(self.retention.days.unwrap_or(0).to_le_bytes());
        out
    }

    /// Checks that the values are within their bounds.
    ///
    /// # Errors
    /// `invalid_request`, which names the member.
    pub fn validate(&self) -> Result<(), Error> {
        let dimensions = self.embedding.dimensions();
        let own = matches!(self.embedding, Embedding::Own { .. });
        if own && dimensions != 0 && !(limits::DIMENSIONS_MIN..=limits::DIMENSIONS_MAX).contains(&dimensions) {
            return Err(Error::invalid("embedding.dimensions", "must be 2 to 4096, or 0 for text only"));
        }
        if !(16..=8_192).contains(&self.chunking.max_tokens) {
            return Err(Error::invalid("chunking.max_tokens", "must be 16 to 8192"));
        }
        if self.chunking.overlap_tokens > self.chunking.max_tokens / 2 {
            return Err(Error::invalid("chunking.overlap_tokens", "must be at most half of max_tokens"));
        }
        if self.retention.days.is_some_and(|d| d == 0 || d > 36_500) {
            return Err(Error::invalid("retention.days", "must be 1 to 36500"));
        }
        Ok(())
    }
}

/// Quotas of a tenant. `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Stored documents.
    pub documents: Option<u64>,
    /// Stored bytes of text.
    pub bytes: Option<u64>,
    /// Namespaces.
    pub namespaces: Option<u64>,
    /// Requests per minute.
    pub requests_per_minute: Option<u64>,
    /// Embedded tokens per minute.
    pub tokens_per_minute: Option<u64>,
}

macro_rules! named_values {
    ($(#[$doc:meta])* $name:ident, $param:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// All values.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name in the contract.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// Parses the name in the contract.
            ///
            /// # Errors
            /// `invalid_request` that lists what is known.
            pub fn parse(text: &str) -> Result<Self, Error> {
                match text {
                    $($word => Ok($name::$variant),)*
                    _ => Err(Error::invalid($param, concat!("must be one of", $(" ", $word),*))),
                }
            }
        }
    };
}

named_values!(
    /// Language of a namespace's documents. Its rules reduce words to their stems.
    Language, "text.language" {
        /// No stemming: words are compared as they are written. For ids, codes and names.
        Plain = "plain",
        /// العربية.
        Arabic = "arabic",
        /// Dansk.
        Danish = "danish",
        /// Nederlands.
        Dutch = "dutch",
        /// English.
        English = "english",
        /// Suomi.
        Finnish = "finnish",
        /// Français.
        French = "french",
        /// Deutsch.
        German = "german",
        /// Ελληνικά.
        Greek = "greek",
        /// Magyar.
        Hungarian = "hungarian",
        /// Italiano.
        Italian = "italian",
        /// Norsk.
        Norwegian = "norwegian",
        /// Português.
        Portuguese = "portuguese",
        /// Română.
        Romanian = "romanian",
        /// Русский.
        Russian = "russian",
        /// Español.
        Spanish = "spanish",
        /// Svenska.
        Swedish = "swedish",
        /// தமிழ்.
        Tamil = "tamil",
        /// Türkçe.
        Turkish = "turkish",
    }
);
named_values!(
    /// Permission of an API key.
    Scope, "scopes" {
        /// Search, context, read and list documents.
        Search = "search",
        /// Upsert, patch, and create a namespace by the first upsert.
        Ingest = "ingest",
        /// Delete documents.
        Delete = "delete",
        /// Create, change and delete namespaces.
        Manage = "manage",
        /// Release or reject quarantined documents.
        Review = "review",
        /// Name other principals in `as`.
        ActAs = "act_as",
        /// See every document, whatever its readers are.
        ReadAll = "read_all",
        /// Overwrite documents that the key does not see: for an ingest pipeline that owns what it writes.
        Overwrite = "overwrite",
        /// See the vectors of documents.
        Vectors = "vectors",
        /// Read the tenant's audit log.
        Audit = "audit",
    }
);
named_values!(
    /// Role of an operator.
    Role, "role" {
        /// Everything on the control plane.
        Admin = "admin",
        /// Rotate keys, and see their state.
        Keys = "keys",
        /// Read, but change nothing.
        Viewer = "viewer",
        /// Read everything that a viewer may, and operators' acts.
        Auditor = "auditor",
    }
);

impl Default for Language {
    /// English: most documents are in it. Text in another language is found all the same, by its words as they are
    /// written or nearly so.
    fn default() -> Self {
        Self::English
    }
}

impl Scope {
    /// Scopes of a key for which none were chosen.
    pub const DEFAULT: [Scope; 3] = [Scope::Search, Scope::Ingest, Scope::Delete];
}

impl ScreenAction {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            ScreenAction::Allow => "allow",
            ScreenAction::Tag => "tag",
            ScreenAction::Mask => "mask",
            ScreenAction::Quarantine => "quarantine",
            ScreenAction::Reject => "reject",
        }
    }

    /// Parses the name in the contract.
    ///
    /// # Errors
    /// `invalid_request`, which names `param`.
    pub fn parse(text: &str, param: &str) -> Result<Self, Error> {
        [ScreenAction::Allow, ScreenAction::Tag, ScreenAction::Mask, ScreenAction::Quarantine, ScreenAction::Reject]
            .into_iter()
            .find(|a| a.as_str() == text)
            .ok_or_else(|| Error::invalid(param, "must be one of allow tag mask quarantine reject"))
    }
}

impl Distance {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Distance::Cosine => "cosine",
            Distance::Dot => "dot",
            Distance::Euclidean => "euclidean",
        }
    }
}

#[cfg(test)]
mod tests;
