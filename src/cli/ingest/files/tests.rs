//! On a folder of its own.

use super::*;
use std::os::unix::fs::symlink;

fn file(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn ids(found: &[Found]) -> Vec<&str> {
    found.iter().map(|f| f.id.as_str()).collect()
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
fn two_files_of_one_id_are_refused_but_one_file_named_twice_is_one() {
    let root = tempfile::tempdir().unwrap();
    file(root.path(), "x/a.md", b"1");
    file(root.path(), "y/a.md", b"2");
    let refused = walk(&[root.path().join("x"), root.path().join("y")]).unwrap_err();
    assert!(refused.to_string().contains("a.md"), "{refused}");
    assert_eq!(walk(&[root.path().join("x"), root.path().join("x/a.md")]).unwrap().len(), 1);
}

#[test]
fn batches_are_bounded_by_count_and_by_bytes() {
    let file = |bytes| Found { id: String::new(), path: PathBuf::new(), bytes };
    let sizes = |files: Vec<Found>| batches(files).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes((0..70).map(|_| file(10)).collect()), [32, 32, 6]);
    assert_eq!(sizes(vec![file(3 << 20), file(3 << 20), file(20 << 20), file(1)]), [1, 1, 1, 1]);
    assert!(batches(Vec::new()).is_empty());
}

#[test]
fn what_is_no_text_or_too_large_is_not_sent() {
    let root = tempfile::tempdir().unwrap();
    file(root.path(), "latin.txt", b"caf\xe9");
    file(root.path(), "image", b"\x89PNG\0");
    file(root.path(), "page.HTM", "é".as_bytes());
    let found = walk(&[root.path().to_owned()]).unwrap();
    let by_id = |id: &str| found.iter().find(|f| f.id == id).unwrap();
    assert!(matches!(document(by_id("latin.txt"), &[]), Err(Unsent::Binary)));
    assert!(matches!(document(by_id("image"), &[]), Err(Unsent::Binary)));
    let page = document(by_id("page.HTM"), &["group:hr".to_owned()]).unwrap();
    assert_eq!(page, json!({"id": "page.HTM", "text": "é", "media_type": "text/html", "readers": ["group:hr"]}));
    let large = Found { id: "large".to_owned(), path: PathBuf::new(), bytes: 33 << 20 };
    assert!(matches!(document(&large, &[]), Err(Unsent::Failed(why)) if why.contains("split")));
}
