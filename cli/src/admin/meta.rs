//! `mews meta`.

use argh::{ArgsInfo, FromArgs};
use serde_json::json;

use super::{Client, Done, Failure, find};
use crate::page::Page;

/// The metadata database.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "meta", example = "  {command_name} snapshot --node '*'")]
pub struct Meta {
    #[argh(subcommand)]
    command: MetaCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
enum MetaCommand {
    Snapshot(MetaSnapshot),
}

/// Copy the metadata database into the folder for snapshots, while it serves.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "snapshot")]
struct MetaSnapshot {
    /// on which node: the beginning of its id, self, or * for all
    #[argh(option, default = "String::from(\"self\")")]
    node: String,
}

/// `mews meta`.
pub fn meta(client: &Client, args: Meta) -> Result<Done, Failure> {
    let MetaCommand::Snapshot(args) = args.command;
    let call = "CreateMetadataSnapshot";
    let json = find::at_nodes(client, call, &args.node, Some(&json!({})))?;
    Ok(Done::each(json, |made| match made["snapshot"].as_str() {
        Some(name) => Page::new().line(format!(
            "The snapshot {name} is made. `mewsd restore --help` says how to go back to it."
        )),
        None => Page::new().line("The snapshot is made."),
    }))
}
