//! The rules by name. Names are part of the API: findings, filters and reviews use them.

use kernel::{
    FindingKind::{self, Injection, Pii, Secret},
    Severity::{self, High, Low, Medium},
};

/// A rule: the name and severity of its findings, and the text that replaces a masked hit.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    pub(crate) kind: FindingKind,
    pub(crate) severity: Severity,
    pub(crate) mask: &'static str,
}

macro_rules! rules {
    ($($id:ident = $name:literal $kind:ident $severity:ident $mask:literal;)*) => {
        $(pub(crate) static $id: Rule = Rule { name: $name, kind: $kind, severity: $severity, mask: $mask };)*
        /// Every rule.
        #[cfg(test)]
        pub(crate) static ALL: &[&Rule] = &[$(&$id),*];
    };
}

rules! {
    EMAIL = "pii.email" Pii Low "[email]";
    PHONE = "pii.phone" Pii Low "[phone]";
    CARD = "pii.card" Pii High "[card]";
    IBAN = "pii.iban" Pii High "[iban]";
    US_SSN = "pii.us_ssn" Pii High "[ssn]";

    PRIVATE_KEY = "secret.private_key" Secret High "[private key]";
    AWS_KEY = "secret.aws_key" Secret High "[aws key]";
    GITHUB_TOKEN = "secret.github_token" Secret High "[github token]";
    SLACK_TOKEN = "secret.slack_token" Secret High "[slack token]";
    GOOGLE_KEY = "secret.google_key" Secret High "[google key]";
    STRIPE_KEY = "secret.stripe_key" Secret High "[stripe key]";
    MODEL_KEY = "secret.model_api_key" Secret High "[api key]";
    JWT = "secret.jwt" Secret Medium "[jwt]";
    RINGFENCE_TOKEN = "secret.ringfence_token" Secret High "[ringfence token]";
    ASSIGNED = "secret.assigned" Secret Medium "[secret]";

    // Orders that are only ever written to take control of a model.
    OVERRIDE = "injection.override" Injection High "[instruction removed]";
    JAILBREAK = "injection.jailbreak" Injection High "[instruction removed]";
    PROMPT_LEAK = "injection.prompt_leak" Injection High "[instruction removed]";
    EXFILTRATION = "injection.exfiltration" Injection High "[instruction removed]";
    FORGED_ROLE = "injection.forged_role" Injection High "[instruction removed]";
    CONCEAL = "injection.conceal_from_user" Injection High "[instruction removed]";
    // The same orders, or any order to a model, where no reader would see it.
    HIDDEN = "injection.hidden_instruction" Injection High "[instruction removed]";
    ENCODED = "injection.encoded" Injection High "[instruction removed]";
    OBFUSCATED = "injection.obfuscated" Injection High "[instruction removed]";
    SMUGGLED = "injection.smuggled" Injection High "[instruction removed]";
    // Also written for legitimate reasons, so these are only recorded.
    WEAK_OVERRIDE = "injection.weak_override" Injection Medium "[instruction removed]";
    PERSONA = "injection.persona" Injection Medium "[instruction removed]";
    PROMPT_REQUEST = "injection.prompt_request" Injection Medium "[instruction removed]";
    ROLE_MARKER = "injection.role_marker" Injection Medium "[marker removed]";
    ACTIVE_LINK = "injection.active_link" Injection Medium "[link removed]";
    DATA_LINK = "injection.data_link" Injection Low "[link removed]";
    UNICODE_TAGS = "injection.unicode_tags" Injection Medium "";
    INVISIBLE = "injection.invisible_text" Injection Low "";
}
