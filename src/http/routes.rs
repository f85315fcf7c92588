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
        data(get(NAMESPACES, LIST, "list_namespaces", "Lists the namespaces that the key may use."), namespaces::list),
        data(get(NAMESPACE, &[], "get_namespace", "Shows one namespace."), namespaces::get),
        data(delete(NAMESPACE, &[], "delete_namespace", "Deletes a namespace and destroys its keys."), namespaces::delete),
        // Documents.
        data(post("/v1/namespaces/{ns}/documents", &[], "upsert_documents", "Stores documents; durable and searchable when the reply arrives."), documents::upsert),
        data(get("/v1/namespaces/{ns}/documents/{id}", &["include"], "get_document", "Shows one document."), documents::get),
        data(delete("/v1/namespaces/{ns}/documents/{id}", &[], "delete_document", "Deletes one document."), documents::delete_one),
        data(post("/v1/namespaces/{ns}/documents/delete", &[], "delete_documents", "Deletes documents by id or filter."), documents::delete),
        data(post("/v1/namespaces/{ns}/documents/patch", &[], "patch_documents", "Changes attributes, readers, uri or expiry; embeds nothing again."), documents::patch),
        data(post("/v1/namespaces/{ns}/documents/list", &[], "list_documents", "Lists or counts documents by id or filter."), documents::list),
        data(post("/v1/namespaces/{ns}/documents/review", &[], "review_documents", "Releases or rejects quarantined documents."), documents::review),
        // Search.
        data(post("/v1/namespaces/{ns}/search", &[], "search", "Finds passages by text, by vector, or by both."), search::search),
        data(post("/v1/namespaces/{ns}/context", &[], "context", "Finds passages and renders them for a prompt, within a budget of tokens."), search::context),
        data(post("/v1/namespaces/{ns}/recall", &[], "recall", "Measures how many of the exact nearest passages vector search finds."), search::recall),
        // The caller.
        data(get("/v1/whoami", &[], "whoami", "Shows the key, its tenant's quotas and usage, and the server's limits."), me::whoami),
        data(get("/v1/operations/{operation}", &[], "get_operation", "Shows one of the tenant's own operations."), me::operation),
        data(get("/v1/audit", AUDIT, "read_audit", "Reads the tenant's own audit, one event a line, oldest first."), me::audit),
        // Tenants.
        control(post("/admin/v1/tenants", &[], "create_tenant", "Creates a tenant with its own keys."), &[], tenants::create),
        control(get("/admin/v1/tenants", LIST, "list_tenants", "Lists tenants."), LOOK, tenants::list),
        control(get("/admin/v1/tenants/{tenant}", &[], "get_tenant", "Shows one tenant."), LOOK, tenants::get),
        control(patch("/admin/v1/tenants/{tenant}", &[], "update_tenant", "Changes name, class, quotas or the days between rotations."), &[], tenants::update),
        control(delete("/admin/v1/tenants/{tenant}", &[], "delete_tenant", "Erases a suspended tenant: keys first, then data."), &[], tenants::delete),
        control(post("/admin/v1/tenants/{tenant}/suspend", &[], "suspend_tenant", "Refuses the tenant's requests from now on."), &[], tenants::suspend),
        control(post("/admin/v1/tenants/{tenant}/resume", &[], "resume_tenant", "Serves the tenant again."), &[], tenants::resume),
        control(post("/admin/v1/tenants/{tenant}/namespaces/{ns}/accept-rollback", &[], "accept_rollback", "Accepts a namespace that is refused with rolled_back, as its files are."), &[], tenants::accept_rollback),
        // Their API keys and encryption keys.
        control(post("/admin/v1/tenants/{tenant}/api-keys", &[], "create_api_key", "Creates an API key; the secret is shown once."), &[], keys::create),
        control(get("/admin/v1/tenants/{tenant}/api-keys", LIST, "list_api_keys", "Lists API keys without their secrets."), LOOK, keys::list),
        control(delete("/admin/v1/tenants/{tenant}/api-keys/{key}", &[], "revoke_api_key", "Ends an API key at once."), &[], keys::revoke),
        control(post("/admin/v1/tenants/{tenant}/keys/rotate", &[], "rotate_keys", "Starts a rotation of the tenant's keys, or returns the one that is running."), &[Keys], keys::rotate),
        control(get("/admin/v1/tenants/{tenant}/keys", &[], "get_keys", "Shows key epochs and what each wraps."), &[Keys, Viewer, Auditor], keys::status),
        control(post("/admin/v1/keys/rotate", &[], "rotate_all_keys", "Starts a rotation of all tenants' keys, a few tenants at a time."), &[Keys], keys::rotate_all),
        control(get("/admin/v1/keys/rotate", &[], "get_rotation_of_all", "Shows the progress of the rotation of all tenants' keys."), &[Keys, Viewer, Auditor], keys::rotating_all),
        control(delete("/admin/v1/keys/rotate", &[], "cancel_rotation_of_all", "Stops starting new tenants; rotations in progress finish."), &[Keys], keys::stop_rotating_all),
        control(post("/admin/v1/keys/server/rotate", &[], "rotate_server_keys", "Rotates the server's own keys, those of the control journal and of the operators' audit."), &[Keys], keys::rotate_server),
        control(get("/admin/v1/keys/server", &[], "get_server_keys", "Shows the server's own keys."), &[Keys, Viewer, Auditor], keys::server),
        control(get("/admin/v1/certificates", &["tenant"], "list_certificates", "Lists signed statements about destroyed keys, newest first."), &[Keys, Viewer, Auditor], keys::certificates),
        control(get("/admin/v1/signing-key", &[], "get_signing_key", "Shows the public key that certificates and signed heads are checked with."), &[Keys, Viewer, Auditor], keys::signing_key),
        // Operators and what they do.
        control(post("/admin/v1/operators", &[], "create_operator", "Creates an operator; the token is shown once."), &[], operators::create),
        control(get("/admin/v1/operators", &[], "list_operators", "Lists operators without their tokens."), LOOK, operators::list),
        control(delete("/admin/v1/operators/{operator}", &[], "revoke_operator", "Ends an operator's token at once."), &[], operators::revoke),
        control(get("/admin/v1/operations", LIST, "list_operations", "Lists operations, newest first."), &[Keys, Viewer, Auditor], operations::list),
        control(get("/admin/v1/operations/{operation}", &[], "get_any_operation", "Shows one operation."), &[Keys, Viewer, Auditor], operations::get),
        control(post("/admin/v1/operations/{operation}/cancel", &[], "cancel_operation", "Asks an operation to stop at its next step."), &[], operations::cancel),
        control(get("/admin/v1/usage", LIST, "get_usage", "Shows counters of tenants, by name."), LOOK, usage::usage),
        control(get("/admin/v1/audit", &["since", "limit", "after"], "read_operator_audit", "Reads the operators' audit, one event a line, oldest first."), &[Auditor], usage::audit),
        // The process.
        open(get("/healthz", &[], "healthz", "Says whether the process lives."), health::live),
        open(get("/readyz", &[], "readyz", "Says whether requests are served, and with which models."), health::ready),
        open(get("/openapi.json", &[], "openapi", "This document."), health::document),
        page(get("/metrics", &[], "metrics", "Metrics in the OpenMetrics text format."), &[Keys, Viewer, Auditor], health::metrics),
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
