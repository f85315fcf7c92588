use super::*;
use std::fs;

fn checkout() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["scripts", ".cache/onnxruntime", ".cache/models", "target/debug"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    for file in ["scripts/setup", "Cargo.toml", ".cache/onnxruntime/libonnxruntime.so.1.31.1", "target/debug/ringfence"]
    {
        fs::write(dir.path().join(file), "").unwrap();
    }
    dir
}

#[test]
fn a_checkout_is_found_from_below() {
    let dir = checkout();
    let found = discover(None, None, &[&dir.path().join("target/debug/ringfence")]);
    assert_eq!(found.runtime, Some(dir.path().join(".cache/onnxruntime/libonnxruntime.so.1.31.1")));
    assert_eq!(found.folder, Some(dir.path().join(".cache/models")));
}

#[test]
fn a_setting_wins_even_when_the_path_is_missing() {
    let dir = checkout();
    let nowhere = Path::new("/nowhere/lib.so");
    let found = discover(Some(nowhere), Some(nowhere), &[dir.path()]);
    assert_eq!((found.runtime.as_deref(), found.folder.as_deref()), (Some(nowhere), Some(nowhere)));
    let folder = dir.path().join(".cache/onnxruntime");
    assert_eq!(discover(Some(&folder), None, &[]).runtime, Some(folder.join("libonnxruntime.so.1.31.1")));
}

#[test]
fn beside_the_executable_comes_after_a_checkout() {
    let dir = tempfile::tempdir().unwrap();
    let library = dir.path().join("libonnxruntime.so.1.31.1");
    fs::create_dir_all(dir.path().join("models")).unwrap();
    fs::create_dir_all(dir.path().join(".cache/models")).unwrap();
    for file in ["ringfence", "libonnxruntime.so.1.31.1", "libonnxruntime_providers_shared.so"] {
        fs::write(dir.path().join(file), "").unwrap();
    }
    let found = discover(None, None, &[&dir.path().join("ringfence")]);
    assert_eq!(found.runtime, Some(library));
    assert_eq!(found.folder, Some(dir.path().join("models")), "a `.cache` outside a checkout is not ours");
}

#[test]
fn an_installation_is_found_from_its_executable_only() {
    let prefix = tempfile::tempdir().unwrap();
    let (library, models) = (prefix.path().join("lib/ringfence"), prefix.path().join("share/ringfence/models"));
    for folder in [&library, &models, &prefix.path().join("bin")] {
        fs::create_dir_all(folder).unwrap();
    }
    let (library, program) = (library.join("libonnxruntime.so.1.31.1"), prefix.path().join("bin/ringfence"));
    for file in [&library, &program] {
        fs::write(file, "").unwrap();
    }
    assert_eq!(discover(None, None, &[&program]), DiscoveredPaths { runtime: Some(library), folder: Some(models) });
    assert_eq!(discover(None, None, &[&prefix.path().join("bin")]), DiscoveredPaths::default());
}

#[test]
fn nothing_is_found_in_an_empty_folder() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(discover(None, None, &[dir.path()]), DiscoveredPaths::default());
}
