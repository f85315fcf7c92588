use super::*;
use proptest::{collection::vec, prelude::*};

proptest! {
    #[test]
    fn every_variant_gives_the_same_number(pairs in vec(any::<(u8, i8)>(), 0..300)) {
        let (codes, query): (Vec<u8>, Vec<i8>) = pairs.into_iter().unzip();
        let expected = scalar(&codes, &query);
        for (name, variant) in dot_variants() {
            prop_assert_eq!(variant(&codes, &query), expected, "{}", name);
        }
    }

    #[test]
    fn four_rows_give_the_numbers_of_each(
        (rows, query) in (0usize..300).prop_flat_map(|n| (vec(vec(any::<u8>(), n + 2), 4), vec(any::<i8>(), n))),
        short in any::<bool>(),
    ) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| rows[at].as_slice());
        let d = if short && !query.is_empty() { &d[..query.len() - 1] } else { d };
        let expected = [a, b, c, d].map(|row| row.get(..query.len()).map_or(0, |row| scalar(row, &query)));
        let query = Signed::new(query);
        for (name, variant) in four_dots_variants() {
            prop_assert_eq!(variant([a, b, c, d], &query), expected, "{}", name);
        }
    }

    #[test]
    fn every_variant_gives_the_same_distance(pairs in vec((-1e3f32..1e3, -1e3f32..1e3), 0..300)) {
        let (a, b): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
        let expected = l2_squared_plain(&a, &b);
        let exact: f64 = a.iter().zip(&b).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
        prop_assert!((f64::from(expected) - exact).abs() <= exact * 1e-5);
        for (name, variant) in l2_squared_variants() {
            prop_assert_eq!(variant(&a, &b).to_bits(), expected.to_bits(), "{}", name);
        }
    }
}

#[test]
fn extremes_neither_saturate_nor_overflow() {
    for (code, query) in [(0, i8::MIN), (0, i8::MAX), (255, i8::MIN), (255, i8::MAX)] {
        let (codes, queries) = (vec![code; 4_099], vec![query; 4_096]);
        let expected = 4_096 * (i32::from(code) - 128) * i32::from(query);
        for (name, variant) in dot_variants() {
            assert_eq!(variant(&codes, &queries), expected, "{name}");
        }
        let queries = Signed::new(queries);
        for (name, variant) in four_dots_variants() {
            assert_eq!(variant([&codes; 4], &queries), [expected; 4], "{name}");
        }
    }
}
