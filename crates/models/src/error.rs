//! What can be wrong with a runtime, a model folder or a call, with the remedy. Never with text of a customer.
//!
//! Paths appear here, for the operator; what crosses the border to callers over HTTP leaves them out.

use kernel::Code;
use std::{io, path::PathBuf};

/// Why models cannot be loaded or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No path to ONNX Runtime.
    #[error(
        "no ONNX Runtime: set `models.runtime` or RINGFENCE_ONNXRUNTIME to a libonnxruntime.so 1.24 or later, or run scripts/setup"
    )]
    RuntimeUnset,
    /// The path leads nowhere.
    #[error("no ONNX Runtime at {path}: correct `models.runtime` or RINGFENCE_ONNXRUNTIME, or run scripts/setup")]
    RuntimeMissing {
        /// As configured.
        path: PathBuf,
    },
    /// Not a library, not ONNX Runtime, or too old.
    #[error(
        "{path} does not serve as ONNX Runtime ({why}): `models.runtime` or RINGFENCE_ONNXRUNTIME must name a libonnxruntime.so 1.24 or later for this machine"
    )]
    RuntimeUnusable {
        /// As configured.
        path: PathBuf,
        /// The loader's words.
        why: String,
    },
    /// A process can load one runtime only.
    #[error(
        "ONNX Runtime was loaded from {loaded} already and cannot be loaded from {asked} as well: restart with one `models.runtime`"
    )]
    RuntimeOther {
        /// What serves.
        loaded: PathBuf,
        /// What was asked for.
        asked: PathBuf,
    },
    /// No folder of models.
    #[error(
        "no models: set `models.folder` or RINGFENCE_MODELS to a folder that holds one folder per model, or run scripts/setup"
    )]
    FolderUnset,
    /// The default model is not in the folder.
    #[error(
        "no model `{name}` in {folder} (`models.folder`, `models.default`): it needs {name}/model.onnx, tokenizer.json and config.json; scripts/setup makes the default one"
    )]
    ModelMissing {
        /// `models.default`.
        name: String,
        /// `models.folder`.
        folder: PathBuf,
    },
    /// The reranker that was named does not serve as one.
    #[error(
        "no reranker `{name}` in {folder} (`models.reranker`): it needs {name}/model.onnx with an output `logits` of one number, `token_embeddings` or `last_hidden_state`"
    )]
    RerankerMissing {
        /// `models.reranker`.
        name: String,
        /// `models.folder`.
        folder: PathBuf,
    },
    /// The default model gives no vectors.
    #[error("the model `{name}` gives no vectors, it only reranks: name another as `models.default`")]
    NoVectors {
        /// `models.default`.
        name: String,
    },
    /// A file that must be there cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file is there and is not what it should be.
    #[error("{path} cannot be used: {why}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The GPU was asked for and cannot be had.
    #[error(
        "CUDA device {device} cannot serve ({why}): `models.runtime` must be a GPU build beside its CUDA and cuDNN libraries, or set `models.allow_cpu`"
    )]
    Cuda {
        /// `models.device`.
        device: i32,
        /// The runtime's words.
        why: String,
    },
    /// A thread could not be started.
    #[error("cannot start a model thread")]
    Thread(#[source] io::Error),
    /// The tokeniser refused a text. Its own words might quote the text and are dropped.
    #[error("the tokeniser failed")]
    Tokenise,
    /// ONNX Runtime refused a call.
    #[error("the model failed: {0}")]
    Run(String),
}

impl From<Error> for kernel::Error {
    fn from(error: Error) -> Self {
        let (code, message) = match &error {
            Error::Tokenise | Error::Run(_) => (Code::Internal, "the model failed on this input"),
            _ => (Code::ModelUnavailable, "the model cannot be loaded"),
        };
        kernel::Error::new(code, message).with_source(error)
    }
}
