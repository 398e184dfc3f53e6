//! What is about the cluster: status, nodes, layout, repairs, workers, blocks, snapshots.

use std::{
    io::Write,
    process::Stdio,
    time::{Duration, Instant},
};

use super::Keeper;
use crate::signed;

pub fn run(keeper: &Keeper) {
    it_says_how_things_are(keeper);
    nodes_are_managed(keeper);
    the_layout_is_managed(keeper);
    background_work_is_managed(keeper);
    blocks_are_looked_at(keeper);
    any_call_can_be_made(keeper);
    it_says_where_it_looks(keeper);
}

fn id(keeper: &Keeper) -> String {
    keeper.json(&["node", "id"])["id"].as_str().expect("an id").to_owned()
}

fn it_says_how_things_are(keeper: &Keeper) {
    keeper.hears(&["status"], "Everything can be read and written");
    keeper.hears(&["status"], "Layout version 1.\n");
    assert_eq!(keeper.json(&["status"])["layoutVersion"], 1);
    keeper.hears(&["health"], "healthy: ");
    assert_eq!(keeper.says(&["health", "-q"]), "");
    assert_eq!(keeper.json(&["health"])["status"], "healthy");
    assert!(!keeper.says(&["stats"]).is_empty());
}

fn nodes_are_managed(keeper: &Keeper) {
    let id = id(keeper);
    keeper.hears(&["node", "id"], &format!("{id}@127.0.0.1:"));
    let asked = Instant::now();
    keeper.is_refused(&["node", "connect", "127.0.0.1:1"], 1, "127.0.0.1:1: Connection refused");
    assert!(asked.elapsed() < Duration::from_secs(4), "it waits for what has failed");
    let unknown = "0".repeat(64);
    keeper.is_refused(&["node", "replace", &id[..8], &unknown], 1, "0000");
    keeper.is_refused(&["node", "forget", &id[..8]], 1, "ask another one");
    keeper.hears(&["node", "drain", &id[..8]], "leaves");
    keeper.hears(&["layout", "revert"], "Nothing is staged.");
    keeper.is_refused(&["node", "drain", "nobody"], 1, "no node is called nobody");
}

fn the_layout_is_managed(keeper: &Keeper) {
    let id = id(keeper);
    let node = &id[..8];
    keeper.hears(&["layout", "show"], "Layout version 1: 1 copy");
    keeper.hears(&["layout", "assign", node, "--zone", "attic", "--tag", "ssd"], "Staged:");
    keeper.hears(&["layout", "config", "--redundancy", "1"], "at least 1 zone");
    keeper.hears(&["layout", "plan"], "mews layout apply --version 2");
    keeper.is_refused(&["layout", "apply", "--version", "7"], 1, "then apply version 2");
    keeper
        .hears(&["layout", "apply", "--version", "2", "--wait"], "All nodes go by the new layout");
    keeper.hears(&["layout", "history"], "Current");
    keeper.hears(&["layout", "remove", node], "leaves");
    keeper.hears(&["layout", "revert"], "Nothing is staged.");
    keeper.is_refused(&["layout", "skip-dead-nodes"], 1, "no node with a role is down");
    let dead = "1".repeat(64);
    let skip = ["layout", "skip-dead-nodes", "--node", &dead];
    keeper.is_refused(&skip, 2, "Add --yes if that is meant");
    keeper.is_refused(&["layout", "config"], 2, "say what to change");
}

fn background_work_is_managed(keeper: &Keeper) {
    keeper.hears(&["worker", "list"], "scrub");
    keeper.hears(&["worker", "list", "--errors"], "None.");
    keeper.hears(&["worker", "info", "scrub"], "progress");
    keeper.is_refused(&["worker", "info", "frob"], 1, "no worker is called frob");
    keeper.hears(&["worker", "get"], "pace ");
    keeper.hears(&["worker", "set", "pace", "fast"], "pace is fast now.");
    keeper.hears(&["worker", "get", "pace"], "fast");
    keeper.is_refused(&["worker", "set", "pace", "breakneck"], 1, "idle, normal, fast");
    keeper.hears(&["meta", "snapshot"], "snapshot");
    // Before there is other work that it would wait for.
    keeper.hears(&["repair", "uploads", "--node", "*", "--wait"], "It is through.");
    for what in ["tables", "blocks", "versions", "block-refs", "counters", "rebalance"] {
        keeper.hears(&["repair", what], "It begins. Watch it with `mews worker list`.");
    }
    keeper.hears(&["repair", "scrub", "start"], "It begins.");
    keeper.hears(&["repair", "scrub", "pause"], "rests");
    keeper.hears(&["repair", "scrub", "resume"], "goes on");
    keeper.is_refused(&["repair", "everything"], 2, "there are tables, blocks");
    keeper.is_refused(&["repair", "tables", "pause"], 2, "cannot be told to pause");
}

fn blocks_are_looked_at(keeper: &Keeper) {
    assert_eq!(signed::put(&keeper.daemon, "commands", &[7; 100_000]).status, 200);
    keeper.hears(&["block", "list-errors"], "No block is missing.");
    keeper.hears(&["block", "retry-now", "--all"], "0 blocks are tried now.");
    keeper.is_refused(&["block", "retry-now"], 2, "give hashes, or --all");
    let hash = "ab".repeat(32);
    keeper.is_refused(&["block", "info", &hash], 1, &hash);
    let purge = ["block", "purge", &hash];
    keeper.is_refused(&purge, 2, "Add --yes if that is meant");
    keeper.hears(&["block", "purge", &hash, "--yes"], "0 objects deleted");
}

fn any_call_can_be_made(keeper: &Keeper) {
    keeper.hears(&["json-api", "GetClusterHealth"], "\"status\": \"healthy\"");
    keeper.hears(&["json-api", "GetNodeInfo", "{\"node\": \"*\"}"], "\"success\"");
    keeper.hears(&["json-api", "GetNodeInfo", "--node", "self"], "\"success\"");
    keeper.is_refused(&["json-api", "GetClusterHeath"], 2, "the nearest is GetClusterHealth");
    let mut command = keeper.command(&["json-api", "ListWorkers", "-", "--node=self"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("mews runs");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(b"{\"busyOnly\": false}").expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("\"scrub\""), "{text}");
}

fn it_says_where_it_looks(keeper: &Keeper) {
    let nowhere = ["status", "--admin", "http://127.0.0.1:1", "--token", "t"];
    keeper.is_refused(&nowhere, 1, "If its Admin API is elsewhere, give --admin URL");
    let s3 = format!("http://{}", keeper.daemon.s3());
    keeper.is_refused(&["status", "--admin", &s3], 1, "and not of S3?");
    keeper.is_refused(&["status", "--admin", "h:1"], 2, "it must be http://HOST:PORT");
    let wrong = ["status", "--token", "wrong"];
    keeper.is_refused(&wrong, 1, "The token comes from --token, MEWS_ADMIN_TOKEN, or --dir");
}
