//! The OpenAPI document: held to what the daemon takes, a client made from it, and requests made up from it.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    admin::{call, get, root},
    clients::{finish, python_for},
    daemon::Daemon,
};

/// The Python programs and what they need. Each is given so long on a loaded machine.
const PROGRAMS: [&str; 2] = ["generated_client.py", "described.py"];
const REQUIREMENTS: &str = include_str!("../../../admin/requirements.txt");
const PROGRAM_MAX: Duration = Duration::from_secs(480);

/// Runs all of it against `binary`; panics with what failed. Where PyPI cannot be reached, the programs are left out with a line
/// on stderr, but not in CI: there that is a failure.
pub fn run(binary: &Path) {
    let daemon = Daemon::start(binary);
    let (status, document) = get(&daemon, "/v2/openapi.json");
    assert_eq!(status, 200, "{document}");
    what_is_required_cannot_be_left_out(&daemon, &document);
    bodies_have_the_fields_that_the_calls_take(&daemon, &document);
    domains(&daemon);
    // target/PROFILE/NAME
    let target = binary.ancestors().nth(2).expect("a binary that cargo built");
    match python_for(target, "python-admin", REQUIREMENTS) {
        Ok(python) => PROGRAMS.iter().for_each(|name| program(&daemon, &python, name)),
        Err(reason) => {
            let line = format!("{} left out: {reason}", PROGRAMS.join(", "));
            let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
            assert!(!ci, "{line}");
            // Not eprintln!, which the test harness keeps to itself when the test passes.
            let _ = writeln!(std::io::stderr(), "{line}");
        }
    }
    let output = daemon.output();
    assert!(!output.contains("panicked"), "the daemon panicked:\n{output}");
}

fn program(daemon: &Daemon, python: &Path, name: &str) {
    let work = TempDir::with_prefix("mews-admin-").expect("a temporary directory");
    let log = work.path().join("log");
    let out = File::create(&log).expect("a file in a directory of ours");
    let err = out.try_clone().expect("a file can be had twice");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../admin").join(name);
    let mut command = Command::new(python.join("bin/python"));
    command.arg(script).current_dir(work.path());
    // Nothing of the machine's configuration reaches it: no proxy, no credentials.
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("LANG", "C.UTF-8").env("HOME", work.path()).env("WORK", work.path());
    command.env("TMPDIR", work.path()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("ADMIN", format!("http://{}", daemon.admin())).env("TOKEN", root(daemon));
    command.stdin(Stdio::null()).stdout(out).stderr(err);
    let child = command.spawn().expect("Python runs");
    let status = finish(child, PROGRAM_MAX).expect("a child can be waited for");
    let text = std::fs::read_to_string(&log).unwrap_or_default();
    let done = status.is_some_and(|status| status.success());
    assert!(done, "{name}: {status:?}\n{text}\nThe daemon:\n{}", daemon.output());
}

/// `/check` knows the domains of buckets.
fn domains(daemon: &Daemon) {
    let ask = |query: &str| get(daemon, &format!("/check{query}")).0;
    let root = mews_core::daemon::quickstart::ROOT_DOMAIN;
    assert_eq!(ask(&format!("?domain={}.{root}", crate::daemon::BUCKET)), 200);
    for query in [format!("?domain=nosuchbucket.{root}"), format!("?domain={root}")] {
        assert_eq!(ask(&query), 400, "{query}");
    }
    for query in ["", "?domain=", "?domain=example.org", "?host=x"] {
        assert_eq!(ask(query), 400, "{query}");
    }
}

/// The message of a request that is refused.
fn message(daemon: &Daemon, path: &str, body: Option<Value>) -> String {
    let (_, answer) = call(daemon, Some(&root(daemon)), path, body);
    answer["message"].as_str().unwrap_or_default().to_owned()
}

/// The calls: method, and what the document says of it.
fn operations(document: &Value) -> Vec<(String, Value)> {
    let paths = document["paths"].as_object().into_iter().flatten();
    let calls = paths.filter(|(_, path)| {
        path.as_object().is_some_and(|path| path.values().all(|of| of["security"].is_null()))
    });
    let each = calls.filter_map(|(_, path)| path.as_object()).flatten();
    each.map(|(method, operation)| (method.to_uppercase(), operation.clone())).collect()
}

fn schema_of(document: &Value, schema: &Value) -> Value {
    match schema["$ref"].as_str() {
        Some(name) => {
            document.pointer(name.trim_start_matches('#')).expect("a schema of that name").clone()
        }
        None => schema.clone(),
    }
}

/// The path of a call with all parameters that it needs.
fn path(operation: &Value) -> String {
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let needed = parameters.filter(|parameter| parameter["required"] == true);
    let pairs: Vec<String> =
        needed.filter_map(|parameter| Some(format!("{}=x", parameter["name"].as_str()?))).collect();
    let name = operation["operationId"].as_str().expect("a name");
    if pairs.is_empty() { name.to_owned() } else { format!("{name}?{}", pairs.join("&")) }
}

/// What the document says is required is missed, and nothing else is.
fn what_is_required_cannot_be_left_out(daemon: &Daemon, document: &Value) {
    for (method, operation) in operations(document) {
        let parameters = operation["parameters"].as_array().into_iter().flatten();
        let needed: Vec<&str> = parameters
            .filter(|parameter| parameter["required"] == true)
            .filter_map(|parameter| parameter["name"].as_str())
            .collect();
        let name = operation["operationId"].as_str().expect("a name");
        let message = message(daemon, &format!("{method} {name}"), None);
        let missing = message.starts_with("the parameter") && message.ends_with("is missing");
        assert_eq!(missing, !needed.is_empty(), "{}: {message}", name);
        let refused = message.starts_with("the body: ");
        let body = &operation["requestBody"];
        if needed.is_empty() && body.is_object() {
            assert_eq!(refused, body["required"] == true, "{}: {message}", name);
        }
    }
}

/// Which fields a document takes at a place, as the error of one that it does not take tells.
fn fields_taken(daemon: &Daemon, path: &str, at: &dyn Fn(Value) -> Value) -> BTreeSet<String> {
    let message = message(daemon, path, Some(at(json!({ "noSuchField": 1 }))));
    let (_, expected) = message
        .split_once("unknown field `noSuchField`, expected ")
        .unwrap_or_else(|| panic!("{path}: {message}"));
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Compares a schema of a document, and those in it, with what the call takes there. `at` puts a value at that place.
fn compare(
    daemon: &Daemon,
    document: &Value,
    path: &str,
    schema: &Value,
    at: &dyn Fn(Value) -> Value,
) {
    let schema = schema_of(document, schema);
    if let Some(choices) = schema["oneOf"].as_array() {
        // A choice between objects has no fields that could be told of a wrong one.
        let [_, one] = &choices[..] else { return };
        if choices[0]["type"] == "null" {
            compare(daemon, document, path, one, at);
        }
        return;
    }
    if schema["items"].is_object() {
        compare(daemon, document, path, &schema["items"], &|value| at(json!([value])));
        return;
    }
    let Some(properties) = schema["properties"].as_object() else { return };
    assert_eq!(schema["additionalProperties"], false, "{path}");
    let described: BTreeSet<String> = properties.keys().cloned().collect();
    assert_eq!(fields_taken(daemon, path, at), described, "{path}");
    for (name, property) in properties {
        compare(daemon, document, path, property, &|value| at(json!({ name: value })));
    }
}

/// The bodies in the document have the fields that the calls take.
fn bodies_have_the_fields_that_the_calls_take(daemon: &Daemon, document: &Value) {
    for (method, operation) in operations(document) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_object() {
            let path = format!("{method} {}", path(&operation));
            compare(daemon, document, &path, schema, &|value| value);
        }
    }
}
