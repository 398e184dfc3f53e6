//! The description of this API for programs: an OpenAPI 3.1 document, from which clients and tests are made.
//!
//! Calls, their methods and their parameters come from [`Call`], what they take and answer from the JSON schemas in `openapi/`. It
//! holds no secret, so that nobody needs a token for it.

use serde_json::{Map, Value, json};

use super::call::{Call, Method};

/// Where it is served.
pub(super) const PATH: &str = "/v2/openapi.json";

/// What each call takes and answers, by the names of the schemas.
const CALLS: &str = include_str!("openapi/calls.json");

/// The schemas, by subject.
const SCHEMAS: [&str; 7] = [
    include_str!("openapi/common.json"),
    include_str!("openapi/cluster.json"),
    include_str!("openapi/layout.json"),
    include_str!("openapi/token.json"),
    include_str!("openapi/key.json"),
    include_str!("openapi/bucket.json"),
    include_str!("openapi/node.json"),
];

/// The document.
pub(super) fn document() -> Result<Value, serde_json::Error> {
    let calls: Map<String, Value> = serde_json::from_str(CALLS)?;
    let mut paths = Map::new();
    for call in Call::ALL {
        let operation = operation(*call, &calls[call.name()]);
        let method = call.method().name().to_lowercase();
        paths.insert(format!("/v2/{}", call.name()), json!({ method: operation }));
    }
    for (path, operation) in special() {
        paths.insert(path.to_owned(), json!({ "get": operation }));
    }
    let mut schemas = Map::new();
    for text in SCHEMAS {
        schemas.extend(serde_json::from_str::<Map<String, Value>>(text)?);
    }
    Ok(json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Mews Admin API",
            "description": "Nodes, layout, access keys, buckets and tokens of a Mews cluster.",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "servers": [{ "url": "http://localhost:3903" }],
        "security": [{ "bearerAuth": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearerAuth": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas,
        },
    }))
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn content(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

fn error(description: &str) -> Value {
    json!({ "description": description, "content": content(schema("Error")) })
}

/// A call; `about` is what `calls.json` says of it.
fn operation(call: Call, about: &Value) -> Value {
    let name = |of: &str| about[of].as_str();
    let answer = schema(name("answer").unwrap_or_default());
    let answer = if call.is_about_nodes() { by_node(answer) } else { answer };
    let parameters = call.parameters().iter().map(|name| parameter(call, name));
    let mut operation = json!({
        "operationId": call.name(),
        "tags": [about["tag"]],
        "summary": call.summary(),
        "parameters": parameters.collect::<Vec<_>>(),
        "responses": {
            "200": { "description": "Done.", "content": content(answer) },
            "4XX": error("Not done: the request is wrong, or not allowed, or about something that is not there."),
            "5XX": error("Not done: this node or the cluster cannot do it now."),
        },
    });
    let needed = name("body").map(schema);
    let optional =
        name("optionalBody").map(|name| json!({ "oneOf": [{ "type": "null" }, schema(name)] }));
    let required = needed.is_some();
    if let Some(body) = needed.or(optional) {
        operation["requestBody"] = json!({ "required": required, "content": content(body) });
    }
    operation
}

/// What a call about nodes answers, if each node answers so.
fn by_node(answer: Value) -> Value {
    json!({
        "type": "object",
        "required": ["success", "error"],
        "properties": {
            "success": { "type": "object", "additionalProperties": answer },
            "error": { "type": "object", "additionalProperties": { "type": "string" } },
        },
    })
}

fn parameter(call: Call, name: &str) -> Value {
    let (description, kind) = match name {
        "node" => ("`self`, `*` for all, or the beginning of one node's id.", "string"),
        "search" => ("The beginning of the id, or a name.", "string"),
        "offset" => ("So many of the list are left out.", "integer"),
        "limit" => ("At most so many of the list are told.", "integer"),
        "showSecretKey" => ("Whether the secret is told.", "boolean"),
        "globalAlias" => ("A name that all share.", "string"),
        "bucketId" => ("The bucket's id.", "string"),
        "key" => ("The object's key.", "string"),
        _ => ("The id.", "string"),
    };
    let schema = match kind {
        "string" => json!({ "type": kind, "minLength": 1 }),
        "integer" => json!({ "type": kind, "minimum": 0 }),
        _ => json!({ "type": kind }),
    };
    let required = match name {
        "id" => call.method() == Method::Post,
        other => call == Call::InspectObject && matches!(other, "bucketId" | "key"),
    };
    json!({
        "name": name,
        "in": "query",
        "description": description,
        "required": required,
        "schema": schema,
    })
}

/// What is not a call: for monitoring, for load balancers, for proxies that fetch certificates, and this document.
fn special() -> [(&'static str, Value); 4] {
    let text = |description: &str| {
        json!({
            "description": description,
            "content": { "text/plain": { "schema": { "type": "string" } } },
        })
    };
    let domain = json!({
        "name": "domain",
        "in": "query",
        "description": "A host name.",
        "required": true,
        "schema": { "type": "string", "minLength": 1 },
    });
    let open = |id: &str, summary: &str, responses: Value, parameters: Vec<Value>| {
        json!({
            "operationId": id,
            "tags": ["Special"],
            "summary": summary,
            "security": [],
            "parameters": parameters,
            "responses": responses,
        })
    };
    let health = json!({
        "200": text("They can."),
        "503": text("Too few nodes are up."),
        "5XX": error("This node cannot tell."),
    });
    let check = json!({
        "200": text("It is."),
        "400": error("It is not."),
        "5XX": error("This node cannot tell."),
    });
    let document = json!({ "200": { "description": "OpenAPI.", "content": content(json!({ "type": "object" })) } });
    let counts =
        json!({ "200": text("In Prometheus' format."), "4XX": error("It needs a token.") });
    let mut metrics = open("Metrics", "Counts and durations of this node.", counts, Vec::new());
    // Whether a token is needed, the configuration says.
    metrics["security"] = json!([{}, { "bearerAuth": [] }]);
    [
        ("/metrics", metrics),
        ("/health", open("Health", "Whether requests can be served.", health, Vec::new())),
        ("/check", open("CheckDomain", "Whether a domain is a bucket's.", check, vec![domain])),
        (PATH, open("OpenApi", "This document.", document, Vec::new())),
    ]
}
