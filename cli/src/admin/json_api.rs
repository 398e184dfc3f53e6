//! `mews json-api`.

use std::io::Read;

use argh::{ArgsInfo, FromArgs};
use http_types::Method;
use mews_core::{
    admin::call::{self, Call},
    spelling,
};
use serde_json::{Map, Value};

use super::{Client, Done, Failure, find, value::text};
use crate::page::Page;

/// Make a call of the Admin API, and print its answer.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "json-api",
    example = "  {command_name} GetClusterHealth\n  {command_name} GetKeyInfo '{{\"search\": \"backup\"}}'\n  {command_name} UpdateBucket '{{\"id\": \"8e1a...\", \"body\": {{\"quotas\": {{\"maxSize\": null, \"maxObjects\": 10}}}}}}'\n  {command_name} ApplyClusterLayout - < version.json",
    note = "Parameters and the body are one document: what the call takes in its address (all of a GET's fields, the id of what is updated or deleted) is put there. Where a field could be either, say {{\"id\": ..., \"body\": {{...}}}}."
)]
pub struct JsonApi {
    /// the call's name
    #[argh(positional)]
    pub call: String,
    /// its parameters and its body, as JSON; - reads them from the standard input
    #[argh(positional)]
    pub body: Option<String>,
    /// for calls about nodes: the beginning of an id, self, or * for all
    #[argh(option)]
    pub node: Option<String>,
}

/// What is sent.
#[derive(Debug, PartialEq, Eq)]
struct Sent {
    query: Vec<(String, String)>,
    body: Option<Value>,
}

/// `mews json-api`.
pub fn json_api(client: &Client, args: &JsonApi) -> Result<Done, Failure> {
    let names = || Call::ALL.iter().map(|call| call.name());
    let call = Call::from_name(&args.call).ok_or_else(|| {
        let meant = spelling::nearest(names(), &args.call).unwrap_or_default();
        Failure::Usage(format!("there is no call {}; the nearest is {meant}", args.call))
    })?;
    if args.node.is_some() && !call.is_about_nodes() {
        let reason = format!("{} is about the cluster: ask without --node", call.name());
        return Err(Failure::Usage(reason));
    }
    let mut sent = arrange(call, document(args.body.as_deref())?)?;
    if let Some(node) = &args.node {
        sent.query.push(("node".to_owned(), find::selector(client, node)?));
    }
    let method = match call.method() {
        call::Method::Get => Method::Get,
        call::Method::Post => Method::Post,
    };
    let query: Vec<(&str, &str)> =
        sent.query.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let json = client.send(method, call.name(), &query, sent.body.as_ref())?;
    Ok(Done::new(json, |json| Page::new().line(format!("{json:#}"))))
}

fn document(given: Option<&str>) -> Result<Option<Value>, Failure> {
    let mut read = String::new();
    let text = match given {
        None => return Ok(None),
        Some("-") => {
            let done = std::io::stdin().read_to_string(&mut read);
            done.map_err(|error| Failure::Failed(format!("the standard input: {error}")))?;
            read.as_str()
        }
        Some(text) => text,
    };
    let document = serde_json::from_str(text);
    document.map(Some).map_err(|error| Failure::Usage(format!("the body is not JSON: {error}")))
}

/// Which fields go into the address, and what is left for the body.
fn arrange(call: Call, document: Option<Value>) -> Result<Sent, Failure> {
    let name = call.name();
    let usage = |reason: &str| Err(Failure::Usage(format!("{name} {reason}")));
    let is_get = call.method() == call::Method::Get;
    let mut fields = match document {
        None => Map::new(),
        Some(Value::Object(fields)) => fields,
        Some(_) if is_get || !call.takes_body() => return usage("takes no such body"),
        // A list, as some calls take one.
        Some(body) => return Ok(Sent { query: Vec::new(), body: Some(body) }),
    };
    let apart = fields.get("body").is_some_and(Value::is_object);
    let inner = if apart { fields.remove("body") } else { None };
    let in_address = |field: &str| {
        let node = call.is_about_nodes() && field == "node";
        is_get || apart || node || call.parameters().contains(&field)
    };
    let (query, rest): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|(field, _)| in_address(field));
    let query = query.into_iter().filter(|(_, value)| !value.is_null());
    let query = query.map(|(field, value)| (field, text(&value))).collect();
    let rest = inner.unwrap_or_else(|| Value::Object(rest.into_iter().collect()));
    let empty = rest.as_object().is_some_and(Map::is_empty);
    if !empty && (is_get || !call.takes_body()) {
        return usage("takes no body");
    }
    let body = (!is_get && call.takes_body()).then_some(rest);
    Ok(Sent { query, body })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arranged(call: Call, document: Value) -> (String, Option<Value>) {
        let sent = arrange(call, Some(document)).expect("it makes sense");
        let query: Vec<String> =
            sent.query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        (query.join("&"), sent.body)
    }

    #[test]
    fn fields_go_where_the_call_takes_them() {
        let is = |call, document, query: &str, body| {
            assert_eq!(arranged(call, document), (query.to_owned(), body));
        };
        is(Call::GetNodeInfo, json!({ "node": "*" }), "node=*", None);
        is(Call::ConnectClusterNodes, json!(["h:1"]), "", Some(json!(["h:1"])));
        is(
            Call::ListWorkers,
            json!({ "node": "self", "busyOnly": true }),
            "node=self",
            Some(json!({ "busyOnly": true })),
        );
        is(
            Call::ListWorkers,
            json!({ "node": "self", "body": { "busyOnly": true } }),
            "node=self",
            Some(json!({ "busyOnly": true })),
        );
        is(Call::DrainNode, json!({ "node": "1f" }), "", Some(json!({ "node": "1f" })));
        is(Call::RevertClusterLayout, json!({}), "", None);
        is(
            Call::UpdateKey,
            json!({ "id": "GK1", "name": "n" }),
            "id=GK1",
            Some(json!({ "name": "n" })),
        );
        is(Call::DeleteKey, json!({ "id": "GK1" }), "id=GK1", None);
    }

    #[test]
    fn what_a_call_would_ignore_is_a_mistake() {
        let refused = arrange(Call::RevertClusterLayout, Some(json!({ "version": 2 })));
        assert!(matches!(refused, Err(Failure::Usage(text)) if text.contains("takes no body")));
        let refused = arrange(Call::GetClusterStatus, Some(json!([])));
        assert!(
            matches!(refused, Err(Failure::Usage(text)) if text.contains("takes no such body"))
        );
    }
}
