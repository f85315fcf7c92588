//! Tests every row of the route table without a credential (401), without the scope or role (403), and with the ids of
//! another tenant (the same 404). A row that is not tested fails.

use crate::{
    api::without_id,
    in_process::{ALL_SCOPES, TestServer},
};
use ringfence::http::{Plane, RequiredCredential, Route, routes};
use serde_json::{Value, json};
use testkit::{Http, Reply};

/// A body that the row would accept, so that only the credential decides.
fn body(id: &str) -> Value {
    match id {
        "put_namespace" => json!({ "require_readers": false }),
        "upsert_documents" => json!({ "documents": [{ "id": "a", "text": "t" }] }),
        "delete_documents" => json!({ "ids": ["a"] }),
        "patch_documents" => json!({ "ids": ["a"], "attributes": { "x": 1 } }),
        "list_documents" => json!({ "ids": ["a"] }),
        "review_documents" => json!({ "documents": [{ "id": "a", "commit": 1 }], "decision": "release" }),
        "search" => json!({ "query": "q" }),
        "context" => json!({ "query": "q", "max_tokens": 100 }),
        "recall" => json!({ "samples": 3 }),
        "create_tenant" => json!({ "id": "probe" }),
        "update_tenant" => json!({ "display_name": "x" }),
        "create_api_key" => json!({ "name": "x" }),
        "rotate_keys" => json!({ "mode": "rewrap" }),
        "create_operator" => json!({ "name": "x", "role": "viewer" }),
        _ => Value::Null,
    }
}

/// Path of the row with these ids.
fn path_of(route: &Route, operation: &str, namespace: &str) -> String {
    let known = [
        ("{ns}", namespace),
        ("{id}", "a"),
        ("{tenant}", "theirs"),
        ("{key}", "AAAAAAAAAAAA"),
        ("{operator}", "AAAAAAAAAAAA"),
        ("{operation}", operation),
    ];
    known.iter().fold(route.spec.path.to_owned(), |path, (name, value)| path.replace(name, value))
}

fn call(http: &mut Http, route: &Route, path: &str) -> Reply {
    http.send(route.spec.method.as_str(), path, &body(route.spec.id)).expect("an answer")
}

const UNKNOWN_OPERATION: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn without_a_credential_every_row_but_the_open_ones_is_a_401() {
    let server = TestServer::start_default();
    let mut bodies = std::collections::BTreeSet::new();
    let mut probed = 0;
    for route in routes() {
        let path = path_of(&route, UNKNOWN_OPERATION, "ns");
        let planes = if route.spec.plane == Plane::Control { vec![Plane::Control] } else { vec![Plane::Data] };
        for plane in planes {
            for credential in [None, Some("nonsense"), Some("rf_AAAAAAAAAAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa000000")] {
                let mut http = if plane == Plane::Data { server.data(credential) } else { server.control(credential) };
                let reply = call(&mut http, &route, &path);
                if route.spec.needs == RequiredCredential::Nothing {
                    assert_eq!(reply.status, 200, "{}", route.spec.id);
                } else {
                    assert_eq!(
                        (reply.status, reply.header("www-authenticate")),
                        (401, Some("Bearer")),
                        "{}",
                        route.spec.id
                    );
                    let mut problem = without_id(&reply);
                    problem["instance"] = Value::Null;
                    bodies.insert(problem.to_string());
                }
            }
        }
        probed += 1;
    }
    assert_eq!(probed, routes().len());
    assert_eq!(bodies.len(), 1, "all 401 replies are equal");
}

#[test]
fn a_credential_of_the_other_plane_is_none() {
    let server = TestServer::start_default();
    server.tenant("ours");
    let key = server.key("ours", ALL_SCOPES, json!({}));
    for route in routes() {
        let mut http = match route.spec.needs {
            RequiredCredential::Key { .. } => server.data(Some(&server.token)),
            RequiredCredential::Operator(_) => server.control(Some(&key)),
            RequiredCredential::Nothing => continue,
        };
        assert_eq!(call(&mut http, &route, &path_of(&route, UNKNOWN_OPERATION, "ns")).status, 401, "{}", route.spec.id);
    }
}

#[test]
fn without_the_scope_or_the_role_every_row_is_a_403() {
    let server = TestServer::start_default();
    server.tenant("ours");
    let roles = ["keys", "viewer", "auditor"].map(|role| {
        let created = server
            .admin()
            .send("POST", "/admin/v1/operators", &json!({ "name": role, "role": role }))
            .expect("an answer")
            .ok();
        (role, created["token"].as_str().expect("a token").to_owned())
    });
    for route in routes() {
        let path = path_of(&route, UNKNOWN_OPERATION, "ns");
        match route.spec.needs {
            RequiredCredential::Key { scope: Some(scope), .. } => {
                let others: Vec<&str> = ALL_SCOPES.iter().copied().filter(|s| *s != scope.as_str()).collect();
                let reply = call(&mut server.data(Some(&server.key("ours", &others, json!({})))), &route, &path);
                assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"), "{}", route.spec.id);
            }
            RequiredCredential::Operator(needed) => {
                for (role, token) in &roles {
                    let reply = call(&mut server.control(Some(token)), &route, &path);
                    let may = needed.iter().any(|r| r.as_str() == *role);
                    assert_eq!(reply.status != 403, may, "{} as {role}: {}", route.spec.id, reply.status);
                }
            }
            // Every key may ask for its own identity and its own operations.
            RequiredCredential::Key { scope: None, .. } => {
                assert!(matches!(route.spec.id, "whoami" | "get_operation"), "{}", route.spec.id)
            }
            RequiredCredential::Nothing => {
                assert!(matches!(route.spec.id, "healthz" | "readyz" | "openapi"), "{}", route.spec.id)
            }
        }
    }
}

/// Rows that create what they name, or name nothing: they cannot request another tenant's resource.
const CREATING: &[&str] = &["put_namespace", "upsert_documents", "list_namespaces", "whoami", "read_audit"];

#[test]
fn another_tenants_ids_answer_as_unknown_ones() {
    let server = TestServer::start_default();
    server.tenant("theirs");
    server.tenant("ours");
    let their_key = server.key("theirs", ALL_SCOPES, json!({}));
    let stored = json!({ "documents": [{ "id": "a", "text": "their own text" }] });
    server.data(Some(&their_key)).send("POST", "/v1/namespaces/secret/documents", &stored).expect("an answer").ok();
    let rotation = server
        .admin()
        .send("POST", "/admin/v1/tenants/theirs/keys/rotate", &json!({ "mode": "rewrap" }))
        .expect("an answer")
        .ok();
    let operation = rotation["operation"].as_str().expect("an id");
    let our_key = server.key("ours", ALL_SCOPES, json!({}));
    for route in routes() {
        let RequiredCredential::Key { .. } = route.spec.needs else { continue };
        if CREATING.contains(&route.spec.id) {
            continue;
        }
        let mut http = server.data(Some(&our_key));
        let foreign = call(&mut http, &route, &path_of(&route, operation, "secret"));
        let unknown = call(&mut http, &route, &path_of(&route, UNKNOWN_OPERATION, "never-was"));
        assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"), "{}", route.spec.id);
        assert_eq!(without_id(&foreign), without_id(&unknown), "{}", route.spec.id);
        let names = |r: &Reply| r.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
        assert_eq!((foreign.body.len(), names(&foreign)), (unknown.body.len(), names(&unknown)), "{}", route.spec.id);
    }
    let list = server.data(Some(&our_key)).send("GET", "/v1/namespaces", &Value::Null).expect("an answer").ok();
    assert_eq!(list["namespaces"], json!([]));
}

#[test]
fn a_key_limited_to_one_namespace_gets_the_same_404_elsewhere() {
    let server = TestServer::start_default();
    server.tenant("ours");
    let all = server.key("ours", ALL_SCOPES, json!({}));
    let stored = json!({ "documents": [{ "id": "a", "text": "text" }] });
    server.data(Some(&all)).send("POST", "/v1/namespaces/secret/documents", &stored).expect("an answer").ok();
    let restricted = server.key("ours", ALL_SCOPES, json!({ "namespaces": ["open"] }));
    for route in routes() {
        let (RequiredCredential::Key { .. }, true) = (route.spec.needs, route.spec.path.contains("{ns}")) else {
            continue;
        };
        let mut http = server.data(Some(&restricted));
        let existing = call(&mut http, &route, &path_of(&route, UNKNOWN_OPERATION, "secret"));
        let missing = call(&mut http, &route, &path_of(&route, UNKNOWN_OPERATION, "never-was"));
        assert_eq!((existing.status, without_id(&existing)), (404, without_id(&missing)), "{}", route.spec.id);
    }
}
