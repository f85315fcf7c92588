//! Documents as rows of a file, one row for each document, in NDJSON or Parquet. The file's extension tells the format.
//! A row has the members of an upsert, so an export can be imported as it is.

mod ndjson;
mod parquet;

use api::{
    documents::NewDocument,
    strict::{SentAttributes, SentPrincipals, SentVector},
};
use kernel::Principal;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Row of one document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Row {
    /// Id of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Title of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// URI of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Text of the document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Attributes of the document.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// Principals that may read the document; absent for the whole tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<Vec<String>>,
    /// The caller's own vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// Expiry time in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

impl Row {
    /// The document to store.
    ///
    /// # Errors
    /// `invalid_request` for an attribute or a reader that no document may have; it names the member.
    pub fn into_document(self) -> Result<NewDocument, kernel::Error> {
        let attributes =
            (!self.attributes.is_empty()).then(|| SentAttributes::from_json(&self.attributes)).transpose()?;
        let readers = self.readers.map(|list| list.iter().map(|name| Principal::parse(name)).collect()).transpose();
        let readers: Option<Vec<Principal>> = readers.map_err(|e: kernel::Error| e.with_param("readers"))?;
        Ok(NewDocument {
            id: self.id,
            text: self.text,
            title: self.title,
            uri: self.uri,
            attributes,
            readers: readers.map(|list| SentPrincipals(Ok(list))),
            vector: self.vector.map(|vector| SentVector(Ok(vector))),
            expires_at: self.expires_at,
            ..NewDocument::default()
        })
    }
}

/// The reason why a file of rows cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The file's extension names no known format.
    #[error("{}: the name must end in .ndjson, .jsonl or .parquet", .0.display())]
    Ending(PathBuf),
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Path of the file.
        path: PathBuf,
        /// Error of the system.
        source: std::io::Error,
    },
    /// A row is invalid.
    #[error("row {row}: {what}")]
    Row {
        /// Number of the row, from 1.
        row: u64,
        /// Description of the fault.
        what: String,
    },
    /// The file as a whole is invalid.
    #[error("{0}")]
    Form(String),
}

/// Reads rows in the order of the file.
pub enum RowReader {
    /// NDJSON: one JSON object in each line.
    Ndjson(ndjson::NdjsonReader),
    /// Parquet: columns.
    Parquet(Box<parquet::ParquetReader>),
}

/// Writes rows. [`RowWriter::finish`] completes the file.
pub enum RowWriter {
    /// NDJSON: one JSON object in each line.
    Ndjson(ndjson::NdjsonWriter),
    /// Parquet: columns.
    Parquet(Box<parquet::ParquetWriter>),
}

enum RowFormat {
    Ndjson,
    Parquet,
}

fn format(path: &Path) -> Result<RowFormat, RowsError> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("ndjson" | "jsonl") => Ok(RowFormat::Ndjson),
        Some("parquet") => Ok(RowFormat::Parquet),
        _ => Err(RowsError::Ending(path.to_owned())),
    }
}

impl RowReader {
    /// Opens a file.
    ///
    /// # Errors
    /// The file cannot be opened, or its name or columns are invalid.
    pub fn open(path: &Path) -> Result<Self, RowsError> {
        match format(path)? {
            RowFormat::Ndjson => Ok(Self::Ndjson(ndjson::NdjsonReader::open(path)?)),
            RowFormat::Parquet => Ok(Self::Parquet(Box::new(parquet::ParquetReader::open(path)?))),
        }
    }
}

impl Iterator for RowReader {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Ndjson(reader) => reader.next(),
            Self::Parquet(reader) => reader.next(),
        }
    }
}

impl RowWriter {
    /// Creates a file. An existing file is not overwritten; that is an error.
    ///
    /// # Errors
    /// The file cannot be created, or its name tells no format.
    pub fn create(path: &Path) -> Result<Self, RowsError> {
        match format(path)? {
            RowFormat::Ndjson => Ok(Self::Ndjson(ndjson::NdjsonWriter::create(path)?)),
            RowFormat::Parquet => Ok(Self::Parquet(Box::new(parquet::ParquetWriter::create(path)?))),
        }
    }

    /// Writes one row.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, row: Row) -> Result<(), RowsError> {
        match self {
            Self::Ndjson(writer) => writer.write(&row),
            Self::Parquet(writer) => writer.write(row),
        }
    }

    /// Writes the remaining rows and completes the file.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<(), RowsError> {
        match self {
            Self::Ndjson(writer) => writer.finish(),
            Self::Parquet(writer) => writer.finish(),
        }
    }
}

fn create(path: &Path) -> Result<std::fs::File, RowsError> {
    let file = std::fs::File::options().write(true).create_new(true).open(path);
    file.map_err(|source| RowsError::Io { path: path.to_owned(), source })
}

fn open(path: &Path) -> Result<std::fs::File, RowsError> {
    std::fs::File::open(path).map_err(|source| RowsError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
