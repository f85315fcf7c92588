//! Real key servers, run by [`crate::process`], and a proxy that makes a server slow or unreachable. Amazon's KMS is
//! emulated by [`crate::Moto`], at its single endpoint.

mod openbao;
mod slow_proxy;
mod softhsm;

pub use openbao::OpenBao;
pub use slow_proxy::{ProxyMode, SlowProxy};
pub use softhsm::SoftHsm;
