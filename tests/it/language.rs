//! One language: names that were retired stay retired, comments are plain English, and one name means one thing.
//!
//! The rules are in CONTRIBUTING.md, the words that are our own in the glossary of docs/architecture.md.

use crate::tidy::{is_test, relative, root, sources};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

/// Names of types that were our own words and have been replaced by the field's terms. The history and decisions of the
/// time keep them.
const RETIRED: [&str; 36] = [
    "Absorbed",
    "ApiKeyDeed",
    "Asker",
    "Campaign",
    "Deed",
    "Eraser",
    "Errand",
    "Home",
    "House",
    "HouseRecord",
    "Lanes",
    "Pen",
    "Permitted",
    "PlaceKeys",
    "PlaceKind",
    "PlaceRecord",
    "Presence",
    "Residence",
    "Room",
    "Rooms",
    "Seat",
    "SeatStats",
    "Seats",
    "Sight",
    "Sights",
    "Tail",
    "Tally",
    "Tenancy",
    "Tended",
    "Tenure",
    "Trail",
    "Trial",
    "Turnstile",
    "Upkeep",
    "Witness",
    "Working",
];

/// Words and phrases that a native technical editor would replace: *the caller*, *no request*, *again*, *previous*, *n*,
/// *continues*.
const FOREIGN: [&str; 11] = [
    "whoever",
    "whomever",
    "nobody",
    "somebody",
    "anew",
    "of before",
    "so many",
    "goes on",
    "go on",
    "went on",
    "gone on",
];

/// Names that every crate may have a type of its own for: `crate::Error` is what a reader expects.
const IN_EVERY_CRATE: [&str; 4] = ["Error", "Result", "Inner", "State"];

const GLOSSARY_ENTRIES_MAX: usize = 25;

#[test]
fn retired_names_do_not_come_back() {
    let here = root().join(file!());
    let mut found = Vec::new();
    for file in sources().into_iter().filter(|file| *file != here).chain(pages()) {
        let text = fs::read_to_string(&file).unwrap();
        found.extend(retired_in(&text).map(|name| format!("{name} in {}", file.display())));
    }
    assert!(found.is_empty(), "these names were retired (CONTRIBUTING.md): {found:#?}");
}

#[test]
fn comments_are_plain_english() {
    let here = root().join(file!());
    let mut found = Vec::new();
    for file in sources().into_iter().filter(|file| *file != here) {
        let text = fs::read_to_string(&file).unwrap();
        found.extend(foreign_in_comments(&text).map(|(line, word)| format!("{}:{line}: {word}", relative(&file))));
    }
    assert!(
        found.is_empty(),
        "say the caller, no request, again, previous, n, continues (CONTRIBUTING.md): {found:#?}"
    );
}

#[test]
fn pages_are_plain_english() {
    let mut found = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        found.extend(foreign_words(&text).map(|word| format!("{word} in {}", page.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_name_of_a_type_stands_for_one_thing() {
    let mut defined = BTreeMap::<String, BTreeSet<String>>::new();
    for file in sources() {
        let name = relative(&file);
        if is_test(&name) || name.contains("benches/") {
            continue;
        }
        for definition in types_in(&fs::read_to_string(&file).unwrap()) {
            defined.entry(definition.to_owned()).or_default().insert(name.clone());
        }
    }
    assert!(defined.len() > 500, "the types are found");
    defined.retain(|name, files| files.len() > 1 && !IN_EVERY_CRATE.contains(&name.as_str()));
    assert!(defined.is_empty(), "{} names of types are defined in several files: {defined:#?}", defined.len());
}

#[test]
fn the_glossary_stays_short() {
    let page = fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    let glossary = page.split("## Glossary").nth(1).expect("the page has a glossary");
    let entries = glossary.lines().filter(|line| line.starts_with("| ")).count() - 1;
    assert!((10..=GLOSSARY_ENTRIES_MAX).contains(&entries), "{entries} entries");
}

#[test]
fn these_checks_can_see() {
    assert_eq!(retired_in("let s: Arc<Seat> = x;").collect::<Vec<_>>(), ["Seat"]);
    assert_eq!(retired_in("let s: TenantSeats = seat;").count(), 0);
    assert!(pages().len() > 8, "the pages are found");
    let text = "let nobody = 1;\n/// Whoever asks\n// it goes\n// on, anew\n";
    let found: Vec<_> = foreign_in_comments(text).collect();
    assert_eq!(found, [(2, "whoever"), (4, "anew")]);
    assert_eq!(foreign_words("It goes on so many times.").collect::<Vec<_>>(), ["so many", "goes on"]);
    assert_eq!(foreign_words("It goes onto renewal.").count(), 0);
    let types: Vec<_> =
        types_in("pub(crate) struct A<T>(T);\nenum B {}\nstruct $n;\n    type C = u8;\npub trait D: E {}\n").collect();
    assert_eq!(types, ["A", "B", "D"]);
}

/// Retired names that a text contains as whole words.
fn retired_in(text: &str) -> impl Iterator<Item = &'static str> {
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    RETIRED.into_iter().filter(move |name| words.contains(name))
}

/// Lines of comments with a word or phrase that is not plain English, counted from 1.
fn foreign_in_comments(source: &str) -> impl Iterator<Item = (usize, &'static str)> {
    let comments = source.lines().enumerate().filter_map(|(n, line)| {
        let at = if line.trim_start().starts_with("//") { line.find("//") } else { line.find(" // ") };
        Some((n + 1, line.get(at?..)?))
    });
    comments.flat_map(|(n, comment)| foreign_words(comment).map(move |word| (n, word)))
}

fn foreign_words(text: &str) -> impl Iterator<Item = &'static str> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let spaced = format!(" {} ", words.join(" "));
    FOREIGN.into_iter().filter(move |phrase| spaced.contains(&format!(" {phrase} ")))
}

/// Names of the structs, enums and traits, and of the aliases at the top level, that a source file defines.
fn types_in(source: &str) -> impl Iterator<Item = &str> {
    source.lines().filter_map(|line| {
        let indented = line.starts_with(' ');
        let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
        let keyword = words.next()?;
        let defines = matches!(keyword, "struct" | "enum" | "trait") || (keyword == "type" && !indented);
        let name = words.next().filter(|_| defines)?;
        // A macro's `$name` is no name.
        name.split(|c: char| !c.is_alphanumeric() && c != '_').next().filter(|name| !name.is_empty())
    })
}

/// Documents that describe the present state.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "schemas"].map(|folder| root().join(folder));
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    let page = |path: &PathBuf| path.extension().is_some_and(|e| e == "md") && !path.ends_with("CHANGELOG.md");
    files.filter(page).collect()
}
