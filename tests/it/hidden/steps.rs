//! Requests of the tested keys, on every route but those that are left out.

use super::{
    BOARD_ONLY, BOARD_OPERATION, CallerKey, NS, OPERATOR_OPERATION, OWN_OPERATION, Step, UNKNOWN_OPERATION,
    contested_documents, vector,
};
use serde_json::{Value, json};

/// Routes that no step calls, and the reason.
pub(super) const LEFT_OUT: &[(&str, &[&str])] = &[
    ("describes the process, without a credential", &["healthz", "readyz", "openapi"]),
    ("called by operators: no API key may call it, and no operator reads a document", OPERATORS_ROUTES),
];
const OPERATORS_ROUTES: &[&str] = &[
    "create_tenant",
    "list_tenants",
    "get_tenant",
    "update_tenant",
    "delete_tenant",
    "suspend_tenant",
    "resume_tenant",
    "accept_rollback",
    "create_api_key",
    "list_api_keys",
    "revoke_api_key",
    "rotate_keys",
    "get_keys",
    "rotate_all_keys",
    "get_rotation_of_all",
    "cancel_rotation_of_all",
    "rotate_server_keys",
    "get_server_keys",
    "list_certificates",
    "get_signing_key",
    "create_operator",
    "list_operators",
    "revoke_operator",
    "list_operations",
    "get_any_operation",
    "cancel_operation",
    "get_usage",
    "read_operator_audit",
    "metrics",
];

pub(super) fn step(route: &'static str, caller: CallerKey, method: &'static str, path: String, body: Value) -> Step {
    Step { route, caller, method, path, body, header: None }
}

/// Reads, then writes, then the reads again.
pub(super) fn steps() -> Vec<Step> {
    let mut all = reads();
    all.extend(writes());
    // The second reads check the state after the writes, and that the writes revealed nothing.
    all.extend(reads());
    all.push(step(
        "delete_namespace",
        CallerKey::Outsider,
        "DELETE",
        "/v1/namespaces/board-only-not".to_owned(),
        Value::Null,
    ));
    all
}

fn reads() -> Vec<Step> {
    let mut all = Vec::new();
    let post = |route, caller, path: &str, body| step(route, caller, "POST", format!("{NS}/{path}"), body);
    let get = |route, caller, path: &str| step(route, caller, "GET", path.to_owned(), Value::Null);
    for caller in [CallerKey::Outsider, CallerKey::Member] {
        all.extend(searches().into_iter().map(|body| post("search", caller, "search", body)));
        for rendering in ["plain", "delimited"] {
            all.push(post(
                "context",
                caller,
                "context",
                json!({ "query": "valve merger plan", "vector": vector(3), "max_tokens": 400, "rendering": rendering }),
            ));
        }
        for filter in filters() {
            all.push(post(
                "list_documents",
                caller,
                "documents/list",
                json!({ "filter": filter, "include": ["text", "attributes"] }),
            ));
            all.push(post("list_documents", caller, "documents/list", json!({ "filter": filter, "limit": 0 })));
            all.push(post("search", caller, "search", json!({ "query": "valve", "mode": "text", "filter": filter })));
        }
        all.push(post("list_documents", caller, "documents/list", json!({ "limit": 0 })));
        all.push(post("list_documents", caller, "documents/list", json!({ "limit": 7, "after": "delete" })));
        all.push(post(
            "list_documents",
            caller,
            "documents/list",
            json!({ "ids": ["hidden-1", "open-1", "held", "nowhere"], "include": ["text"] }),
        ));
        for id in ["hidden-1", "open-1", "held", "held-open", "same", "nowhere"] {
            all.push(get("get_document", caller, &format!("{NS}/documents/{id}?include=text,vector")));
        }
        all.push(post("recall", caller, "recall", json!({ "samples": 10, "top_k": 5 })));
        all.push(post("recall", caller, "recall", json!({ "vectors": [vector(1), vector(2)], "top_k": 50 })));
        all.push(get("get_namespace", caller, NS));
        all.push(get("get_namespace", caller, BOARD_ONLY));
        all.push(get("list_namespaces", caller, "/v1/namespaces"));
        for body in [json!({ "query": "merger", "mode": "text" }), json!({ "vector": vector(2), "mode": "vector" })] {
            all.push(step("search", caller, "POST", format!("{BOARD_ONLY}/search"), body));
        }
        all.push(step("list_documents", caller, "POST", format!("{BOARD_ONLY}/documents/list"), json!({})));
        all.push(get("whoami", caller, "/v1/whoami"));
        for operation in [UNKNOWN_OPERATION, BOARD_OPERATION, OPERATOR_OPERATION, OWN_OPERATION] {
            all.push(get("get_operation", caller, &format!("/v1/operations/{operation}")));
        }
    }
    for operation in [BOARD_OPERATION, OPERATOR_OPERATION, OWN_OPERATION] {
        all.push(get("get_operation", CallerKey::Restricted, &format!("/v1/operations/{operation}")));
    }
    all.push(get("list_namespaces", CallerKey::Restricted, "/v1/namespaces"));
    all.push(get("whoami", CallerKey::Restricted, "/v1/whoami"));
    all.push(get("read_audit", CallerKey::Restricted, "/v1/audit?limit=1000"));
    let acting = json!({ "query": "valve gasket", "mode": "text", "as": { "principals": ["group:staff"] }, "include": ["explain", "text"] });
    all.push(post("search", CallerKey::Delegate, "search", acting));
    all
}

/// Searches in every mode, for words that hidden documents contain more often than open ones, or that only they
/// contain.
fn searches() -> Vec<Value> {
    let mut all = Vec::new();
    let include = ["text", "attributes", "vector", "explain", "highlights"];
    for query in [
        "valve",
        "gasket",
        "merger",
        "zebra",
        "valve boiler merger plan",
        "quag* val*",
        "\"merger plan\" valve",
        "+\"merger plan\"",
    ] {
        for mode in ["text", "vector", "hybrid"] {
            let mut body = json!({ "query": query, "mode": mode, "top_k": 20, "include": include });
            if mode != "text" {
                body["vector"] = json!(vector(5));
            }
            let mut bare = body.clone();
            bare["include"] = json!(["text", "highlights"]);
            all.extend([bare, body]);
        }
    }
    all.push(json!({ "query": "valve gasket", "mode": "hybrid", "vector": vector(7), "top_k": 10, "max_per_document": 1, "diversity": { "lambda": 0.5 }, "include": include }));
    all.push(json!({ "query": "valve", "mode": "hybrid", "vector": vector(7), "fusion": { "method": "convex", "weights": { "text": 1, "vector": 2 } }, "include": include }));
    all.push(json!({ "query": "valve", "mode": "text", "min_scores": { "text": 0.2 }, "include": include }));
    all
}

fn filters() -> Vec<Value> {
    let leaf = |kind: &str, key: &str, value: Value| json!({ "type": kind, "key": key, "value": value });
    vec![
        leaf("exists", "codename", json!(true)),
        leaf("eq", "kind", json!("secret")),
        leaf("ne", "kind", json!("secret")),
        leaf("eq", "nowhere", json!(1)),
        leaf("gte", "n", json!(5)),
        leaf("eq", "$status", json!("quarantined")),
        leaf("eq", "$id", json!("hidden-1")),
        leaf("match", "kind", json!("secret valve")),
    ]
}

fn writes() -> Vec<Step> {
    let caller = CallerKey::Outsider;
    let post = |route, path: &str, body| step(route, caller, "POST", format!("{NS}/{path}"), body);
    let upsert = |document: Value, conflict: Option<&str>| {
        let mut body = json!({ "documents": [document] });
        if let Some(word) = conflict {
            body["on_conflict"] = json!(word);
        }
        post("upsert_documents", "documents", body)
    };
    let own_document = |id: &str| json!({ "id": id, "text": format!("the outsider's own {id}"), "vector": vector(6) });
    let mut all = vec![step("put_namespace", caller, "PUT", NS.to_owned(), json!({ "screening": { "pii": "tag" } }))];
    for word in ["overwrite", "skip", "fail"] {
        all.push(upsert(own_document(word), Some(word)));
        all.push(upsert(own_document(word), Some(word)));
    }
    all.push(upsert(own_document("default"), None));
    // These documents have exactly the hidden content, with its id and without one.
    for document in contested_documents().into_iter().filter(|d| d["id"] == "same" || d["id"].is_null()) {
        for word in ["skip", "fail", "overwrite"] {
            all.push(upsert(document.clone(), Some(word)));
        }
        let mut open = document.clone();
        open.as_object_mut().expect("an object").remove("readers");
        all.push(upsert(open.clone(), Some("fail")));
        all.push(upsert(open, Some("fail")));
    }
    let batch = json!({ "documents": [own_document("batch"), own_document("batch-new"), { "id": "hidden-2", "text": "x", "vector": vector(1) }], "on_conflict": "fail" });
    all.push(post("upsert_documents", "documents", batch));
    all.push(Step { header: Some(("prefer", "respond-async")), ..upsert(own_document("later"), None) });
    all.push(step("delete_document", caller, "DELETE", format!("{NS}/documents/delete"), Value::Null));
    all.push(step("delete_document", caller, "DELETE", format!("{NS}/documents/nowhere"), Value::Null));
    all.push(post("delete_documents", "documents/delete", json!({ "ids": ["delete", "hidden-3", "nowhere"] })));
    all.push(post(
        "delete_documents",
        "documents/delete",
        json!({ "filter": { "type": "eq", "key": "kind", "value": "secret" } }),
    ));
    all.push(post("delete_documents", "documents/delete", json!({ "ids": ["erase", "hidden-4"], "erase": true })));
    all.push(post(
        "patch_documents",
        "documents/patch",
        json!({ "ids": ["patch", "hidden-5"], "attributes": { "x": 1 } }),
    ));
    all.push(post(
        "patch_documents",
        "documents/patch",
        json!({ "filter": { "type": "exists", "key": "codename" }, "readers": null }),
    ));
    for decision in ["release", "reject"] {
        // The reviews name the real commits, as a reviewer sees them.
        let of = |id: &str| json!({ "id": id, "commit": format!("COMMIT {id}") });
        let body =
            json!({ "documents": [of("held"), of("hidden-6"), of("nowhere"), of("open-1")], "decision": decision });
        all.push(post("review_documents", "documents/review", body));
    }
    let held = json!({ "documents": [{ "id": "held-open", "commit": "COMMIT held-open" }], "decision": "release" });
    all.push(post("review_documents", "documents/review", held));
    all
}
