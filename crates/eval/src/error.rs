//! What stops an evaluation.

use std::path::PathBuf;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the collection cannot be read.
    #[error("{}: cannot be read; a collection holds corpus.jsonl, queries.jsonl and qrels/test.tsv", path.display())]
    Missing {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A mode that cannot be asked.
    #[error("mode {mode}: {why}")]
    Mode {
        /// As it was given.
        mode: String,
        /// What is wrong.
        why: String,
    },
    /// A line of it is not what it should be.
    #[error("{} line {line}: {what}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// What is wrong.
        what: String,
    },
    /// The server refused.
    #[error(transparent)]
    Server(#[from] client::Error),
    /// Documents that the server would not store make every figure wrong.
    #[error(
        "{count} of {total} documents were not indexed (first: {first}); figures would not be those of the collection"
    )]
    NotIndexed {
        /// How many.
        count: usize,
        /// Of how many.
        total: usize,
        /// The first one's id and status.
        first: String,
    },
    /// Other documents in the namespace would be ranked too.
    #[error(
        "the namespace {namespace} holds {found} documents, the collection {expected}: name an empty one with --namespace"
    )]
    Mixed {
        /// Which namespace.
        namespace: String,
        /// How many it holds.
        found: u64,
        /// How many it should hold.
        expected: u64,
    },
    /// A report cannot be written.
    #[error("{}: cannot be written", path.display())]
    Output {
        /// Where.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
