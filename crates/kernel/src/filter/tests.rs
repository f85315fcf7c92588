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

#[test]
fn total_bytes_of_keys_and_values_are_bounded() {
    let values: Vec<Value> = (0..1_024).map(|n| json!(format!("{n:04096}"))).collect();
    let list = json!({"type":"in","key":"a","value":values});
    assert!(Filter::parse(&list).is_ok());
    let error = Filter::parse(&json!({"type":"or","filters":[list, list]})).unwrap_err();
    assert!(error.to_string().contains("8 MiB") && error.param.as_deref() == Some("filter"), "{error}");
}

#[rstest]
#[case::neighbour(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992_u64), false)]
#[case::same(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_993_u64), true)]
#[case::float(json!(9_007_199_254_740_993_u64), json!(9_007_199_254_740_992.0), false)]
#[case::one_value_one_form(json!(2024), json!(2024.0), true)]
#[case::unsigned(json!(u64::MAX), json!(u64::MAX), true)]
#[case::above_the_end(json!(u64::MAX), json!(1.844_674_407_370_955_2e19), false)]
fn numbers_are_compared_exactly(#[case] have: Value, #[case] expected_value: Value, #[case] expected: bool) {
    let attributes = json!({ "n": have });
    assert_eq!(check(json!({"type":"eq","key":"n","value":expected_value}), attributes.clone()), Ok(expected));
    assert_eq!(check(json!({"type":"in","key":"n","value":["x", expected_value]}), attributes), Ok(expected));
}

#[test]
fn match_compares_words_in_their_normal_form() {
    for (stored, query) in [
        ("the r\u{e9}sum\u{e9}", "RE\u{301}SUME\u{301}"),
        ("\u{fb01}brils", "Fibrils"),
        ("\u{ff32}\u{ff49}\u{ff4e}\u{ff47}12", "ring12"),
        ("off\u{2060}shore Ge\u{ad}samt", "gesamt offshore"),
        ("STRASSE", "stra\u{df}e"),
    ] {
        let (have, expected_value) = (Filter::words(stored), Filter::words(query));
        assert!(expected_value.iter().all(|word| have.contains(word)), "{have:?} {expected_value:?}");
    }
}
