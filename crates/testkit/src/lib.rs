//! testkit: for tests only. A real server process to talk to, the stores and key servers it needs, a
//! plain HTTP client that can also send what no client should, and two tenants with near-twin documents.

mod fake_s3;
mod fuzz;
pub mod hostile;
mod http;
mod key_servers;
mod process;
mod rng;
mod server;
mod stores;
mod twins;
mod unsealed;
mod vectors;

pub use fake_s3::{FakeS3, Fault, Op, Seen, When};
pub use fuzz::{FuzzTarget, Largest, fuzz, fuzz_cases, mutated};
pub use http::{Http, Reply};
pub use key_servers::{OpenBao, ProxyMode, SlowProxy, SoftHsm};
pub use rng::Rng;
pub use server::{Server, ServerBuilder};
pub use stores::{Ceph, Moto, S3sFs, StoreKey};
pub use twins::{Tenant, Twin, twin};
pub use unsealed::unsealed_segment;
pub use vectors::{Mixture, VALUES, vectors_of};
