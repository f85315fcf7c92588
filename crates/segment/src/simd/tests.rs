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
    fn four_rows_give_the_numbers_of_each(
        (rows, query) in (0usize..300).prop_flat_map(|n| (vec(vec(any::<u8>(), n + 2), 4), vec(any::<i8>(), n))),
        short in any::<bool>(),
    ) {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| rows[at].as_slice());
        let d = if short && !query.is_empty() { &d[..query.len() - 1] } else { d };
        let expected = [a, b, c, d].map(|row| row.get(..query.len()).map_or(0, |row| scalar(row, &query)));
        let query = Signed::new(query);
        for (name, way) in four_ways() {
            prop_assert_eq!(way([a, b, c, d], &query), expected, "{}", name);
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
        let queries = Signed::new(queries);
        for (name, way) in four_ways() {
            assert_eq!(way([&codes; 4], &queries), [expected; 4], "{name}");
        }
    }
}
