//! Answers of the Admin API as text for people. Pure: golden texts hold them.

use mews_core::placement::explain::Bytes;
use serde_json::{Map, Value};

/// How much of an id is shown: enough to tell thousands of nodes apart, and it can be given back as it is.
const ID_SHOWN: usize = 16;

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            other.to_string()
        }
    }
}

fn id(value: &Value) -> String {
    text(value).chars().take(ID_SHOWN).collect()
}

fn bytes(value: &Value) -> String {
    value.as_u64().map_or("-".to_owned(), |bytes| Bytes(bytes).to_string())
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn fields(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}

/// Columns as wide as their widest cell.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
    };
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn capacity(role: &Value) -> String {
    let capacity = &role["capacity"];
    if capacity.is_null() { "gateway".to_owned() } else { bytes(capacity) }
}

fn tags(role: &Value) -> String {
    list(&role["tags"]).iter().map(text).collect::<Vec<_>>().join(",")
}

/// Of `GetClusterStatus`.
pub fn status(status: &Value) -> String {
    let mut rows =
        vec![row(&["node", "host", "address", "state", "zone", "capacity", "free", "version"])];
    let mut notes = String::new();
    for node in list(&status["nodes"]) {
        let role = &node["role"];
        let state = match (&node["isUp"], &node["lastSeenSecsAgo"]) {
            (Value::Bool(true), _) if node["recovering"] == true => "recovering".to_owned(),
            (Value::Bool(true), _) => "up".to_owned(),
            (_, Value::Null) => "down".to_owned(),
            (_, seen) => format!("down for {}", duration(seen.as_u64().unwrap_or(0))),
        };
        let (zone, capacity) = match (role, &node["draining"]) {
            (Value::Null, Value::Bool(true)) => ("-".to_owned(), "leaving".to_owned()),
            (Value::Null, _) => ("-".to_owned(), "no role".to_owned()),
            (role, _) => (text(&role["zone"]), capacity(role)),
        };
        rows.push(vec![
            id(&node["id"]),
            text(&node["hostname"]),
            text(&node["addr"]),
            state,
            zone,
            capacity,
            bytes(&node["dataPartition"]["available"]),
            text(&node["garageVersion"]),
        ]);
        if node["recovering"] == true {
            notes += &format!(
                "{} is fetching rows that it should have; until then others answer for it.\n",
                id(&node["id"])
            );
        }
        let skew = node["clockSkewMillis"].as_i64().unwrap_or(0);
        if skew.abs() > 3000 {
            notes += &format!(
                "The clock of {} is {} s {} this one's: set both right.\n",
                id(&node["id"]),
                skew.abs() / 1000,
                if skew > 0 { "ahead of" } else { "behind" },
            );
        }
    }
    let version = &status["layoutVersion"];
    let layout = match version.as_u64() {
        Some(0) | None => {
            "There is no layout yet: give nodes a role with `mews layout assign`, then apply that.\n".to_owned()
        }
        Some(version) => format!("Layout version {version}.\n"),
    };
    let failing = list(&status["jobs"]).iter().filter(|job| job["failures"] != 0);
    let failing: String = failing
        .map(|job| {
            let failures = text(&job["failures"]);
            format!(
                "The job {} has failed {failures} times in a row; `mews worker list` says why.\n",
                text(&job["name"])
            )
        })
        .collect();
    let under_way = if list(&status["waitingFor"]).is_empty() {
        String::new()
    } else {
        format!("The layout is changing. {}", waiting(status))
    };
    let consistency = match status["consistencyMode"].as_str() {
        None | Some("consistent") => String::new(),
        Some(mode) => format!(
            "consistency_mode = \"{mode}\": {}.\n",
            if mode == "degraded" {
                "reads may miss what was just written"
            } else {
                "what was just written may be lost"
            }
        ),
    };
    format!("{}\n{layout}{under_way}{consistency}{notes}{failing}", table(&rows))
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Of `GetClusterHealth`.
pub fn health(health: &Value) -> String {
    format!(
        "{}: {} of {} partitions have a quorum, {} have all their nodes; {} of {} storage nodes are up, {} of {} nodes connected.\n",
        text(&health["status"]),
        health["partitionsQuorum"],
        health["partitions"],
        health["partitionsAllOk"],
        health["storageNodesUp"],
        health["storageNodes"],
        health["connectedNodes"],
        health["knownNodes"],
    )
}

/// Of `GetClusterLayout`.
pub fn layout(layout: &Value) -> String {
    let mut out = match layout["version"].as_u64() {
        Some(0) | None => "There is no layout yet.\n".to_owned(),
        Some(version) => {
            let mut rows = vec![row(&["node", "zone", "capacity", "partitions", "usable", "tags"])];
            for role in list(&layout["roles"]) {
                rows.push(vec![
                    id(&role["id"]),
                    text(&role["zone"]),
                    capacity(role),
                    text(&role["storedPartitions"]),
                    bytes(&role["usableCapacity"]),
                    tags(role),
                ]);
            }
            let parameters = parameters(&layout["parameters"]);
            format!("Layout version {version}: {parameters}.\n\n{}", table(&rows))
        }
    };
    let staged = list(&layout["stagedRoleChanges"]);
    if staged.is_empty() && layout["stagedParameters"].is_null() {
        return out + "\nNothing is staged.\n";
    }
    out += "\nStaged:\n";
    let rows: Vec<Vec<String>> = staged
        .iter()
        .map(|role| {
            if role["remove"] == true {
                return vec![id(&role["id"]), "leaves".to_owned()];
            }
            vec![id(&role["id"]), text(&role["zone"]), capacity(role), tags(role)]
        })
        .collect();
    out += &table(&rows);
    if !layout["stagedParameters"].is_null() {
        out += &format!("{}\n", parameters(&layout["stagedParameters"]));
    }
    out + "\nSee what it would mean with `mews layout plan`; drop it with `mews layout revert`.\n"
}

fn parameters(parameters: &Value) -> String {
    let zones = match parameters["zoneRedundancy"].get("atLeast") {
        Some(least) => format!("at least {} zones", text(least)),
        None => "as many zones as there are".to_owned(),
    };
    let copies = &parameters["replicationFactor"];
    let copies = if copies == 1 { "1 copy".to_owned() } else { format!("{copies} copies") };
    format!("{copies} in {zones}, {} partitions", parameters["partitions"])
}

/// Of `PreviewClusterLayoutChanges` and `ApplyClusterLayout`.
pub fn plan(plan: &Value) -> String {
    list(&plan["message"]).iter().map(|line| format!("{}\n", text(line))).collect()
}

/// Of `GetClusterLayoutHistory`.
pub fn history(history: &Value) -> String {
    let mut rows = vec![row(&["version", "state", "storage nodes", "gateways"])];
    for version in list(&history["versions"]) {
        let cells = ["version", "status", "storageNodes", "gatewayNodes"];
        rows.push(cells.iter().map(|cell| text(&version[*cell])).collect());
    }
    let mut out = table(&rows);
    let mut rows = vec![row(&["node", "acknowledged", "synced", "reads by"])];
    for (node, trackers) in fields(&history["updateTrackers"]) {
        let node: String = node.chars().take(ID_SHOWN).collect();
        let at = |step: &str| text(&trackers[step]);
        rows.push(vec![node, at("ack"), at("sync"), at("syncAck")]);
    }
    out += &format!("\n{}\n{}", table(&rows), waiting(history));
    for version in list(&history["conflicts"]) {
        out += &format!(
            "Two different layouts were applied as version {version}. One of them is in force; apply a new version to end the doubt.\n"
        );
    }
    out
}

/// What a transition waits for, a line each; one line if there is none.
pub fn waiting(history: &Value) -> String {
    let waiting = list(&history["waitingFor"]);
    if waiting.is_empty() {
        return "All nodes go by the newest version.\n".to_owned();
    }
    let line = |waiting: &Value| {
        let nodes: Vec<String> = list(&waiting["nodes"]).iter().map(id).collect();
        let step = match waiting["step"].as_str() {
            Some("ack") => "to finish what began before it",
            Some("sync") if nodes.len() == 1 => "to fetch its data",
            Some("sync") => "to fetch their data",
            _ => "to read by it",
        };
        format!("Version {} waits for {} {step}.\n", waiting["version"], nodes.join(", "))
    };
    waiting.iter().map(line).collect()
}

/// The answers of several nodes, each by `one`; then the errors.
pub fn each(answer: &Value, one: impl Fn(&Value) -> String) -> String {
    let success = fields(&answer["success"]);
    let alone = success.len() == 1;
    let mut out = String::new();
    for (node, value) in success {
        if !alone {
            out += &format!("Node {}:\n", node.chars().take(ID_SHOWN).collect::<String>());
        }
        out += &one(&value);
    }
    out
}

/// The errors of several nodes.
pub fn errors(answer: &Value) -> Option<String> {
    let errors = fields(&answer["error"]);
    let line = |(node, error): (&String, &Value)| {
        format!("node {}: {}", node.chars().take(ID_SHOWN).collect::<String>(), text(error))
    };
    let lines: Vec<String> = errors.iter().map(line).collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// Of `ListWorkers`, one node's.
pub fn workers(workers: &Value) -> String {
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
    table(&rows)
}

/// Of `ListBlockErrors`, one node's.
pub fn block_errors(errors: &Value) -> String {
    if list(errors).is_empty() {
        return "No block is missing.\n".to_owned();
    }
    let mut rows = vec![row(&["block", "references", "errors", "last try", "next try", "reason"])];
    for error in list(errors) {
        let ago = |field: &str| duration(error[field].as_u64().unwrap_or(0));
        rows.push(vec![
            text(&error["blockHash"]),
            text(&error["refcount"]),
            text(&error["errorCount"]),
            format!("{} ago", ago("lastTrySecsAgo")),
            format!("in {}", ago("nextTryInSecs")),
            text(&error["reason"]),
        ]);
    }
    table(&rows)
}

/// Of `GetBlockInfo`, one node's.
pub fn block(block: &Value) -> String {
    let yes = |field: &str| if block[field] == true { "yes" } else { "no" };
    let mut rows = vec![
        vec!["block".to_owned(), text(&block["blockHash"])],
        vec!["references".to_owned(), text(&block["refcount"])],
        row(&["on disk", yes("held")]),
        row(&["to be fetched", yes("queued")]),
    ];
    if !block["error"].is_null() {
        rows.push(vec!["error".to_owned(), text(&block["error"]["reason"])]);
    }
    for version in list(&block["versions"]) {
        let deleted = if version["refDeleted"] == true { " (dropped)" } else { "" };
        rows.push(vec!["part of".to_owned(), format!("{}{deleted}", text(&version["versionId"]))]);
    }
    table(&rows)
}

/// Of `PurgeBlocks`.
pub fn purged(purged: &Value) -> String {
    let mut out = format!(
        "{} objects deleted, {} uploads aborted.\n",
        purged["objectsDeleted"], purged["uploadsDeleted"]
    );
    if purged["refsWithoutOwner"] != 0 {
        out += &format!(
            "{} references do not say whose they are: run `mews repair block-refs`, then this again.\n",
            purged["refsWithoutOwner"]
        );
    }
    if purged["more"] == true {
        out += "There are more: run it again.\n";
    }
    out
}

/// Of `ListWorkers` at all nodes: blocks that are still to be fetched; `None` if there are none.
pub fn blocks_left(answer: &Value) -> Option<String> {
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
