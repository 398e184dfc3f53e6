//! `mews layout apply`, and the waiting for its end.

use std::{
    io::{IsTerminal, Write, stderr},
    thread,
    time::Duration,
};

use serde_json::json;

use super::{Client, Done, Failure, about_nodes, args, show};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// Looks in a row that may fail: a node that restarts is back within half a minute.
const FAILURES_MAX: u32 = 60;

/// Applies what is staged.
pub(super) fn apply(client: &Client, args: &args::LayoutApply) -> Result<Done, Failure> {
    let version = match args.version {
        Some(version) => version,
        None => client.get("GetClusterLayout")?["version"].as_u64().unwrap_or(0) + 1,
    };
    let json = client.post("ApplyClusterLayout", &json!({ "version": version }))?;
    let mut done = Done::new(json, show::plan);
    if args.wait {
        done.text += &format!("\n{}", wait(client)?);
    } else {
        done.text += "\nIt is applied; the nodes are at work. See `mews layout history`.\n";
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
    let history = client.get("GetClusterLayoutHistory")?;
    let through = history["waitingFor"].as_array().is_none_or(Vec::is_empty);
    let workers = about_nodes(client, "ListWorkers", "*", Some(&json!({})))?;
    let blocks = show::blocks_left(&workers);
    let steps = (!through).then(|| show::waiting(&history).trim_end().replace('\n', " "));
    let parts: Vec<String> = steps.into_iter().chain(blocks).collect();
    Ok((through, (!parts.is_empty()).then(|| parts.join(" "))))
}
