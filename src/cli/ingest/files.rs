//! Which files, in which batches, as which documents.

use anyhow::{Context, Result, bail};
use kernel::{DocumentId, limits};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Documents in one request.
const BATCH_DOCUMENTS: usize = 32;

/// Bytes of text in one request, unless one file alone is larger.
const BATCH_BYTES: u64 = 4 << 20;

/// A file and the id that it will have.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// Why a file is not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// It holds no text: nothing that this command could do.
    Binary,
    /// It should have gone, and did not.
    Failed(String),
}

/// All files of these paths, by id.
///
/// # Errors
/// A path is not there, or two files would have the same id.
pub(super) fn walk(paths: &[PathBuf]) -> Result<Vec<Found>> {
    let mut found = BTreeMap::new();
    for path in paths {
        // A link that somebody names is followed; one that a folder holds is not.
        let facts = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if facts.is_dir() {
            folder(path, path, &mut found)?;
        } else {
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            put(Found { id: name, path: path.clone(), bytes: facts.len() }, &mut found)?;
        }
    }
    Ok(found.into_values().collect())
}

fn folder(root: &Path, at: &Path, found: &mut BTreeMap<String, Found>) -> Result<()> {
    let unreadable = || format!("{} cannot be read", at.display());
    for entry in fs::read_dir(at).with_context(unreadable)? {
        let entry = entry.with_context(unreadable)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let (path, kind) = (entry.path(), entry.file_type().with_context(unreadable)?);
        if kind.is_dir() {
            folder(root, &path, found)?;
        } else if kind.is_file() {
            let id = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            let bytes = entry.metadata().map_or(0, |facts| facts.len());
            put(Found { id, path, bytes }, found)?;
        }
    }
    Ok(())
}

/// Two files of one id would overwrite each other.
fn put(file: Found, found: &mut BTreeMap<String, Found>) -> Result<()> {
    if let Some(other) = found.get(&file.id) {
        // The same file named twice is one file.
        if same(&other.path, &file.path) {
            return Ok(());
        }
        bail!(
            "{} and {} would both have the id {}: name the folder above both, or ingest them into two namespaces",
            other.path.display(),
            file.path.display(),
            file.id
        );
    }
    found.insert(file.id.clone(), file);
    Ok(())
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Files in requests of bounded size.
pub(super) fn batches(files: Vec<Found>) -> Vec<Vec<Found>> {
    let mut batches: Vec<Vec<Found>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        match batches.last_mut() {
            Some(batch) if batch.len() < BATCH_DOCUMENTS && bytes + file.bytes <= BATCH_BYTES => {
                bytes += file.bytes;
                batch.push(file);
            }
            _ => {
                bytes = file.bytes;
                batches.push(vec![file]);
            }
        }
    }
    batches
}

/// The document that a file becomes.
///
/// # Errors
/// Why it is not sent.
pub(super) fn document(file: &Found, readers: &[String]) -> Result<Value, Unsent> {
    if DocumentId::parse(&file.id).is_err() {
        let why = "its path cannot be an id: at most 512 bytes, no control characters; rename it";
        return Err(Unsent::Failed(why.to_owned()));
    }
    if file.bytes > limits::DOCUMENT_BYTES_MAX as u64 {
        let most = limits::DOCUMENT_BYTES_MAX >> 20;
        return Err(Unsent::Failed(format!(
            "is larger than {most} MiB, the most that one document may have; split it"
        )));
    }
    let bytes = fs::read(&file.path).map_err(|e| Unsent::Failed(format!("cannot be read: {}", e.kind())))?;
    // Text has no zero bytes; UTF-16, archives and images have.
    if bytes.contains(&0) {
        return Err(Unsent::Binary);
    }
    let text = String::from_utf8(bytes).map_err(|_| Unsent::Binary)?;
    let mut document = json!({"id": file.id, "text": text, "media_type": media_type(&file.path)});
    if !readers.is_empty() {
        document["readers"] = json!(readers);
    }
    Ok(document)
}

fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "md" | "markdown" => "text/markdown",
        "html" | "htm" | "xhtml" => "text/html",
        _ => "text/plain",
    }
}

#[cfg(test)]
mod tests;
