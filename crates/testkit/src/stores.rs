//! Real S3-class servers, as [`crate::process`] keeps them.

mod ceph;
mod moto;
mod s3s_fs;
mod signed;

pub use ceph::Ceph;
pub use moto::Moto;
pub use s3s_fs::S3sFs;

/// Who may use a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreKey {
    /// Access key id.
    pub id: String,
    /// Its secret. Nothing real.
    pub secret: String,
}

impl StoreKey {
    fn for_tests() -> Self {
        Self { id: "testkey".to_owned(), secret: "testsecret".to_owned() }
    }
}

/// The bucket that every server has.
pub(crate) const BUCKET: &str = "ringfence-test";
