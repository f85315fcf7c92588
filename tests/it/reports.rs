//! Faults that users of other engines reported, each sent to a complete server, with the right answer.

use crate::in_process::{ALL_SCOPES, TestServer};
use serde_json::{Value, json};
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, process::Command};
use testkit::{Http, Reply};

const NS: &str = "/v1/namespaces/reports";

/// Creates a tenant and returns a client with a key of all scopes.
fn tenant(server: &TestServer) -> Http {
    server.tenant("acme");
    server.data(Some(&server.key("acme", ALL_SCOPES, json!({}))))
}

fn post(http: &mut Http, path: &str, body: &str) -> Reply {
    http.send_bytes("POST", &format!("{NS}/{path}"), body.as_bytes(), &[]).expect("an answer")
}

fn store(http: &mut Http, documents: Value) -> Value {
    post(http, "documents", &json!({ "documents": documents }).to_string()).ok()
}

fn ids(reply: &Value, list: &str, member: &str) -> Vec<String> {
    let items = reply[list].as_array().unwrap_or_else(|| panic!("no {list}: {reply}"));
    items.iter().map(|item| item[member].as_str().expect("an id").to_owned()).collect()
}

/// Ids of the documents that a filter, sent verbatim, accepts.
fn filtered(http: &mut Http, filter: &str) -> Vec<String> {
    ids(&post(http, "documents/list", &format!(r#"{{"filter":{filter}}}"#)).ok(), "documents", "id")
}

/// Ids of the documents that a text search finds, best first, and the reply.
fn searched(http: &mut Http, body: Value) -> (Vec<String>, Value) {
    let mut complete = json!({ "mode": "text", "top_k": 50 });
    complete.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
    let reply = post(http, "search", &complete.to_string()).ok();
    (ids(&reply, "hits", "document_id"), reply)
}

#[test]
fn integers_are_exact_or_refused_by_name() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    let numbers = [
        "9007199254740993",
        "9007199254740992",
        "-9007199254740993",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "0",
    ];
    let mut exact = Vec::new();
    for number in numbers {
        let body = format!(
            r#"{{"documents":[{{"id":"n{number}","text":"x","attributes":{{"n":{number},"l":[{number}]}}}}]}}"#
        );
        let result = post(&mut http, "documents", &body);
        let refused = result.status == 400 || result.json()["results"][0]["status"] == "failed";
        if refused {
            let message = String::from_utf8_lossy(&result.body).into_owned();
            assert!(
                message.contains("attributes.n") || message.contains("attributes.l"),
                "{number}: refused without a name: {message}"
            );
            continue;
        }
        let shown = http.send("GET", &format!("{NS}/documents/n{number}"), &Value::Null).expect("an answer");
        let shown = String::from_utf8_lossy(&shown.body).into_owned();
        assert!(shown.contains(&format!(r#""n":{number}"#)), "{number} is returned as another: {shown}");
        exact.push(number);
    }
    assert!(exact.contains(&"0") && exact.len() > 1, "ordinary numbers go in: {exact:?}");
    for number in &exact {
        for (kind, key) in [("eq", "n"), ("contains", "l")] {
            let found = filtered(&mut http, &format!(r#"{{"type":"{kind}","key":"{key}","value":{number}}}"#));
            assert_eq!(found, [format!("n{number}")], "{kind} {number} matches its neighbour");
        }
        let mut others: Vec<String> = exact
            .iter()
            .filter(|n| n.parse::<i128>().ok() > number.parse::<i128>().ok())
            .map(|n| format!("n{n}"))
            .collect();
        others.sort_unstable();
        let found = filtered(&mut http, &format!(r#"{{"type":"gt","key":"n","value":{number}}}"#));
        assert_eq!(found, others, "gt {number}");
    }
}

#[test]
fn a_valid_time_is_accepted_everywhere() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    let times = [
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59.999999999Z",
        "2026-07-01T12:00:00+14:00",
        "2026-07-01T12:00:00.5-12:00",
        "2026-07-01t12:00:00z",
        "2016-12-31T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ];
    for (n, time) in times.iter().enumerate() {
        let stored = store(&mut http, json!([{ "id": format!("t{n}"), "text": "x", "attributes": { "until": time } }]));
        assert_eq!(stored["results"][0]["status"], "indexed", "{time}: {stored}");
    }
    for (n, time) in times.iter().enumerate() {
        let filter = |kind: &str, value: &str| json!({ "type": kind, "key": "until", "value": value }).to_string();
        for kind in ["gte", "lte"] {
            let found = filtered(&mut http, &filter(kind, time));
            assert!(found.contains(&format!("t{n}")), "{kind} {time}: {found:?}");
        }
        let late = time.starts_with("9999") || time.starts_with("2026");
        let found = filtered(&mut http, &filter("gt", "2026-01-01T00:00:00Z"));
        assert_eq!(found.contains(&format!("t{n}")), late, "{time}: {found:?}");
        let found = filtered(&mut http, &filter("lt", "9999-12-31T23:59:59.9999999Z"));
        assert_eq!(found.contains(&format!("t{n}")), n != 1, "{time}: {found:?}");
    }
    // The server's own fields are tested, too.
    let far = "9999-12-31T23:59:59Z";
    let stored = store(&mut http, json!([{ "id": "expires", "text": "x", "expires_at": far }]));
    assert_eq!(stored["results"][0]["status"], "indexed", "{stored}");
    let found = filtered(
        &mut http,
        &json!({ "type": "gt", "key": "$expires_at", "value": "2026-01-01T00:00:00Z" }).to_string(),
    );
    assert_eq!(found, ["expires"]);
    let audit = http.send("GET", &format!("/v1/audit?until={far}&limit=1"), &Value::Null).expect("an answer");
    assert!(audit.status == 200 && !audit.body.is_empty(), "{}", audit.status);
}

/// Pairs of equivalent texts, of which each is stored and each is searched.
const FORMS: &[(&str, &str)] = &[
    ("résumé", "re\u{301}sume\u{301}"),
    ("한국어", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}\u{110b}\u{1165}"),
    ("ガイド", "カ\u{3099}イト\u{3099}"),
    ("ボタン", "ﾎﾞﾀﾝ"),
    ("Ring12", "Ｒｉｎｇ１２"),
    ("fibrils", "ﬁbrils"),
    ("office", "oﬃce"),
    ("ijs", "ĳs"),
    ("Ångström", "A\u{30a}ngstro\u{308}m"),
    ("STRASSE", "straße"),
];

#[test]
fn stored_text_and_queries_have_the_same_normal_form() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    for (n, (one, other)) in FORMS.iter().enumerate() {
        let text = |word: &str| format!("before the {word} after");
        store(
            &mut http,
            json!([{ "id": format!("one-{n}"), "text": text(one) }, { "id": format!("other-{n}"), "text": text(other) }]),
        );
        for query in [one, other] {
            let (mut found, reply) = searched(&mut http, json!({ "query": query, "include": ["text", "highlights"] }));
            found.sort_unstable();
            assert_eq!(found, [format!("one-{n}"), format!("other-{n}")], "{query:?}");
            // Offsets refer to the text as it was sent.
            for hit in reply["hits"].as_array().expect("hits") {
                let id = hit["document_id"].as_str().expect("an id");
                let stored = if id.starts_with("one") { one } else { other };
                assert_eq!(hit["text"], text(stored), "{query:?}");
                let chars: Vec<char> = text(stored).chars().collect();
                let marks = hit["highlights"].as_array().expect("highlights").iter();
                let marked: Vec<String> = marks.map(|m| chars[index(&m[0])..index(&m[1])].iter().collect()).collect();
                assert_eq!(marked, [*stored], "{query:?} in {id}");
            }
        }
    }
}

fn index(number: &Value) -> usize {
    usize::try_from(number.as_u64().expect("a number")).unwrap()
}

#[test]
fn invisible_characters_do_not_split_a_word() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    store(
        &mut http,
        json!([
            { "id": "soft", "text": "Das Ge\u{ad}samt\u{ad}kon\u{ad}zept ist da." },
            { "id": "shy", "media_type": "text/html", "text": "<p>Ein Wert&shy;papier und mehr." },
            { "id": "joined", "text": "An off\u{2060}shore wind farm." },
            { "id": "zero", "text": "A key\u{200b}board and a tele\u{200c}phone, a piano\u{feff}forte." },
        ]),
    );
    for (query, id) in [
        ("Gesamtkonzept", "soft"),
        ("Ge\u{ad}samtkonzept", "soft"),
        ("Wertpapier", "shy"),
        ("offshore", "joined"),
        ("off\u{2060}shore", "joined"),
        ("pianoforte", "zero"),
    ] {
        assert_eq!(searched(&mut http, json!({ "query": query })).0, [id], "{query:?}");
    }
}

#[test]
fn turkish_letters_match_their_own_lower_case() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    http.send("PUT", NS, &json!({ "text": { "language": "turkish" } })).expect("an answer").ok();
    store(
        &mut http,
        json!([{ "id": "d", "text": "DİYARBAKIR bir şehirdir." }, { "id": "i", "text": "ISPARTA gülleri" }]),
    );
    for (query, id) in [
        ("diyarbakır", "d"),
        ("DİYARBAKIR", "d"),
        ("Diyarbakır", "d"),
        ("ısparta", "i"),
        ("ISPARTA", "i"),
        ("Isparta", "i"),
    ] {
        assert_eq!(searched(&mut http, json!({ "query": query })).0, [id], "{query}");
    }
}

#[test]
fn a_quotation_in_a_query_is_preferred_and_not_required() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    store(
        &mut http,
        json!([
            { "id": "plain", "text": "Memory that pages to disk is good for systems that classify much, and good for memory." },
            { "id": "one", "text": "What virtual memory is good for." },
            { "id": "both", "text": "Good virtual memory in classification systems." },
            { "id": "none", "text": "Bread is baked in the morning." },
        ]),
    );
    let question = r#"What is "virtual" memory good for in "classification" systems?"#;
    let (found, _) = searched(&mut http, json!({ "query": question }));
    assert_eq!(found.first().map(String::as_str), Some("both"), "{found:?}");
    assert!(
        found.contains(&"one".to_owned()) && found.contains(&"plain".to_owned()) && !found.contains(&"none".to_owned()),
        "{found:?}"
    );
    let (found, _) = searched(&mut http, json!({ "query": question, "phrases": "prefer" }));
    assert_eq!((found.first().map(String::as_str), found.len()), (Some("both"), 3));
    for body in [
        json!({ "query": question, "phrases": "require" }),
        json!({ "query": r#"What is +"virtual" memory good for in +"classification" systems?"# }),
    ] {
        assert_eq!(searched(&mut http, body.clone()).0, ["both"], "{body}");
    }
    // A warning mentions a phrase that no document contains, whether it filters or not.
    for phrases in ["prefer", "require"] {
        let body = json!({ "query": r#"memory of "purple bread" systems"#, "phrases": phrases });
        let (found, reply) = searched(&mut http, body);
        assert_eq!(found.is_empty(), phrases == "require", "{found:?}");
        assert!(reply["warnings"].as_array().is_some_and(|w| !w.is_empty()), "{phrases}: {}", reply["warnings"]);
        let message = reply["warnings"].to_string();
        assert!(!message.contains("purple"), "a warning does not repeat the query: {message}");
    }
    let (_, reply) = searched(&mut http, json!({ "query": r#"the "virtual memory" of systems"# }));
    assert_eq!(reply["warnings"], json!([]));
}

const PDF: &str = "%PDF-1.4\n1 0 obj\n<< /Type /Catalog /Pages 2 0 R >>\nendobj\n4 0 obj\n<< /Length 44 >>\nstream\nBT /F1 12 Tf (the quarterly figures) Tj ET\nendstream\nendobj\ntrailer\n<< /Root 1 0 R >>\n%%EOF\n";
const RTF: &str = r"{\rtf1\ansi\deff0 {\fonttbl {\f0 Times;}}\f0\fs24 the quarterly figures\par}";

#[test]
fn an_unsupported_format_is_refused_by_name() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    for (name, content) in
        [("report.pdf", PDF), ("report", PDF), ("letter.rtf", RTF), ("letter", RTF), ("letter.txt", RTF)]
    {
        use base64::Engine as _;
        let encoded = base64::engine::general_purpose::STANDARD.encode(content);
        let reply = post(
            &mut http,
            "documents",
            &json!({ "documents": [{ "id": name, "content_base64": encoded }] }).to_string(),
        )
        .ok();
        assert_eq!(reply["results"][0]["status"], "failed", "{name}: {reply}");
        let message = reply["results"][0]["error"]["message"].as_str().unwrap_or_default().to_uppercase();
        assert!(message.contains("PDF") || message.contains("RTF"), "{name}: {message}");
    }
    assert!(searched(&mut http, json!({ "query": "quarterly figures" })).0.is_empty());
}

#[test]
fn of_a_folder_only_unsupported_files_fail_and_are_named() {
    let server = crate::server().start();
    server.tenant("acme");
    let key = server.key("acme", &["search", "ingest"], &[]);
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &[u8], content: &str| fs::write(folder.path().join(OsStr::from_bytes(name)), content).unwrap();
    write(b"report.pdf", PDF);
    write(b"letter.rtf", RTF);
    write(b"caf\xe9.txt", "a name in Latin-1");
    write(b"na\xefve.txt", "another name in Latin-1");
    write(b"good.txt", "The harbour opens at six.");
    write("café.txt".as_bytes(), "A name in UTF-8.");
    let failures = folder
        .path()
        .parent()
        .unwrap()
        .join(format!("{}.failures", folder.path().file_name().unwrap().to_string_lossy()));
    let ended = Command::new(env!("CARGO_BIN_EXE_ringfence"))
        .args(["ingest", "--namespace", "reports", "--json", "--failures"])
        .args([failures.as_os_str(), folder.path().as_os_str()])
        .env_clear()
        .env("RINGFENCE_URL", format!("http://{}", server.data_address()))
        .env("RINGFENCE_API_KEY", &key)
        .output()
        .unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    let listed = fs::read_to_string(&failures).unwrap_or_default() + &output;
    let _ = fs::remove_file(&failures);
    assert_eq!(ended.status.code(), Some(1), "some failed: {output}");
    let mut http = server.api(&key);
    let list = post(&mut http, "documents/list", "{}").ok();
    assert_eq!(ids(&list, "documents", "id"), ["café.txt", "good.txt"], "{output}");
    for name in ["report.pdf", "letter.rtf", "caf", "na"] {
        assert!(listed.contains(name), "{name} is not named: {listed}");
    }
}

#[test]
fn a_document_with_invalid_attributes_fails_alone() {
    let server = TestServer::start_default();
    let mut http = tenant(&server);
    let many: serde_json::Map<String, Value> = (0..65).map(|n| (format!("k{n}"), json!(n))).collect();
    let bad = [
        ("long", json!({ "a": "x".repeat(4_097) })),
        ("long-in-list", json!({ "a": ["x", "y".repeat(4_097)] })),
        ("surplus", Value::Object(many)),
        ("surplus-in-list", json!({ "a": vec![1; 257] })),
        ("nested", json!({ "a": { "b": 1 } })),
        ("nested-in-list", json!({ "a": [[1]] })),
        ("long-key", json!({ "k".repeat(129): 1 })),
        ("server-key", json!({ "$mine": 1 })),
    ];
    for (name, attributes) in bad {
        let first = format!("{name}-first");
        let last = format!("{name}-last");
        let reply = store(
            &mut http,
            json!([
                { "id": first, "text": "x" }, { "id": name, "text": "x", "attributes": attributes }, { "id": last, "text": "x" },
            ]),
        );
        let statuses: Vec<&Value> =
            reply["results"].as_array().expect("results").iter().map(|r| &r["status"]).collect();
        assert_eq!(statuses, ["indexed", "failed", "indexed"], "{name}: {reply}");
        let param = reply["results"][1]["error"]["param"].as_str().unwrap_or_default();
        assert!(param.contains("attributes"), "{name}: the error names the member: {reply}");
    }
}
