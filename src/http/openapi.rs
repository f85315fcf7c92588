//! The OpenAPI 3.1 document, made from the table and the handlers' own types. Committed as
//! `schemas/openapi.json`; a test compares.

use super::{
    call::Incoming,
    error,
    route::{Facts, Needs, Plane, Route},
    routes,
    wire::error::Problem,
};
use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, schema::Schema},
};

/// What goes over the wire on one route.
#[derive(Default)]
pub(crate) struct Forms {
    body: Option<String>,
    reply: Option<String>,
    components: Vec<(String, RefOr<Schema>)>,
}

impl Forms {
    /// Of a handler's types.
    pub(crate) fn of<B: Incoming, W: ToSchema>() -> Self {
        let mut forms = Self::plain();
        if B::BODY {
            forms.body = Some(forms.add::<B>());
        }
        forms.reply = Some(forms.add::<W>());
        forms
    }

    /// The name of the body's form.
    #[cfg(test)]
    pub(crate) fn body(&self) -> Option<&str> {
        self.body.as_deref()
    }

    /// Of a route without a schema of its own.
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

/// The document.
pub fn openapi() -> Value {
    let routes = routes();
    let mut paths: Map<String, Value> = Map::new();
    let mut schemas: std::collections::BTreeMap<String, Value> = std::collections::BTreeMap::new();
    let mut problem = Forms::plain();
    problem.add::<Problem>();
    for (name, schema) in problem.components.iter().chain(routes.iter().flat_map(|r| &r.forms.components)) {
        schemas.insert(name.clone(), serde_json::to_value(schema).expect("a schema is plain data"));
    }
    for route in &routes {
        let item = paths.entry(route.facts.path).or_insert_with(|| json!({}));
        let method = route.facts.method.as_str().to_ascii_lowercase();
        item[method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ringfence",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Retrieval and vector-store server for many tenants. The data plane takes API keys (rf_...), the control plane operators' tokens (rfop_...). docs/api.md explains what no schema can say.",
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
                "description": error::listed(),
                "headers": { "x-request-id": { "schema": { "type": "string" } } },
                "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } }
            } }
        }
    })
}

fn operation(route: &Route) -> Value {
    let facts = &route.facts;
    let mut operation = json!({
        "operationId": facts.id,
        "summary": facts.summary,
        "tags": [tag(facts)],
        "parameters": parameters(facts),
        "security": security(facts),
        "responses": responses(route),
    });
    match facts.plane {
        Plane::Data => operation["servers"] = json!([{ "url": DATA_URL }]),
        Plane::Control => operation["servers"] = json!([{ "url": CONTROL_URL }]),
        Plane::Both => {}
    }
    match facts.needs {
        Needs::Key { scope: Some(scope), .. } => operation["x-scope"] = json!(scope.as_str()),
        Needs::Operator(roles) => {
            let roles: Vec<&str> = std::iter::once("admin").chain(roles.iter().map(|r| r.as_str())).collect();
            operation["x-roles"] = json!(roles);
        }
        Needs::Key { scope: None, .. } | Needs::Nothing => {}
    }
    if let Some(body) = &route.forms.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": reference(body) } } });
    }
    operation
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn tag(facts: &Facts) -> &'static str {
    match facts.plane {
        Plane::Data => "data plane",
        Plane::Control => "control plane",
        Plane::Both => "process",
    }
}

fn security(facts: &Facts) -> Value {
    match facts.needs {
        Needs::Key { .. } => json!([{ "api_key": [] }]),
        Needs::Operator(_) => json!([{ "operator_token": [] }]),
        Needs::Nothing => json!([]),
    }
}

fn parameters(facts: &Facts) -> Value {
    let in_path = facts.path.split('/').filter_map(|s| s.strip_prefix('{')?.strip_suffix('}'));
    let mut list: Vec<Value> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "description": meaning(name), "schema": { "type": "string" } }))
        .collect();
    for name in facts.query {
        let schema = match *name {
            // Lines of an audit are numbered; lists continue after a name.
            "after" if reads_lines(facts) => json!({ "type": "integer", "minimum": 0 }),
            "limit" => {
                json!({ "type": "integer", "minimum": 1, "maximum": kernel::limits::LIST_LIMIT_MAX, "default": kernel::limits::LIST_LIMIT_DEFAULT })
            }
            "since" | "until" => json!({ "type": "string", "format": "date-time" }),
            _ => json!({ "type": "string" }),
        };
        list.push(
            json!({ "name": name, "in": "query", "required": false, "description": meaning_in(facts, name), "schema": schema }),
        );
    }
    if facts.id == "upsert_documents" {
        list.push(json!({ "name": "Prefer", "in": "header", "required": false, "description": "respond-async: answer 202 with an operation, and store the documents in the background", "schema": { "type": "string" } }));
    }
    Value::Array(list)
}

/// Whether a route answers with lines of an audit instead of a list.
fn reads_lines(facts: &Facts) -> bool {
    matches!(facts.id, "read_audit" | "read_operator_audit")
}

fn meaning_in(facts: &Facts, name: &str) -> &'static str {
    match name {
        "after" if reads_lines(facts) => {
            "Number of the last line of the page before, as its header x-next-after gave it"
        }
        "limit" if reads_lines(facts) => "Most lines of the page; it may have fewer and still not be the last",
        "tenant" => "Only statements about this tenant, also an erased one",
        _ => meaning(name),
    }
}

/// Headers of an audit's page.
fn line_headers() -> Value {
    let header = |description: &str| json!({ "description": description, "schema": { "type": "string" } });
    json!({
        "x-next-after": header("Where the next page begins, to be given as `after`; absent at the end"),
        "x-audit-head": header("Number and fingerprint of the audit's last line, signed by the server: a signed note (c2sp.org/signed-note) in base64. Absent for a key that is limited to namespaces"),
    })
}

fn meaning(name: &str) -> &'static str {
    match name {
        "ns" => "Namespace",
        "id" => "Document id, percent-encoded",
        "tenant" => "Tenant",
        "key" => "API key's id",
        "operator" => "Operator's id",
        "operation" => "Operation's id",
        "limit" => "Page size",
        "after" => "The `next` of the page before",
        "include" => "text, vector, separated by commas; attributes are always shown",
        "since" => "From this time on",
        "until" => "Before this time",
        "document" => "Only events that name this document",
        _ => "Only events on behalf of this principal",
    }
}

fn responses(route: &Route) -> Value {
    let facts = &route.facts;
    let mut map = Map::new();
    let kind = match facts.id {
        "read_audit" | "read_operator_audit" => "application/x-ndjson",
        "metrics" => "application/openmetrics-text",
        _ => "application/json",
    };
    let schema = route.forms.reply.as_deref().map_or(json!({}), reference);
    let content = json!({ kind: { "schema": schema } });
    let description = match success(facts) {
        "201" => "Created",
        "202" => "Started",
        _ => "Done",
    };
    let mut reply = json!({ "description": description, "content": content });
    if reads_lines(facts) {
        reply["headers"] = line_headers();
    }
    map.insert(success(facts).to_owned(), reply);
    if facts.id == "upsert_documents" {
        map.insert("202".to_owned(), json!({ "description": "Started", "content": content }));
    }
    if facts.needs != Needs::Nothing {
        map.insert("default".to_owned(), json!({ "$ref": "#/components/responses/problem" }));
    }
    Value::Object(map)
}

fn success(facts: &Facts) -> &'static str {
    match facts.id {
        "create_tenant" | "create_api_key" | "create_operator" => "201",
        "delete_tenant" | "rotate_keys" => "202",
        _ => "200",
    }
}

const DATA_URL: &str = "http://127.0.0.1:7171";
const CONTROL_URL: &str = "http://127.0.0.1:7172";

#[cfg(test)]
mod tests;
