//! Reads a folder of models: which models it contains, what their files say, and whether each actually works.
//!
//! ```text
//! models/all-MiniLM-L6-v2/model.onnx, tokenizer.json, config.json
//!     [, sentence_bert_config.json, config_sentence_transformers.json]
//! ```

use crate::{
    Error, ModelInfo, ModelsConfig,
    embedder::Model,
    onnx::{self, SessionOpener},
    tokens::{Encoder, FullTokenizer, Prefixes},
};
use aws_lc_rs::digest;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Loads the folder. The default model comes first and must work.
pub(crate) fn load(config: &ModelsConfig) -> Result<Vec<Model>, Error> {
    let runtime = onnx::Runtime::load(config.runtime.as_deref().ok_or(Error::RuntimeUnset)?)?;
    let folder = config.folder.as_deref().ok_or(Error::FolderUnset)?;
    let default = folder.join(&config.default);
    if !default.join(MODEL).is_file() {
        return Err(Error::ModelMissing { name: config.default.clone(), folder: folder.to_path_buf() });
    }
    let mut models = vec![open(&runtime, config, &config.default, &default)?];
    if models[0].info.dimensions == 0 {
        return Err(Error::NoVectors { name: config.default.clone() });
    }
    for (name, path) in other_models(folder, &config.default)? {
        match open(&runtime, config, &name, &path) {
            Ok(model) => models.push(model),
            Err(error) => tracing::warn!(model = %name, %error, "skipped a model that cannot be used"),
        }
    }
    let reranks = |name: &String| models.iter().any(|m| m.info.name == *name && m.info.reranks.is_some());
    match config.reranker.as_ref().filter(|name| !reranks(name)) {
        Some(name) => Err(Error::RerankerMissing { name: name.clone(), folder: folder.to_path_buf() }),
        None => Ok(models),
    }
}

/// Every other folder with a `model.onnx`, sorted by name.
fn other_models(folder: &Path, default: &str) -> Result<Vec<(String, PathBuf)>, Error> {
    let unreadable = |source| Error::File { path: folder.to_path_buf(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name != default && !name.starts_with('.') && entry.path().join(MODEL).is_file() {
            found.push((name, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

fn open(runtime: &onnx::Runtime, config: &ModelsConfig, name: &str, path: &Path) -> Result<Model, Error> {
    let limits = Limits::read(path)?;
    let file = path.join(MODEL);
    let (sha256, mixes_rows) = inspect(&file)?;
    let tokenizer = path.join(TOKENIZER);
    let tokens = Arc::new(FullTokenizer::open(name, &tokenizer)?);
    let encoder = Arc::new(Encoder::new(Arc::clone(&tokens), &tokenizer, limits.max_tokens, prefixes(path)?)?);
    let max_tokens = limits.max_tokens.saturating_sub(encoder.prefix_tokens());
    if max_tokens < MAX_TOKENS_LEAST {
        let why = format!("its prefixes leave {max_tokens} tokens for a text; the minimum is {MAX_TOKENS_LEAST}");
        return Err(Error::Unusable { path: path.join(PROMPTS_CONFIG), why });
    }
    let opening =
        SessionOpener { runtime: runtime.clone(), path: file, encoder, intra_threads: config.intra_threads.max(1) };
    let checked = opening.check(config.provider, !mixes_rows)?;
    Ok(Model {
        info: ModelInfo {
            name: name.to_owned(),
            dimensions: checked.dimensions,
            max_tokens,
            reranks: checked.reranks,
            provider: checked.provider_name(),
            sha256,
        },
        tokens,
        batch_max: checked.batch_max(),
        open: Box::new(move || opening.open(checked.provider)),
    })
}

/// How much of a text the model reads.
struct Limits {
    max_tokens: usize,
}

#[derive(Deserialize)]
struct FolderConfig {
    max_position_embeddings: Option<usize>,
}

#[derive(Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

impl Limits {
    /// Reads the length that the model was trained for (`sentence_bert_config.json`), at most the positions that it
    /// has.
    fn read(path: &Path) -> Result<Self, Error> {
        let config: FolderConfig = parse(&path.join(CONFIG))?;
        let sentence = path.join(SENTENCE_CONFIG);
        let trained = if sentence.is_file() { parse::<SentenceConfig>(&sentence)?.max_seq_length } else { None };
        let positions = config.max_position_embeddings.unwrap_or(MAX_TOKENS_UNKNOWN);
        let max_tokens = trained.unwrap_or(positions).min(positions);
        if max_tokens < MAX_TOKENS_LEAST {
            let why = format!("{max_tokens} positions are too few; the minimum is {MAX_TOKENS_LEAST}");
            return Err(Error::Unusable { path: path.join(CONFIG), why });
        }
        Ok(Self { max_tokens })
    }
}

/// `config_sentence_transformers.json`, as written by that library and by PyLate.
#[derive(Default, Deserialize)]
struct PromptsConfig {
    #[serde(default)]
    prompts: BTreeMap<String, String>,
    default_prompt_name: Option<String>,
    query_prefix: Option<String>,
    document_prefix: Option<String>,
}

/// The prefixes that the model was trained with before a query and before a passage.
fn prefixes(path: &Path) -> Result<Prefixes, Error> {
    let file = path.join(PROMPTS_CONFIG);
    let config: PromptsConfig = if file.is_file() { parse(&file)? } else { PromptsConfig::default() };
    let named = |names: &[&str]| names.iter().find_map(|name| config.prompts.get(*name)).cloned();
    let default = config.default_prompt_name.as_ref().and_then(|name| config.prompts.get(name)).cloned();
    let query = named(&["query"]).or(config.query_prefix).or(default.clone());
    let passage = named(&["document", "passage", "corpus"]).or(config.document_prefix).or(default);
    Ok(Prefixes { query: query.unwrap_or_default(), passage: passage.unwrap_or_default() })
}

fn parse<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Error> {
    serde_json::from_slice(&read(path)?).map_err(|e| Error::Unusable { path: path.to_path_buf(), why: e.to_string() })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File { path: path.to_path_buf(), source })
}

/// The file's SHA-256, and whether it names an operator that mixes rows. Models are large, so it is read in blocks.
fn inspect(path: &Path) -> Result<(String, bool), Error> {
    let unreadable = |source| Error::File { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    let mut digest = digest::Context::new(&digest::SHA256);
    let mut block = vec![0; BLOCK_BYTES];
    let (mut kept, mut mixes_rows) = (0, false);
    loop {
        let read = file.read(&mut block[kept..]).map_err(unreadable)?;
        if read == 0 {
            return Ok((hex(digest.finish().as_ref()), mixes_rows));
        }
        let filled = kept + read;
        digest.update(&block[kept..filled]);
        mixes_rows = mixes_rows || contains(&block[..filled], onnx::MIXES_ROWS.as_bytes());
        // A name may cross the border of two blocks.
        kept = filled.min(onnx::MIXES_ROWS.len() - 1);
        block.copy_within(filled - kept..filled, 0);
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    // Skips from one first letter to the next, which is fast enough; the names are plain ASCII in the file.
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|b| Some(b) == needle.first()) {
        if rest[at..].starts_with(needle) {
            return true;
        }
        rest = &rest[at + 1..];
    }
    false
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

const BLOCK_BYTES: usize = 1 << 20;

const MODEL: &str = "model.onnx";
const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "config.json";
const SENTENCE_CONFIG: &str = "sentence_bert_config.json";
const PROMPTS_CONFIG: &str = "config_sentence_transformers.json";

/// The limit of BERT, for models whose files state none.
const MAX_TOKENS_UNKNOWN: usize = 512;
/// Two special tokens and some words of a text.
const MAX_TOKENS_LEAST: usize = 8;

#[cfg(test)]
mod tests;
