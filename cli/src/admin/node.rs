//! `mews node`.

use argh::{ArgsInfo, FromArgs};
use serde_json::json;

use super::{Client, Done, Failure, find, layout::staged};
use crate::page::Page;

/// Nodes: connect, drain, replace, forget.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "node")]
pub struct Node {
    #[argh(subcommand)]
    pub command: NodeCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum NodeCommand {
    Id(NodeId),
    Connect(NodeConnect),
    Drain(NodeDrain),
    Replace(NodeReplace),
    Forget(NodeForget),
}

/// Print ID@ADDRESS of the node that is asked, for `node connect` elsewhere.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "id")]
pub struct NodeId {}

/// Look for a node at this place: ID@HOST:PORT or HOST:PORT.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "connect")]
pub struct NodeConnect {
    /// ID@HOST:PORT or HOST:PORT
    #[argh(positional)]
    pub place: String,
}

/// Stage that a node gives its data to the others and leaves.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "drain")]
pub struct NodeDrain {
    /// the beginning of its id, or its host's name
    #[argh(positional)]
    pub node: String,
}

/// Stage that a new node takes the place of an old one.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "replace")]
pub struct NodeReplace {
    /// the one that goes: the beginning of its id, or its host's name
    #[argh(positional)]
    pub old: String,
    /// the one that comes
    #[argh(positional)]
    pub new: String,
}

/// Forget a node that has no role any more.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "forget")]
pub struct NodeForget {
    /// the beginning of its id, or its host's name
    #[argh(positional)]
    pub node: String,
}

/// `mews node`.
pub fn node(client: &Client, args: Node) -> Result<Done, Failure> {
    match args.command {
        NodeCommand::Id(_) => {
            let status = client.get("GetClusterStatus", &[])?;
            let id = status["node"].as_str().unwrap_or_default().to_owned();
            let nodes = status["nodes"].as_array().cloned().unwrap_or_default();
            let me = nodes.into_iter().find(|node| node["id"] == id.as_str());
            let address = me.and_then(|node| node["addr"].as_str().map(str::to_owned));
            let text = match &address {
                Some(address) => format!("{id}@{address}\n"),
                None => format!("{id}\n"),
            };
            let local = address.as_deref().is_some_and(|address| {
                let address: Option<std::net::SocketAddr> = address.parse().ok();
                address.is_some_and(|address| address.ip().is_loopback())
            });
            if local {
                eprintln!(
                    "mews: nodes on other machines cannot use this address: set rpc_bind_addr and rpc_public_addr"
                );
            }
            Ok(Done::said(json!({ "id": id, "addr": address }), text))
        }
        NodeCommand::Connect(args) => {
            let json = client.post("ConnectClusterNodes", &json!([args.place]))?;
            let failed = json[0]["error"].as_str().map(str::to_owned);
            let page = match failed {
                Some(_) => Page::new(),
                None => {
                    Page::new().line(format!("Connected to {}. See `mews status`.", args.place))
                }
            };
            Ok(Done::said(json, page).but(failed))
        }
        NodeCommand::Drain(args) => {
            let node = find::node(client, &args.node)?;
            staged(client.post("DrainNode", &json!({ "node": node }))?)
        }
        NodeCommand::Replace(args) => {
            let (old, new) = (find::node(client, &args.old)?, find::node(client, &args.new)?);
            staged(client.post("ReplaceNode", &json!({ "old": old, "new": new }))?)
        }
        NodeCommand::Forget(args) => {
            let node = find::node(client, &args.node)?;
            let json = client.post("ForgetNode", &json!({ "node": node }))?;
            Ok(Done::said(json, "Forgotten. If it still runs, it comes back by itself.\n"))
        }
    }
}
