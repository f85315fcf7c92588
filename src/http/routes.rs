//! The route table. To read the code of a request, follow its row: the handler is one file away, the flow two.

use super::{
    account,
    admin::{keys, operations, operators, tenants, usage},
    documents, health, namespaces,
    route::{Route, RouteRow, control, data, open, page},
    search,
};
use axum::http::Method;
use kernel::Role::{Auditor, Keys, Viewer};

/// Every route of both planes.
#[rustfmt::skip]
pub fn routes() -> Vec<Route> {
    vec![
        // Namespaces.
        data(put(NAMESPACE, &[], "put_namespace", "Creates a namespace, or changes the given members of one."), namespaces::put),
        data(get(NAMESPACES, LIST_QUERY, "list_namespaces", "Lists the namespaces that the key may use."), namespaces::list),
        data(get(NAMESPACE, &[], "get_namespace", "Shows one namespace."), namespaces::get),
        data(delete(NAMESPACE, &[], "delete_namespace", "Deletes a namespace and destroys its keys."), namespaces::delete),
        // Documents.
        data(post("/v1/namespaces/{ns}/documents", &[], "upsert_documents", "Stores documents; durable and searchable when the reply arrives."), documents::upsert),
        data(get("/v1/namespaces/{ns}/documents/{id}", &["include"], "get_document", "Shows one document."), documents::get),
        data(delete("/v1/namespaces/{ns}/documents/{id}", &[], "delete_document", "Deletes one document."), documents::delete_one),
        data(post("/v1/namespaces/{ns}/documents/delete", &[], "delete_documents", "Deletes documents by id or filter."), documents::delete),
        data(post("/v1/namespaces/{ns}/documents/patch", &[], "patch_documents", "Changes attributes, readers, uri or expiry without embedding again."), documents::patch),
        data(post("/v1/namespaces/{ns}/documents/list", &[], "list_documents", "Lists or counts documents by id or filter."), documents::list),
        data(post("/v1/namespaces/{ns}/documents/review", &[], "review_documents", "Releases or rejects quarantined documents."), documents::review),
        // Search.
        data(post("/v1/namespaces/{ns}/search", &[], "search", "Finds passages by text, by vector, or by both."), search::search),
        data(post("/v1/namespaces/{ns}/context", &[], "context", "Finds passages and renders them for a prompt, within a token budget."), search::context),
        data(post("/v1/namespaces/{ns}/recall", &[], "recall", "Measures how many of the exact nearest passages vector search finds."), search::recall),
        // The caller.
        data(get("/v1/whoami", &[], "whoami", "Shows the key, its tenant's quotas and usage, and the server's limits."), account::whoami),
        data(get("/v1/operations/{operation}", &[], "get_operation", "Shows an operation that the key started, or, for a key with read_all that is not limited to namespaces, any operation of the tenant."), account::operation),
        data(get("/v1/audit", AUDIT_QUERY, "read_audit", "Reads the tenant's own audit, one event per line, oldest first."), account::audit),
        // Tenants.
        control(post("/admin/v1/tenants", &[], "create_tenant", "Creates a tenant with its own keys."), &[], tenants::create),
        control(get("/admin/v1/tenants", LIST_QUERY, "list_tenants", "Lists tenants."), VIEWING_ROLES, tenants::list),
        control(get("/admin/v1/tenants/{tenant}", &[], "get_tenant", "Shows one tenant."), VIEWING_ROLES, tenants::get),
        control(patch("/admin/v1/tenants/{tenant}", &[], "update_tenant", "Changes name, class, quotas or the days between rotations."), &[], tenants::update),
        control(delete("/admin/v1/tenants/{tenant}", &[], "delete_tenant", "Erases a suspended tenant: keys first, then data."), &[], tenants::delete),
        control(post("/admin/v1/tenants/{tenant}/suspend", &[], "suspend_tenant", "Refuses the tenant's requests from now on. Its namespaces and its audit log are closed before the reply or, if that takes longer than half a second, in the background."), &[], tenants::suspend),
        control(post("/admin/v1/tenants/{tenant}/resume", &[], "resume_tenant", "Serves the tenant again."), &[], tenants::resume),
        control(post("/admin/v1/tenants/{tenant}/namespaces/{ns}/accept-rollback", &[], "accept_rollback", "Accepts a namespace that is refused with rolled_back, in the state of its files."), &[], tenants::accept_rollback),
        // API keys and encryption keys.
        control(post("/admin/v1/tenants/{tenant}/api-keys", &[], "create_api_key", "Creates an API key; the secret is shown once."), &[], keys::create),
        control(get("/admin/v1/tenants/{tenant}/api-keys", LIST_QUERY, "list_api_keys", "Lists API keys without their secrets."), VIEWING_ROLES, keys::list),
        control(delete("/admin/v1/tenants/{tenant}/api-keys/{key}", &[], "revoke_api_key", "Revokes an API key immediately."), &[], keys::revoke),
        control(post("/admin/v1/tenants/{tenant}/keys/rotate", &[], "rotate_keys", "Starts a rotation of the tenant's keys, or returns the one that is running."), &[Keys], keys::rotate),
        control(get("/admin/v1/tenants/{tenant}/keys", &[], "get_keys", "Shows key epochs and what each wraps."), &[Keys, Viewer, Auditor], keys::status),
        control(post("/admin/v1/keys/rotate", &[], "rotate_all_keys", "Starts a rotation of the keys of all tenants, a few tenants at a time."), &[Keys], keys::rotate_all),
        control(get("/admin/v1/keys/rotate", &[], "get_rotation_of_all", "Shows the progress of the rotation of the keys of all tenants."), &[Keys, Viewer, Auditor], keys::rotating_all),
        control(delete("/admin/v1/keys/rotate", &[], "cancel_rotation_of_all", "Stops starting new tenants; rotations in progress finish."), &[Keys], keys::stop_rotating_all),
        control(post("/admin/v1/keys/server/rotate", &[], "rotate_server_keys", "Rotates the server's own keys, which protect the control journal and the operators' audit."), &[Keys], keys::rotate_server),
        control(get("/admin/v1/keys/server", &[], "get_server_keys", "Shows the server's own keys."), &[Keys, Viewer, Auditor], keys::server),
        control(get("/admin/v1/certificates", &["tenant"], "list_certificates", "Lists signed certificates about destroyed keys, newest first."), &[Keys, Viewer, Auditor], keys::certificates),
        control(get("/admin/v1/signing-key", &[], "get_signing_key", "Shows the public key that verifies certificates and signed heads."), &[Keys, Viewer, Auditor], keys::signing_key),
        // Operators and their actions.
        control(post("/admin/v1/operators", &[], "create_operator", "Creates an operator; the token is shown once."), &[], operators::create),
        control(get("/admin/v1/operators", &[], "list_operators", "Lists operators without their tokens."), VIEWING_ROLES, operators::list),
        control(delete("/admin/v1/operators/{operator}", &[], "revoke_operator", "Revokes an operator's token immediately."), &[], operators::revoke),
        control(get("/admin/v1/operations", LIST_QUERY, "list_operations", "Lists operations, newest first."), &[Keys, Viewer, Auditor], operations::list),
        control(get("/admin/v1/operations/{operation}", &[], "get_any_operation", "Shows one operation."), &[Keys, Viewer, Auditor], operations::get),
        control(post("/admin/v1/operations/{operation}/cancel", &[], "cancel_operation", "Asks an operation to stop at its next step."), &[], operations::cancel),
        control(get("/admin/v1/usage", LIST_QUERY, "get_usage", "Shows usage counters of tenants, ordered by name."), VIEWING_ROLES, usage::usage),
        control(get("/admin/v1/audit", &["since", "limit", "after"], "read_operator_audit", "Reads the operators' audit, one event per line, oldest first."), &[Auditor], usage::audit),
        // The process.
        open(get("/healthz", &[], "healthz", "Reports whether the process is alive."), health::live),
        open(get("/readyz", &[], "readyz", "Reports whether requests are served, and with which models."), health::ready),
        open(get("/openapi.json", &[], "openapi", "Returns this document."), health::document),
        page(get("/metrics", &[], "metrics", "Returns metrics in the OpenMetrics text format."), &[Keys, Viewer, Auditor], health::metrics),
    ]
}

const NAMESPACES: &str = "/v1/namespaces";
const NAMESPACE: &str = "/v1/namespaces/{ns}";
const LIST_QUERY: &[&str] = &["limit", "after"];
const AUDIT_QUERY: &[&str] = &["since", "until", "document", "principal", "limit", "after"];
const VIEWING_ROLES: &[kernel::Role] = &[Viewer, Auditor];

type QueryNames = &'static [&'static str];

fn row(method: Method, path: &'static str, query: QueryNames, id: &'static str, summary: &'static str) -> RouteRow {
    RouteRow { method, path, query, id, summary }
}

fn get(path: &'static str, query: QueryNames, id: &'static str, summary: &'static str) -> RouteRow {
    row(Method::GET, path, query, id, summary)
}

fn put(path: &'static str, query: QueryNames, id: &'static str, summary: &'static str) -> RouteRow {
    row(Method::PUT, path, query, id, summary)
}

fn post(path: &'static str, query: QueryNames, id: &'static str, summary: &'static str) -> RouteRow {
    row(Method::POST, path, query, id, summary)
}

fn patch(path: &'static str, query: QueryNames, id: &'static str, summary: &'static str) -> RouteRow {
    row(Method::PATCH, path, query, id, summary)
}

fn delete(path: &'static str, query: QueryNames, id: &'static str, summary: &'static str) -> RouteRow {
    row(Method::DELETE, path, query, id, summary)
}
