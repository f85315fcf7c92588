use super::*;
use proptest::{collection::vec, prelude::*};

proptest! {
    #[test]
    fn every_way_gives_the_same_number(pairs in vec(any::<(u8, i8)>(), 0..300)) {
        let (codes, query): (Vec<u8>, Vec<i8>) = pairs.into_iter().unzip();
        let expected = scalar(&codes, &query);
        for (name, way) in ways() {
            prop_assert_eq!(way(&codes, &query), expected, "{}", name);
        }
    }

    #[test]
    fn every_way_gives_the_same_distance(pairs in vec((-1e3f32..1e3, -1e3f32..1e3), 0..300)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let expected = plain(&a, &b);
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        prop_assert!((f64::from(expected) - exact).abs() <= exact * 1e-5);
        for (name, way) in apart_ways() {
            prop_assert_eq!(way(&a, &b).to_bits(), expected.to_bits(), "{}", name);
        }
    }
}

#[test]
fn extremes_neither_saturate_nor_overflow() {
    for (code, query) in [(0, i8::MIN), (0, i8::MAX), (255, i8::MIN), (255, i8::MAX)] {
        let (codes, queries) = (vec![code; 4_099], vec![query; 4_096]);
        let expected = 4_096 * (i32::from(code) - 128) * i32::from(query);
        for (name, way) in ways() {
            assert_eq!(way(&codes, &queries), expected, "{name}");
        }
    }
}
