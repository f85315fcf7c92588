//! Real servers that keep keys, as [`crate::process`] keeps them, and a proxy that makes a server slow or gone.
//! A key-management service of Amazon's kind is [`crate::Moto`], at its one endpoint.

mod openbao;
mod slow_proxy;
mod softhsm;

pub use openbao::OpenBao;
pub use slow_proxy::{ProxyMode, SlowProxy};
pub use softhsm::SoftHsm;
