//! Tests on temporary folders.

use super::*;
use serde_json::json;
use std::os::unix::fs::symlink;

fn file(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn ids(found: &FileSet) -> Vec<&str> {
    found.files.values().map(|f| f.id.as_str()).collect()
}

#[test]
fn ids_are_paths_below_the_named_folder_sorted_without_hidden_files_and_links() {
    let root = tempfile::tempdir().unwrap();
    file(root.path(), "b.md", b"b");
    file(root.path(), "a/z.txt", b"z");
    file(root.path(), ".hidden", b"h");
    file(root.path(), ".git/config", b"g");
    symlink(root.path().join("b.md"), root.path().join("link.md")).unwrap();
    symlink(root.path(), root.path().join("loop")).unwrap();
    let found = walk(&[root.path().to_owned()]).unwrap();
    assert_eq!(ids(&found), ["a/z.txt", "b.md"]);
    let named = walk(&[root.path().join("a/z.txt"), root.path().join("link.md")]).unwrap();
    assert_eq!(ids(&named), ["link.md", "z.txt"]);
}

#[test]
fn two_files_with_one_id_are_refused_but_one_file_given_twice_counts_once() {
    let root = tempfile::tempdir().unwrap();
    file(root.path(), "x/a.md", b"1");
    file(root.path(), "y/a.md", b"2");
    let refused = walk(&[root.path().join("x"), root.path().join("y")]).unwrap_err();
    assert!(refused.to_string().contains("a.md"), "{refused}");
    assert_eq!(walk(&[root.path().join("x"), root.path().join("x/a.md")]).unwrap().len(), 1);
}

#[test]
fn batches_are_bounded_by_count_and_by_bytes() {
    let file = |bytes| IngestFile { id: String::new(), path: PathBuf::new(), bytes };
    let sizes = |files: Vec<IngestFile>| batches(files).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes((0..70).map(|_| file(10)).collect()), [32, 32, 6]);
    assert_eq!(sizes(vec![file(3 << 20), file(3 << 20), file(20 << 20), file(1)]), [1, 1, 1, 1]);
    assert!(batches(Vec::new()).is_empty());
}

#[test]
fn files_without_text_and_too_large_files_are_not_sent() {
    let root = tempfile::tempdir().unwrap();
    let files: [(&str, &[u8]); 8] = [
        ("latin.txt", b"caf\xe9"),
        ("utf16.txt", b"\xff\xfea\0"),
        ("image", b"\x89PNG\0"),
        ("a.pdf", b"%PDF-1.4\n1 0 obj\nendobj\n"),
        ("pdf.txt", b"%PDF-1.4\n1 0 obj\nendobj\n"),
        ("note.md", b"{\\rtf1\\ansi Hello}"),
        ("book.docx", b"no archive at all"),
        ("page.HTM", "é".as_bytes()),
    ];
    files.iter().for_each(|(name, bytes)| file(root.path(), name, bytes));
    let found = walk(&[root.path().to_owned()]).unwrap();
    let refused = |id: &str| document(&found.files[id], &[]).map_err(|unsent| (unsent.code, unsent.why)).err().unwrap();
    assert_eq!((refused("latin.txt").0, refused("utf16.txt").0), ("not_text", "not_text"));
    for (id, name) in
        [("image", "image"), ("a.pdf", "PDF"), ("pdf.txt", "PDF"), ("note.md", "RTF"), ("book.docx", "Office")]
    {
        let (code, why) = refused(id);
        assert!(code == "unsupported_format" && why.contains(name), "{id}: {why}");
        let failed = document(&found.files[id], &[]).err().unwrap().failed;
        assert_eq!(failed, id != "image", "{id}");
    }
    let page = document(&found.files["page.HTM"], &[Principal::parse("group:hr").unwrap()]).ok().unwrap();
    assert_eq!(
        serde_json::to_value(page).unwrap(),
        json!({"id": "page.HTM", "text": "é", "media_type": "text/html", "readers": ["group:hr"]})
    );
    let large = IngestFile { id: "large".to_owned(), path: PathBuf::new(), bytes: 33 << 20 };
    assert!(document(&large, &[]).err().unwrap().why.contains("split"));
}

#[test]
fn names_that_are_not_utf8_fail_one_by_one() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let root = tempfile::tempdir().unwrap();
    for name in [&b"caf\xe9.txt"[..], b"caf\xe8.txt", b"good.txt"] {
        fs::write(root.path().join(OsStr::from_bytes(name)), b"text").unwrap();
    }
    let found = walk(&[root.path().to_owned()]).unwrap();
    assert_eq!((ids(&found), found.len()), (vec!["good.txt"], 3));
    let mut named: Vec<&str> = found.unsent.iter().map(|(name, _)| name.as_str()).collect();
    named.sort_unstable();
    assert_eq!(named, ["caf\\xe8.txt", "caf\\xe9.txt"]);
    assert!(found.unsent.iter().all(|(_, unsent)| unsent.code == "invalid_name"));
}
