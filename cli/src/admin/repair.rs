//! `mews repair`.

use argh::{ArgsInfo, FromArgs};
use serde_json::json;

use super::{Client, Done, Failure, errors, find, wait};
use crate::page::Page;

/// Begin a thorough look: tables, blocks, versions, uploads, block-refs, counters, rebalance, or scrub.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "repair",
    example = "  {command_name} tables --node '*' --wait\n  {command_name} scrub pause"
)]
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
    /// wait for the end, and show how it goes; Ctrl-C ends the waiting, not the repair
    #[argh(switch)]
    pub wait: bool,
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
    if args.wait && (what == "scrub" || action != "start") {
        let reason =
            "--wait is for repairs that begin; see how a scrub goes with `mews worker info scrub`";
        return Err(Failure::Usage(reason.to_owned()));
    }
    let body = json!({ "repairType": kind, "cancel": cancel });
    let json = find::at_nodes(client, "LaunchRepairOperation", &args.node, Some(&body))?;
    let said = match (what, action) {
        ("scrub", "pause") => "The scrub rests for a day, or until `mews repair scrub resume`.",
        ("scrub", "resume") => "The scrub goes on.",
        ("scrub", "cancel") => "This pass of the scrub ends; the next one begins in its time.",
        (_, "cancel") => "It ends. What it has repaired stays repaired.",
        (_, _) => "It begins. Watch it with `mews worker list`.",
    };
    if args.wait && errors(&json).is_none() {
        let words = wait::repair(client, &args.node, what)?;
        return Ok(Done::said(json, words));
    }
    Ok(Done::each(json, |_| Page::new().line(said)))
}
