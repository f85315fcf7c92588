//! Messages that a caller gets when JSON or TOML is invalid.

use super::*;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its parsing is tested")]
struct Item {
    id: String,
    #[serde(default)]
    vector: Vec<f32>,
    #[serde(default)]
    mode: Option<ModeName>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ModeName {
    Text,
    Vector,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its parsing is tested")]
struct Items {
    documents: Vec<Item>,
}

fn input_error(text: &str) -> (bool, String, String) {
    let c = json::<Items>(text.as_bytes()).expect_err("does not fit");
    (c.unknown, c.path, c.rule)
}

#[test]
fn each_error_names_the_path_and_the_rule() {
    let expected_error = |unknown: bool, path: &str, rule: &str| (unknown, path.to_owned(), rule.to_owned());
    for (text, expected) in [
        (
            r#"{"documents":[{"id":"a"},{"id":"b","vektor":[1]}]}"#,
            expected_error(true, "documents[1].vektor", "is unknown here; known are id, vector, mode"),
        ),
        (r#"{"documents":[{}]}"#, expected_error(false, "documents[0].id", "is missing")),
        (r#"{"documents":[{"id":7}]}"#, expected_error(false, "documents[0].id", "must be a string")),
        (r#"{"documents":[{"id":"a","id":"b"}]}"#, expected_error(false, "documents[0].id", "is given twice")),
        (
            r#"{"documents":[{"id":"a","vector":[1,"x, expected nonsense"]}]}"#,
            expected_error(false, "documents[0].vector[1]", "must be a number"),
        ),
        (
            r#"{"documents":[{"id":"a","vector":[1e999]}]}"#,
            expected_error(false, "documents[0].vector[0]", "must be a finite number"),
        ),
        (
            r#"{"documents":[{"id":"a","mode":"fast"}]}"#,
            expected_error(false, "documents[0].mode", "must be one of text, vector"),
        ),
        (r#"{"documents":{}}"#, expected_error(false, "documents", "must be a list")),
        (r#"[]"#, expected_error(false, "body", "must be an object")),
    ] {
        assert_eq!(input_error(text), expected, "{text}");
    }
}

#[test]
fn invalid_json_names_the_position() {
    assert_eq!(input_error("{\"documents\": [").2, "ends too early (line 1, column 15)");
    assert_eq!(input_error("{} {}").2, "is missing");
    assert!(input_error("{\"documents\":[]} x").2.starts_with("is not valid JSON (line 1"));
    assert_eq!(json::<Items>(b"{\"documents\": [\"\xff\"]}").expect_err("bytes").rule, "is not valid UTF-8");
    assert_eq!(json::<Items>(b"").expect_err("nothing").rule, "is empty; expected a JSON object");
}

#[test]
fn a_rule_never_quotes_the_callers_values() {
    for text in [
        r#"{"documents":"SECRET"}"#,
        r#"{"documents":[{"id":"a","mode":"SECRET"}]}"#,
        r#"{"documents":[{"id":{"SECRET":1}}]}"#,
    ] {
        assert!(!input_error(text).2.contains("SECRET"), "{text}");
    }
}

#[test]
fn a_tree_refuses_a_member_that_is_given_twice() {
    let c = json::<FilterTree>(br#"{"type":"eq","key":"a","key":"b"}"#).expect_err("twice");
    assert_eq!((c.path.as_str(), c.rule.as_str()), ("key", "is given twice"));
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert!(json::<FilterTree>(deep.as_bytes()).expect_err("deep").rule.starts_with("has more than 32 levels"));
}

#[test]
fn a_tree_ends_at_the_first_element_over_a_limit() {
    let rule = |text: &str| json::<FilterTree>(text.as_bytes()).expect_err("too much").rule;
    // The rest is not JSON, but is never parsed.
    let ones = |n: usize| vec!["1"; n].join(",");
    assert_eq!(rule(&format!("[{},1, nothing", ones(1_024))), "may have at most 1024 members");
    let lists = format!("[{}]", vec![format!("[{}]", ones(1_024)); 30].join(","));
    assert_eq!(rule(&lists), "has more than 16384 values in all its lists together");
    let nodes = format!("[{}, nothing", vec![format!("[{}]", vec!["{}"; 100].join(",")); 11].join(","));
    assert_eq!(rule(&nodes), "has more than 1024 nodes");
    let members = (0..20).map(|n| format!("\"{n}\":1")).collect::<Vec<_>>().join(",");
    assert!(rule(&format!("{{{members}}}")).contains("known are type, key, value, filters"));
}

#[test]
fn a_list_ends_at_its_limit_and_is_named_itself() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its parsing is tested")]
    struct Body {
        words: BoundedList<String, 2>,
    }
    let read = |text: &str| json::<Body>(text.as_bytes()).map(|_| ()).map_err(|c| (c.path, c.rule));
    assert_eq!(read(r#"{"words":["a","b"]}"#), Ok(()));
    let surplus = Err(("words".to_owned(), "may have at most 2 members".to_owned()));
    assert_eq!(read(r#"{"words":["a","b","c"]}"#), surplus);
    assert_eq!(read(r#"{"words":["a","b", nothing"#), surplus);
    assert_eq!(read(r#"{"words":["a",7]}"#), Err(("words[1]".to_owned(), "must be a string".to_owned())));
}
