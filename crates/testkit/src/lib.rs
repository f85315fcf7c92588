//! testkit, for tests only: a real server process, the stores and key servers that it needs, a plain HTTP client that
//! can also send malformed requests, and two tenants with nearly equal documents.

mod fake_s3;
mod fuzz;
pub mod hostile;
mod http;
mod key_servers;
mod near_twins;
mod process;
mod rng;
mod server;
mod stores;
mod unsealed;
mod vectors;

pub use fake_s3::{FakeS3, Fault, Op, ReceivedRequest, When};
pub use fuzz::{Largest, fuzz, fuzz_cases, mutated};
pub use http::{Http, Reply};
pub use key_servers::{OpenBao, ProxyMode, SlowProxy, SoftHsm};
pub use ledger::verify_records;
pub use near_twins::{NearTwin, TwinTenant, near_twin};
pub use rng::Rng;
pub use server::{Server, ServerBuilder};
pub use stores::{Ceph, Moto, S3sFs, StoreKey};
pub use unsealed::unsealed_segment;
pub use vectors::{Mixture, VALUES, read_vectors};
