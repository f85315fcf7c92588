//! Real object stores with the S3 API, run by [`crate::process`].

mod ceph;
mod moto;
mod s3s_fs;
mod signed;

pub use ceph::Ceph;
pub use moto::Moto;
pub use s3s_fs::S3sFs;

/// Credentials for a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    /// Access key id.
    pub id: String,
    /// Secret access key. It is not a real one.
    pub secret: String,
}

impl StoreKey {
    fn for_tests() -> Self {
        Self { id: "testkey".to_owned(), secret: "testsecret".to_owned() }
    }
}

/// Bucket that every server has.
pub(crate) const BUCKET: &str = "ringfence-test";
