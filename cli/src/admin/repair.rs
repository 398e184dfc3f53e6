//! `mews repair`.

use argh::{ArgsInfo, FromArgs};
use serde_json::json;

use super::{Client, Done, Failure, find};
use crate::page::Page;

/// Begin a thorough look: tables, blocks, versions, uploads, block-refs, counters, rebalance, or scrub.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "repair")]
pub struct Repair {
    /// what to repair
    #[argh(positional, arg_name = "repair")]
    pub what: String,
    /// start (default), cancel; for scrub also pause, resume
    #[argh(positional)]
    pub action: Option<String>,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// What can be repaired, and how the Admin API calls that.
pub const KINDS: [(&str, &str); 8] = [
    ("tables", "tables"),
    ("blocks", "blocks"),
    ("versions", "versions"),
    ("uploads", "multipartUploads"),
    ("block-refs", "blockRefs"),
    ("counters", "blockRc"),
    ("rebalance", "rebalance"),
    ("scrub", "scrub"),
];

/// `mews repair`.
pub fn repair(client: &Client, args: &Repair) -> Result<Done, Failure> {
    let action = args.action.as_deref().unwrap_or("start");
    let what = args.what.as_str();
    let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == what) else {
        let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
        return Err(Failure::Usage(format!(
            "there is no repair `{what}`; there are {}",
            names.join(", ")
        )));
    };
    let kind = if what == "scrub" { json!({ "scrub": action }) } else { json!(kind) };
    let cancel = match (what, action) {
        ("scrub", "start" | "pause" | "resume" | "cancel") | (_, "start") => false,
        (_, "cancel") => true,
        (what, other) => return Err(Failure::Usage(format!("{what} cannot be told to {other}"))),
    };
    let body = json!({ "repairType": kind, "cancel": cancel });
    let json = find::at_nodes(client, "LaunchRepairOperation", &args.node, Some(&body))?;
    let said = match (what, action) {
        ("scrub", "pause") => "The scrub rests for a day, or until `mews repair scrub resume`.",
        ("scrub", "resume") => "The scrub goes on.",
        ("scrub", "cancel") => "This pass of the scrub ends; the next one begins in its time.",
        (_, "cancel") => "It ends. What it has repaired stays repaired.",
        (_, _) => "It begins. Watch it with `mews worker list`.",
    };
    Ok(Done::each(json, |_| Page::new().line(said)))
}
