//! Tests order and equality of numbers against arithmetic that cannot round.

use super::*;
use proptest::prelude::*;

fn number() -> impl Strategy<Value = Number> {
    let edges = prop::sample::select(vec![0i128, 1 << 53, (1 << 53) + 1, 1 << 63, (1 << 64) - 1, -(1 << 63)]);
    prop_oneof![
        any::<i64>().prop_map(Number::from),
        any::<u64>().prop_map(Number::from),
        (edges, -3i128..4).prop_filter_map("64 bits", |(edge, near)| {
            let n = edge + near;
            i64::try_from(n).map(Number::from).or_else(|_| u64::try_from(n).map(Number::from)).ok()
        }),
        any::<f64>().prop_map(Number::from),
        (-40i64..40).prop_map(|n| Number::from(n as f64 / 4.0)),
        prop::sample::select(vec![
            9_007_199_254_740_992.0,
            1e300,
            -1e300,
            18_446_744_073_709_551_616.0,
            -0.0,
            f64::NAN
        ])
        .prop_map(Number::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn index_keys_have_the_order_of_the_values(a in number(), b in number()) {
        match (a.order_key(), b.order_key()) {
            (Some(x), Some(y)) => prop_assert_eq!(Some(x.cmp(&y)), a.partial_cmp(&b), "{:?} {:?}", a, b),
            _ => prop_assert!(a.partial_cmp(&b).is_none() && (a.is_nan() || b.is_nan())),
        }
    }

    #[test]
    fn integers_survive_a_round_trip(n in any::<i64>(), m in any::<u64>()) {
        prop_assert_eq!(Number::from(n).to_json(), serde_json::json!(n));
        prop_assert_eq!(Number::from(m).to_json(), serde_json::json!(m));
    }
}

#[test]
fn neighbouring_integers_that_share_a_float_differ() {
    let (low, high) = (Number::from(9_007_199_254_740_992_u64), Number::from(9_007_199_254_740_993_u64));
    let float = Number::from(9_007_199_254_740_992.0);
    assert!(low != high && low < high);
    assert!(float == low && float < high);
    assert!(Number::from(u64::MAX) < Number::from(18_446_744_073_709_551_616.0));
    assert!(Number::from(i64::MIN) > Number::from(-9_223_372_036_854_777_856.0));
    assert_eq!(Number::from(-0.0), Number::from(0_u64));
    assert_eq!(Number::from(2024.0).to_json(), serde_json::json!(2024));
}
