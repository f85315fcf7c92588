use super::*;
use crate::{
    TextQuery,
    sample::{KEYS, document, timestamp},
};
use kernel::{Distance, Field, Filter, Principal};
use proptest::{collection::vec, prelude::*};

const SPEC: Spec = Spec::new(3, Distance::Cosine);

/// One document an id, in the order of ids.
fn distinct(mut docs: Vec<Document>) -> Vec<Document> {
    docs.sort_by(|a, b| a.id.cmp(&b.id));
    docs.dedup_by(|a, b| a.id == b.id);
    docs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_tail_answers_as_a_segment(docs in vec(document(3), 0..10), now in timestamp()) {
        let docs = distinct(docs);
        let segment = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        let mut shuffled = docs.clone();
        shuffled.reverse();
        let tail = Tail::new(&SPEC, shuffled).unwrap();
        prop_assert_eq!((tail.documents(), tail.rows()), (segment.documents(), segment.rows()));
        for (n, doc) in (0..).zip(&docs) {
            prop_assert_eq!(tail.find(&doc.id), Some(n));
            prop_assert_eq!(tail.sizes(n), segment.sizes(n));
            prop_assert_eq!(tail.rows_of(&[n].into()), segment.rows_of(&[n].into()));
            prop_assert!(tail.document(n, true).unwrap() == segment.document(n, true).unwrap());
            prop_assert!(tail.document(n, false).unwrap() == segment.document(n, false).unwrap());
            prop_assert!(tail.head(n).unwrap() == segment.head(n).unwrap());
        }
        prop_assert!(matches!(tail.head(tail.documents()), Err(Error::NoDocument(_))));
        for row in 0..tail.rows() + 1 {
            prop_assert_eq!(tail.row(row), segment.row(row));
        }
        let reader = vec![Principal::parse("user:a").unwrap()];
        for audience in [Audience::Everything, Audience::Principals(vec![]), Audience::Principals(reader)] {
            prop_assert_eq!(tail.visible(&audience), segment.visible(&audience));
        }
        for status in [Status::Indexed, Status::Quarantined, Status::Pending] {
            prop_assert_eq!(tail.with_status(status), segment.with_status(status));
        }
        for key in KEYS {
            prop_assert_eq!(tail.has_attribute(key), segment.has_attribute(key));
            let exists = Filter::Exists(Field::Attribute(key.into()));
            prop_assert_eq!(tail.evaluate(&exists.compile()).unwrap(), segment.evaluate(&exists.compile()).unwrap());
        }
        prop_assert_eq!(tail.expired(now), segment.expired(now));
        prop_assert!(!tail.is_indexed(), "none of this needs an index");
        let (query, rows) = (TextQuery::new("leave policy"), (0..tail.rows()).collect());
        prop_assert_eq!(tail.indexed().text_stats(&query, &rows).unwrap(), segment.text_stats(&query, &rows).unwrap());
        prop_assert!(tail.is_indexed());
        // And with an index it says the same of every filter as the documents themselves do.
        for key in KEYS.into_iter().chain(["nowhere"]) {
            prop_assert_eq!(tail.has_attribute(key), docs.iter().any(|doc| doc.attributes.contains_key(key)));
            let field = || Field::Attribute(key.into());
            let number = Filter::Number(field(), kernel::Comparison::Lt, 1.0.into());
            for filter in [Filter::Exists(field()), Filter::Not(Box::new(Filter::Exists(field()))), number] {
                let naive: RoaringBitmap =
                    (0..).zip(&docs).filter(|(_, doc)| filter.matches(&view(doc))).map(|(n, _)| n).collect();
                prop_assert_eq!(tail.evaluate(&filter.compile()).unwrap(), naive, "{}: {:?}", key, filter);
            }
        }
    }

    #[test]
    fn joined_tails_hold_what_lives_in_them(docs in vec(document(3), 1..10), cut in 0..10_usize, dead in 0..10_u32) {
        let docs = distinct(docs);
        let (left, right) = docs.split_at(cut.min(docs.len()));
        let tails = [Tail::new(&SPEC, left.to_vec()).unwrap(), Tail::new(&SPEC, right.to_vec()).unwrap()];
        let gone = [RoaringBitmap::from_iter([dead]), RoaringBitmap::new()];
        let joined = Tail::joined(&SPEC, tails.iter().zip(&gone)).unwrap();
        let kept: Vec<_> = (0..).zip(left).filter(|(n, _)| *n != dead).map(|(_, d)| d).chain(right).collect();
        prop_assert_eq!(joined.documents() as usize, kept.len());
        for (n, doc) in (0..).zip(kept) {
            prop_assert!(joined.document(n, true).unwrap() == *doc);
        }
    }
}

#[test]
fn what_a_segment_refuses_a_tail_refuses() {
    let mut doc = crate::sample::doc("a", &["words"]);
    for (vectors, fine) in [
        (vec![], true),
        (vec![1.0; 3], true),
        (vec![1.0; 2], false),
        (vec![1.0, f32::NAN, 0.0], false),
        (vec![f32::MAX; 3], false),
    ] {
        doc.vectors = vectors;
        assert_eq!(check(&SPEC, &doc).is_ok(), fine);
        assert_eq!(Segment::in_memory(&SPEC, vec![doc.clone()]).is_ok(), fine);
        assert_eq!(Tail::new(&SPEC, vec![doc.clone()]).is_ok(), fine);
    }
}
