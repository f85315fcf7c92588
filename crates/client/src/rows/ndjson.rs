//! NDJSON: one JSON object in each line.

use super::{Row, RowsError};
use std::{
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Reads rows from lines.
pub struct NdjsonReader {
    path: PathBuf,
    lines: std::io::Lines<BufReader<File>>,
    row: u64,
}

impl NdjsonReader {
    pub(super) fn open(path: &Path) -> Result<Self, RowsError> {
        let lines = BufReader::new(super::open(path)?).lines();
        Ok(Self { path: path.to_owned(), lines, row: 0 })
    }
}

impl Iterator for NdjsonReader {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = match self.lines.next()? {
                Ok(line) => line,
                Err(source) => return Some(Err(RowsError::Io { path: self.path.clone(), source })),
            };
            self.row += 1;
            if line.trim().is_empty() {
                continue;
            }
            let row = api::exact_json(&line);
            return Some(row.map_err(|what| RowsError::Row { row: self.row, what }));
        }
    }
}

/// Writes rows as lines.
pub struct NdjsonWriter {
    path: PathBuf,
    out: BufWriter<File>,
}

impl NdjsonWriter {
    pub(super) fn create(path: &Path) -> Result<Self, RowsError> {
        Ok(Self { path: path.to_owned(), out: BufWriter::new(super::create(path)?) })
    }

    pub(super) fn write(&mut self, row: &Row) -> Result<(), RowsError> {
        let mut write = || -> std::io::Result<()> {
            serde_json::to_writer(&mut self.out, row)?;
            self.out.write_all(b"\n")
        };
        write().map_err(|source| RowsError::Io { path: self.path.clone(), source })
    }

    pub(super) fn finish(mut self) -> Result<(), RowsError> {
        self.out.flush().map_err(|source| RowsError::Io { path: self.path, source })
    }
}
