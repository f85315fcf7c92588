//! Finds the files to ingest, and turns them into batches of documents.

use anyhow::{Context, Result, bail};
use api::{documents::NewDocument, strict::SentPrincipals};
use kernel::{DocumentId, Principal, limits};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Maximum number of documents per request.
const BATCH_DOCUMENTS: usize = 32;

/// Maximum size of text per request in bytes, unless a single file is larger.
const BATCH_BYTES: u64 = 4 << 20;

/// A file and the id of its document.
#[derive(Debug)]
pub(super) struct IngestFile {
    pub(super) id: String,
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// The files found below the given paths.
#[derive(Debug, Default)]
pub(super) struct FileSet {
    /// Files that can be sent, by id.
    files: BTreeMap<String, IngestFile>,
    /// Files and folders that cannot be sent, as displayed, and why.
    pub(super) unsent: Vec<(String, Unsent)>,
}

impl FileSet {
    /// Whether nothing was found at all.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty() && self.unsent.is_empty()
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.files.len() + self.unsent.len()
    }

    /// The files that can be sent, ordered by id.
    pub(super) fn into_files(self) -> Vec<IngestFile> {
        self.files.into_values().collect()
    }
}

/// Reason why a file is not sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unsent {
    /// Whether the file counts as failed. Otherwise it holds no text and is skipped.
    pub(super) failed: bool,
    /// Code for programs.
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

/// Finds all files below these paths. An entry of a folder that cannot be sent does not stop the others.
///
/// # Errors
/// A given path does not exist, or two files would have the same id.
pub(super) fn walk(paths: &[PathBuf]) -> Result<FileSet> {
    let mut found = FileSet::default();
    for path in paths {
        // A link that is named on the command line is followed; one inside a folder is not.
        let metadata = fs::metadata(path).with_context(|| format!("{} cannot be read", path.display()))?;
        if metadata.is_dir() {
            let entries = fs::read_dir(path).with_context(|| format!("{} cannot be read", path.display()))?;
            add_folder(path, entries, &mut found)?;
        } else {
            add_file(path, path.file_name().map(Path::new).unwrap_or(path), metadata.len(), &mut found)?;
        }
    }
    Ok(found)
}

fn add_folder(root: &Path, entries: fs::ReadDir, found: &mut FileSet) -> Result<()> {
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
                Ok(entries) => add_folder(root, entries, found)?,
                Err(error) => found.unsent.push((shown(id), unreadable(&error))),
            },
            Ok(kind) if kind.is_file() => {
                let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
                add_file(&path, id, bytes, found)?;
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

/// Adds a file. Two files with one id would overwrite each other.
fn add_file(path: &Path, id: &Path, bytes: u64, found: &mut FileSet) -> Result<()> {
    let Some(id) = id.to_str() else {
        let why = "its name is not UTF-8, so it cannot be an id; rename it";
        found.unsent.push((shown(id), Unsent::new("invalid_name", why)));
        return Ok(());
    };
    if let Some(other) = found.files.get(id) {
        // The same file given twice counts once.
        if same(&other.path, path) {
            return Ok(());
        }
        bail!(
            "{} and {} would both have the id {id}: give the folder above both, or ingest them into two namespaces",
            other.path.display(),
            path.display(),
        );
    }
    found.files.insert(id.to_owned(), IngestFile { id: id.to_owned(), path: path.to_owned(), bytes });
    Ok(())
}

fn same(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// Divides files into requests of bounded size.
pub(super) fn batches(files: Vec<IngestFile>) -> Vec<Vec<IngestFile>> {
    let mut batches: Vec<Vec<IngestFile>> = Vec::new();
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

/// Reads a file into a document.
///
/// # Errors
/// The reason why the file is not sent.
pub(super) fn document(file: &IngestFile, readers: &[Principal]) -> Result<NewDocument, Unsent> {
    if DocumentId::parse(&file.id).is_err() {
        let why = "its path cannot be an id, which has at most 512 bytes and no control characters; rename it";
        return Err(Unsent::new("invalid_name", why));
    }
    if file.bytes > limits::DOCUMENT_BYTES_MAX as u64 {
        let most = limits::DOCUMENT_BYTES_MAX >> 20;
        let why = format!("is larger than {most} MiB, the limit of one document; split it");
        return Err(Unsent::new("too_large", why));
    }
    let bytes = fs::read(&file.path).map_err(|error| unreadable(&error))?;
    // The format is detected by the file's content, otherwise by its name.
    let ending = file.path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if let Some(format) = intake::unsupported_format(&bytes).or_else(|| intake::unsupported_extension(ending)) {
        let why = format!("is {}, which is not supported; extract its text first", format.name);
        let unsent = if format.contains_text { Unsent::new } else { Unsent::textless };
        return Err(unsent("unsupported_format", why));
    }
    // Text has no zero bytes, unlike UTF-16 and most binary formats.
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'));
    let text = text.ok_or_else(|| Unsent::textless("not_text", "is not UTF-8 text; convert it first"))?;
    Ok(NewDocument {
        id: Some(file.id.clone()),
        text: Some(text),
        media_type: Some(media_type(&file.path).to_owned()),
        readers: (!readers.is_empty()).then(|| SentPrincipals(Ok(readers.to_vec()))),
        ..NewDocument::default()
    })
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
