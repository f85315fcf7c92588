//! The repository's own rules, checked on its sources: which crate depends on which, which crate uses which heavy
//! library, that no dependency is idle, which files may open a customer's text, and that every file says what it is for.

use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Files that open `Untrusted` text, each because it has to: it parses, screens, chunks, indexes or seals the text, or
/// answers with it. A new file belongs here only if it does one of these. Test files do not count.
const OPENS_UNTRUSTED: &[&str] = &[
    // These turn foreign bytes into text.
    "crates/intake/src/raw.rs",
    "crates/intake/src/parse.rs",
    "crates/intake/src/patch.rs",
    // These screen and chunk text.
    "crates/intake/src/screen.rs",
    "crates/intake/src/screen/joint.rs",
    "crates/intake/src/chunk.rs",
    // This turns text into a vector.
    "crates/models/src/pending.rs",
    // These index and seal text.
    "crates/kernel/src/document.rs",
    "crates/segment/src/build.rs",
    "crates/segment/src/codec.rs",
    "crates/segment/src/write_buffer.rs",
    "crates/store/src/write/plan.rs",
    // A reviewer's reason is sealed with its commit; its pseudonym goes into the audit.
    "crates/ledger/src/event.rs",
    // These search with text, cite it and return it to its owner.
    "crates/engine/src/cost.rs",
    "crates/engine/src/search.rs",
    "crates/engine/src/fetch.rs",
    "crates/engine/src/context.rs",
    "crates/engine/src/phrases.rs",
    "crates/engine/src/rerank.rs",
    "src/http/convert/documents.rs",
    "src/http/convert/search.rs",
];

/// Files that do a request's work on a thread that serves other requests too. Each takes a proof from `kernel::cost`
/// that the work is short, or hands the thread's other tasks away first; a new file belongs here only if it does one of
/// these.
const WORKS_INLINE: &[&str] = &[
    // These take the proof.
    "crates/engine/src/search.rs",
    "crates/store/src/entry/namespace.rs",
    "crates/store/src/entry/handle.rs",
    "crates/store/src/write/writer.rs",
    // This hands the thread's other tasks away.
    "crates/journal/src/sources.rs",
];

#[test]
fn work_on_threads_that_serve_others_is_done_in_named_files_only() {
    let mut found = BTreeSet::new();
    for file in sources() {
        let name = relative(&file);
        // These files define the mechanisms.
        let definition =
            matches!(&*name, "crates/kernel/src/cost.rs" | "crates/engine/src/work.rs" | "crates/store/src/cpu.rs");
        if !is_test(&name) && !definition && works_inline(&fs::read_to_string(&file).unwrap()) {
            found.insert(name);
        }
    }
    let named: BTreeSet<_> = WORKS_INLINE.iter().map(|n| (*n).to_owned()).collect();
    assert_eq!(found, named, "tests/it/tidy.rs names the files that work on threads which serve others");
}

/// Crates that only tests use.
const FOR_TESTS: [&str; 2] = ["testkit", "counting"];

#[test]
fn crates_depend_on_what_the_architecture_page_says() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let stated = edges_of(&page);
    let ours: BTreeSet<String> = packages().into_iter().map(|p| p.name).collect();
    assert_eq!(stated.keys().cloned().collect::<BTreeSet<_>>(), ours, "the table names every crate of the workspace");
    for package in packages() {
        let uses = package.dependencies.iter().filter(|d| ours.contains(&d.name) && !d.dev);
        let uses: BTreeSet<_> = uses.map(|d| d.name.clone()).collect();
        assert_eq!(uses, stated[&package.name], "docs/architecture.md, ## Edges, row {}", package.name);
        for dependency in package.dependencies.iter().filter(|d| d.dev && ours.contains(&d.name)) {
            let fine = FOR_TESTS.contains(&&*dependency.name) || stated[&package.name].contains(&dependency.name);
            assert!(fine, "{} uses {} in its tests, which is no crate below it", package.name, dependency.name);
        }
    }
}

#[test]
fn the_architecture_page_has_no_cycle_and_test_crates_are_used_by_tests_only() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let mut left = edges_of(&page);
    for (name, uses) in &left {
        let used = FOR_TESTS.iter().find(|tool| uses.contains(**tool));
        assert!(used.is_none(), "{name} uses {used:?} outside its tests");
    }
    while !left.is_empty() {
        let free: Vec<_> = left.iter().filter(|(_, uses)| uses.is_empty()).map(|(n, _)| n.clone()).collect();
        assert!(!free.is_empty(), "a cycle among {:?}", left.keys());
        left.retain(|name, _| !free.contains(name));
        left.values_mut().for_each(|uses| uses.retain(|s| !free.contains(s)));
    }
}

/// Folders of the store, each with those that it may use.
const STORE_FOLDERS: [(&str, &[&str]); 5] = [
    ("state", &[]),
    ("maintenance", &["state"]),
    ("read", &["state"]),
    ("write", &["state", "maintenance"]),
    ("entry", &["state", "maintenance", "read", "write"]),
];

#[test]
fn the_folders_of_the_store_have_no_cycle() {
    let mut found = Vec::new();
    for (folder, allowed) in STORE_FOLDERS {
        let within = format!("crates/store/src/{folder}/");
        let files: Vec<_> = sources().into_iter().filter(|file| relative(file).starts_with(&within)).collect();
        assert!(!files.is_empty(), "{within} is not there");
        for file in files.iter().filter(|file| !is_test(&relative(file))) {
            let code = without_comments(&fs::read_to_string(file).unwrap());
            let others = STORE_FOLDERS.iter().map(|(other, _)| *other).filter(|other| *other != folder);
            let used = others.filter(|other| uses_module(&code, other) && !allowed.contains(other));
            found.extend(used.map(|other| format!("{} uses {other}", relative(file))));
        }
    }
    assert!(found.is_empty(), "{found:?}");
}

/// Whether code uses a module at the root of its crate.
fn uses_module(code: &str, module: &str) -> bool {
    let begins = |line: &str| {
        let path = line.trim_start().trim_start_matches("use ").trim_start_matches("crate::");
        path.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
    };
    code.lines().any(begins) || code.contains(&format!("crate::{module}::"))
}

#[test]
fn heavy_libraries_are_used_by_the_crates_that_deny_toml_names() {
    let text = fs::read_to_string(root().join("deny.toml")).unwrap();
    let deny: toml::Table = text.parse().unwrap();
    let rows = deny["bans"]["deny"].as_array().unwrap();
    assert!(rows.len() > 10, "deny.toml lists the heavy libraries");
    let packages = packages();
    let ours: BTreeSet<_> = packages.iter().map(|p| &*p.name).collect();
    for row in rows {
        let library = row["name"].as_str().unwrap();
        let wrappers: BTreeSet<_> = row["wrappers"].as_array().unwrap().iter().filter_map(|w| w.as_str()).collect();
        let stated: BTreeSet<_> = wrappers.intersection(&ours).copied().collect();
        let users = packages.iter().filter(|p| p.dependencies.iter().any(|d| d.name == library));
        let users: BTreeSet<_> = users.map(|p| &*p.name).collect();
        assert_eq!(users, stated, "deny.toml, wrappers of {library}");
    }
}

#[test]
fn every_dependency_is_used() {
    let mut unused = Vec::new();
    for package in packages() {
        let mut files = Vec::new();
        for folder in ["src", "tests", "benches", "examples"] {
            collect(&package.folder.join(folder), &mut files);
        }
        let code: String = files.iter().map(|file| without_comments(&fs::read_to_string(file).unwrap())).collect();
        let idle = package.dependencies.iter().filter(|d| !names_crate(&code, &d.name));
        unused.extend(idle.map(|d| format!("{} in {}", d.name, package.name)));
    }
    assert!(unused.is_empty(), "no source of the crate names these: {unused:?}");
}

#[test]
fn untrusted_text_is_opened_in_named_files_only() {
    let mut found = BTreeSet::new();
    for file in sources() {
        let name = relative(&file);
        let definition = name == "crates/kernel/src/untrusted.rs";
        if !is_test(&name) && !definition && opens_untrusted(&fs::read_to_string(&file).unwrap()) {
            found.insert(name);
        }
    }
    let named: BTreeSet<_> = OPENS_UNTRUSTED.iter().map(|n| (*n).to_owned()).collect();
    let new: Vec<_> = found.difference(&named).collect();
    assert!(new.is_empty(), "these open untrusted text and are not named in tests/it/tidy.rs: {new:?}");
    let stale: Vec<_> = named.difference(&found).collect();
    assert!(stale.is_empty(), "these are named in tests/it/tidy.rs and open nothing: {stale:?}");
}

#[test]
fn every_source_file_says_what_it_is_for() {
    // `foo/tests.rs` belongs to `foo.rs`, which already says it.
    let undocumented: Vec<_> = sources()
        .into_iter()
        .filter(|f| !f.ends_with("tests.rs") && !fs::read_to_string(f).unwrap().starts_with("//! "))
        .map(|f| relative(&f))
        .collect();
    assert!(undocumented.is_empty(), "these do not open with //!: {undocumented:?}");
}

#[test]
fn the_checks_detect_what_they_look_for() {
    assert!(uses_module("use crate::{\n    Error,\n    write::{WriteQueue},\n};", "write"));
    assert!(uses_module("let x = crate::write::f();", "write") && !uses_module("rewrite::f();", "write"));
    let page = "# A\n## Edges\n\ntext\n\n| crate | sees |\n|---|---|\n| kernel | |\n| `b` | kernel, `c` |\n\n## Next\n| d | e |\n";
    let edges = edges_of(page);
    assert_eq!(edges.len(), 2);
    assert!(edges["kernel"].is_empty());
    assert_eq!(edges["b"], BTreeSet::from(["c".to_owned(), "kernel".to_owned()]));
    assert!(opens_untrusted("let t = text\n    .expose();"));
    assert!(opens_untrusted("let t = title.into_exposed ();"));
    assert!(!opens_untrusted("// never call .expose() here\nlet t = text.len();"));
    assert!(works_inline("match cost.run_on() {\n    RunOn::Caller(short) => here(&short, work),"));
    assert!(!works_inline("// block_in_place would help\nlet a = here;"));
    assert!(names_crate("use a_b::C;", "a-b") && names_crate("use a;", "a") && names_crate("let x = a::b();", "a"));
    assert!(!names_crate("let x = data::b();", "a") && !names_crate(&without_comments("// a::b\nlet a = 1;"), "a"));
    assert!(is_test("crates/x/src/foo/tests.rs") && is_test("tests/it/a.rs") && !is_test("crates/x/src/foo.rs"));
    assert!(sources().len() > 100, "the sources are found");
}

struct Package {
    name: String,
    folder: PathBuf,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    dev: bool,
}

/// The workspace's crates as cargo describes them. This needs no network, since nothing is resolved.
fn packages() -> Vec<Package> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let dependency =
        |d: &Value| Dependency { name: d["name"].as_str().unwrap().to_owned(), dev: d["kind"].as_str() == Some("dev") };
    Package {
        name: value["name"].as_str().unwrap().to_owned(),
        folder: Path::new(value["manifest_path"].as_str().unwrap()).parent().unwrap().to_owned(),
        dependencies: value["dependencies"].as_array().unwrap().iter().map(dependency).collect(),
    }
}

/// The table under `## Edges`: each crate with the crates that it uses.
fn edges_of(page: &str) -> BTreeMap<String, BTreeSet<String>> {
    let section = page.split("\n## ").find(|s| s.starts_with("Edges")).expect("docs/architecture.md has ## Edges");
    let bare = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let mut edges = BTreeMap::new();
    for line in section.lines().filter(|l| l.starts_with('|')).skip(2) {
        let cells: Vec<_> = line.trim_matches('|').split('|').collect();
        let [name, uses] = cells[..] else { panic!("a row of ## Edges has two cells: {line}") };
        let uses = uses.split(',').map(bare).filter(|s| !s.is_empty());
        edges.insert(bare(name), uses.collect());
    }
    edges
}

fn without_comments(source: &str) -> String {
    source.lines().flat_map(|line| [line.split("//").next().unwrap_or_default(), "\n"]).collect()
}

/// Whether code has a path that begins with the crate, or imports it.
fn names_crate(code: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    code.match_indices(&name).any(|(at, _)| {
        let (before, after) = (&code[..at], &code[at + name.len()..]);
        let begins = !before.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        begins && (after.starts_with("::") || (before.ends_with("use ") && after.starts_with([';', ' '])))
    })
}

/// Whether code, and not a comment, calls one of the two openers.
fn opens_untrusted(source: &str) -> bool {
    let code = without_comments(source);
    let dense: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    dense.contains(".expose()")
        || dense.contains(".into_exposed()")
        || dense.contains("Untrusted::expose")
        || dense.contains("Untrusted::into_exposed")
}

/// Whether code, and not a comment, runs work on the current thread, with a proof that it is short or with the
/// runtime's help.
fn works_inline(source: &str) -> bool {
    let code = without_comments(source);
    ["RunOn::Caller", "block_in_place"].iter().any(|word| code.contains(word))
}

pub(crate) fn is_test(name: &str) -> bool {
    name.ends_with("/tests.rs")
        || name.starts_with("tests/")
        || name.contains("/tests/")
        || FOR_TESTS.iter().any(|tool| name.starts_with(&format!("crates/{tool}/")))
}

/// All Rust files of the repository.
pub(crate) fn sources() -> Vec<PathBuf> {
    let mut out = Vec::new();
    for folder in ["src", "crates", "tests", "benches"] {
        collect(&root().join(folder), &mut out);
    }
    out.sort();
    out
}

fn collect(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

pub(crate) fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().to_string_lossy().into_owned()
}

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
