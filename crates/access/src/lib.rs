//! access: which caller may do what, and how much.
//!
//! A bearer token becomes a [`Grant`] for one action, or a [`Refusal`] that reveals nothing. The gate judges a snapshot
//! of credentials that the registry provides; it keeps no state but rates. The vault and the store decide what a grant
//! gives access to.

mod action;
mod gate;
mod grant;
mod pepper;
mod quota;
mod records;
pub mod token;

pub use action::{
    Action, Audit, Browse, Custodial, Delete, Erase, Ingest, Manage, Operations, Patch, Read, Review, RotateKey,
    Search, Whoami,
};
pub use gate::{Gate, Operator, Refusal};
pub use grant::{BackgroundGrant, Grant, Identity, RequestInfo};
pub use pepper::Pepper;
pub use records::{Credentials, KeyRecord, KeyStub, OpenGuard, OperatorRecord, TenantFacts, TenantState};
pub use token::TokenKind;
