//! The table. Pick a line and follow it downward: the handler is one file away, the flow two.

use super::{
    admin::{keys, operations, operators, tenants, usage},
    documents, health, me, namespaces,
    route::{Route, Row, control, data, open, page},
    search,
};
use axum::http::Method;
use kernel::Role::{Auditor, Keys, Viewer};

/// Every route of both planes.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    vec![
        // Namespaces.
        data(put(NAMESPACE, &[], "put_namespace", "Creates a namespace, or changes the members that are given."), namespaces::put),
        data(get(NAMESPACES, LIST, "list_namespaces", "Lists the namespaces that the key may enter."), namespaces::list),
        data(get(NAMESPACE, &[], "get_namespace", "Shows one namespace."), namespaces::get),
        data(delete(NAMESPACE, &[], "delete_namespace", "Deletes a namespace and destroys its keys."), namespaces::delete),
        // Documents.
        data(post("/v1/namespaces/{ns}/documents", &[], "upsert_documents", "Stores documents; durable and searchable when the reply arrives."), documents::upsert),
        data(get("/v1/namespaces/{ns}/documents/{id}", &["include"], "get_document", "Shows one document."), documents::get),
        data(delete("/v1/namespaces/{ns}/documents/{id}", &[], "delete_document", "Deletes one document."), documents::delete_one),
        data(post("/v1/namespaces/{ns}/documents/delete", &[], "delete_documents", "Deletes documents by id or filter."), documents::delete),
        data(post("/v1/namespaces/{ns}/documents/patch", &[], "patch_documents", "Changes attributes, readers, uri or expiry; never re-embeds."), documents::patch),
        data(post("/v1/namespaces/{ns}/documents/list", &[], "list_documents", "Lists or counts documents by id or filter."), documents::list),
        data(post("/v1/namespaces/{ns}/documents/review", &[], "review_documents", "Releases or rejects quarantined documents."), documents::review),
        // Search.
        data(post("/v1/namespaces/{ns}/search", &[], "search", "Finds passages by text, by vector, or by both."), search::search),
        data(post("/v1/namespaces/{ns}/context", &[], "context", "Finds passages and renders them for a prompt, inside a budget of tokens."), search::context),
        data(post("/v1/namespaces/{ns}/recall", &[], "recall", "Measures how much of the exact answer vector search gives, for stored vectors, questions or vectors."), search::recall),
        // The caller.
        data(get("/v1/whoami", &[], "whoami", "Shows the key's scopes, quotas and usage."), me::whoami),
        data(get("/v1/operations/{operation}", &[], "get_operation", "Shows an operation that the key began, or, for a key with read_all and no namespaces of its own, any of the tenant."), me::operation),
        data(get("/v1/audit", AUDIT, "read_audit", "The tenant's own audit, one event a line; where the next page begins stands in the header x-next-after, and the signed head in x-audit-head."), me::audit),
        // Tenants.
        control(post("/admin/v1/tenants", &[], "create_tenant", "Creates a tenant with keys of its own."), &[], tenants::create),
        control(get("/admin/v1/tenants", LIST, "list_tenants", "Lists tenants."), LOOK, tenants::list),
        control(get("/admin/v1/tenants/{tenant}", &[], "get_tenant", "Shows one tenant."), LOOK, tenants::get),
        control(patch("/admin/v1/tenants/{tenant}", &[], "update_tenant", "Changes name, class or quotas."), &[], tenants::update),
        control(delete("/admin/v1/tenants/{tenant}", &[], "delete_tenant", "Erases a suspended tenant: keys first, then data."), &[], tenants::delete),
        control(post("/admin/v1/tenants/{tenant}/suspend", &[], "suspend_tenant", "Refuses the tenant's requests from now on."), &[], tenants::suspend),
        control(post("/admin/v1/tenants/{tenant}/resume", &[], "resume_tenant", "Serves the tenant again."), &[], tenants::resume),
        control(post("/admin/v1/tenants/{tenant}/namespaces/{ns}/accept-rollback", &[], "accept_rollback", "Takes a namespace as its files are, although the tenant's audit has recorded newer commits."), &[], tenants::accept_rollback),
        // Their API keys and encryption keys.
        control(post("/admin/v1/tenants/{tenant}/api-keys", &[], "create_api_key", "Creates an API key; the secret is told once."), &[], keys::create),
        control(get("/admin/v1/tenants/{tenant}/api-keys", LIST, "list_api_keys", "Lists API keys without their secrets."), LOOK, keys::list),
        control(delete("/admin/v1/tenants/{tenant}/api-keys/{key}", &[], "revoke_api_key", "Ends an API key at once."), &[], keys::revoke),
        control(post("/admin/v1/tenants/{tenant}/keys/rotate", &[], "rotate_keys", "Starts a rotation of the tenant's key, or tells the one that runs."), &[Keys], keys::rotate),
        control(get("/admin/v1/tenants/{tenant}/keys", &[], "get_keys", "Shows key epochs and what each wraps."), &[Keys, Viewer, Auditor], keys::status),
        control(post("/admin/v1/keys/rotate", &[], "rotate_all_keys", "Starts a rotation of all tenants' keys, a few tenants at once."), &[Keys], keys::rotate_all),
        control(get("/admin/v1/keys/rotate", &[], "get_rotation_of_all", "How far the rotation of all tenants is."), &[Keys, Viewer, Auditor], keys::rotating_all),
        control(delete("/admin/v1/keys/rotate", &[], "cancel_rotation_of_all", "Begins with no further tenant."), &[Keys], keys::stop_rotating_all),
        control(post("/admin/v1/keys/server/rotate", &[], "rotate_server_keys", "Rotates the server's own keys: its control place and the operators' audit."), &[Keys], keys::rotate_server),
        control(get("/admin/v1/keys/server", &[], "get_server_keys", "Shows the server's own keys."), &[Keys, Viewer, Auditor], keys::server),
        control(get("/admin/v1/certificates", &["tenant"], "list_certificates", "Signed statements about destroyed keys, newest first."), &[Keys, Viewer, Auditor], keys::certificates),
        control(get("/admin/v1/signing-key", &[], "get_signing_key", "The public key to check certificates with."), &[Keys, Viewer, Auditor], keys::signing_key),
        // Operators and what they do.
        control(post("/admin/v1/operators", &[], "create_operator", "Creates an operator; the token is told once."), &[], operators::create),
        control(get("/admin/v1/operators", &[], "list_operators", "Lists operators without their tokens."), LOOK, operators::list),
        control(delete("/admin/v1/operators/{operator}", &[], "revoke_operator", "Ends an operator's token at once."), &[], operators::revoke),
        control(get("/admin/v1/operations", LIST, "list_operations", "Lists operations, newest first."), &[Keys, Viewer, Auditor], operations::list),
        control(get("/admin/v1/operations/{operation}", &[], "get_any_operation", "Shows one operation."), &[Keys, Viewer, Auditor], operations::get),
        control(post("/admin/v1/operations/{operation}/cancel", &[], "cancel_operation", "Asks an operation to stop at its next step."), &[], operations::cancel),
        control(get("/admin/v1/usage", LIST, "get_usage", "Counters per tenant, by name."), LOOK, usage::usage),
        control(get("/admin/v1/audit", &["since", "limit", "after"], "read_operator_audit", "What operators did, one event a line, paged and signed as a tenant's audit."), &[Auditor], usage::audit),
        // The process.
        open(get("/healthz", &[], "healthz", "Whether the process lives."), health::live),
        open(get("/readyz", &[], "readyz", "Whether it serves, and with which models."), health::ready),
        open(get("/openapi.json", &[], "openapi", "This document."), health::document),
        page(get("/metrics", &[], "metrics", "Counters in the OpenMetrics text form."), &[Keys, Viewer, Auditor], health::metrics),
    ]
}

const NAMESPACES: &str = "/v1/namespaces";
const NAMESPACE: &str = "/v1/namespaces/{ns}";
const LIST: &[&str] = &["limit", "after"];
const AUDIT: &[&str] = &["since", "until", "document", "principal", "limit", "after"];
const LOOK: &[kernel::Role] = &[Viewer, Auditor];

type Names = &'static [&'static str];

fn row(method: Method, path: &'static str, query: Names, id: &'static str, summary: &'static str) -> Row {
    Row { method, path, query, id, summary }
}

fn get(path: &'static str, query: Names, id: &'static str, summary: &'static str) -> Row {
    row(Method::GET, path, query, id, summary)
}

fn put(path: &'static str, query: Names, id: &'static str, summary: &'static str) -> Row {
    row(Method::PUT, path, query, id, summary)
}

fn post(path: &'static str, query: Names, id: &'static str, summary: &'static str) -> Row {
    row(Method::POST, path, query, id, summary)
}

fn patch(path: &'static str, query: Names, id: &'static str, summary: &'static str) -> Row {
    row(Method::PATCH, path, query, id, summary)
}

fn delete(path: &'static str, query: Names, id: &'static str, summary: &'static str) -> Row {
    row(Method::DELETE, path, query, id, summary)
}
