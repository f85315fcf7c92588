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

/// Attributes at the edges: lists that are empty or of several types, and a string that is no time.
fn edges() -> Value {
    json!({"none": [], "mixed": ["a", 1, true], "word": "soon", "when": "2024-06-01T00:00:00.000000001Z"})
}

#[rstest]
#[case::an_empty_list_is_present(json!({"type":"exists","key":"none"}), true)]
#[case::an_empty_list_is_not_null(json!({"type":"eq","key":"none","value":null}), false)]
#[case::an_empty_list_equals_nothing(json!({"type":"in","key":"none","value":["a", 1, true, ""]}), false)]
#[case::an_empty_list_has_no_member(json!({"type":"contains","key":"none","value":""}), false)]
#[case::an_empty_list_has_no_order(json!({"type":"lte","key":"none","value":u64::MAX}), false)]
#[case::an_empty_list_has_no_prefix(json!({"type":"prefix","key":"none","value":""}), false)]
#[case::any_element(json!({"type":"eq","key":"mixed","value":1}), true)]
#[case::ne_is_about_all_elements(json!({"type":"ne","key":"mixed","value":1}), false)]
#[case::elements_keep_their_type(json!({"type":"contains","key":"mixed","value":"1"}), false)]
#[case::order_skips_other_types(json!({"type":"gt","key":"mixed","value":0.5}), true)]
#[case::no_substring_of_an_element(json!({"type":"contains","key":"mixed","value":""}), false)]
#[case::every_string_has_the_empty_prefix(json!({"type":"prefix","key":"word","value":""}), true)]
#[case::an_absent_key_has_no_order(json!({"type":"lt","key":"absent","value":1}), false)]
#[case::nor_has_its_negation_a_value(json!({"type":"not","filters":[{"type":"lt","key":"absent","value":1}]}), true)]
#[case::nin_of_an_absent_key(json!({"type":"nin","key":"absent","value":[1]}), true)]
#[case::no_time_has_no_order(json!({"type":"gt","key":"word","value":"0000-01-01T00:00:00Z"}), false)]
#[case::nanoseconds_count(json!({"type":"gt","key":"when","value":"2024-06-01T00:00:00Z"}), true)]
#[case::digits_beyond_nanoseconds_do_not(json!({"type":"gte","key":"when","value":"2024-06-01T00:00:00.0000000019Z"}), true)]
#[case::offsets_are_applied(json!({"type":"lt","key":"when","value":"2024-06-01T02:00:00.000000002+02:00"}), true)]
#[case::an_attribute_equals_by_spelling(json!({"type":"eq","key":"when","value":"2024-06-01T02:00:00.000000001+02:00"}), false)]
#[case::a_time_of_the_server_equals_by_instant(json!({"type":"in","key":"$updated_at","value":["x", "2026-01-02T23:59:00-00:01"]}), true)]
#[case::the_last_second(json!({"type":"lt","key":"$created_at","value":"9999-12-31T23:59:60-00:00"}), true)]
#[case::no_expiry_is_absent(json!({"type":"exists","key":"$expires_at","value":false}), true)]
#[case::no_expiry_has_no_order(json!({"type":"lte","key":"$expires_at","value":"9999-12-31T23:59:59Z"}), false)]
#[case::no_uri_is_absent(json!({"type":"eq","key":"$uri","value":null}), true)]
#[case::no_uri_is_no_empty_string(json!({"type":"eq","key":"$uri","value":""}), false)]
#[case::status(json!({"type":"in","key":"$status","value":["quarantined", "indexed"]}), true)]
#[case::id(json!({"type":"prefix","key":"$id","value":"doc-"}), true)]
#[case::one_of_several(json!({"type":"or","filters":[{"type":"eq","key":"word","value":"x"}, {"type":"exists","key":"none"}]}), true)]
#[case::all_of_several(json!({"type":"and","filters":[{"type":"eq","key":"word","value":"x"}, {"type":"exists","key":"none"}]}), false)]
fn meaning_at_the_edges(#[case] filter: Value, #[case] expected: bool) {
    assert_eq!(check(filter, edges()), Ok(expected));
}

/// Each operator on numbers that floats cannot tell apart, and at both ends of 64 bits.
#[rstest]
#[case::equal(json!(5), json!(5.0), [false, true, false, true])]
#[case::above_2_to_53(json!((1_u64 << 53) + 1), json!(1_u64 << 53), [true, true, false, false])]
#[case::below_minus_2_to_53(json!(-(1_i64 << 53) - 1), json!(-(1_i64 << 53)), [false, false, true, true])]
#[case::float_of_2_to_53(json!((1_u64 << 53) + 1), json!(9_007_199_254_740_992.0), [true, true, false, false])]
#[case::signed_end(json!(i64::MAX), json!(9_223_372_036_854_775_808.0), [false, false, true, true])]
#[case::signed_ends(json!(i64::MIN), json!(i64::MAX), [false, false, true, true])]
#[case::lowest(json!(i64::MIN), json!(-9_223_372_036_854_775_808.0), [false, true, false, true])]
#[case::below_the_lowest(json!(i64::MIN), json!(-9_223_372_036_854_777_856.0), [true, true, false, false])]
#[case::unsigned_end(json!(u64::MAX), json!(u64::MAX - 1), [true, true, false, false])]
#[case::beyond_64_bits(json!(u64::MAX), json!(1.844_674_407_370_955_2e19), [false, false, true, true])]
#[case::zeros(json!(0), json!(-0.0), [false, true, false, true])]
#[case::smallest(json!(5e-324), json!(0), [true, true, false, false])]
#[case::largest(json!(f64::MAX), json!(u64::MAX), [true, true, false, false])]
fn numbers_are_ordered_exactly(#[case] have: Value, #[case] bound: Value, #[case] expected: [bool; 4]) {
    for (operator, expected) in ["gt", "gte", "lt", "lte"].into_iter().zip(expected) {
        let filter = json!({"type":operator,"key":"n","value":bound});
        assert_eq!(check(filter, json!({"n": have})), Ok(expected), "{have} {operator} {bound}");
    }
}

/// Each error names the member, and no error quotes what the caller wrote.
#[rstest]
#[case::empty(json!({}), "filter.type", "must name an operator")]
#[case::no_object(json!([{"type":"exists","key":"private"}]), "filter", "must be an object")]
#[case::null(json!(null), "filter", "must be an object")]
#[case::operator_of_another_type(json!({"type":["eq"],"key":"private","value":1}), "filter.type", "must name an operator")]
#[case::unknown_operator(json!({"type":"private","key":"a","value":1}), "filter.type", "known are eq ne gt")]
#[case::member_of_a_leaf(json!({"type":"eq","key":"a","value":1,"private":1}), "filter", "type, key, value")]
#[case::members_of_a_list_in_a_leaf(json!({"type":"eq","key":"a","value":1,"filters":[]}), "filter", "type, key, value")]
#[case::member_of_a_list(json!({"type":"and","filters":[],"private":1}), "filter", "type, filters")]
#[case::member_inside(json!({"type":"not","filters":[{"type":"exists","key":"a","private":1}]}), "filter", "type, key, value")]
#[case::no_filters(json!({"type":"and","filters":[]}), "filter.filters", "at least one filter")]
#[case::filters_missing(json!({"type":"or"}), "filter.filters", "at least one filter")]
#[case::filters_no_list(json!({"type":"or","filters":{"type":"exists","key":"a"}}), "filter.filters", "at least one filter")]
#[case::not_of_two(json!({"type":"not","filters":[{"type":"exists","key":"a"},{"type":"exists","key":"b"}]}), "filter.filters", "exactly one")]
#[case::key_missing(json!({"type":"exists"}), "filter.key", "must name an attribute")]
#[case::key_no_string(json!({"type":"exists","key":1}), "filter.key", "must name an attribute")]
#[case::key_empty(json!({"type":"exists","key":""}), "filter.key", "must not be empty")]
#[case::key_of_the_server(json!({"type":"eq","key":"$private","value":"x"}), "filter.key", "known are $id $uri")]
#[case::value_missing(json!({"type":"eq","key":"a"}), "filter.value", "is missing")]
#[case::value_a_list(json!({"type":"eq","key":"a","value":["private"]}), "filter.value", "must be a string, a number or a boolean")]
#[case::value_an_object(json!({"type":"ne","key":"a","value":{"private":1}}), "filter.value", "must be a string, a number or a boolean")]
#[case::contains_null(json!({"type":"contains","key":"a","value":null}), "filter.value", "must be a string, a number or a boolean")]
#[case::in_no_list(json!({"type":"in","key":"a","value":"private"}), "filter.value", "a list of 1 to 1024 values")]
#[case::in_empty(json!({"type":"in","key":"a","value":[]}), "filter.value", "a list of 1 to 1024 values")]
#[case::nin_of_lists(json!({"type":"nin","key":"a","value":[["private"]]}), "filter.value", "must be a string, a number or a boolean")]
#[case::in_of_null(json!({"type":"in","key":"a","value":[null]}), "filter.value", "must be a string, a number or a boolean")]
#[case::order_of_strings(json!({"type":"gt","key":"a","value":"private"}), "filter.value", "numbers and RFC 3339 times")]
#[case::order_of_a_date(json!({"type":"gt","key":"a","value":"2026-01-02"}), "filter.value", "numbers and RFC 3339 times")]
#[case::order_of_booleans(json!({"type":"lte","key":"a","value":true}), "filter.value", "booleans have no order")]
#[case::order_of_null(json!({"type":"lt","key":"a","value":null}), "filter.value", "must be a string, a number or a boolean")]
#[case::prefix_of_a_number(json!({"type":"prefix","key":"a","value":12}), "filter.value", "must be a string")]
#[case::match_without_a_word(json!({"type":"match","key":"a","value":" \u{2060}--"}), "filter.value", "has no word to match")]
#[case::exists_maybe(json!({"type":"exists","key":"a","value":null}), "filter.value", "must be true or false")]
fn refused(#[case] filter: Value, #[case] param: &str, #[case] remedy: &str) {
    let error = Filter::parse(&filter).unwrap_err();
    assert_eq!(error.param.as_deref(), Some(param));
    assert!(error.message.contains(remedy) && !error.message.contains("private"), "{error}");
    let unknown_member = remedy.starts_with("type, ");
    assert_eq!(error.code == crate::Code::UnknownField, unknown_member, "{:?}", error.code);
}

/// A filter of this many levels.
fn nested(kind: &str, levels: usize) -> Value {
    (1..levels).fold(json!({"type":"exists","key":"a"}), |inner, _| json!({"type":kind,"filters":[inner]}))
}

/// A list of this many filters, which counts as a node itself.
fn wide(filters: usize) -> Value {
    json!({"type":"or","filters":vec![json!({"type":"exists","key":"a"}); filters]})
}

fn values(many: usize) -> Value {
    json!({"type":"in","key":"a","value":(0..many).collect::<Vec<_>>()})
}

fn key_of(letter: &str, many: usize) -> Value {
    json!({"type":"exists","key":letter.repeat(many)})
}

fn string_of(kind: &str, bytes: usize) -> Value {
    json!({"type":kind,"key":"a","value":"x".repeat(bytes)})
}

/// The greatest filter of each kind is accepted, and the next one is refused with the limit in the error.
#[rstest]
#[case::depth_of_and(nested("and", limits::FILTER_DEPTH_MAX), nested("and", limits::FILTER_DEPTH_MAX + 1), "filter", "32 levels")]
#[case::depth_of_or(nested("or", limits::FILTER_DEPTH_MAX), nested("or", limits::FILTER_DEPTH_MAX + 1), "filter", "32 levels")]
#[case::depth_of_not(nested("not", limits::FILTER_DEPTH_MAX), nested("not", limits::FILTER_DEPTH_MAX + 1), "filter", "32 levels")]
#[case::nodes(wide(limits::FILTER_NODES_MAX - 1), wide(limits::FILTER_NODES_MAX), "filter", "1024 nodes")]
#[case::values(values(limits::FILTER_VALUES_MAX), values(limits::FILTER_VALUES_MAX + 1), "filter.value", "1 to 1024 values")]
#[case::key(key_of("k", limits::ATTRIBUTE_KEY_BYTES_MAX), key_of("k", limits::ATTRIBUTE_KEY_BYTES_MAX + 1), "filter.key", "128 bytes")]
#[case::key_in_bytes(key_of("\u{e9}", 64), key_of("\u{e9}", 65), "filter.key", "128 bytes")]
#[case::string(string_of("eq", limits::ATTRIBUTE_VALUE_BYTES_MAX), string_of("eq", limits::ATTRIBUTE_VALUE_BYTES_MAX + 1), "filter.value", "4096 bytes")]
#[case::words(string_of("match", limits::ATTRIBUTE_VALUE_BYTES_MAX), string_of("match", limits::ATTRIBUTE_VALUE_BYTES_MAX + 1), "filter.value", "4096 bytes")]
fn limits_are_exact(#[case] greatest: Value, #[case] beyond: Value, #[case] param: &str, #[case] limit: &str) {
    assert!(Filter::parse(&greatest).is_ok());
    let error = Filter::parse(&beyond).unwrap_err();
    assert_eq!((error.code, error.param.as_deref()), (crate::Code::InvalidRequest, Some(param)));
    assert!(error.message.contains(limit), "{error}");
}

#[test]
fn debug_shows_operators_only() {
    let leaf = |kind: &str, value: Value| json!({"type":kind,"key":"secret","value":value});
    let filter = json!({"type":"or","filters":[
        {"type":"and","filters":[leaf("prefix", json!("secret")), leaf("match", json!("secret")), leaf("gt", json!(424_242))]},
        leaf("in", json!(["secret", 424_242])), leaf("ne", json!("secret")), leaf("contains", json!("secret")),
        leaf("lte", json!("4242-01-01T00:00:00Z")), leaf("exists", json!(true)),
    ]});
    let shown = format!("{:?}", Filter::parse(&filter).unwrap());
    let expected =
        "Or([And([Prefix, Match, Number(Gt)]), In(2 values), Not(In(1 values)), Contains, Instant(Lte), Exists])";
    assert_eq!(shown, expected);
}

#[test]
fn the_deepest_filter_is_evaluated() {
    // 31 negations of `exists`, and 30.
    let levels = limits::FILTER_DEPTH_MAX;
    assert_eq!(check(nested("not", levels), json!({"a": 1})), Ok(false));
    assert_eq!(check(nested("not", levels - 1), json!({"a": 1})), Ok(true));
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
