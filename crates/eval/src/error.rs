//! Errors that stop an evaluation.

use std::path::PathBuf;

/// The reason why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the collection cannot be read.
    #[error("{}: cannot be read; a collection holds corpus.jsonl, queries.jsonl and qrels/test.tsv", path.display())]
    Missing {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A mode is invalid.
    #[error("mode {mode}: {why}")]
    Mode {
        /// The mode as it was given.
        mode: String,
        /// Description of the fault.
        why: String,
    },
    /// A line of a file is invalid.
    #[error("{} line {line}: {what}", path.display())]
    Malformed {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Description of the fault.
        what: String,
    },
    /// The server refused a request, or could not be reached.
    #[error(transparent)]
    Server(#[from] client::Error),
    /// Documents that the server did not index falsify every figure.
    #[error(
        "{count} of {total} documents were not indexed (first: {first}); figures would not be those of the collection"
    )]
    NotIndexed {
        /// Number of documents that were not indexed.
        count: usize,
        /// Number of documents in the collection.
        total: usize,
        /// Id and status of the first one.
        first: String,
    },
    /// The namespace holds other documents, which would be ranked too.
    #[error(
        "the namespace {namespace} holds {found} documents, the collection {expected}: name an empty one with --namespace"
    )]
    Mixed {
        /// Name of the namespace.
        namespace: String,
        /// Number of documents in the namespace.
        found: u64,
        /// Number of documents in the collection.
        expected: u64,
    },
    /// The report cannot be written.
    #[error("{}: cannot be written", path.display())]
    Output {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
}
