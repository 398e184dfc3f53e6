//! Long work: waiting for its end, and saying on stderr how it goes.

use std::{
    io::{IsTerminal, Write, stderr},
    thread,
    time::{Duration, Instant},
};

use mews_core::placement::explain::Bytes;
use serde_json::{Value, json};

use super::{
    Client, Failure, find, layout,
    value::{duration, fields, list, short, text},
};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(500);

/// How often a line is written where lines stay: a log of hours shall be readable.
const LINES_EVERY: Duration = Duration::from_secs(5);

/// Looks in a row that may fail: a node that restarts is back within half a minute.
const FAILURES_MAX: u32 = 60;

/// How far something is.
enum Stage {
    /// There is this to be done.
    Working(String),
    /// It is done; these are the words for it.
    Through(String),
}

/// Waits for the end of a layout's transition; the words for it.
pub(super) fn transition(client: &Client) -> Result<String, Failure> {
    eprintln!("Waiting for the nodes. Ctrl-C ends the waiting only: the change goes on by itself.");
    until_through(|| look_at_transition(client))
}

/// Waits for the end of a repair at these nodes; the words for it.
pub(super) fn repair(client: &Client, node: &str, what: &str) -> Result<String, Failure> {
    eprintln!("Waiting for the end. Ctrl-C ends the waiting only: the repair goes on by itself.");
    let name = format!("repair {what}");
    until_through(|| {
        let workers = find::at_nodes(client, "ListWorkers", node, Some(&json!({})))?;
        Ok(match repair_left(&workers, &name) {
            Some(left) => Stage::Working(left),
            None => Stage::Through("It is through.\n".to_owned()),
        })
    })
}

fn until_through(mut look: impl FnMut() -> Result<Stage, Failure>) -> Result<String, Failure> {
    let (mut teller, mut failures) = (Teller::new(), 0);
    loop {
        match look() {
            Ok(Stage::Through(words)) => {
                teller.end();
                return Ok(words);
            }
            Ok(Stage::Working(left)) => {
                failures = 0;
                teller.tell(&left);
            }
            Err(error) if failures >= FAILURES_MAX => return Err(error),
            Err(_) => failures += 1,
        }
        thread::sleep(EVERY);
    }
}

/// Says how it goes: in one line on a terminal, in a line now and then elsewhere.
struct Teller {
    terminal: bool,
    said: String,
    last: Option<Instant>,
}

impl Teller {
    fn new() -> Self {
        Self { terminal: stderr().is_terminal(), said: String::new(), last: None }
    }

    fn tell(&mut self, line: &str) {
        let early = self.last.is_some_and(|last| last.elapsed() < LINES_EVERY);
        if line == self.said || (early && !self.terminal) {
            return;
        }
        if self.terminal {
            eprint!("\r\x1b[K{line}");
            // Only for the eye.
            let _shown = stderr().flush();
        } else {
            eprintln!("{line}");
        }
        line.clone_into(&mut self.said);
        self.last = Some(Instant::now());
    }

    fn end(&self) {
        if self.terminal {
            eprint!("\r\x1b[K");
        }
    }
}

/// Whether the layout is through, and what is still to be done.
fn look_at_transition(client: &Client) -> Result<Stage, Failure> {
    let history = client.get("GetClusterLayoutHistory", &[])?;
    let workers = find::at_nodes(client, "ListWorkers", "*", Some(&json!({})))?;
    let blocks = blocks_left(&workers);
    if list(&history["waitingFor"]).is_empty() {
        let rest = blocks.map(|left| format!("In the background: {left}\n")).unwrap_or_default();
        return Ok(Stage::Through(format!("All nodes go by the new layout.\n{rest}")));
    }
    let steps = layout::waiting(&history).trim_end().replace('\n', " ");
    let parts: Vec<String> = [steps].into_iter().chain(blocks).collect();
    Ok(Stage::Working(parts.join(" ")))
}

/// Of `ListWorkers` at all nodes: blocks that are still to be fetched; `None` if there are none.
fn blocks_left(answer: &Value) -> Option<String> {
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

/// Of `ListWorkers`: how far each node's repair of that name is; `None` if none has one.
fn repair_left(answer: &Value, name: &str) -> Option<String> {
    let nodes = fields(&answer["success"]);
    let at = |(node, workers): (&String, &Value)| {
        let worker = list(workers).iter().find(|worker| worker["name"] == name)?;
        let said = list(&worker["freeform"]).iter().map(text);
        let parts: Vec<String> = [text(&worker["progress"])].into_iter().chain(said).collect();
        Some((short(node), parts.join(", ")))
    };
    let left: Vec<(String, String)> = nodes.iter().filter_map(at).collect();
    match &left[..] {
        [] => None,
        [(_, one)] => Some(format!("{name}: {one}")),
        several => {
            let each = several.iter().map(|(node, left)| format!("{node}: {left}"));
            Some(each.collect::<Vec<_>>().join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_in_a_line() {
        let fetch = |blocks: u64| json!({ "name": "fetch", "queueLength": blocks, "bytesLeft": blocks << 20, "secsLeft": 300 });
        let tables = json!({
            "name": "repair tables", "progress": "42.0 %", "freeform": ["7 looked at", "30 s left"],
        });
        let one = json!({ "success": { "aa": [fetch(2), tables] } });
        let expected = "Blocks to look at: 2 (about 2.0 MiB, 5 min).";
        assert_eq!(blocks_left(&one).as_deref(), Some(expected));
        let expected = "repair tables: 42.0 %, 7 looked at, 30 s left";
        assert_eq!(repair_left(&one, "repair tables").as_deref(), Some(expected));
        assert_eq!(repair_left(&one, "repair blocks"), None);
        assert_eq!(blocks_left(&json!({ "success": { "aa": [fetch(0)] } })), None);
        let two = json!({ "success": { "aa": [tables], "bb": [tables] } });
        let text = repair_left(&two, "repair tables").expect("it goes on");
        assert!(text.starts_with("aa: 42.0 %") && text.contains("; bb: 42.0 %"), "{text}");
    }

    #[test]
    fn a_few_looks_may_fail_and_many_may_not() {
        let mut stages = vec![
            Ok(Stage::Through("done".to_owned())),
            Err(Failure::Failed("restarting".to_owned())),
            Ok(Stage::Working("half".to_owned())),
        ];
        let words = until_through(|| stages.pop().expect("it has ended"));
        assert_eq!(words.ok().as_deref(), Some("done"));
    }
}
