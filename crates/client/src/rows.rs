//! Documents as rows of a file, one row a document: NDJSON or Parquet, told apart by the file's
//! ending. A row has the members of an upsert, so what was exported can be imported as it is.

mod ndjson;
mod parquet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// One document.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Row {
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Where it came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its attributes.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub attributes: Map<String, Value>,
    /// Who may read it; absent is the whole tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readers: Option<Vec<String>>,
    /// The caller's own vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vector: Option<Vec<f32>>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// Why a file of rows cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    /// The ending tells no format.
    #[error("{}: the name must end in .ndjson, .jsonl or .parquet", .0.display())]
    Ending(PathBuf),
    /// The file cannot be opened, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A row is not what it should be.
    #[error("row {row}: {what}")]
    Row {
        /// Which, from 1.
        row: u64,
        /// What is wrong.
        what: String,
    },
    /// The file as a whole is not what it should be.
    #[error("{0}")]
    Form(String),
}

/// Reads rows in the file's order.
pub enum RowReader {
    /// One JSON object a line.
    Ndjson(ndjson::Reader),
    /// Columns.
    Parquet(Box<parquet::Reader>),
}

/// Writes rows; [`RowWriter::finish`] makes the file whole.
pub enum RowWriter {
    /// One JSON object a line.
    Ndjson(ndjson::Writer),
    /// Columns.
    Parquet(Box<parquet::Writer>),
}

enum Format {
    Ndjson,
    Parquet,
}

fn format(path: &Path) -> Result<Format, RowsError> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_lowercase());
    match ending.as_deref() {
        Some("ndjson" | "jsonl") => Ok(Format::Ndjson),
        Some("parquet") => Ok(Format::Parquet),
        _ => Err(RowsError::Ending(path.to_owned())),
    }
}

impl RowReader {
    /// Opens a file.
    ///
    /// # Errors
    /// It cannot be opened, or its name or columns are not as they should be.
    pub fn open(path: &Path) -> Result<Self, RowsError> {
        match format(path)? {
            Format::Ndjson => Ok(Self::Ndjson(ndjson::Reader::open(path)?)),
            Format::Parquet => Ok(Self::Parquet(Box::new(parquet::Reader::open(path)?))),
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
    /// Makes a file; one that is there is not touched but refused.
    ///
    /// # Errors
    /// It cannot be made, or its name tells no format.
    pub fn create(path: &Path) -> Result<Self, RowsError> {
        match format(path)? {
            Format::Ndjson => Ok(Self::Ndjson(ndjson::Writer::create(path)?)),
            Format::Parquet => Ok(Self::Parquet(Box::new(parquet::Writer::create(path)?))),
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

    /// Writes the rest.
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
