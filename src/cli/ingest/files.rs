//! Finds the files to ingest, and makes batches and documents of them.

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

/// What a walk over the paths has found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// By id.
    files: BTreeMap<String, Found>,
    /// Files and folders that cannot be sent, as they are shown, and why.
    pub(super) unsent: Vec<(String, Unsent)>,
}

impl Walk {
    /// Whether there was nothing at all.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.unsent.is_empty()
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.files.len() + self.unsent.len()
    }

    /// The files that can be sent, ordered by id.
    pub(super) fn into_files(self) -> Vec<Found> {
        self.files.into_values().collect()
    }
}

/// Why a file is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    /// Whether it counts as failed. Otherwise it holds no text and is left out.
    pub(super) failed: bool,
    /// A code for programs.
    pub(super) code: &'static str,
    /// What is wrong, and the remedy.
    pub(super) why: String,
}

impl Unsent {
    fn new(code: &'static str, why: impl Into<String>) -> Self {
        Self { failed: true, code, why: why.into() }
    }

    fn textless(code: &'static str, why: impl Into<String>) -> Self {
        Self { failed: false, ..Self::new(code, why) }
    }
}

/// All files of these paths. An entry of a folder that cannot be sent does not stop the others.
///
/// # Errors
/// A path that was named is not there, or two files would have the same id.
pub(super) fn walk(paths: &[PathBuf]) -> Result<Walk> {
    let mut found = Walk::default();
    for path in paths {
        // A link that is named on the command line is followed; one inside a folder is not.
        let facts = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if facts.is_dir() {
            let entries = fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
            folder(path, entries, &mut found)?;
        } else {
            put(path, path.file_name().map(Path::new).unwrap_or(path), facts.len(), &mut found)?;
        }
    }
    Ok(found)
}

fn folder(root: &Path, entries: fs::ReadDir, found: &mut Walk) -> Result<()> {
    for entry in entries {
        let Ok(entry) = entry else {
            found.unsent.push((shown(root), Unsent::new("unreadable", "has an entry that cannot be read")));
            continue;
        };
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = entry.path();
        let id = path.strip_prefix(root).unwrap_or(&path);
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => match fs::read_dir(&path) {
                Ok(entries) => folder(root, entries, found)?,
                Err(error) => found.unsent.push((shown(id), unreadable(&error))),
            },
            Ok(kind) if kind.is_file() => {
                let bytes = entry.metadata().map_or(0, |facts| facts.len());
                put(&path, id, bytes, found)?;
            }
            Ok(_) => {}
            Err(error) => found.unsent.push((shown(id), unreadable(&error))),
        }
    }
    Ok(())
}

fn unreadable(error: &std::io::Error) -> Unsent {
    Unsent::new("unreadable", format!("cannot be read: {}", error.kind()))
}

/// A path as text, with bytes that are not UTF-8 as `\xNN`.
fn shown(path: &Path) -> String {
    let mut out = String::new();
    for chunk in path.as_os_str().as_encoded_bytes().utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out
}

/// Adds a file. Two files of one id would overwrite each other.
fn put(path: &Path, id: &Path, bytes: u64, found: &mut Walk) -> Result<()> {
    let Some(id) = id.to_str() else {
        let why = "its name is no UTF-8, so it cannot be an id; rename it";
        found.unsent.push((shown(id), Unsent::new("invalid_name", why)));
        return Ok(());
    };
    if let Some(other) = found.files.get(id) {
        // The same file named twice is one file.
        if same(&other.path, path) {
            return Ok(());
        }
        bail!(
            "{} and {} would both have the id {id}: name the folder above both, or ingest them into two namespaces",
            other.path.display(),
            path.display(),
        );
    }
    found.files.insert(id.to_owned(), Found { id: id.to_owned(), path: path.to_owned(), bytes });
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
        return Err(Unsent::new("invalid_name", why));
    }
    if file.bytes > limits::DOCUMENT_BYTES_MAX as u64 {
        let most = limits::DOCUMENT_BYTES_MAX >> 20;
        let why = format!("is larger than {most} MiB, the most that one document may have; split it");
        return Err(Unsent::new("too_large", why));
    }
    let bytes = fs::read(&file.path).map_err(|error| unreadable(&error))?;
    // By its bytes whatever it is called, else by what its name claims.
    let ending = file.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if let Some(format) = engine::unread_format(&bytes).or_else(|| engine::unread_ending(ending)) {
        let why = format!("is {}, which is not read here; extract its text first", format.name);
        let unsent = if format.holds_text { Unsent::new } else { Unsent::textless };
        return Err(unsent("unsupported_format", why));
    }
    // Text has no zero bytes; UTF-16 and what else is no text has.
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| Unsent::textless("not_text", "is no UTF-8 text; convert it first"))?;
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
