//! What a registry needs of the storage outside any one place: the control place's wrapped key,
//! which is read before any place can be opened, and the removal of places whose keys are gone, for
//! which no home can be made any more.

use crate::{Error, Storage, error::io_error};
use std::io;

impl Storage {
    /// Puts a small object under a name outside every place, durable when this returns. `false`: another was there.
    ///
    /// # Errors
    /// `Full`, `Io`, `Store`.
    pub async fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<bool, Error> {
        self.create(name, bytes, "writing a small object").await
    }

    /// Reads what [`Storage::put_new`] put; `None` when there is none.
    ///
    /// # Errors
    /// `Io`, `Store`.
    pub async fn get_small(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        self.read(name, "reading a small object").await
    }

    /// Removes everything under a place's prefix, as `Home::prefix` gives it. One that is gone is fine, and what
    /// a crash leaves the next call removes. Whoever calls this knows that nobody writes there.
    ///
    /// # Errors
    /// `Io`, `Store`; also for a prefix that no place has: nothing else is ever removed.
    pub async fn remove_prefix(&self, prefix: &str) -> Result<(), Error> {
        if !is_prefix(prefix) {
            return Err(io_error("removing a place", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        self.remove_place(prefix).await
    }

    /// Sealed objects under a place's prefix, at most so many and each at most [`WITNESS_BYTES_MAX`] long: what they
    /// are called and the hash of their bytes. Nothing is opened.
    ///
    /// # Errors
    /// `Io`, `Store`; also for a prefix that no place has.
    pub async fn witnesses(&self, prefix: &str, most: usize) -> Result<Vec<Witness>, Error> {
        if !is_prefix(prefix) {
            return Err(io_error("listing a place", io::Error::from(io::ErrorKind::InvalidInput)));
        }
        let mut found = Vec::new();
        for name in self.list(prefix).await? {
            if found.len() >= most {
                break;
            }
            let name = format!("{prefix}{name}");
            let Some(bytes) = self.read(&name, "reading a sealed object").await? else { continue };
            if bytes.len() <= WITNESS_BYTES_MAX {
                found.push(Witness { name, bytes: bytes.len() as u64, sha256: vault::sha256(&bytes) });
            }
        }
        Ok(found)
    }
}

/// A sealed object as it lies in the storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Witness {
    /// Its whole name.
    pub name: String,
    /// How long it is.
    pub bytes: u64,
    /// The hash of its sealed bytes.
    pub sha256: [u8; 32],
}

/// Larger objects are no witnesses.
const WITNESS_BYTES_MAX: usize = 64 << 20;

/// `<kind>/<two hex digits>/<uuid>/`, with the kinds that a tenant has.
fn is_prefix(prefix: &str) -> bool {
    let mut parts = prefix.split('/');
    let (kind, shard, uuid) = (parts.next(), parts.next(), parts.next());
    let rest = (parts.next(), parts.next());
    kind.is_some_and(|k| matches!(k, "ns" | "dir" | "audit"))
        && shard.is_some_and(|s| s.len() == 2 && s.bytes().all(|b| b.is_ascii_hexdigit()))
        && uuid.is_some_and(|u| kernel::ObjectUuid::parse(u).is_ok())
        && rest == (Some(""), None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_places_prefix_is_removed() {
        let uuid = "00000000-0000-4000-8000-000000000000";
        assert!(is_prefix(&format!("ns/3f/{uuid}/")));
        for other in ["", "/", "ns/", "ns/3f/", "ctl/root.wrap", "../x", &format!("ns/3f/{uuid}/seg/")] {
            assert!(!is_prefix(other), "{other}");
        }
        assert!(!is_prefix(&format!("ctl/3f/{uuid}/")), "the control place is never removed");
        assert!(!is_prefix(&format!("ns/../{uuid}/")));
    }
}
