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
