//! Memory that parsing a body takes, in bytes per byte of the body, for the worst bodies that a caller can send to each
//! route.

use crate::http::request_data::RequestBody;
use api::{admin, context, documents, keys, namespaces, recall, review, search, strict};
use kernel::limits;
use std::collections::BTreeSet;

/// Parses the bodies of one schema as the server does.
struct Reader {
    form: String,
    read: fn(&str) -> bool,
}

fn reader<B: RequestBody>() -> Reader {
    Reader {
        form: B::name().into_owned(),
        read: |text| match strict::json::<B>(text.as_bytes()) {
            Ok(body) => {
                // The body and the value made from it exist at the same time: the peak counts.
                let checked = body.check();
                checked.is_ok()
            }
            Err(_) => false,
        },
    }
}

fn readers() -> Vec<Reader> {
    vec![
        reader::<documents::UpsertRequest>(),
        reader::<documents::DocumentList>(),
        reader::<documents::DocumentDelete>(),
        reader::<documents::DocumentPatch>(),
        reader::<review::Review>(),
        reader::<search::Search>(),
        reader::<context::Context>(),
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

/// Size in bytes of a body that is filled to take as much memory as possible.
const BODY: usize = 256 << 10;
/// Maximum number of bytes held per byte of the body.
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
fn every_body_has_a_reader_here() {
    let mut expected: BTreeSet<String> = BTreeSet::new();
    for route in crate::http::routes() {
        expected.extend(route.schemas.body().map(str::to_owned));
    }
    let here: BTreeSet<String> = readers().into_iter().map(|r| r.form).collect();
    assert_eq!(here, expected);
}

/// Covers each name of a member that any body knows, and each shape that grows during parsing.
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

/// Valid bodies with the shapes that take most memory.
#[test]
fn the_largest_valid_bodies_are_bounded_too() {
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
        let reader = readers().into_iter().find(|r| r.form == form).expect("a schema");
        let body = format!("{{\"documents\":[{documents}]}}");
        assert!((reader.read)(&body), "it is valid");
        assert_bounded(&reader, &body, &documents[..40]);
    }
    let values = vec!["1"; limits::FILTER_VALUES_MAX].join(",");
    let list = format!("{{\"type\":\"in\",\"key\":\"a\",\"value\":[{values}]}}");
    let most = limits::FILTER_VALUES_TOTAL_MAX / limits::FILTER_VALUES_MAX;
    let filter = |lists: usize| {
        format!("{{\"query\":\"q\",\"filter\":{{\"type\":\"or\",\"filters\":[{}]}}}}", vec![&*list; lists].join(","))
    };
    let search = readers().into_iter().find(|r| r.form == "Search").expect("a schema");
    assert!((search.read)(&filter(most)), "it is valid");
    assert!(!(search.read)(&filter(2 * most)), "it is over the limit");
    assert_bounded(&search, &filter(2 * most), "a filter of many values");
}

fn assert_bounded(reader: &Reader, body: &str, what: &str) {
    let most = counting::measure(|| (reader.read)(body)).1.peak;
    // Memory that does not grow with the body, such as a thousand empty documents.
    let bound = TIMES * body.len() + (1 << 20);
    assert!(most < bound, "{}, {what}: {most} bytes for {}", reader.form, body.len());
}
