use super::*;
use crate::{
    TextQuery,
    test_documents::{KEYS, document, timestamp},
};
use kernel::{Distance, Field, Filter, Principal};
use proptest::{collection::vec, prelude::*};

const SPEC: Spec = Spec::new(3, Distance::Cosine);

/// One document per id, ordered by id.
fn distinct(mut docs: Vec<Document>) -> Vec<Document> {
    docs.sort_by(|a, b| a.id.cmp(&b.id));
    docs.dedup_by(|a, b| a.id == b.id);
    docs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_write_buffer_answers_as_a_segment(docs in vec(document(3), 0..10), now in timestamp()) {
        let docs = distinct(docs);
        let segment = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        let mut shuffled = docs.clone();
        shuffled.reverse();
        let write_buffer = WriteBuffer::new(&SPEC, shuffled).unwrap();
        prop_assert_eq!((write_buffer.documents(), write_buffer.rows()), (segment.documents(), segment.rows()));
        for (n, doc) in (0..).zip(&docs) {
            prop_assert_eq!(write_buffer.find(&doc.id), Some(n));
            prop_assert_eq!(write_buffer.sizes(n), segment.sizes(n));
            prop_assert_eq!(write_buffer.rows_of(&[n].into()), segment.rows_of(&[n].into()));
            prop_assert!(write_buffer.document(n, true).unwrap() == segment.document(n, true).unwrap());
            prop_assert!(write_buffer.document(n, false).unwrap() == segment.document(n, false).unwrap());
            prop_assert!(write_buffer.head(n).unwrap() == segment.head(n).unwrap());
        }
        prop_assert!(matches!(write_buffer.head(write_buffer.documents()), Err(Error::NoDocument(_))));
        for row in 0..write_buffer.rows() + 1 {
            prop_assert_eq!(write_buffer.row(row), segment.row(row));
        }
        let reader = vec![Principal::parse("user:a").unwrap()];
        for audience in [Audience::Everything, Audience::Principals(vec![]), Audience::Principals(reader)] {
            prop_assert_eq!(write_buffer.visible(&audience), segment.visible(&audience));
        }
        for status in [Status::Indexed, Status::Quarantined, Status::Pending] {
            prop_assert_eq!(write_buffer.with_status(status), segment.with_status(status));
        }
        for key in KEYS {
            prop_assert_eq!(write_buffer.has_attribute(key), segment.has_attribute(key));
            let exists = Filter::Exists(Field::Attribute(key.into()));
            prop_assert_eq!(write_buffer.evaluate(&exists.compile()).unwrap(), segment.evaluate(&exists.compile()).unwrap());
        }
        prop_assert_eq!(write_buffer.expired(now), segment.expired(now));
        prop_assert!(!write_buffer.is_indexed(), "none of this needs an index");
        let (query, rows) = (TextQuery::new("leave policy"), (0..write_buffer.rows()).collect());
        prop_assert_eq!(write_buffer.indexed().text_stats(&query, &rows).unwrap(), segment.text_stats(&query, &rows).unwrap());
        prop_assert!(write_buffer.is_indexed());
        // With an index, every filter has the same result as on the documents themselves.
        for key in KEYS.into_iter().chain(["nowhere"]) {
            prop_assert_eq!(write_buffer.has_attribute(key), docs.iter().any(|doc| doc.attributes.contains_key(key)));
            let field = || Field::Attribute(key.into());
            let number = Filter::Number(field(), kernel::Comparison::Lt, 1.0.into());
            for filter in [Filter::Exists(field()), Filter::Not(Box::new(Filter::Exists(field()))), number] {
                let naive: RoaringBitmap =
                    (0..).zip(&docs).filter(|(_, doc)| filter.matches(&view(doc))).map(|(n, _)| n).collect();
                prop_assert_eq!(write_buffer.evaluate(&filter.compile()).unwrap(), naive, "{}: {:?}", key, filter);
            }
        }
    }

    #[test]
    fn joined_write_buffers_hold_the_live_documents(docs in vec(document(3), 1..10), cut in 0..10_usize, deleted_document in 0..10_u32) {
        let docs = distinct(docs);
        let (left, right) = docs.split_at(cut.min(docs.len()));
        let write_buffers = [WriteBuffer::new(&SPEC, left.to_vec()).unwrap(), WriteBuffer::new(&SPEC, right.to_vec()).unwrap()];
        let deleted = [RoaringBitmap::from_iter([deleted_document]), RoaringBitmap::new()];
        let joined = WriteBuffer::joined(&SPEC, write_buffers.iter().zip(&deleted)).unwrap();
        let kept: Vec<_> = (0..).zip(left).filter(|(n, _)| *n != deleted_document).map(|(_, d)| d).chain(right).collect();
        prop_assert_eq!(joined.documents() as usize, kept.len());
        for (n, doc) in (0..).zip(kept) {
            prop_assert!(joined.document(n, true).unwrap() == *doc);
        }
    }
}

#[test]
fn a_write_buffer_refuses_what_a_segment_refuses() {
    let mut doc = crate::test_documents::doc("a", &["words"]);
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
        assert_eq!(WriteBuffer::new(&SPEC, vec![doc.clone()]).is_ok(), fine);
    }
}
