//! `mews status`, `mews health`, `mews stats`.

use argh::{ArgsInfo, FromArgs};
use serde_json::Value;

use super::{
    Client, Done, Failure,
    layout::{capacity, waiting},
    value::{bytes, duration, fields, id, list, short, text},
};
use crate::page::{Page, row};

/// Who is there, with which role, and how it is.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "status")]
pub struct Status {}

/// Whether everything can be read and written. Fails if not; a cluster that is only degraded serves, so it does not fail.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "health")]
pub struct Health {
    /// say nothing, only give the exit code
    #[argh(switch, short = 'q')]
    pub quiet: bool,
}

/// Room on disks.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "stats")]
pub struct Stats {}

/// `mews status`.
pub fn status(client: &Client) -> Result<Done, Failure> {
    let health = client.get("GetClusterHealth", &[])?;
    let status = client.get("GetClusterStatus", &[])?;
    let syncing = match client.get("GetNodeInfo", &[("node", "*")]) {
        Ok(answer) => syncing(&answer),
        // A token need not be good for that.
        Err(Failure::Failed(reason) | Failure::Usage(reason) | Failure::Unconfirmed(reason)) => {
            Page::new().line(format!("Which nodes sync their metadata is not known: {reason}."))
        }
    };
    let show =
        |status: &Value| sentence(&health).gap().then(show_status(status)).then(syncing.clone());
    Ok(Done::new(status, show))
}

/// Of `GetNodeInfo`: nodes that acknowledge what a power failure may take.
fn syncing(infos: &Value) -> Page {
    let nodes = fields(&infos["success"]);
    let lax = nodes.iter().filter(|(_, info)| info["metadataFsync"] == false);
    lax.fold(Page::new(), |page, (node, _)| {
        page.warning(format!(
            "{} runs with metadata_fsync = false: if its power fails, it loses the newest metadata and gets that from the others, where there are copies.",
            short(node)
        ))
    })
}

/// `mews health`.
pub fn health(client: &Client, args: &Health) -> Result<Done, Failure> {
    let health = client.get("GetClusterHealth", &[])?;
    let unavailable = health["status"] == "unavailable";
    if args.quiet {
        return Ok(Done::text(String::new()).but(unavailable.then(String::new)));
    }
    let failed = "some requests cannot be served; see `mews status`".to_owned();
    Ok(Done::new(health, show_health).but(unavailable.then_some(failed)))
}

/// `mews stats`.
pub fn stats(client: &Client) -> Result<Done, Failure> {
    let show = |json: &Value| Page::from(json["freeform"].as_str().unwrap_or_default());
    Ok(Done::new(client.get("GetClusterStatistics", &[])?, show))
}

/// Of `GetClusterStatus`.
pub(super) fn show_status(status: &Value) -> Page {
    let mut rows =
        vec![row(&["node", "host", "address", "state", "zone", "capacity", "free", "version"])];
    let mut notes = Page::new();
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
            notes = notes.line(format!(
                "{} is fetching rows that it should have; until then others answer for it.",
                id(&node["id"])
            ));
        }
        let skew = node["clockSkewMillis"].as_i64().unwrap_or(0);
        if skew.abs() > 3000 {
            notes = notes.warning(format!(
                "The clock of {} is {} s {} this one's: set both right.",
                id(&node["id"]),
                skew.abs() / 1000,
                if skew > 0 { "ahead of" } else { "behind" },
            ));
        }
    }
    let page = Page::new().table(rows).gap();
    footnotes(status, page).then(notes).then(failing(status))
}

/// What is to be known of the layout.
fn footnotes(status: &Value, page: Page) -> Page {
    let version = &status["layoutVersion"];
    let mut page = match version.as_u64() {
        Some(0) | None => page.line(
            "There is no layout yet: give nodes a role with `mews layout assign`, then apply that.",
        ),
        Some(version) => page.line(format!("Layout version {version}.")),
    };
    if !list(&status["waitingFor"]).is_empty() {
        page = page.text(format!("The layout is changing. {}", waiting(status)));
    }
    match status["consistencyMode"].as_str() {
        None | Some("consistent") => page,
        Some(mode) => page.warning(format!(
            "consistency_mode = \"{mode}\": {}.",
            if mode == "degraded" {
                "reads may miss what was just written"
            } else {
                "what was just written may be lost"
            }
        )),
    }
}

/// Jobs that keep failing.
fn failing(status: &Value) -> Page {
    let failing = list(&status["jobs"]).iter().filter(|job| job["failures"] != 0);
    failing.fold(Page::new(), |page, job| {
        page.warning(format!(
            "The job {} has failed {} times in a row; `mews worker list` says why.",
            text(&job["name"]),
            text(&job["failures"])
        ))
    })
}

/// How things are, in a sentence.
pub(super) fn sentence(health: &Value) -> Page {
    let number = |field: &str| health[field].as_u64().unwrap_or(0);
    let (all, quorum, whole) =
        (number("partitions"), number("partitionsQuorum"), number("partitionsAllOk"));
    let nodes =
        format!("{} of {} storage nodes are up", number("storageNodesUp"), number("storageNodes"));
    match health["status"].as_str() {
        Some("healthy") => Page::new().line(format!(
            "Everything can be read and written, and all copies are within reach: {nodes}."
        )),
        Some("degraded") => Page::new().warning(format!(
            "Everything can be read and written, but {} of {all} partitions lack a copy: {nodes}.",
            all - whole.min(all)
        )),
        _ if all == 0 => Page::new().warning("Nothing can be stored yet."),
        _ => Page::new().warning(format!(
            "What is in {} of {all} partitions cannot be read or written now: {nodes}.",
            all - quorum.min(all)
        )),
    }
}

/// Of `GetClusterHealth`.
fn show_health(health: &Value) -> Page {
    Page::new().line(format!(
        "{}: {} of {} partitions have a quorum, {} have all their nodes; {} of {} storage nodes are up, {} of {} nodes connected.",
        text(&health["status"]),
        health["partitionsQuorum"],
        health["partitions"],
        health["partitionsAllOk"],
        health["storageNodesUp"],
        health["storageNodes"],
        health["connectedNodes"],
        health["knownNodes"],
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::page::Screen;

    #[test]
    fn a_node_that_does_not_sync_its_metadata_is_named() {
        let infos = json!({
            "success": {
                "1f3a1f3a1f3a1f3a1f3a": { "metadataFsync": false },
                "2b2b2b2b2b2b2b2b2b2b": { "metadataFsync": true },
            },
            "error": { "3c3c3c3c3c3c3c3c3c3c": "it is down" },
        });
        let text = syncing(&infos).render(Screen::default());
        assert!(
            text.starts_with("1f3a1f3a1f3a1f3a runs with metadata_fsync = false: if"),
            "{text}"
        );
        assert!(!text.contains("2b2b") && !text.contains("3c3c"), "{text}");
    }
}
