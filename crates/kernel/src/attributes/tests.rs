//! Tests which JSON is an attribute, and that numbers and sizes are exact.

use super::*;
use proptest::{collection::vec, prelude::*};
use rstest::rstest;
use serde_json::{Value, json};

fn parse(value: &Value) -> Result<Option<Value>, String> {
    AttrValue::from_json(value, "attributes.k")
        .map(|parsed| parsed.map(|value| value.to_json()))
        .map_err(|error| error.to_string())
}

/// Accepted values, and what is read back of each.
#[rstest]
#[case::a_string(json!("a"), json!("a"))]
#[case::an_empty_string(json!(""), json!(""))]
#[case::the_longest_string(json!("x".repeat(4_096)), json!("x".repeat(4_096)))]
#[case::a_boolean(json!(false), json!(false))]
#[case::the_lowest_integer(json!(i64::MIN), json!(i64::MIN))]
#[case::the_highest_integer(json!(u64::MAX), json!(u64::MAX))]
#[case::above_2_to_53(json!((1_u64 << 53) + 1), json!((1_u64 << 53) + 1))]
#[case::a_whole_float_is_an_integer(json!(2024.0), json!(2024))]
#[case::zero_has_no_sign(json!(-0.0), json!(0))]
#[case::a_fraction(json!(0.1), json!(0.1))]
#[case::a_float_beyond_64_bits(json!(1e300), json!(1e300))]
#[case::the_smallest_float(json!(5e-324), json!(5e-324))]
#[case::an_empty_list(json!([]), json!([]))]
#[case::a_list_of_one_is_a_list(json!(["a"]), json!(["a"]))]
#[case::a_list_keeps_types_and_repetitions(json!([1, "1", true, 1.0, 1]), json!([1, "1", true, 1, 1]))]
#[case::the_longest_list(json!(vec![0; 256]), json!(vec![0; 256]))]
fn accepted(#[case] value: Value, #[case] expected: Value) {
    assert_eq!(parse(&value), Ok(Some(expected)));
}

/// Refused values, and the rule that each error states. No error quotes the value.
#[rstest]
#[case::an_object(json!({"private": 1}), "must be a string, a number or a boolean")]
#[case::a_list_in_a_list(json!([["private"]]), "must be a string, a number or a boolean")]
#[case::an_object_in_a_list(json!([{}]), "must be a string, a number or a boolean")]
#[case::null_in_a_list(json!(["private", null]), "must be a string, a number or a boolean")]
#[case::a_string_too_long(json!("x".repeat(4_097)), "a string may have at most 4096 bytes")]
#[case::bytes_count(json!("\u{e9}".repeat(2_049)), "a string may have at most 4096 bytes")]
#[case::a_string_too_long_in_a_list(json!(["", "x".repeat(4_097)]), "a string may have at most 4096 bytes")]
#[case::a_list_too_long(json!(vec![0; 257]), "a list may have at most 256 values")]
fn refused(#[case] value: Value, #[case] rule: &str) {
    assert_eq!(parse(&value), Err(format!("attributes.k: {rule}")));
}

#[test]
fn null_is_no_attribute() {
    assert_eq!(parse(&Value::Null), Ok(None));
}

#[test]
fn numbers_without_a_json_form_are_refused_or_null() {
    assert!(Scalar::from_json(&Value::Null, "k").is_err());
    assert_eq!(Scalar::Num(f64::NAN.into()).to_json(), Value::Null);
    assert_eq!(Scalar::Num(f64::INFINITY.into()).to_json(), Value::Null);
}

#[test]
fn debug_shows_no_value() {
    let many = AttrValue::Many(vec![Scalar::Str("private".to_owned()), Scalar::Num(424_242_i64.into())]);
    assert_eq!(format!("{many:?} {:?}", many.scalars()), "Many(2) [Str(..), Num(..)]");
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        any::<String>().prop_map(Scalar::Str),
        any::<i64>().prop_map(|n| Scalar::Num(n.into())),
        any::<u64>().prop_map(|n| Scalar::Num(n.into())),
        any::<f64>().prop_map(|x| Scalar::Num(x.into())),
        any::<bool>().prop_map(Scalar::Bool),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn sizes_bound_what_is_written_and_values_survive(values in vec(scalar(), 0..6), many in any::<bool>()) {
        let value = match (many, values.first()) {
            (false, Some(first)) => AttrValue::One(first.clone()),
            _ => AttrValue::Many(values),
        };
        let json = value.to_json();
        prop_assert!(json.to_string().len() as u64 <= value.json_bytes(), "{}", json);
        prop_assert_eq!(AttrValue::from_json(&json, "k").unwrap(), Some(value.clone()));
        let strings: usize = value.scalars().iter().map(|s| if let Scalar::Str(s) = s { s.len() } else { 0 }).sum();
        let (one, two) = ([("a".to_owned(), value.clone())].into(), [("a".to_owned(), value.clone()), ("bc".to_owned(), value)].into());
        prop_assert!(heap_bytes(&one) > strings as u64);
        prop_assert!(heap_bytes(&two) > 2 * heap_bytes(&one), "the second key is longer");
    }
}
