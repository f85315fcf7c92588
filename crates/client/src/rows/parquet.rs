//! Parquet with the columns `id`, `title`, `uri`, `text`, `attributes` (JSON text), `readers` (list of text), `vector`
//! (list of floats) and `expires_at`. A file may lack some of them; an unknown column is refused by name.

use super::{Row, RowsError};
use arrow_array::{
    Array, ArrayRef, FixedSizeListArray, Float32Array, Float64Array, LargeListArray, LargeStringArray, ListArray,
    RecordBatch, StringArray, StringViewArray,
    builder::{Float32Builder, ListBuilder, StringBuilder},
    cast::AsArray,
};
use arrow_schema::{DataType, Field, Schema};
use parquet::{
    arrow::{
        ArrowWriter,
        arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    },
    basic::Compression,
    file::properties::WriterProperties,
};
use std::{fs::File, path::Path, sync::Arc};

/// Rows in one batch.
const BATCH_ROWS: usize = 256;

const TEXTS: [&str; 6] = ["id", "title", "uri", "text", "attributes", "expires_at"];
const LISTS: [&str; 2] = ["readers", "vector"];

/// Writes rows as columns.
pub struct ParquetWriter {
    out: ArrowWriter<File>,
    rows: Vec<Row>,
}

impl ParquetWriter {
    pub(super) fn create(path: &Path) -> Result<Self, RowsError> {
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let out = ArrowWriter::try_new(super::create(path)?, Arc::new(schema()), Some(properties)).map_err(form)?;
        Ok(Self { out, rows: Vec::new() })
    }

    pub(super) fn write(&mut self, row: Row) -> Result<(), RowsError> {
        self.rows.push(row);
        if self.rows.len() == BATCH_ROWS { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), RowsError> {
        let rows = std::mem::take(&mut self.rows);
        let batch = RecordBatch::try_new(Arc::new(schema()), columns(&rows)).map_err(form)?;
        self.out.write(&batch).map_err(form)
    }

    pub(super) fn finish(mut self) -> Result<(), RowsError> {
        self.flush()?;
        self.out.close().map(drop).map_err(form)
    }
}

fn schema() -> Schema {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let list =
        |name: &str, of: DataType| Field::new(name, DataType::List(Arc::new(Field::new("item", of, true))), true);
    let mut fields: Vec<Field> = TEXTS.iter().map(|name| text(name)).collect();
    fields.push(list("readers", DataType::Utf8));
    fields.push(list("vector", DataType::Float32));
    Schema::new(fields)
}

/// Columns of some rows, in the order of [`schema`].
fn columns(rows: &[Row]) -> Vec<ArrayRef> {
    let text =
        |pick: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(pick).collect::<StringArray>()) };
    let attributes = rows
        .iter()
        .map(|r| (!r.attributes.is_empty()).then(|| serde_json::Value::from(r.attributes.clone()).to_string()));
    let mut readers = ListBuilder::new(StringBuilder::new());
    let mut vectors = ListBuilder::new(Float32Builder::new());
    for row in rows {
        readers.append_option(row.readers.as_ref().map(|list| list.iter().map(Some)));
        vectors.append_option(row.vector.as_ref().map(|list| list.iter().copied().map(Some)));
    }
    vec![
        text(|r| r.id.as_deref()),
        text(|r| r.title.as_deref()),
        text(|r| r.uri.as_deref()),
        text(|r| r.text.as_deref()),
        Arc::new(attributes.collect::<StringArray>()),
        text(|r| r.expires_at.as_deref()),
        Arc::new(readers.finish()),
        Arc::new(vectors.finish()),
    ]
}

/// Reads rows from columns.
pub struct ParquetReader {
    batches: ParquetRecordBatchReader,
    batch: Option<(RecordBatch, usize)>,
    row: u64,
}

impl ParquetReader {
    pub(super) fn open(path: &Path) -> Result<Self, RowsError> {
        let builder = ParquetRecordBatchReaderBuilder::try_new(super::open(path)?).map_err(form)?;
        for field in builder.schema().fields() {
            let name = field.name().as_str();
            if !TEXTS.contains(&name) && !LISTS.contains(&name) {
                let known = TEXTS.iter().chain(&LISTS).copied().collect::<Vec<_>>().join(", ");
                return Err(RowsError::Form(format!("unknown column {name:?}; known columns are {known}")));
            }
        }
        let batches = builder.with_batch_size(BATCH_ROWS).build().map_err(form)?;
        Ok(Self { batches, batch: None, row: 0 })
    }

    /// Moves to the next batch with rows. Returns false at the end.
    fn advance(&mut self) -> Result<bool, RowsError> {
        while self.batch.as_ref().is_none_or(|(batch, at)| *at == batch.num_rows()) {
            match self.batches.next() {
                None => return Ok(false),
                Some(batch) => self.batch = Some((batch.map_err(form)?, 0)),
            }
        }
        Ok(true)
    }
}

impl Iterator for ParquetReader {
    type Item = Result<Row, RowsError>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.advance() {
            Ok(false) => return None,
            Ok(true) => {}
            Err(error) => return Some(Err(error)),
        }
        let (batch, at) = self.batch.as_mut()?;
        self.row += 1;
        let row = read(batch, *at).map_err(|what| RowsError::Row { row: self.row, what });
        *at += 1;
        Some(row)
    }
}

fn read(batch: &RecordBatch, at: usize) -> Result<Row, String> {
    let column = |name: &str| batch.column_by_name(name).filter(|c| !c.is_null(at));
    let text = |name: &str| column(name).map(|c| string(name, c, at)).transpose();
    let attributes = match text("attributes")? {
        None => serde_json::Map::new(),
        Some(json) => api::exact_json(&json).map_err(|e| format!("attributes is not a JSON object: {e}"))?,
    };
    Ok(Row {
        id: text("id")?,
        title: text("title")?,
        uri: text("uri")?,
        text: text("text")?,
        attributes,
        readers: column("readers").map(|c| strings(&list("readers", c, at)?)).transpose()?,
        vector: column("vector").map(|c| floats(&list("vector", c, at)?)).transpose()?,
        expires_at: text("expires_at")?,
    })
}

/// Reads a text. Other programs write any of three layouts.
fn string(name: &str, column: &dyn Array, at: usize) -> Result<String, String> {
    let any = column.as_any();
    if let Some(c) = any.downcast_ref::<StringArray>() {
        return Ok(c.value(at).to_owned());
    }
    if let Some(c) = any.downcast_ref::<LargeStringArray>() {
        return Ok(c.value(at).to_owned());
    }
    if let Some(c) = any.downcast_ref::<StringViewArray>() {
        return Ok(c.value(at).to_owned());
    }
    Err(format!("{name} must be text, not {}", column.data_type()))
}

fn list(name: &str, column: &dyn Array, at: usize) -> Result<ArrayRef, String> {
    let any = column.as_any();
    if let Some(c) = any.downcast_ref::<ListArray>() {
        return Ok(c.value(at));
    }
    if let Some(c) = any.downcast_ref::<LargeListArray>() {
        return Ok(c.value(at));
    }
    if let Some(c) = any.downcast_ref::<FixedSizeListArray>() {
        return Ok(c.value(at));
    }
    Err(format!("{name} must be a list, not {}", column.data_type()))
}

fn strings(items: &ArrayRef) -> Result<Vec<String>, String> {
    no_nulls("readers", items)?;
    (0..items.len()).map(|at| string("readers", items, at)).collect()
}

fn floats(items: &ArrayRef) -> Result<Vec<f32>, String> {
    no_nulls("vector", items)?;
    if let Some(floats) = items.as_any().downcast_ref::<Float32Array>() {
        return Ok(floats.values().to_vec());
    }
    if items.as_any().is::<Float64Array>() {
        #[expect(clippy::cast_possible_truncation, reason = "the server keeps 32 bits")]
        let narrow = |x: &f64| *x as f32;
        return Ok(items.as_primitive::<arrow_array::types::Float64Type>().values().iter().map(narrow).collect());
    }
    Err(format!("vector must hold floats, not {}", items.data_type()))
}

fn no_nulls(name: &str, items: &ArrayRef) -> Result<(), String> {
    if items.null_count() > 0 { Err(format!("{name} holds a null")) } else { Ok(()) }
}

fn form(error: impl std::fmt::Display) -> RowsError {
    RowsError::Form(error.to_string())
}
