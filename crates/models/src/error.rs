//! Errors of a runtime, a model folder or a call, with the remedy. They never contain text of a customer.
//!
//! They contain paths, for the operator; responses to HTTP callers leave those out.

use kernel::Code;
use std::{io, path::PathBuf};

/// Why models cannot be loaded or did not answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No path to ONNX Runtime is set.
    #[error(
        "no ONNX Runtime: set `models.runtime` or RINGFENCE_ONNXRUNTIME to a libonnxruntime.so 1.24 or later, or run scripts/setup"
    )]
    RuntimeUnset,
    /// The path does not exist.
    #[error("no ONNX Runtime at {path}: correct `models.runtime` or RINGFENCE_ONNXRUNTIME, or run scripts/setup")]
    RuntimeMissing {
        /// The configured path.
        path: PathBuf,
    },
    /// The file is no library, is not ONNX Runtime, or is too old.
    #[error(
        "{path} does not serve as ONNX Runtime ({why}): `models.runtime` or RINGFENCE_ONNXRUNTIME must name a libonnxruntime.so 1.24 or later for this machine"
    )]
    RuntimeUnusable {
        /// The configured path.
        path: PathBuf,
        /// The loader's message.
        why: String,
    },
    /// A process can load only one runtime.
    #[error(
        "ONNX Runtime was loaded from {loaded} already and cannot be loaded from {asked} as well: restart with one `models.runtime`"
    )]
    RuntimeConflict {
        /// Path of the runtime that is loaded.
        loaded: PathBuf,
        /// Path of the runtime that was requested.
        asked: PathBuf,
    },
    /// No folder of models is set.
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
    /// The configured reranker cannot rerank.
    #[error(
        "no reranker `{name}` in {folder} (`models.reranker`): it needs {name}/model.onnx with an output `logits` of one number, `token_embeddings` or `last_hidden_state`"
    )]
    RerankerMissing {
        /// `models.reranker`.
        name: String,
        /// `models.folder`.
        folder: PathBuf,
    },
    /// The default model returns no vectors.
    #[error("the model `{name}` returns no vectors, it only reranks: set another as `models.default`")]
    NoVectors {
        /// `models.default`.
        name: String,
    },
    /// A required file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// Path of the file.
        path: PathBuf,
        /// The I/O error.
        #[source]
        source: io::Error,
    },
    /// A file is not what it should be.
    #[error("{path} cannot be used: {why}")]
    Unusable {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The GPU is configured and unavailable.
    #[error(
        "CUDA device {device} cannot serve ({why}): `models.runtime` must be a GPU build next to its CUDA and cuDNN libraries, or set `models.allow_cpu`"
    )]
    Cuda {
        /// `models.device`.
        device: i32,
        /// The runtime's message.
        why: String,
    },
    /// A thread could not be started.
    #[error("cannot start a model thread")]
    Thread(#[source] io::Error),
    /// The tokeniser refused a text. Its message might quote the text and is dropped.
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
