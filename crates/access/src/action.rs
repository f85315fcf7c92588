//! The actions of requests: a closed set, each with its name in the audit and the scope that it needs.
//!
//! Actions are types without values, so a grant for one action cannot be used as a grant for another. The trait is
//! sealed: no other crate can define an action.

use kernel::{Role, Scope};

/// An action that a grant can allow.
pub trait Action: sealed::Sealed + Send + Sync + 'static {
    /// Name of the action in the audit.
    const NAME: &'static str;
    /// Scope that a key must have; `None` requires only a valid key.
    const SCOPE: Option<Scope>;
    /// Roles of operators to whom the action is delegated. Empty for actions of a tenant's own keys.
    const CUSTODIANS: &'static [Role] = &[];
}

/// An action of an operator on a tenant, without access to any of its content. It is never admitted from an API key.
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
    /// Change the attributes and other members of documents.
    Patch = "document.patch", Some(Scope::Ingest);
    /// Delete documents.
    Delete = "document.delete", Some(Scope::Delete);
    /// Release or reject quarantined documents.
    Review = "document.review", Some(Scope::Review);
    /// Create, change and delete namespaces.
    Manage = "namespace.manage", Some(Scope::Manage);
    /// Read the tenant's audit log.
    Audit = "audit.read", Some(Scope::Audit);
    /// Ask for the identity of the caller's own key.
    Whoami = "whoami", None;
    /// See the operations that the caller's own key started.
    Operations = "operation.read", None;
}

custodial! {
    /// Give the tenant a new key epoch and destroy the old one.
    RotateKey = "key.rotate", &[Role::Admin, Role::Keys];
    /// Destroy the tenant, keys first.
    Erase = "tenant.erase", &[Role::Admin];
}
