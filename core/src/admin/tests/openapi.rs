//! The OpenAPI document says what the code does.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::admin::{
    call::Call,
    openapi,
    serve::{SPECIAL, call as found},
};

/// As a running node serves it at `/v2/openapi.json`, indented: `curl` and `python3 -m json.tool --no-ensure-ascii` write it anew.
#[test]
fn it_is_as_in_testdata() {
    let document = openapi::document().expect("the schemas are JSON");
    let kept: Value = serde_json::from_str(include_str!("../../../../testdata/admin/openapi.json"))
        .expect("JSON");
    assert!(kept == document, "it has changed: if that is meant, see the comment at this test");
}

#[test]
fn every_call_is_in_it_as_it_is_made() {
    let document = openapi::document().expect("the schemas are JSON");
    let paths = document["paths"].as_object().expect("paths");
    let described: BTreeSet<&str> = paths.keys().map(String::as_str).collect();
    let calls = Call::ALL.iter().map(|call| format!("/v2/{}", call.name()));
    let special = SPECIAL.map(str::to_owned);
    let known: BTreeSet<String> = calls.chain(special).collect();
    assert_eq!(described, known.iter().map(String::as_str).collect());
    for call in Call::ALL {
        let path = &paths[&format!("/v2/{}", call.name())];
        let methods: Vec<&String> = path.as_object().expect("methods").keys().collect();
        assert_eq!(methods, [&call.method().name().to_lowercase()], "{}", call.name());
        let operation = &path[methods[0]];
        let parameters = operation["parameters"].as_array().expect("parameters");
        let names: Vec<&str> =
            parameters.iter().filter_map(|parameter| parameter["name"].as_str()).collect();
        assert_eq!(names, call.parameters(), "{}", call.name());
        assert_eq!(operation["requestBody"].is_object(), call.takes_body(), "{}", call.name());
    }
}

#[test]
fn what_is_no_call_is_looked_at_alone() {
    for path in SPECIAL {
        assert_eq!(found("POST", path).map_err(|error| error.status), Err(405), "{path}");
    }
}

/// All schemas that something refers to.
fn referred(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            let name = fields.get("$ref").and_then(Value::as_str);
            found.extend(name.and_then(|name| name.rsplit('/').next()).map(str::to_owned));
            fields.values().for_each(|value| referred(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| referred(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_schema_is_there_and_needed() {
    let document = openapi::document().expect("the schemas are JSON");
    let mut needed = BTreeSet::new();
    referred(&document, &mut needed);
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    assert_eq!(needed, schemas.keys().cloned().collect());
}
