//! `mews worker`.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};

use super::{
    Client, Done, Failure, find,
    value::{duration, fields, list, text},
};
use crate::page::{Page, row};

/// Background work: what runs, and how hard it tries.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "worker",
    example = "  {command_name} list --node '*'\n  {command_name} get\n  {command_name} set pace idle"
)]
pub struct Worker {
    #[argh(subcommand)]
    command: WorkerCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum WorkerCommand {
    List(WorkerList),
    Info(WorkerInfo),
    Get(WorkerGet),
    Set(WorkerSet),
}

/// What runs, and what has failed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
struct WorkerList {
    /// only what is at work
    #[argh(switch, short = 'b')]
    busy: bool,
    /// only what keeps failing
    #[argh(switch, short = 'e')]
    errors: bool,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    node: String,
}

/// All that is known of a worker.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "info")]
struct WorkerInfo {
    /// its name or its number
    #[argh(positional)]
    worker: String,
    /// on which node: the beginning of its id, or self
    #[argh(option, default = "String::from(\"self\")")]
    node: String,
}

/// What workers go by.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "get")]
struct WorkerGet {
    /// the variable (default: all)
    #[argh(positional)]
    variable: Option<String>,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    node: String,
}

/// Change what workers go by.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "set")]
struct WorkerSet {
    /// the variable
    #[argh(positional)]
    variable: String,
    /// its new value
    #[argh(positional)]
    value: String,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    node: String,
}

/// `mews worker`.
pub fn worker(client: &Client, args: Worker) -> Result<Done, Failure> {
    match args.command {
        WorkerCommand::List(args) => {
            let filter = json!({ "busyOnly": args.busy, "errorOnly": args.errors });
            let json = find::at_nodes(client, "ListWorkers", &args.node, Some(&filter))?;
            Ok(Done::each(json, workers))
        }
        WorkerCommand::Info(args) => {
            if args.node == "*" {
                return Err(Failure::Usage(
                    "say which node: they number workers differently".to_owned(),
                ));
            }
            let all = find::at_nodes(client, "ListWorkers", &args.node, Some(&json!({})))?;
            let id = number(&all, &args.worker)?;
            let body = json!({ "id": id });
            let json = find::at_nodes(client, "GetWorkerInfo", &args.node, Some(&body))?;
            Ok(Done::each(json, info))
        }
        WorkerCommand::Get(args) => {
            let body = json!({ "variable": args.variable });
            let json = find::at_nodes(client, "GetWorkerVariable", &args.node, Some(&body))?;
            Ok(Done::each(json, variables))
        }
        WorkerCommand::Set(args) => {
            let body = json!({ "variable": args.variable, "value": args.value });
            let json = find::at_nodes(client, "SetWorkerVariable", &args.node, Some(&body))?;
            Ok(Done::each(json, |set| {
                let is = format!("{} is {} now.", text(&set["variable"]), text(&set["value"]));
                Page::new().line(is)
            }))
        }
    }
}

/// The number of the worker that is meant.
fn number(answer: &Value, wanted: &str) -> Result<Value, Failure> {
    let nodes = fields(&answer["success"]);
    let mut all = nodes.values().flat_map(list);
    let meant = |worker: &&Value| worker["name"] == wanted || text(&worker["id"]) == wanted;
    let found = all.find(meant).map(|worker| worker["id"].clone());
    found.ok_or_else(|| {
        Failure::Failed(format!("no worker is called {wanted}. See `mews worker list`"))
    })
}

/// Of `ListWorkers`, one node's.
pub(super) fn workers(workers: &Value) -> Page {
    if list(workers).is_empty() {
        return Page::new().line("None.");
    }
    let mut rows = vec![row(&["worker", "state", "errors", "queue", "progress", "more"])];
    for worker in list(workers) {
        rows.push(vec![
            text(&worker["name"]),
            state(worker),
            text(&worker["consecutiveErrors"]),
            text(&worker["queueLength"]),
            text(&worker["progress"]),
            more(worker).join(", "),
        ]);
    }
    Page::new().table(rows)
}

/// Garage's has a state of several words, with when the throttled one goes on.
fn state(worker: &Value) -> String {
    match &worker["state"] {
        Value::Object(throttled) => throttled.keys().next().cloned().unwrap_or_default(),
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => text(other),
    }
}

/// What it says itself, and its last error.
fn more(worker: &Value) -> Vec<String> {
    let mut more: Vec<String> = list(&worker["freeform"]).iter().map(text).collect();
    let error = &worker["lastError"];
    if !error.is_null() {
        let ago = duration(error["secsAgo"].as_u64().unwrap_or(0));
        more.push(format!("failed {ago} ago: {}", text(&error["message"])));
    }
    more
}

/// Of `GetWorkerInfo`, one node's.
fn info(worker: &Value) -> Page {
    let mut rows = vec![
        vec!["worker".to_owned(), text(&worker["name"])],
        vec!["number".to_owned(), text(&worker["id"])],
        vec!["state".to_owned(), state(worker)],
        vec!["errors in a row".to_owned(), text(&worker["consecutiveErrors"])],
        vec!["errors in all".to_owned(), text(&worker["errors"])],
        vec!["queue".to_owned(), text(&worker["queueLength"])],
        vec!["progress".to_owned(), text(&worker["progress"])],
    ];
    if let Some(left) = worker["secsLeft"].as_u64() {
        rows.push(vec!["time left".to_owned(), duration(left)]);
    }
    rows.extend(more(worker).into_iter().map(|line| vec!["also".to_owned(), line]));
    Page::new().pairs(rows)
}

/// Of `GetWorkerVariable`, one node's.
fn variables(variables: &Value) -> Page {
    let rows = fields(variables).into_iter().map(|(name, value)| vec![name, text(&value)]);
    Page::new().pairs(rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Screen;

    #[test]
    fn a_worker_is_found_by_name_or_number_and_shown() {
        let worker = json!({
            "id": 2, "name": "scrub", "state": "busy", "errors": 3, "consecutiveErrors": 0,
            "lastError": null, "queueLength": null, "progress": "4.2 %", "freeform": ["12 checked"],
            "secsLeft": 300,
        });
        let answer = json!({ "success": { "aa": [{ "id": 1, "name": "queue" }, worker] } });
        for wanted in ["scrub", "2"] {
            assert_eq!(number(&answer, wanted).ok(), Some(json!(2)));
        }
        assert!(number(&answer, "frob").is_err());
        let expected = "\
worker           scrub
number           2
state            busy
errors in a row  0
errors in all    3
queue            -
progress         4.2 %
time left        5 min
also             12 checked
";
        assert_eq!(info(&worker).render(Screen::default()), expected);
    }

    #[test]
    fn variables_are_names_and_values() {
        let answer = json!({ "pace": "normal", "snapshots-kept": "2" });
        let expected = "pace            normal\nsnapshots-kept  2\n";
        assert_eq!(variables(&answer).render(Screen::default()), expected);
    }
}
