//! The way in: the set of open namespaces, and handles on one of them.

mod evict;
mod handle;
mod inspect;
mod namespace;
mod open;
mod ownership;
mod slot;
mod stores;

pub use handle::NamespaceHandle;
pub use stores::Stores;
