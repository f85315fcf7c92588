//! Tests that both formats return the rows that were written, and that an error names its row.

use super::*;
use serde_json::json;

fn rows() -> Vec<Row> {
    let attributes = json!({"year": 2026, "tags": ["a", "b"], "draft": true}).as_object().cloned().unwrap();
    let full = Row {
        id: Some("hr/päge 1.md".to_owned()),
        title: Some("T".to_owned()),
        uri: Some("https://example.org/1".to_owned()),
        text: Some("one\ntwo \u{1f600}".to_owned()),
        attributes,
        readers: Some(vec!["group:hr".to_owned(), "user:a".to_owned()]),
        vector: Some(vec![0.5, -1.25e-7, 3.0]),
        expires_at: Some("2030-01-01T00:00:00Z".to_owned()),
    };
    let bare = Row { id: Some("b".to_owned()), text: Some(String::new()), ..Row::default() };
    std::iter::repeat_n([full, bare], 300).flatten().collect()
}

#[test]
fn both_formats_return_what_was_written() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.ndjson", "a.parquet"] {
        let path = folder.path().join(name);
        let mut writer = RowWriter::create(&path).unwrap();
        for row in rows() {
            writer.write(row).unwrap();
        }
        writer.finish().unwrap();
        let read: Vec<Row> = RowReader::open(&path).unwrap().collect::<Result<_, _>>().unwrap();
        assert!(read == rows(), "{name} returned other rows");
        assert!(RowWriter::create(&path).is_err(), "{name} would have been overwritten");
    }
}

#[test]
fn an_empty_file_has_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["a.jsonl", "a.parquet"] {
        let path = folder.path().join(name);
        RowWriter::create(&path).unwrap().finish().unwrap();
        assert_eq!(RowReader::open(&path).unwrap().count(), 0);
    }
}

#[test]
fn an_invalid_row_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.ndjson");
    std::fs::write(&path, "{\"id\": \"a\"}\n\n{\"id\": \"b\", \"colour\": 1}\n").unwrap();
    let error = RowReader::open(&path).unwrap().last().unwrap().unwrap_err().to_string();
    assert!(error.contains("row 3") && error.contains("colour"), "{error}");
}

#[test]
fn an_unknown_extension_and_foreign_bytes_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    assert!(RowReader::open(&folder.path().join("a.csv")).err().unwrap().to_string().contains(".parquet"));
    let path = folder.path().join("a.parquet");
    std::fs::write(&path, b"PAR1 not really PAR1").unwrap();
    assert!(RowReader::open(&path).is_err());
}
