//! `mews block`.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};

use super::{
    Client, Done, Failure,
    confirm::confirm,
    find,
    value::{duration, list, text},
};
use crate::page::{Page, row};

/// Blocks: which could not be fetched, what is known of one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "block")]
pub struct Block {
    #[argh(subcommand)]
    pub command: BlockCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum BlockCommand {
    ListErrors(BlockErrors),
    Info(BlockInfo),
    RetryNow(BlockRetry),
    Purge(BlockPurge),
}

/// Blocks that a node could not fetch.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "list-errors")]
pub struct BlockErrors {
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// What a node knows of a block.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "info")]
pub struct BlockInfo {
    /// its hash
    #[argh(positional)]
    pub hash: String,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// Try now to fetch blocks.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "retry-now")]
pub struct BlockRetry {
    /// which blocks
    #[argh(positional)]
    pub hashes: Vec<String>,
    /// all that could not be fetched
    #[argh(switch)]
    pub all: bool,
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    pub node: String,
}

/// Give up blocks that are lost for good: every object and every open upload that has one of them is deleted.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "purge")]
pub struct BlockPurge {
    /// which blocks
    #[argh(positional)]
    pub hashes: Vec<String>,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
}

/// `mews block`.
pub fn block(client: &Client, args: Block) -> Result<Done, Failure> {
    match args.command {
        BlockCommand::ListErrors(args) => {
            let json = find::at_nodes(client, "ListBlockErrors", &args.node, None)?;
            Ok(Done::each(json, block_errors))
        }
        BlockCommand::Info(args) => {
            let body = json!({ "blockHash": args.hash });
            let json = find::at_nodes(client, "GetBlockInfo", &args.node, Some(&body))?;
            Ok(Done::each(json, show_block))
        }
        BlockCommand::RetryNow(args) => {
            let body = match (args.all, args.hashes.is_empty()) {
                (true, true) => json!({ "all": true }),
                (false, false) => json!({ "blockHashes": args.hashes }),
                (true, false) | (false, true) => {
                    return Err(Failure::Usage("give hashes, or --all".to_owned()));
                }
            };
            let json = find::at_nodes(client, "RetryBlockResync", &args.node, Some(&body))?;
            Ok(Done::each(json, |json| {
                Page::new().line(format!("{} blocks are tried now.", json["count"]))
            }))
        }
        BlockCommand::Purge(args) => {
            if args.hashes.is_empty() {
                return Err(Failure::Usage("give the hashes of blocks".to_owned()));
            }
            confirm(args.yes, "this deletes every object that has one of these blocks")?;
            let json = find::at_nodes(client, "PurgeBlocks", "self", Some(&json!(args.hashes)))?;
            Ok(Done::each(json, purged))
        }
    }
}

/// Of `ListBlockErrors`, one node's.
fn block_errors(errors: &Value) -> Page {
    if list(errors).is_empty() {
        return Page::new().line("No block is missing.");
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
    Page::new().table(rows)
}

/// Of `GetBlockInfo`, one node's.
fn show_block(block: &Value) -> Page {
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
    Page::new().pairs(rows)
}

/// Of `PurgeBlocks`.
fn purged(purged: &Value) -> Page {
    let mut page = Page::new().line(format!(
        "{} objects deleted, {} uploads aborted.",
        purged["objectsDeleted"], purged["uploadsDeleted"]
    ));
    if purged["refsWithoutOwner"] != 0 {
        page = page.warning(format!(
            "{} references do not say whose they are: run `mews repair block-refs`, then this again.",
            purged["refsWithoutOwner"]
        ));
    }
    if purged["more"] == true {
        page = page.warning("There are more: run it again.");
    }
    page
}
