//! From the types of the API to the engine's, and back. Parsing has checked the JSON; here the values of a request are
//! checked, and become engine types; engine types become the replies that show them.

pub(crate) mod account;
pub(crate) mod admin;
pub(crate) mod common;
pub(crate) mod documents;
pub(crate) mod fusion;
pub(crate) mod keys;
pub(crate) mod namespaces;
pub(crate) mod operations;
pub(crate) mod recall;
pub(crate) mod rerank;
pub(crate) mod review;
pub(crate) mod search;

/// A conversion that cannot fail. It stands for `Into`, which a crate cannot implement between types of two others.
pub(crate) trait Convert<T> {
    /// The value in its other form.
    fn convert(self) -> T;
}

#[cfg(test)]
mod tests;
