//! What can be done: a closed family of actions, each with its audit name and the scope it needs.
//!
//! Actions are types without values, so a grant for one cannot be passed off as a grant for
//! another. The family is sealed: no other crate invents an action.

use kernel::{Role, Scope};

/// Something a grant can be for.
pub trait Action: sealed::Sealed + Send + Sync + 'static {
    /// Its name in the audit.
    const NAME: &'static str;
    /// The scope a key must carry; `None` asks for a valid key only.
    const SCOPE: Option<Scope>;
    /// The operators that it is delegated to; empty for what a tenant's own key does.
    const CUSTODIANS: &'static [Role] = &[];
}

/// What an operator does to a tenant without seeing anything of it. Never admitted from an API key.
pub trait Custodial: Action {}

mod sealed {
    pub trait Sealed {}
}

macro_rules! actions {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $scope:expr;)*) => {$(
        $(#[$doc])*
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Action for $name {
            const NAME: &'static str = $text;
            const SCOPE: Option<Scope> = $scope;
        }
    )*};
}

macro_rules! custodial {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $roles:expr;)*) => {$(
        $(#[$doc])*
        pub enum $name {}
        impl sealed::Sealed for $name {}
        impl Action for $name {
            const NAME: &'static str = $text;
            const SCOPE: Option<Scope> = None;
            const CUSTODIANS: &'static [Role] = $roles;
        }
        impl Custodial for $name {}
    )*};
}

actions! {
    /// Search and build context.
    Search = "search", Some(Scope::Search);
    /// Get and list documents.
    Read = "document.read", Some(Scope::Search);
    /// See namespaces and their settings.
    Browse = "namespace.read", Some(Scope::Search);
    /// Upsert documents.
    Ingest = "document.upsert", Some(Scope::Ingest);
    /// Change documents' attributes and the like.
    Patch = "document.patch", Some(Scope::Ingest);
    /// Delete documents.
    Delete = "document.delete", Some(Scope::Delete);
    /// Release or reject quarantined documents.
    Review = "document.review", Some(Scope::Review);
    /// Create, change and delete namespaces.
    Manage = "namespace.manage", Some(Scope::Manage);
    /// Read the tenant's audit.
    Audit = "audit.read", Some(Scope::Audit);
    /// Ask who one is.
    Whoami = "whoami", None;
    /// See the operations that one's own key began.
    Operations = "operation.read", None;
}

custodial! {
    /// Give the tenant a new key epoch and destroy the old one.
    RotateKey = "key.rotate", &[Role::Admin, Role::Keys];
    /// Destroy the tenant, keys first.
    Erase = "tenant.erase", &[Role::Admin];
}
