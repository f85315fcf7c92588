//! Attacks with documents that cost much to parse for their length: HTML, Markdown, and members at their limits.

use super::{
    Act, Attack, Request, Size,
    filters::{list, store, store_all},
};
use kernel::limits::{
    ATTRIBUTE_LIST_MAX, ATTRIBUTE_VALUE_BYTES_MAX, ATTRIBUTES_MAX, DIMENSIONS_MAX, DOCUMENT_BYTES_MAX,
    DOCUMENTS_PER_REQUEST_MAX, PRINCIPAL_BYTES_MAX, READERS_MAX, TITLE_BYTES_MAX, URI_BYTES_MAX,
};
use serde_json::json;

const NAMESPACE: &str = "/v1/namespaces/documents";
const VECTORS: &str = "/v1/namespaces/vectors";

pub(super) fn attacks() -> Vec<Attack> {
    let writes = |name, limits, requests| Attack {
        name,
        limits,
        stored: namespaces,
        act: Act::Requests(requests),
        statuses: &[200, 400, 413],
    };
    vec![
        writes("html_attributes", &["DOCUMENT_BYTES_MAX"], html_attributes),
        writes("html_colours", &["DOCUMENT_BYTES_MAX"], html_colours),
        writes("html_nesting", &["DOCUMENT_BYTES_MAX"], html_nesting),
        writes("html_styles", &["DOCUMENT_BYTES_MAX"], html_styles),
        writes("markdown", &["DOCUMENT_BYTES_MAX"], markdown),
        writes("attributes", &["WRITES_BYTES_MIN", "DOCUMENTS_PER_REQUEST_MAX", "ATTRIBUTES_MAX"], attributes),
        writes("readers", &["READERS_MAX", "PRINCIPAL_BYTES_MAX"], readers),
        writes("titles", &["TITLE_BYTES_MAX", "URI_BYTES_MAX"], titles),
        writes("long_text", &["DOCUMENT_BYTES_MAX", "PASSAGES_PER_DOCUMENT_MAX"], long_text),
        Attack {
            statuses: &[200, 400, 413, 422],
            ..writes("vectors", &["DIMENSIONS_MAX", "DIMENSIONS_MIN", "BODY_BYTES_MAX"], vectors)
        },
        writes(
            "surplus",
            &["ATTRIBUTE_VALUES_PER_REQUEST_MAX", "DOCUMENTS_PER_REQUEST_MAX", "BODY_BYTES_MAX"],
            surplus,
        ),
    ]
}

/// Creates the namespaces that these attacks read. An attack cannot rely on its own first write to create them: if a
/// server refuses that write to protect others, it correctly answers the following requests with 404.
fn namespaces(_: Size) -> Vec<Request> {
    let of_vectors = json!({ "embedding": { "dimensions": DIMENSIONS_MAX } });
    vec![Request::put(NAMESPACE, "{}"), Request::put(VECTORS, of_vectors.to_string())]
}

fn page(id: &str, html: &str) -> Request {
    store(NAMESPACE, &[json!({ "id": id, "media_type": "text/html", "text": html })])
}

/// One tag with many attributes. A parser that compares each attribute with all previous ones takes quadratic time.
fn html_attributes(size: Size) -> Vec<Request> {
    let tag = |bytes: usize| {
        let mut html = String::from("<p>seen</p><a");
        let mut n = 0;
        while html.len() < bytes {
            html.push_str(&format!(" a{n}"));
            n += 1;
        }
        html + ">x</a>"
    };
    vec![page("few-attributes", &tag(478 << 10)), page("attributes", &tag(size.of(DOCUMENT_BYTES_MAX / 2)))]
}

/// Long attributes that every open element inherits and keeps.
fn html_colours(size: Size) -> Vec<Request> {
    let long = size.of(DOCUMENT_BYTES_MAX / 4);
    let of = |attribute: &str| format!("<p>seen</p><font {attribute}>{}x", "<i>".repeat(2_000));
    vec![
        page("colour", &of(&format!("color={}", "A".repeat(long)))),
        page("background", &of(&format!("style='background:{}'", "B".repeat(long)))),
        page("class", &of(&format!("class={}", "C".repeat(long)))),
    ]
}

fn html_nesting(size: Size) -> Vec<Request> {
    let times = |text: &str| text.repeat(size.of(DOCUMENT_BYTES_MAX / 8) / text.len());
    vec![
        page("nested", &format!("{}x", times("<div>"))),
        page("ends", &format!("{}{}x", "<div>".repeat(500), times("</p>"))),
        page("formatting", &format!("{}x", times("<b><i><a href=x><p>"))),
        page("adoption", &format!("{}x", times("<a><b></a></b><nobr>"))),
        page("tables", &format!("{}x", times("<table><tr><td>a<table>b"))),
        page("fostered", &format!("<table>{}x", times("a<b>c</b>"))),
        page("selects", &format!("{}x", times("<select><option>a<optgroup>"))),
        page("comments", &format!("x{}", times("<!--<!-- --!-> "))),
        page("entities", &format!("x{}", times("&amp&notit;&#x41;"))),
    ]
}

/// Style rules that are matched against many elements.
fn html_styles(size: Size) -> Vec<Request> {
    let bytes = size.of(DOCUMENT_BYTES_MAX / 32);
    let rules: String = (0..bytes / 24).map(|n| format!(".c{n}{{display:none}}\n")).collect();
    let classes: String = (0..bytes / 8).map(|n| format!(" c{}", n % 10_000)).collect();
    let elements = format!("<p class='{}'>x", &classes[..classes.len().min(4_000)]).repeat(bytes / 4_000 + 1);
    vec![page("styles", &format!("<style>{rules}</style><p>seen</p>{elements}"))]
}

fn markdown(size: Size) -> Vec<Request> {
    let times = |text: &str| text.repeat(size.of(DOCUMENT_BYTES_MAX / 16) / text.len());
    let texts =
        ["[", "*a **a ", "> ", "![a](", "`a``b", "[a]: b\n[a]", "<a ", "- ", "|a", "_a__b ", "[x](<", "&a;", "~~a~ "];
    let pages = texts.iter().enumerate().map(|(n, text)| {
        json!({ "id": format!("mark-{n}"), "media_type": "text/markdown", "text": format!("seen {}", times(text)) })
    });
    pages.map(|document| store(NAMESPACE, &[document])).collect()
}

/// As many documents with long attributes as a body holds.
fn attributes(size: Size) -> Vec<Request> {
    let value = "v".repeat(ATTRIBUTE_VALUE_BYTES_MAX);
    let all: Vec<String> = (0..ATTRIBUTES_MAX).map(|n| format!(r#""k{n}":"{value}""#)).collect();
    let all = all.join(",");
    let document = |n| format!(r#"{{"id":"wide-{n}","text":"wide","attributes":{{{all}}}}}"#);
    vec![store_all(NAMESPACE, size.of(DOCUMENTS_PER_REQUEST_MAX / 5), document)]
}

fn readers(size: Size) -> Vec<Request> {
    let principal = |n: usize| format!("group:{n:04}{}", "r".repeat(PRINCIPAL_BYTES_MAX - 10));
    let of = |d: usize| list(READERS_MAX, |n| format!(r#""{}""#, principal((d * 7 + n) % 9_000)));
    let document = |d: usize| format!(r#"{{"id":"read-{d}","text":"read","readers":{}}}"#, of(d));
    let search = format!(r#"{{"query":"read","mode":"text","as":{{"principals":{}}}}}"#, of(3));
    vec![
        store_all(NAMESPACE, size.of(DOCUMENTS_PER_REQUEST_MAX / 2), document),
        Request::post(&format!("{NAMESPACE}/search"), search),
    ]
}

fn titles(size: Size) -> Vec<Request> {
    let title = "t ".repeat(TITLE_BYTES_MAX / 2);
    let uri = format!("https://x/{}", "u".repeat(URI_BYTES_MAX - 10));
    let document = |d: usize| format!(r#"{{"id":"title-{d}","text":"titled","title":"{title}","uri":"{uri}"}}"#);
    let documents = store_all(NAMESPACE, size.of(DOCUMENTS_PER_REQUEST_MAX), document);
    let search = json!({ "query": "titled t", "mode": "text", "top_k": 1000, "include": ["text", "highlights"] });
    vec![documents, Request::post(&format!("{NAMESPACE}/search"), search.to_string())]
}

/// A text of many passages in which no two words are equal, and one very long word.
fn long_text(size: Size) -> Vec<Request> {
    let words = size.of(DOCUMENT_BYTES_MAX / 4) / 9;
    let text: String = (0..words).map(|n| format!("w{n:07} ")).collect();
    let one = "x".repeat(size.of(DOCUMENT_BYTES_MAX / 4));
    vec![
        Request::put("/v1/namespaces/short", json!({ "chunking": { "max_tokens": 16 } }).to_string()),
        store("/v1/namespaces/short", &[json!({ "id": "words", "text": text })]),
        store("/v1/namespaces/short", &[json!({ "id": "one-word", "text": one })]),
    ]
}

fn vectors(size: Size) -> Vec<Request> {
    let numbers = |n: usize| list(DIMENSIONS_MAX, |d| (((n * 31 + d * 17) % 97) as i32 - 48).to_string());
    let documents = store_all(VECTORS, size.of(DOCUMENTS_PER_REQUEST_MAX), |n| {
        format!(r#"{{"id":"v{n}","vector":{}}}"#, numbers(n))
    });
    let search = format!(r#"{{"vector":{},"mode":"vector","top_k":1000,"include":["vector"]}}"#, numbers(5));
    let endless = format!(r#"{{"vector":[{}1],"mode":"vector"}}"#, "1,".repeat(size.of(8 << 20)));
    vec![
        documents,
        Request::post(&format!("{VECTORS}/search"), search),
        Request::post(&format!("{VECTORS}/search"), endless),
    ]
}

/// More elements than are allowed, in every list: parsing should end at the first surplus element.
fn surplus(size: Size) -> Vec<Request> {
    let empty = r#"{"text":"x"},"#.repeat(size.of(2 << 20));
    // Sixteen million small values take twice as many bytes, and many times that if each is stored.
    let values = list(ATTRIBUTE_LIST_MAX, |_| "1".to_owned());
    let ids = r#""a","#.repeat(size.of(4 << 20));
    let members: String = (0..size.of(1 << 20)).map(|n| format!(r#""k{n}":1,"#)).collect();
    let words = r#""text","#.repeat(size.of(2 << 20));
    vec![
        Request::post(&format!("{NAMESPACE}/documents"), format!(r#"{{"documents":[{empty}{{"text":"x"}}]}}"#)),
        Request::post(&format!("{NAMESPACE}/documents/delete"), format!(r#"{{"ids":[{ids}"a"]}}"#)),
        Request::post(
            &format!("{NAMESPACE}/documents"),
            format!(r#"{{"documents":[{{"text":"x","attributes":{{{members}"k":1}}}}]}}"#),
        ),
        store_all(NAMESPACE, size.of(DOCUMENTS_PER_REQUEST_MAX), |n| {
            let lists: Vec<String> = (0..ATTRIBUTES_MAX).map(|k| format!(r#""k{k}":{values}"#)).collect();
            format!(r#"{{"id":"values-{n}","text":"x","attributes":{{{}}}}}"#, lists.join(","))
        }),
        Request::post(&format!("{NAMESPACE}/documents/list"), format!(r#"{{"include":[{words}"text"]}}"#)),
        Request::post(&format!("{NAMESPACE}/search"), format!(r#"{{"query":"x","as":{{"principals":[{ids}"a"]}}}}"#)),
    ]
}
