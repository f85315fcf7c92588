use super::*;
use rstest::rstest;
use serde_json::json;

fn check(filter: Value, attributes: Value) -> Result<bool, String> {
    let filter = Filter::parse(&filter).map_err(|e| e.to_string())?;
    let attributes: Attributes = attributes
        .as_object()
        .unwrap()
        .iter()
        .filter_map(|(k, v)| AttrValue::from_json(v, k).unwrap().map(|v| (k.clone(), v)))
        .collect();
    Ok(filter.matches(&DocumentView {
        id: "doc-1",
        uri: "",
        status: Status::Indexed,
        created_at: Timestamp::parse("2026-01-02T00:00:00Z").unwrap(),
        updated_at: Timestamp::parse("2026-01-03T00:00:00Z").unwrap(),
        expires_at: None,
        attributes: &attributes,
    }))
}

#[rstest]
#[case::eq(json!({"type":"eq","key":"year","value":2024}), true)]
#[case::other_type(json!({"type":"eq","key":"year","value":"2024"}), false)]
#[case::ne_absent(json!({"type":"ne","key":"nothing","value":1}), true)]
#[case::null(json!({"type":"eq","key":"nothing","value":null}), true)]
#[case::gt(json!({"type":"gt","key":"year","value":2023}), true)]
#[case::instant(json!({"type":"lt","key":"when","value":"2025-01-01T02:00:00+02:00"}), true)]
#[case::own_key(json!({"type":"eq","key":"$created_at","value":"2026-01-02T01:00:00+01:00"}), true)]
#[case::list(json!({"type":"contains","key":"tags","value":"b"}), true)]
#[case::substring(json!({"type":"contains","key":"name","value":"and"}), true)]
#[case::words(json!({"type":"match","key":"name","value":"BOOK hand"}), true)]
#[case::nin(json!({"type":"nin","key":"tags","value":["z"]}), true)]
#[case::exists_false(json!({"type":"exists","key":"year","value":false}), false)]
#[case::not(json!({"type":"not","filters":[{"type":"prefix","key":"name","value":"Hand"}]}), false)]
fn meaning(#[case] filter: Value, #[case] expected: bool) {
    let attributes =
        json!({"year": 2024, "tags": ["a", "b"], "name": "Hand of the book", "when": "2024-06-01T00:00:00Z"});
    assert_eq!(check(filter, attributes), Ok(expected));
}

#[rstest]
#[case::empty(json!({}), "filter.type")]
#[case::no_filters(json!({"type":"and","filters":[]}), "filter.filters")]
#[case::unknown(json!({"type":"like","key":"a","value":1}), "filter.type")]
#[case::member(json!({"type":"eq","key":"a","value":1,"extra":1}), "filter")]
#[case::order(json!({"type":"gt","key":"a","value":"abc"}), "filter.value")]
#[case::dollar(json!({"type":"eq","key":"$readers","value":"x"}), "filter.key")]
fn refused(#[case] filter: Value, #[case] param: &str) {
    let error = Filter::parse(&filter).unwrap_err();
    assert_eq!(error.param.as_deref(), Some(param));
}

#[test]
fn depth_is_bounded() {
    let mut filter = json!({"type":"exists","key":"a"});
    for _ in 0..40 {
        filter = json!({"type":"not","filters":[filter]});
    }
    assert!(Filter::parse(&filter).unwrap_err().to_string().contains("32"));
}
