//! What reading a body takes, in bytes for each of its bytes: the worst that a caller can send to each route.

use crate::{
    http::{
        call::Incoming,
        wire::{admin, documents, keys, namespaces, recall, review, search},
    },
    strict,
};
use kernel::limits;
use std::collections::BTreeSet;

/// How a route reads its body, by the name of the body's form.
struct Reader {
    form: String,
    read: fn(&str) -> bool,
}

fn reader<B: Incoming>() -> Reader {
    Reader {
        form: B::name().into_owned(),
        read: |text| match strict::json::<B>(text.as_bytes()) {
            Ok(body) => {
                // What it became is there while this is: the largest moment counts.
                let checked = body.check();
                checked.is_ok()
            }
            Err(_) => false,
        },
    }
}

fn readers() -> Vec<Reader> {
    vec![
        reader::<documents::Upsert>(),
        reader::<documents::DocumentList>(),
        reader::<documents::DocumentDelete>(),
        reader::<documents::DocumentPatch>(),
        reader::<review::Review>(),
        reader::<search::Search>(),
        reader::<search::Context>(),
        reader::<recall::Recall>(),
        reader::<namespaces::NamespacePut>(),
        reader::<admin::TenantNew>(),
        reader::<admin::TenantPatch>(),
        reader::<admin::ApiKeyNew>(),
        reader::<admin::OperatorNew>(),
        reader::<keys::Rotate>(),
        reader::<keys::RotateAll>(),
        reader::<keys::RotateServer>(),
    ]
}

/// Bytes of a body that is filled to take as much as it can.
const BODY: usize = 256 << 10;
/// What may be held for each byte of it.
const TIMES: usize = 16;

fn filled(before: &str, each: &str, between: &str, after: &str) -> String {
    let count = BODY / (each.len() + between.len());
    let mut text = String::with_capacity(BODY + before.len() + after.len());
    text.push_str(before);
    for n in 0..count {
        text.push_str(if n == 0 { "" } else { between });
        text.push_str(each);
    }
    text.push_str(after);
    text
}

fn numbered(before: &str, form: impl Fn(usize) -> String, after: &str) -> String {
    let mut text = before.to_owned();
    for n in 0.. {
        text.push_str(if n == 0 { "" } else { "," });
        text.push_str(&form(n));
        if text.len() > BODY {
            break;
        }
    }
    text + after
}

#[test]
fn every_form_of_a_body_has_a_row_here() {
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for route in crate::http::routes() {
        wanted.extend(route.forms.body().map(str::to_owned));
    }
    let here: BTreeSet<String> = readers().into_iter().map(|r| r.form).collect();
    assert_eq!(here, wanted);
}

/// Whatever the members: each name that any body knows, and each shape that grows when it is read.
#[test]
fn no_shape_of_json_takes_sixteen_times_its_length_on_any_route() {
    let members = [
        "documents",
        "ids",
        "filter",
        "attributes",
        "readers",
        "vector",
        "vectors",
        "queries",
        "query",
        "include",
        "as",
        "rerank",
        "fusion",
        "min_scores",
        "embedding",
        "screening",
        "text",
        "key",
        "quotas",
        "scopes",
        "principals",
        "namespaces",
        "name",
        "id",
        "note",
        "unknown",
    ];
    let shapes = [
        filled("[", "1", ",", "]"),
        filled("[", "\"\"", ",", "]"),
        filled("[", "[]", ",", "]"),
        filled("[", "{}", ",", "]"),
        filled("[", "\"user:a\"", ",", "]"),
        filled("[", "{\"type\":\"exists\",\"key\":\"a\"}", ",", "]"),
        filled("\"", "\\u00e9", "", "\""),
        filled("\"", "a", "", "\""),
        filled("", "[", "", ""),
        filled("", "{\"a\":", "", ""),
        filled("", "{\"filters\":[", "", ""),
        numbered("{", |n| format!("\"{n}\":1"), "}"),
        numbered("{", |n| format!("\"{n}\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]"), "}"),
    ];
    for member in members {
        for (number, shape) in shapes.iter().enumerate() {
            let body = format!("{{\"{member}\":{shape}}}");
            for reader in readers() {
                assert_bounded(&reader, &body, &format!("{member}, shape {number}"));
            }
        }
    }
}

/// Bodies that are right, of the shapes that take most.
#[test]
fn the_largest_bodies_that_are_taken_are_bounded_too() {
    let values = vec!["1"; limits::ATTRIBUTE_LIST_MAX].join(",");
    let attributes = (0..limits::ATTRIBUTES_MAX).map(|n| format!("\"a{n}\":[{values}]")).collect::<Vec<_>>().join(",");
    let worst = [
        ("Upsert", vec![format!("{{\"text\":\"\",\"attributes\":{{{attributes}}}}}"); 60].join(",")),
        ("Upsert", vec![format!("{{\"text\":\"\",\"vector\":[{}]}}", vec!["1"; 4_096].join(",")); 250].join(",")),
        (
            "Upsert",
            vec![format!("{{\"text\":\"\",\"readers\":[{}]}}", vec!["\"a:b\""; 256].join(",")); 1_000].join(","),
        ),
        ("Upsert", vec![format!("{{\"content_base64\":\"{}\"}}", "YWFh".repeat(500)); 1_000].join(",")),
    ];
    for (form, documents) in worst {
        let reader = readers().into_iter().find(|r| r.form == form).expect("a form");
        let body = format!("{{\"documents\":[{documents}]}}");
        assert!((reader.read)(&body), "it is taken");
        assert_bounded(&reader, &body, &documents[..40]);
    }
    let values = vec!["1"; limits::FILTER_VALUES_MAX].join(",");
    let list = format!("{{\"type\":\"in\",\"key\":\"a\",\"value\":[{values}]}}");
    let most = limits::FILTER_VALUES_IN_ALL_MAX / limits::FILTER_VALUES_MAX;
    let filter = |lists: usize| {
        format!("{{\"query\":\"q\",\"filter\":{{\"type\":\"or\",\"filters\":[{}]}}}}", vec![&*list; lists].join(","))
    };
    let search = readers().into_iter().find(|r| r.form == "Search").expect("a form");
    assert!((search.read)(&filter(most)), "it is taken");
    assert!(!(search.read)(&filter(2 * most)), "it is over the limit");
    assert_bounded(&search, &filter(2 * most), "a filter of many values");
}

fn assert_bounded(reader: &Reader, body: &str, what: &str) {
    let most = counting::measure(|| (reader.read)(body)).1.peak;
    // What does not grow with the body, such as a thousand empty documents.
    let bound = TIMES * body.len() + (1 << 20);
    assert!(most < bound, "{}, {what}: {most} bytes for {}", reader.form, body.len());
}
