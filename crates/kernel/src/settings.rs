//! What can be set: per namespace, per tenant, per credential.

use crate::{Error, FindingKind, ReadersRule, Timestamp, limits};

/// How vectors are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Distance {
    /// Angle; vectors are normalised when stored.
    #[default]
    Cosine,
    /// Inner product.
    Dot,
    /// Euclidean.
    Euclidean,
}

/// What a screen's finding leads to, mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// Nothing, and not recorded.
    Allow,
    /// Recorded with the document.
    Tag,
    /// Replaced in the stored text.
    Mask,
    /// Stored, but held back until reviewed.
    Quarantine,
    /// Not stored.
    Reject,
}

/// Where vectors come from.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Embedding {
    /// The server's default model, if one serves when the first document arrives.
    #[default]
    Default,
    /// This model of the server's.
    Model {
        /// Its name.
        name: String,
        /// Its dimensions.
        dimensions: u32,
    },
    /// The callers' own vectors of this length; or text only when 0.
    Own {
        /// Length of a vector.
        dimensions: u32,
    },
}

impl Embedding {
    /// Length of a stored vector, 0 when there are none.
    pub fn dimensions(&self) -> usize {
        match self {
            Embedding::Default => 0,
            Embedding::Model { dimensions, .. } | Embedding::Own { dimensions } => *dimensions as usize,
        }
    }
}

/// How text is cut into passages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// Longest passage, in the model's tokens.
    pub max_tokens: u32,
    /// Tokens repeated from the passage before.
    pub overlap_tokens: u32,
}

impl Default for Chunking {
    /// 254 + 2 special tokens fill the default model's 256; the overlap keeps a sentence that spans a border whole.
    fn default() -> Self {
        Self { max_tokens: 254, overlap_tokens: 32 }
    }
}

/// What each kind of finding leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screening {
    /// Injection attempts.
    pub injection: Action,
    /// Personal data.
    pub pii: Action,
    /// Credentials.
    pub secret: Action,
}

impl Default for Screening {
    /// Hold back what instructs, tag what identifies.
    fn default() -> Self {
        Self { injection: Action::Quarantine, pii: Action::Tag, secret: Action::Tag }
    }
}

impl Screening {
    /// The action for one kind.
    pub fn action(&self, kind: FindingKind) -> Action {
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
    /// Days after a document was first stored.
    pub days: Option<u32>,
}

impl Retention {
    /// When a document has to go: its own end, or that of the namespace's days if it comes first.
    pub fn end_of(&self, created_at: Timestamp, own: Option<Timestamp>) -> Option<Timestamp> {
        let Some(days) = self.days else { return own };
        let days = i64::from(days).checked_mul(MILLIS_A_DAY);
        let leaves = days.and_then(|days| created_at.as_millis().checked_add(days)).map(Timestamp::from_millis);
        match (own, leaves) {
            (Some(own), Some(leaves)) => Some(own.min(leaves)),
            (own, leaves) => own.or(leaves),
        }
    }
}

const MILLIS_A_DAY: i64 = 24 * 60 * 60 * 1_000;

/// Everything a namespace can be told.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct NamespaceSettings {
    /// Where vectors come from. Fixed once filled.
    pub embedding: Embedding,
    /// How they are compared. Fixed once filled.
    pub distance: Distance,
    /// How text is cut. Fixed once filled.
    pub chunking: Chunking,
    /// How words are compared. Fixed once filled.
    pub language: Language,
    /// What findings lead to.
    pub screening: Screening,
    /// How long documents live.
    pub retention: Retention,
    /// Whether a document must name its readers.
    pub require_readers: bool,
}

impl NamespaceSettings {
    /// Whether documents have to name their readers.
    pub fn readers(&self) -> ReadersRule {
        if self.require_readers { ReadersRule::Required } else { ReadersRule::Optional }
    }

    /// Those settings that decide what becomes of a document, as bytes. The same content under other ones is judged
    /// again, so that a stricter policy reaches what is there.
    pub fn judgement(&self) -> Vec<u8> {
        let Screening { injection, pii, secret } = self.screening;
        let mut out = vec![injection as u8, pii as u8, secret as u8, self.require_readers.into()];
        out.extend(self.chunking.max_tokens.to_le_bytes());
        out.extend(self.chunking.overlap_tokens.to_le_bytes());
        out.extend(self.retention.days.unwrap_or(0).to_le_bytes());
        out
    }

    /// Checks bounds.
    ///
    /// # Errors
    /// `invalid_request` naming the member.
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

/// What a tenant may use. `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Documents stored.
    pub documents: Option<u64>,
    /// Bytes of text stored.
    pub bytes: Option<u64>,
    /// Namespaces.
    pub namespaces: Option<u64>,
    /// Requests a minute.
    pub requests_per_minute: Option<u64>,
    /// Tokens embedded a minute.
    pub tokens_per_minute: Option<u64>,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $param:literal { $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [$name] = &[$($name::$variant),*];

            /// The name in the contract.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }

            /// Reads the contract's name.
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

words!(
    /// Whose words a namespace holds: by its rules they are brought to their stems.
    Language, "text.language" {
        /// Words as they are written: for ids, codes and names.
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
words!(
    /// What an API key may do.
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
        /// See every document whatever its readers.
        ReadAll = "read_all",
        /// Write over documents that the key does not see: for an ingest pipeline that owns what it writes.
        Overwrite = "overwrite",
        /// See vectors.
        Vectors = "vectors",
        /// Read the tenant's audit.
        Audit = "audit",
    }
);
words!(
    /// What an operator may do.
    Role, "role" {
        /// Everything on the control plane.
        Admin = "admin",
        /// Rotate keys and see their state.
        Keys = "keys",
        /// Look, not touch.
        Viewer = "viewer",
        /// Look, and read operators' acts.
        Auditor = "auditor",
    }
);

impl Default for Language {
    /// Most documents are; text in another language is found all the same, by words as they are written or nearly so.
    fn default() -> Self {
        Self::English
    }
}

impl Scope {
    /// What a key gets when nothing is said.
    pub const DEFAULT: [Scope; 3] = [Scope::Search, Scope::Ingest, Scope::Delete];
}

impl Action {
    /// The name in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Tag => "tag",
            Action::Mask => "mask",
            Action::Quarantine => "quarantine",
            Action::Reject => "reject",
        }
    }

    /// Reads the contract's name.
    ///
    /// # Errors
    /// `invalid_request` naming `param`.
    pub fn parse(text: &str, param: &str) -> Result<Self, Error> {
        [Action::Allow, Action::Tag, Action::Mask, Action::Quarantine, Action::Reject]
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
mod tests {
    use super::{Action, NamespaceSettings, Retention};
    use crate::Timestamp;
    use std::collections::HashSet;

    #[test]
    fn a_document_goes_at_the_earlier_end() {
        let at = Timestamp::from_millis;
        let day = super::MILLIS_A_DAY;
        let two = Retention { days: Some(2) };
        assert_eq!(two.end_of(at(5), None), Some(at(5 + 2 * day)));
        assert_eq!(two.end_of(at(5), Some(at(7))), Some(at(7)));
        assert_eq!(two.end_of(at(5), Some(at(9 * day))), Some(at(5 + 2 * day)));
        assert_eq!(Retention::default().end_of(at(5), Some(at(9 * day))), Some(at(9 * day)));
        assert_eq!(Retention::default().end_of(at(5), None), None);
        assert_eq!(two.end_of(at(i64::MAX), Some(at(7))), Some(at(7)), "never is later than any end");
    }

    #[test]
    fn each_setting_that_judges_a_document_is_in_the_judgement() {
        let change = |change: fn(&mut NamespaceSettings)| {
            let mut settings = NamespaceSettings::default();
            change(&mut settings);
            settings.judgement()
        };
        let all = [
            change(|_| {}),
            change(|s| s.screening.injection = Action::Reject),
            change(|s| s.screening.pii = Action::Reject),
            change(|s| s.screening.secret = Action::Reject),
            change(|s| s.require_readers = true),
            change(|s| s.retention.days = Some(1)),
            change(|s| s.chunking.max_tokens = 16),
            change(|s| s.chunking.overlap_tokens = 16),
        ];
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }
}
