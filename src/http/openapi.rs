//! The OpenAPI 3.1 document, generated from the route table and the handlers' own types. It is committed as
//! `schemas/openapi.json`, and a test compares the two.

use super::{
    error,
    request_data::RequestBody,
    route::{Plane, RequiredCredential, Route, RouteSpec},
    routes,
};
use api::error::Problem;
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

/// Schemas of the body and the reply of one route.
#[derive(Default)]
pub(crate) struct RouteSchemas {
    body: Option<String>,
    reply: Option<String>,
    components: Vec<(String, RefOr<Schema>)>,
}

impl RouteSchemas {
    /// Schemas of a handler's types.
    pub(crate) fn of<B: RequestBody, W: ToSchema>() -> Self {
        let mut schemas = Self::plain();
        if B::BODY {
            schemas.body = Some(schemas.add::<B>());
        }
        schemas.reply = Some(schemas.add::<W>());
        schemas
    }

    /// Name of the body's schema.
    #[cfg(test)]
    pub(crate) fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// A route without schemas of its own.
    pub(crate) fn plain() -> Self {
        Self::default()
    }

    fn add<T: ToSchema>(&mut self) -> String {
        let name = T::name().into_owned();
        self.components.push((name.clone(), T::schema()));
        T::schemas(&mut self.components);
        name
    }
}

/// The OpenAPI document.
pub fn openapi() -> Value {
    let routes = routes();
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    let mut problem = RouteSchemas::plain();
    problem.add::<Problem>();
    for (name, schema) in problem.components.iter().chain(routes.iter().flat_map(|r| &r.schemas.components)) {
        schemas.insert(name.clone(), serde_json::to_value(schema).expect("a schema is plain data"));
    }
    for route in &routes {
        let item = paths.entry(route.spec.path).or_insert_with(|| json!({}));
        let method = route.spec.method.as_str().to_ascii_lowercase();
        item[method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringfence",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Retrieval and vector-store server for many tenants. The data plane accepts API keys \
                            (rf_...), the control plane accepts operators' tokens (rfop_...). docs/api.md explains \
                            what a schema cannot express.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" }
        },
        "servers": [{ "url": DATA_URL, "description": "Data plane" }, { "url": CONTROL_URL, "description": "Control plane" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "api_key": { "type": "http", "scheme": "bearer", "description": "A tenant's API key, rf_..." },
                "operator_token": { "type": "http", "scheme": "bearer", "description": "An operator's token, rfop_..." }
            },
            "responses": { "problem": {
                "description": error::code_list(),
                "headers": { "x-request-id": { "schema": { "type": "string" } } },
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
            } }
        }
    })
}

fn operation(route: &Route) -> Value {
    let spec = &route.spec;
    let mut operation = json!({
        "operationId": spec.id,
        "summary": spec.summary,
        "tags": [tag(spec)],
        "parameters": parameters(spec),
        "security": security(spec),
        "responses": responses(route),
    });
    match spec.plane {
        Plane::Data => operation["servers"] = json!([{ "url": DATA_URL }]),
        Plane::Control => operation["servers"] = json!([{ "url": CONTROL_URL }]),
        Plane::Both => {}
    }
    match spec.needs {
        RequiredCredential::Key { scope: Some(scope), .. } => operation["x-scope"] = json!(scope.as_str()),
        RequiredCredential::Operator(roles) => {
            let roles: Vec<&str> = std::iter::once("admin").chain(roles.iter().map(|r| r.as_str())).collect();
            operation["x-roles"] = json!(roles);
        }
        RequiredCredential::Key { scope: None, .. } | RequiredCredential::Nothing => {}
    }
    if let Some(body) = &route.schemas.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(body) } } });
    }
    operation
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn tag(spec: &RouteSpec) -> &'static str {
    match spec.plane {
        Plane::Data => "data plane",
        Plane::Control => "control plane",
        Plane::Both => "process",
    }
}

fn security(spec: &RouteSpec) -> Value {
    match spec.needs {
        RequiredCredential::Key { .. } => json!([{ "api_key": [] }]),
        RequiredCredential::Operator(_) => json!([{ "operator_token": [] }]),
        RequiredCredential::Nothing => json!([]),
    }
}

fn parameters(spec: &RouteSpec) -> Value {
    let in_path = spec.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let mut list: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "description": parameter_description(name), "schema": { "type": "string" } }))
        .collect();
    for name in spec.query {
        let schema = match *name {
            // Audit records are numbered; lists continue after a name.
            "after" if reads_audit(spec) => json!({ "type": "integer", "minimum": 0 }),
            "limit" => {
                json!({ "type": "integer", "minimum": 1, "maximum": kernel::limits::LIST_LIMIT_MAX, "default": kernel::limits::LIST_LIMIT_DEFAULT })
            }
            "since" | "until" => json!({ "type": "string", "format": "date-time" }),
            _ => json!({ "type": "string" }),
        };
        list.push(
            json!({ "name": name, "in": "query", "required": false, "description": description_in(spec, name), "schema": schema }),
        );
    }
    if spec.id == "upsert_documents" {
        list.push(json!({ "name": "Prefer", "in": "header", "required": false, "description": "respond-async: the server answers 202 with an operation and stores the documents in the background", "schema": { "type": "string" } }));
    }
    Value::Array(list)
}

/// Whether a route answers with audit records instead of a list.
fn reads_audit(spec: &RouteSpec) -> bool {
    matches!(spec.id, "read_audit" | "read_operator_audit")
}

fn description_in(spec: &RouteSpec, name: &str) -> &'static str {
    match name {
        "after" if reads_audit(spec) => "Number of the last record of the previous page, from its header x-next-after",
        "limit" if reads_audit(spec) => {
            "Maximum number of records on the page; a page may have fewer and still not be the last"
        }
        "tenant" => "Only certificates of this tenant, which may be an erased one",
        _ => parameter_description(name),
    }
}

/// Headers of a page of audit records.
fn audit_headers() -> Value {
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "x-next-after": header("Value of `after` for the next page; absent on the last page"),
        "x-audit-head": header("Number and fingerprint of the audit's last record, signed by the server: a signed \
                                note (c2sp.org/signed-note) in base64. Absent for a key that is limited to namespaces"),
    })
}

fn parameter_description(name: &str) -> &'static str {
    match name {
        "ns" => "Namespace",
        "id" => "Document id, percent-encoded",
        "tenant" => "Tenant",
        "key" => "Id of the API key",
        "operator" => "Id of the operator",
        "operation" => "Id of the operation",
        "limit" => "Page size",
        "after" => "Value of `next` on the previous page",
        "include" => "Comma-separated list of text and vector; attributes are always included",
        "since" => "Only events at or after this time",
        "until" => "Only events before this time",
        "document" => "Only events that name this document",
        _ => "Only events on behalf of this principal",
    }
}

fn responses(route: &Route) -> Value {
    let spec = &route.spec;
    let mut map = Map::new();
    let kind = match spec.id {
        "read_audit" | "read_operator_audit" => "application/x-ndjson",
        "metrics" => "application/openmetrics-text",
        _ => "application/json",
    };
    let schema = route.schemas.reply.as_deref().map_or(json!({}), reference);
    let content = json!({ kind: { "schema": schema } });
    let description = match success(spec) {
        "201" => "Created",
        "202" => "Started",
        _ => "Done",
    };
    let mut reply = json!({ "description": description, "content": content });
    if reads_audit(spec) {
        reply["headers"] = audit_headers();
    }
    map.insert(success(spec).to_owned(), reply);
    if spec.id == "upsert_documents" {
        map.insert("202".to_owned(), json!({ "description": "Started", "content": content }));
    }
    if spec.needs != RequiredCredential::Nothing {
        map.insert("default".to_owned(), json!({ "$ref": "#/components/responses/problem" }));
    }
    Value::Object(map)
}

fn success(spec: &RouteSpec) -> &'static str {
    match spec.id {
        "create_tenant" | "create_api_key" | "create_operator" => "201",
        "delete_tenant" | "rotate_keys" => "202",
        _ => "200",
    }
}

const DATA_URL: &str = "http://127.0.0.1:7171";
const CONTROL_URL: &str = "http://127.0.0.1:7172";

#[cfg(test)]
mod tests;
