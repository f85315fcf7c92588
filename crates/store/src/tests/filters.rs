//! Filters on whole snapshots: they match exactly the documents that the API contract specifies, with an exact count,
//! in every layout; and no search under a filter returns too few hits while matching rows are left. (Searches of a
//! graph are tested for that in `segment`, which can force one.)

use super::layout_fixture::{
    Kind, NOW, SPEC, SegmentSpec, WORDS, document, empty_snapshot, random_document, snapshot_of, spread,
};
use crate::{Hit, ListOptions, Quarantine, Snapshot};
use kernel::{Audience, Document, Filter, Principal, Status, Timestamp};
use proptest::{collection::vec, option, prelude::*, sample::select};
use segment::TextQuery;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::Rng;

mod naive;

const KEYS: [&str; 4] = ["k", "year", "tags", "nobody"];
const OWN: [&str; 6] = ["$id", "$uri", "$status", "$created_at", "$updated_at", "$expires_at"];
const TIMES: [&str; 5] = [
    "1969-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00.000Z",
    "2024-02-29T12:00:00.000Z",
    "2026-06-01T00:00:00.001Z",
    "9998-12-31T23:59:59.000Z",
];
const STRINGS: [&str; 12] = [
    "",
    "a",
    "ab",
    "Hand book",
    "book of HAND",
    "Straße 9",
    "2024-02-29T12:00:00Z",
    "2024-02-29T13:00:00+01:00",
    "2024-02-29",
    "indexed",
    "doc-0001",
    "https://example.com/ab",
];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(STRINGS.to_vec()).prop_map(Value::from),
        3 => select(vec![json!(-1.5), json!(0), json!(-0.0), json!(1), json!(1.0), json!(2024), json!(1e300)]),
        1 => any::<bool>().prop_map(Value::from),
        1 => select(TIMES.to_vec()).prop_map(Value::from),
    ]
}

/// An attribute: one value, a list of several types, or null, which means none.
fn attribute() -> impl Strategy<Value = Value> {
    prop_oneof![4 => scalar(), 3 => vec(scalar(), 0..4).prop_map(Value::from), 1 => Just(Value::Null)]
}

prop_compose! {
    fn any_document()(
        attributes in proptest::collection::btree_map(select(KEYS[..3].to_vec()), attribute(), 0..4),
        uri in select(vec!["", "https://example.com/ab", "ab"]),
        status in select(vec!["indexed", "indexed", "quarantined", "pending"]),
        times in (select(TIMES.to_vec()), select(TIMES.to_vec()), option::weighted(0.4, select(TIMES[3..].to_vec()))),
        readers in option::weighted(0.3, select(vec!["user:1", "user:2"])),
        expired in prop::bool::weighted(0.1),
    ) -> Value {
        json!({
            "attributes": attributes, "uri": uri, "status": status, "created_at": times.0, "updated_at": times.1,
            // A document is expired at the very moment of its expiry.
            "expires_at": if expired { Some(NOW) } else { times.2 },
            "readers": readers.map(|reader| [reader]),
        })
    }
}

fn leaf() -> impl Strategy<Value = Value> {
    let key = || prop_oneof![3 => select(KEYS.to_vec()), 2 => select(OWN.to_vec())];
    let with = |kinds: Vec<&'static str>, values: BoxedStrategy<Value>| {
        let filter = |(kind, key, value)| json!({ "type": kind, "key": key, "value": value });
        (select(kinds), key(), values).prop_map(filter)
    };
    let parts = select(vec!["", "a", "ab", "in", "https", "-", "2024", "T12", "doc-00", "0"]).prop_map(Value::from);
    let ordered = prop_oneof![
        select(vec![json!(-1.5), json!(0), json!(1), json!(2024), json!(1e300)]),
        select(TIMES.to_vec()).prop_map(Value::from),
        Just(json!("2024-02-29T14:00:00+02:00")),
    ];
    let words = select(vec!["hand", "BOOK hand", "straße", "9", "2024 02", "00", "example ab"]).prop_map(Value::from);
    prop_oneof![
        2 => with(vec!["eq", "ne"], prop_oneof![5 => scalar(), 1 => Just(Value::Null)].boxed()),
        2 => with(vec!["in", "nin"], vec(scalar(), 1..4).prop_map(Value::from).boxed()),
        2 => with(vec!["gt", "gte", "lt", "lte"], ordered.boxed()),
        2 => with(vec!["contains"], prop_oneof![scalar(), parts.clone()].boxed()),
        1 => with(vec!["prefix"], parts.boxed()),
        1 => with(vec!["match"], words.boxed()),
        1 => with(vec!["exists"], any::<bool>().prop_map(Value::from).boxed()),
        1 => key().prop_map(|key| json!({ "type": "exists", "key": key })),
    ]
}

fn filter() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 12, 3, |inner| {
        let several = vec(inner.clone(), 1..4);
        prop_oneof![
            (select(vec!["and", "or"]), several).prop_map(|(kind, list)| json!({ "type": kind, "filters": list })),
            inner.prop_map(|one| json!({ "type": "not", "filters": [one] })),
        ]
    })
}

/// The same documents as a write buffer, as segments with deleted documents, and in pages.
fn layouts(empty_snapshot: &Snapshot, docs: &[Document], deleted_docs: &[Document]) -> Vec<Snapshot> {
    let (first, second) = docs.split_at(docs.len() / 2);
    let deleted: Vec<_> = deleted_docs.iter().map(|doc| doc.id.clone()).collect();
    let segment_specs: [Vec<SegmentSpec>; 3] = [
        spread(docs, 1, Kind::WriteBuffer),
        vec![
            (Kind::Segment, [first, deleted_docs].concat(), deleted),
            (Kind::WriteBuffer, second.to_vec(), Vec::new()),
        ],
        spread(docs, 1, Kind::Paged),
    ];
    segment_specs.into_iter().map(|segment_specs| snapshot_of(empty_snapshot, SPEC, segment_specs)).collect()
}

fn sees(doc: &Value, audience: &Audience) -> bool {
    let Audience::Principals(principals) = audience else { return true };
    doc["readers"].as_array().is_none_or(|readers| principals.iter().any(|p| readers.contains(&p.as_str().into())))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn a_filter_matches_what_the_contract_says_and_the_total_is_exact(
        mut docs in vec(any_document(), 1..16),
        deleted_docs in vec(any_document(), 0..4),
        filters in vec(filter(), 24),
    ) {
        for (n, doc) in docs.iter_mut().enumerate() {
            doc["id"] = json!(format!("doc-{n:04}"));
        }
        let deleted_doc = |(n, doc): (usize, &Value)| document(&json!({ "id": format!("gone-{n}"), "attributes": doc["attributes"] }));
        let deleted_docs: Vec<Document> = deleted_docs.iter().enumerate().map(deleted_doc).collect();
        let stored: Vec<Document> = docs.iter().map(document).collect();
        let empty_snapshot = empty_snapshot();
        let (now, now_text) = (Timestamp::parse(NOW).unwrap(), json!(NOW));
        let audiences = [Audience::Everything, Audience::Principals(vec![Principal::parse("user:1").unwrap()])];
        let alive = json!({ "type": "or", "filters": [
            { "type": "exists", "key": "$expires_at", "value": false }, { "type": "gt", "key": "$expires_at", "value": now_text },
        ] });
        for snapshot in layouts(&empty_snapshot, &stored, &deleted_docs) {
            for (filter, audience) in filters.iter().zip(audiences.iter().cycle()) {
                let parsed = Filter::parse(filter).unwrap();
                for statuses in [&super::layout_fixture::STATUSES[..], &[Status::Indexed]] {
                    let stands = |doc: &Value| statuses.iter().any(|s| doc["status"] == s.as_str());
                    let expected: Vec<&str> = docs
                        .iter()
                        .filter(|doc| stands(doc) && sees(doc, audience) && naive::matches(&alive, doc) && naive::matches(filter, doc))
                        .map(|doc| doc["id"].as_str().unwrap())
                        .collect();
                    let eligible = snapshot.eligible(audience, Some(&parsed), statuses, now).unwrap();
                    let shown = ListOptions { quarantine: Quarantine::Shown, ..ListOptions::default() };
                    // Two per page, so that the total is not the page's.
                    let (page, total, end) = snapshot.list(&eligible, &ListOptions { limit: 2, ..shown }).unwrap();
                    prop_assert_eq!(total, expected.len() as u64, "{}", filter);
                    prop_assert_eq!(eligible.documents(), total);
                    prop_assert_eq!(end.is_some(), expected.len() > 2);
                    let (all, ..) = snapshot.list(&eligible, &ListOptions { limit: 100, ..shown }).unwrap();
                    prop_assert!(page.iter().eq(all.iter().take(2)));
                    let found: Vec<&str> = all.iter().map(|doc| doc.id.as_str()).collect();
                    prop_assert_eq!(found, expected, "{}", filter);
                }
            }
        }
    }
}

/// Document and passage.
type PassageSet = BTreeSet<(String, u32)>;

fn passages(snapshot: &Snapshot, hits: &[Hit]) -> PassageSet {
    let found: PassageSet = hits
        .iter()
        .map(|hit| {
            let (id, passage) = snapshot.tie(hit.at);
            (id.unwrap().as_str().to_owned(), passage)
        })
        .collect();
    assert_eq!(found.len(), hits.len(), "answered twice");
    found
}

/// Passages of matching documents for which `which` holds.
fn expected(docs: &[Value], filter: &Value, which: impl Fn(&Value, usize) -> bool) -> PassageSet {
    let passing =
        docs.iter().filter(|doc| naive::matches(filter, doc) && doc["status"].as_str().is_none_or(|s| s == "indexed"));
    let alive = passing.filter(|doc| doc["expires_at"].as_str().is_none_or(|at| at > NOW));
    let name = |doc: &Value| doc["id"].as_str().unwrap().to_owned();
    alive
        .flat_map(|doc| {
            let count = doc["passages"].as_array().unwrap().len();
            (0..count).filter(|n| which(doc, *n)).map(|n| (name(doc), n as u32)).collect::<Vec<_>>()
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, max_shrink_iters: 100, ..ProptestConfig::default() })]
    #[test]
    fn no_search_returns_too_few_hits_while_matching_rows_are_left(
        seed in any::<u64>(),
        count in 1..120_usize,
        year in 2019..2027_u64,
        requested in vec(select(WORDS.to_vec()), 1..4),
    ) {
        let random = Rng::new(seed);
        let docs: Vec<Value> = (0..count).map(|n| random_document(n, &random)).collect();
        let stored: Vec<Document> = docs.iter().map(document).collect();
        let filter = json!({ "type": "gte", "key": "year", "value": year });
        let parsed = Filter::parse(&filter).unwrap();
        let near = expected(&docs, &filter, |doc, _| doc["vectors"].is_array());
        let says = |doc: &Value, n: usize| {
            let text = format!("{} {}", doc["title"].as_str().unwrap(), doc["passages"][n].as_str().unwrap());
            text.split(' ').any(|word| requested.contains(&word))
        };
        let said = expected(&docs, &filter, says);
        let empty_snapshot = empty_snapshot();
        for segment_specs in [spread(&stored, 1, Kind::Segment), spread(&stored, 1, Kind::WriteBuffer), spread(&stored, 4, Kind::Segment)] {
            let snapshot = snapshot_of(&empty_snapshot, SPEC, segment_specs);
            let now = Timestamp::parse(NOW).unwrap();
            let eligible = snapshot.eligible(&Audience::Everything, Some(&parsed), &[Status::Indexed], now).unwrap();
            for k in [1, 10, near.len(), near.len() + 1, 1_000] {
                let (hits, _) = snapshot.vector(&[1.0, -0.5, 0.0, 0.25, 0.5, 0.0], &eligible, k).unwrap();
                prop_assert_eq!(hits.len(), near.len().min(k));
                prop_assert!(passages(&snapshot, &hits).is_subset(&near));
                let hits = snapshot.text(&TextQuery::new(&requested.join(" ")), &eligible, k).unwrap();
                prop_assert_eq!(hits.len(), said.len().min(k));
                prop_assert!(passages(&snapshot, &hits).is_subset(&said));
            }
        }
    }
}
