//! `mews layout apply`, and the waiting for its end.

use std::{
    io::{IsTerminal, Write, stderr},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use mews_core::placement::explain::Bytes;

use super::{
    Client, Done, Failure, find,
    layout::{self, LayoutApply},
    value::{duration, fields, list},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// Looks in a row that may fail: a node that restarts is back within half a minute.
const FAILURES_MAX: u32 = 60;

/// Applies what is staged.
pub(super) fn apply(client: &Client, args: &LayoutApply) -> Result<Done, Failure> {
    let version = match args.version {
        Some(version) => version,
        None => client.get("GetClusterLayout", &[])?["version"].as_u64().unwrap_or(0) + 1,
    };
    let json = client.post("ApplyClusterLayout", &json!({ "version": version }))?;
    let mut done = Done::new(json, layout::plan);
    if args.wait {
        done.page = done.page.gap().text(wait(client)?);
    } else {
        done.page = done
            .page
            .gap()
            .line("It is applied; the nodes are at work. See `mews layout history`.");
    }
    Ok(done)
}

/// Waits for the end of the transition; says on stderr how it goes: in one line on a terminal, in a line for each change
/// elsewhere.
fn wait(client: &Client) -> Result<String, Failure> {
    let terminal = stderr().is_terminal();
    let (mut said, mut failures) = (String::new(), 0);
    eprintln!("Waiting for the nodes. Ctrl-C ends the waiting only: the change goes on by itself.");
    loop {
        match look(client) {
            Ok((true, left)) => {
                if terminal {
                    eprint!("\r\x1b[K");
                }
                let rest = left.map(|left| format!("In the background: {left}\n"));
                return Ok(format!(
                    "All nodes go by the new layout.\n{}",
                    rest.unwrap_or_default()
                ));
            }
            Ok((false, left)) => {
                failures = 0;
                let left = left.unwrap_or_else(|| "working".to_owned());
                if said != left {
                    if terminal {
                        eprint!("\r\x1b[K{left}");
                        // Only for the eye.
                        let _shown = stderr().flush();
                    } else {
                        eprintln!("{left}");
                    }
                    said = left;
                }
            }
            Err(error) if failures >= FAILURES_MAX => return Err(error),
            Err(_) => failures += 1,
        }
        thread::sleep(EVERY);
    }
}

/// Whether the layout is through, and what is still to be done.
fn look(client: &Client) -> Result<(bool, Option<String>), Failure> {
    let history = client.get("GetClusterLayoutHistory", &[])?;
    let through = history["waitingFor"].as_array().is_none_or(Vec::is_empty);
    let workers = find::at_nodes(client, "ListWorkers", "*", Some(&json!({})))?;
    let blocks = blocks_left(&workers);
    let steps = (!through).then(|| layout::waiting(&history).trim_end().replace('\n', " "));
    let parts: Vec<String> = steps.into_iter().chain(blocks).collect();
    Ok((through, (!parts.is_empty()).then(|| parts.join(" "))))
}

/// Of `ListWorkers` at all nodes: blocks that are still to be fetched; `None` if there are none.
pub(super) fn blocks_left(answer: &Value) -> Option<String> {
    let nodes = fields(&answer["success"]);
    let workers = nodes.values().flat_map(list);
    let (mut blocks, mut left, mut secs) = (0, 0, 0);
    for worker in workers.filter(|worker| worker["name"] == "fetch") {
        blocks += worker["queueLength"].as_u64().unwrap_or(0);
        left += worker["bytesLeft"].as_u64().unwrap_or(0);
        secs = secs.max(worker["secsLeft"].as_u64().unwrap_or(0));
    }
    let eta = if secs > 0 { format!(", {}", duration(secs)) } else { String::new() };
    (blocks > 0).then(|| format!("Blocks to look at: {blocks} (about {}{eta}).", Bytes(left)))
}
