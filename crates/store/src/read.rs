//! Reading a namespace: snapshots, which rows of one a request may use, ranking, fetching and listing.

pub(crate) mod snapshot;
