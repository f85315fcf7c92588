//! A file that is not ONNX Runtime, or is too old, is an error with a remedy and never a panic.
//!
//! These tests have their own binary, because a process can load one runtime only and must not load the real one here.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use models::{Error, Models, ModelsConfig};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn load(runtime: Option<&Path>) -> Error {
    let config = ModelsConfig { runtime: runtime.map(PathBuf::from), ..ModelsConfig::default() };
    Models::load(&config).expect_err("this is no runtime")
}

fn assert_unusable(path: &Path, why: &str) {
    let error = load(Some(path));
    let text = error.to_string();
    assert!(matches!(error, Error::RuntimeUnusable { .. }), "{text}");
    for part in [path.to_str().unwrap(), "`models.runtime`", "RINGFENCE_ONNXRUNTIME", why] {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
}

#[test]
fn no_setting() {
    let text = load(None).to_string();
    assert!(text.contains("`models.runtime`") && text.contains("scripts/setup"), "{text}");
}

#[test]
fn no_such_file() {
    let error = load(Some(Path::new("/nowhere/libonnxruntime.so")));
    assert!(matches!(error, Error::RuntimeMissing { .. }));
    let text = error.to_string();
    assert!(text.contains("/nowhere/libonnxruntime.so") && text.contains("RINGFENCE_ONNXRUNTIME"), "{text}");
}

#[test]
fn no_library() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("libonnxruntime.so");
    fs::write(&path, "no library").unwrap();
    assert_unusable(&path, "1.24");
    assert_unusable(dir.path(), "1.24");
}

#[test]
fn another_library() {
    let dir = tempfile::tempdir().unwrap();
    assert_unusable(&compile(dir.path(), "other", "int other;"), "OrtGetApiBase");
}

#[test]
fn too_old() {
    let dir = tempfile::tempdir().unwrap();
    assert_unusable(&compile(dir.path(), "old", &runtime("1.20.1")), "1.20.1");
}

#[test]
fn new_by_its_number_only() {
    let dir = tempfile::tempdir().unwrap();
    assert_unusable(&compile(dir.path(), "empty", &runtime("1.99.0")), "does not offer the interface");
}

/// A library that reports its version and offers no interface.
fn runtime(version: &str) -> String {
    format!(
        "static const void *api(unsigned v) {{ (void)v; return 0; }}
         static const char *version(void) {{ return \"{version}\"; }}
         static struct {{ const void *(*api)(unsigned); const char *(*version)(void); }} base = {{ api, version }};
         const void *OrtGetApiBase(void) {{ return &base; }}"
    )
}

fn compile(folder: &Path, name: &str, source: &str) -> PathBuf {
    let (from, to) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
    fs::write(&from, source).unwrap();
    let status = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&to).arg(&from).status();
    assert!(status.expect("building needs a C compiler").success());
    to
}
