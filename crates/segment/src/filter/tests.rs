use crate::{
    Segment, Spec,
    test_documents::{KEYS, document, scalar, timestamp},
};
use kernel::{Comparison, Distance, Document, DocumentView, Field, Filter, Instant, Number, Scalar};
use proptest::{collection::vec, prelude::*, sample::select};
use roaring::RoaringBitmap;

const SPEC: Spec = Spec::new(0, Distance::Cosine);

fn field() -> impl Strategy<Value = Field> {
    prop_oneof![
        3 => select(KEYS.to_vec()).prop_map(|k| Field::Attribute(k.to_owned())),
        2 => select(vec![Field::Id, Field::Uri, Field::Status, Field::CreatedAt, Field::UpdatedAt, Field::ExpiresAt]),
    ]
}

/// Values that some field may have, ids, statuses and times among them.
fn any_value() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        3 => scalar(),
        1 => Just(Scalar::Num(f64::NAN.into())),
        1 => select(vec!["a", "ab", "indexed", "pending", "https://example.com/ab", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59z"])
            .prop_map(|s| Scalar::Str(s.to_owned())),
        1 => timestamp().prop_map(|t| Scalar::Str(t.to_string())),
    ]
}

fn leaf() -> impl Strategy<Value = Filter> {
    let op = || select(vec![Comparison::Gt, Comparison::Gte, Comparison::Lt, Comparison::Lte]);
    let part = || select(vec!["", "a", "b", "in", "https", "ook", "197", "-"]);
    let float = select(vec![-1.5, -0.0, 0.0, 1.0, 9_007_199_254_740_992.0, 1e300, f64::NAN, f64::INFINITY]);
    let whole = select(vec![9_007_199_254_740_992, 9_007_199_254_740_993, u64::MAX]);
    let number = prop_oneof![float.prop_map(Number::from), whole.prop_map(Number::from)];
    let instant = prop_oneof![
        timestamp().prop_map(|t| t.instant()),
        select(vec!["1990-12-31T23:59:60Z", "2024-06-01T00:00:00.000000001Z", "9999-12-31T23:59:59Z"])
            .prop_map(|text| Instant::parse(text).unwrap()),
    ];
    prop_oneof![
        (field(), vec(any_value(), 1..3)).prop_map(|(f, v)| Filter::In(f, v)),
        (field(), op(), number).prop_map(|(f, op, x)| Filter::Number(f, op, x)),
        (field(), op(), instant).prop_map(|(f, op, t)| Filter::Instant(f, op, t)),
        (field(), any_value()).prop_map(|(f, v)| Filter::Contains(f, v)),
        (field(), part()).prop_map(|(f, p)| Filter::Contains(f, Scalar::Str(p.to_owned()))),
        (field(), part()).prop_map(|(f, p)| Filter::Prefix(f, p.to_owned())),
        (field(), vec(select(vec!["hand", "book", "a", "00"]), 1..3))
            .prop_map(|(f, w)| Filter::Match(f, kernel::MatchWords::of(&w.join(" ")))),
        field().prop_map(Filter::Exists),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Filter::And),
            vec(inner.clone(), 1..4).prop_map(Filter::Or),
            inner.prop_map(|f| Filter::Not(Box::new(f))),
        ]
    })
}

fn by_definition(docs: &[Document], filter: &Filter) -> RoaringBitmap {
    let meets = |doc: &Document| {
        filter.matches(&DocumentView {
            id: doc.id.as_str(),
            uri: doc.uri.expose(),
            status: doc.status,
            created_at: doc.created_at,
            updated_at: doc.updated_at,
            expires_at: doc.expires_at,
            attributes: &doc.attributes,
        })
    };
    (0..docs.len() as u32).filter(|&n| meets(&docs[n as usize])).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]
    #[test]
    fn the_index_agrees_with_the_definition(docs in vec(document(0), 0..8), filters in vec(filter(), 4)) {
        let segment = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        for filter in &filters {
            let (expected, compiled) = (by_definition(&docs, filter), filter.compile());
            prop_assert_eq!(&segment.evaluate(&compiled).unwrap(), &expected, "{:?}", filter);
        }
    }

    #[test]
    fn audiences_statuses_and_expiry_agree(docs in vec(document(0), 0..8), now in timestamp()) {
        let segment = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        let those = |test: &dyn Fn(&Document) -> bool| -> RoaringBitmap {
            (0..docs.len() as u32).filter(|&n| test(&docs[n as usize])).collect()
        };
        let principal = |p: &str| kernel::Principal::parse(p).unwrap();
        for audience in [
            kernel::Audience::Everything,
            kernel::Audience::Principals(vec![]),
            kernel::Audience::Principals(vec![principal("user:a"), principal("user:nobody")]),
        ] {
            prop_assert_eq!(segment.visible(&audience), those(&|d| audience.may_see(d.readers.as_deref())));
        }
        for status in super::STATUSES {
            prop_assert_eq!(segment.with_status(status), those(&|d| d.status == status));
        }
        prop_assert_eq!(segment.expired(now), those(&|d| d.expires_at.is_some_and(|t| t <= now)));
        for key in KEYS {
            prop_assert_eq!(segment.has_attribute(key), docs.iter().any(|d| d.attributes.contains_key(key)));
        }
    }
}

/// When every document has one row, numbers of documents equal those of rows; when one has none or two, they do not.
#[test]
fn rows_of_documents_with_one_row_each_and_of_others() {
    let one = |n: u32, passages: usize| crate::test_documents::doc(&format!("d{n}"), &["word"; 3][..passages]);
    for counts in [[1, 1, 1, 1], [1, 0, 2, 1], [2, 1, 1, 1], [0, 0, 3, 1]] {
        let docs: Vec<_> = (0..).zip(counts).map(|(n, count)| one(n, count)).collect();
        let mut next = 0;
        let rows: Vec<std::ops::Range<u32>> =
            counts.iter().map(|count| (next, next += *count as u32).0..next).collect();
        let segment = Segment::in_memory(&SPEC, docs.clone()).unwrap();
        let write_buffer = crate::WriteBuffer::new(&SPEC, docs).unwrap();
        for documents in [vec![], vec![0], vec![1, 3], vec![2], vec![0, 1, 2, 3], vec![1, 9]] {
            let documents: RoaringBitmap = documents.into_iter().collect();
            let expected: RoaringBitmap =
                documents.iter().filter_map(|doc| rows.get(doc as usize).cloned()).flatten().collect();
            assert_eq!(segment.rows_of(&documents), expected, "{counts:?} {documents:?}");
            assert_eq!(write_buffer.rows_of(&documents), expected, "{counts:?} {documents:?}");
        }
    }
}
