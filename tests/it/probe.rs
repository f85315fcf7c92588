//! Every row of the route table, with no credential (401), without the scope or role (403), and
//! with the ids of another tenant (the one 404). A row that is not probed fails.

use crate::{
    api::without_id,
    house::{ALL, House},
};
use ringfence::http::{Needs, Plane, Route, routes};
use serde_json::{Value, json};
use testkit::{Http, Reply};

/// A body that each row would take, so that nothing but the credential decides.
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

/// The row's path with these ids in it.
fn filled(route: &Route, operation: &str, namespace: &str) -> String {
    let known = [
        ("{ns}", namespace),
        ("{id}", "a"),
        ("{tenant}", "theirs"),
        ("{key}", "AAAAAAAAAAAA"),
        ("{operator}", "AAAAAAAAAAAA"),
        ("{operation}", operation),
    ];
    known.iter().fold(route.facts.path.to_owned(), |path, (name, value)| path.replace(name, value))
}

fn call(http: &mut Http, route: &Route, path: &str) -> Reply {
    http.send(route.facts.method.as_str(), path, &body(route.facts.id)).expect("an answer")
}

const NOBODYS: &str = "00000000-0000-4000-8000-000000000000";

#[test]
fn without_a_credential_every_row_but_the_open_ones_is_a_401() {
    let house = House::open();
    let mut bodies = std::collections::BTreeSet::new();
    let mut probed = 0;
    for route in routes() {
        let path = filled(&route, NOBODYS, "ns");
        let planes = if route.facts.plane == Plane::Control { vec![Plane::Control] } else { vec![Plane::Data] };
        for plane in planes {
            for credential in [None, Some("nonsense"), Some("rf_AAAAAAAAAAAAaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa000000")] {
                let mut http = if plane == Plane::Data { house.data(credential) } else { house.control(credential) };
                let reply = call(&mut http, &route, &path);
                if route.facts.needs == Needs::Nothing {
                    assert_eq!(reply.status, 200, "{}", route.facts.id);
                } else {
                    assert_eq!(
                        (reply.status, reply.header("www-authenticate")),
                        (401, Some("Bearer")),
                        "{}",
                        route.facts.id
                    );
                    let mut said = without_id(&reply);
                    said["instance"] = Value::Null;
                    bodies.insert(said.to_string());
                }
            }
        }
        probed += 1;
    }
    assert_eq!(probed, routes().len());
    assert_eq!(bodies.len(), 1, "every 401 says the same");
}

#[test]
fn a_credential_of_the_other_plane_is_none() {
    let house = House::open();
    house.tenant("ours");
    let key = house.key("ours", ALL, json!({}));
    for route in routes() {
        let mut http = match route.facts.needs {
            Needs::Key { .. } => house.data(Some(&house.token)),
            Needs::Operator(_) => house.control(Some(&key)),
            Needs::Nothing => continue,
        };
        assert_eq!(call(&mut http, &route, &filled(&route, NOBODYS, "ns")).status, 401, "{}", route.facts.id);
    }
}

#[test]
fn without_the_scope_or_the_role_every_row_is_a_403() {
    let house = House::open();
    house.tenant("ours");
    let roles = ["keys", "viewer", "auditor"].map(|role| {
        let made = house
            .admin()
            .send("POST", "/admin/v1/operators", &json!({ "name": role, "role": role }))
            .expect("an answer")
            .ok();
        (role, made["token"].as_str().expect("a token").to_owned())
    });
    for route in routes() {
        let path = filled(&route, NOBODYS, "ns");
        match route.facts.needs {
            Needs::Key { scope: Some(scope), .. } => {
                let others: Vec<&str> = ALL.iter().copied().filter(|s| *s != scope.as_str()).collect();
                let reply = call(&mut house.data(Some(&house.key("ours", &others, json!({})))), &route, &path);
                assert_eq!((reply.status, reply.code().as_str()), (403, "forbidden"), "{}", route.facts.id);
            }
            Needs::Operator(needed) => {
                for (role, token) in &roles {
                    let reply = call(&mut house.control(Some(token)), &route, &path);
                    let may = needed.iter().any(|r| r.as_str() == *role);
                    assert_eq!(reply.status != 403, may, "{} as {role}: {}", route.facts.id, reply.status);
                }
            }
            // Every key may ask who it is and how its own operations go.
            Needs::Key { scope: None, .. } => {
                assert!(matches!(route.facts.id, "whoami" | "get_operation"), "{}", route.facts.id)
            }
            Needs::Nothing => assert!(matches!(route.facts.id, "healthz" | "readyz" | "openapi"), "{}", route.facts.id),
        }
    }
}

/// Rows that make what they name, or name nothing: there is no other tenant's thing to ask for.
const MAKERS: &[&str] = &["put_namespace", "upsert_documents", "list_namespaces", "whoami", "read_audit"];

#[test]
fn another_tenants_ids_are_as_those_that_never_were() {
    let house = House::open();
    house.tenant("theirs");
    house.tenant("ours");
    let theirs = house.key("theirs", ALL, json!({}));
    let stored = json!({ "documents": [{ "id": "a", "text": "their own text" }] });
    house.data(Some(&theirs)).send("POST", "/v1/namespaces/secret/documents", &stored).expect("an answer").ok();
    let rotation = house
        .admin()
        .send("POST", "/admin/v1/tenants/theirs/keys/rotate", &json!({ "mode": "rewrap" }))
        .expect("an answer")
        .ok();
    let operation = rotation["operation"].as_str().expect("an id");
    let ours = house.key("ours", ALL, json!({}));
    for route in routes() {
        let Needs::Key { .. } = route.facts.needs else { continue };
        if MAKERS.contains(&route.facts.id) {
            continue;
        }
        let mut http = house.data(Some(&ours));
        let theirs = call(&mut http, &route, &filled(&route, operation, "secret"));
        let nobodys = call(&mut http, &route, &filled(&route, NOBODYS, "never-was"));
        assert_eq!((theirs.status, theirs.code().as_str()), (404, "not_found"), "{}", route.facts.id);
        assert_eq!(without_id(&theirs), without_id(&nobodys), "{}", route.facts.id);
        let names = |r: &Reply| r.headers.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
        assert_eq!((theirs.body.len(), names(&theirs)), (nobodys.body.len(), names(&nobodys)), "{}", route.facts.id);
    }
    let list = house.data(Some(&ours)).send("GET", "/v1/namespaces", &Value::Null).expect("an answer").ok();
    assert_eq!(list["namespaces"], json!([]));
}

#[test]
fn a_key_fenced_to_one_namespace_meets_the_same_404_elsewhere() {
    let house = House::open();
    house.tenant("ours");
    let all = house.key("ours", ALL, json!({}));
    let stored = json!({ "documents": [{ "id": "a", "text": "text" }] });
    house.data(Some(&all)).send("POST", "/v1/namespaces/secret/documents", &stored).expect("an answer").ok();
    let fenced = house.key("ours", ALL, json!({ "namespaces": ["open"] }));
    for route in routes() {
        let (Needs::Key { .. }, true) = (route.facts.needs, route.facts.path.contains("{ns}")) else { continue };
        let mut http = house.data(Some(&fenced));
        let there = call(&mut http, &route, &filled(&route, NOBODYS, "secret"));
        let nowhere = call(&mut http, &route, &filled(&route, NOBODYS, "never-was"));
        assert_eq!((there.status, without_id(&there)), (404, without_id(&nowhere)), "{}", route.facts.id);
    }
}
