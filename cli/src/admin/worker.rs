//! `mews worker`.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};

use super::{
    Client, Done, Failure, find,
    value::{duration, list, text},
};
use crate::page::{Page, row};

/// Background work.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "worker")]
pub struct Worker {
    #[argh(subcommand)]
    pub command: WorkerCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum WorkerCommand {
    List(WorkerList),
}

/// What runs, and what has failed.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list")]
pub struct WorkerList {
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// `mews worker`.
pub fn worker(client: &Client, args: Worker) -> Result<Done, Failure> {
    match args.command {
        WorkerCommand::List(args) => {
            let json = find::at_nodes(client, "ListWorkers", &args.node, Some(&json!({})))?;
            Ok(Done::each(json, workers))
        }
    }
}

/// Of `ListWorkers`, one node's.
pub(super) fn workers(workers: &Value) -> Page {
    let mut rows = vec![row(&["worker", "state", "errors", "queue", "progress", "more"])];
    for worker in list(workers) {
        let mut more: Vec<String> = list(&worker["freeform"]).iter().map(text).collect();
        let error = &worker["lastError"];
        if !error.is_null() {
            let ago = duration(error["secsAgo"].as_u64().unwrap_or(0));
            more.push(format!("failed {ago} ago: {}", text(&error["message"])));
        }
        rows.push(vec![
            text(&worker["name"]),
            text(&worker["state"]),
            text(&worker["consecutiveErrors"]),
            text(&worker["queueLength"]),
            text(&worker["progress"]),
            more.join(", "),
        ]);
    }
    Page::new().table(rows)
}
