//! access: who may do what, and how much.
//!
//! A bearer token becomes a [`Grant`] for one action, or a [`Refusal`] that tells nothing. The
//! gate judges a snapshot of credentials that the registry hands it; it keeps no state but rates.
//! What a grant opens is the vault's and the store's business.

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
pub use grant::{Ask, Grant, Identity, Tenure};
pub use pepper::Pepper;
pub use records::{Credentials, Hold, KeyRecord, KeyStub, OperatorRecord, TenantFacts, TenantState};
pub use token::TokenKind;
