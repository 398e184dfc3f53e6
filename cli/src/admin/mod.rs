//! The commands for operators: each is one call of the Admin API or two, and a text made of the answer.

pub mod args;
mod client;
mod show;
#[cfg(test)]
mod tests;
mod wait;

use serde_json::{Value, json};

pub use client::{Client, Target};

/// Why a command was not done.
#[derive(Debug)]
pub enum Failure {
    /// The command line makes no sense.
    Usage(String),
    /// It failed; the text says what to do.
    Failed(String),
}

/// What a command gives.
#[derive(Debug)]
pub struct Done {
    /// For people.
    text: String,
    /// For `--json`.
    json: Value,
    /// Why the exit code is 1 all the same.
    failed: Option<String>,
}

impl Done {
    fn new(json: Value, show: impl Fn(&Value) -> String) -> Self {
        Self { text: show(&json), json, failed: None }
    }

    /// The answers of nodes: failed if any of them did.
    fn each(json: Value, one: impl Fn(&Value) -> String) -> Self {
        Self { text: show::each(&json, one), failed: show::errors(&json), json }
    }

    /// What to print, and why the command has failed all the same.
    pub fn outcome(self, as_json: bool) -> (String, Option<String>) {
        let text = if as_json { format!("{:#}\n", self.json) } else { self.text };
        (text, self.failed)
    }
}

/// `mews status`.
pub fn status(client: &Client) -> Result<Done, Failure> {
    Ok(Done::new(client.get("GetClusterStatus")?, show::status))
}

/// `mews health`.
pub fn health(client: &Client, args: &args::Health) -> Result<Done, Failure> {
    let mut done = Done::new(client.get("GetClusterHealth")?, show::health);
    if done.json["status"] == "unavailable" {
        done.failed = Some("some requests cannot be served; see `mews status`".to_owned());
    }
    if args.quiet {
        let failed = done.failed.map(|_| String::new());
        return Ok(Done { text: String::new(), json: done.json, failed });
    }
    Ok(done)
}

/// `mews stats`.
pub fn stats(client: &Client) -> Result<Done, Failure> {
    let show = |json: &Value| json["freeform"].as_str().unwrap_or_default().to_owned();
    Ok(Done::new(client.get("GetClusterStatistics")?, show))
}

/// `mews node`.
pub fn node(client: &Client, args: args::Node) -> Result<Done, Failure> {
    use args::NodeCommand;
    match args.command {
        NodeCommand::Id(_) => {
            let status = client.get("GetClusterStatus")?;
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
            Ok(Done { text, json: json!({ "id": id, "addr": address }), failed: None })
        }
        NodeCommand::Connect(args) => {
            let json = client.post("ConnectClusterNodes", &json!([args.place]))?;
            let failed = json[0]["error"].as_str().map(str::to_owned);
            let text = match failed {
                Some(_) => String::new(),
                None => format!("Connected to {}. See `mews status`.\n", args.place),
            };
            Ok(Done { text, json, failed })
        }
        NodeCommand::Drain(args) => {
            let node = resolve(client, &args.node)?;
            staged(client.post("DrainNode", &json!({ "node": node }))?)
        }
        NodeCommand::Replace(args) => {
            let (old, new) = (resolve(client, &args.old)?, resolve(client, &args.new)?);
            staged(client.post("ReplaceNode", &json!({ "old": old, "new": new }))?)
        }
        NodeCommand::Forget(args) => {
            let node = resolve(client, &args.node)?;
            let json = client.post("ForgetNode", &json!({ "node": node }))?;
            Ok(Done::new(json, |_| {
                "Forgotten. If it still runs, it comes back by itself.\n".to_owned()
            }))
        }
    }
}

fn staged(json: Value) -> Result<Done, Failure> {
    Ok(Done::new(json, show::layout))
}

/// The id of the one node that is meant: by the beginning of its id, or by its host's name.
fn resolve(client: &Client, name: &str) -> Result<String, Failure> {
    let is_id = name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit());
    if is_id {
        return Ok(name.to_ascii_lowercase());
    }
    pick(&client.get("GetClusterStatus")?, name)
}

fn pick(status: &Value, name: &str) -> Result<String, Failure> {
    let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let id = |node: &Value| node["id"].as_str().unwrap_or_default().to_owned();
    let named = nodes.iter().filter(|node| {
        let by_id = !name.is_empty() && id(node).starts_with(&name.to_ascii_lowercase());
        by_id || node["hostname"] == name
    });
    let found: Vec<String> = named.map(id).collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        [] => Err(Failure::Failed(format!("no node is called {name}; see `mews status`"))),
        several => Err(Failure::Failed(format!(
            "{} nodes are called {name}: {}",
            several.len(),
            several.join(", ")
        ))),
    }
}

/// `mews layout`.
pub fn layout(client: &Client, args: args::Layout) -> Result<Done, Failure> {
    use args::LayoutCommand;
    match args.command {
        LayoutCommand::Show(_) => Ok(Done::new(client.get("GetClusterLayout")?, show::layout)),
        LayoutCommand::Assign(args) => assign(client, args),
        LayoutCommand::Remove(args) => {
            let id = resolve(client, &args.node)?;
            let roles = json!({ "roles": [{ "id": id, "remove": true }] });
            staged(client.post("UpdateClusterLayout", &roles)?)
        }
        LayoutCommand::Config(args) => {
            let parameters = parameters(&args)?;
            staged(client.post("UpdateClusterLayout", &json!({ "parameters": parameters }))?)
        }
        LayoutCommand::Plan(_) => {
            let json = client.post("PreviewClusterLayoutChanges", &json!({}))?;
            if let Some(error) = json["error"].as_str() {
                return Err(Failure::Failed(error.to_owned()));
            }
            let apply = format!(
                "\nTo apply it: mews layout apply --version {}\n",
                json["newLayout"]["version"]
            );
            Ok(Done::new(json, |json| show::plan(json) + &apply))
        }
        LayoutCommand::Apply(args) => wait::apply(client, &args),
        LayoutCommand::Revert(_) => staged(client.post("RevertClusterLayout", &json!({}))?),
        LayoutCommand::History(_) => {
            Ok(Done::new(client.get("GetClusterLayoutHistory")?, show::history))
        }
        LayoutCommand::SkipDeadNodes(args) => skip_dead(client, &args),
    }
}

fn skip_dead(client: &Client, args: &args::LayoutSkip) -> Result<Done, Failure> {
    let status = client.get("GetClusterStatus")?;
    let dead = args.node.iter().map(|name| resolve(client, name));
    let dead: Vec<String> = dead.collect::<Result<_, _>>()?;
    if !args.yes {
        let down = if dead.is_empty() { down(&status) } else { dead };
        return Err(match &down[..] {
            [] => Failure::Failed("no node with a role is down".to_owned()),
            down => Failure::Usage(format!(
                "these would not be waited for any more: {}. If one of them still runs, what it has under way may be lost. \
                 Add --yes if they are dead for good",
                down.join(", ")
            )),
        });
    }
    let version = match args.version {
        Some(version) => json!(version),
        None => status["layoutVersion"].clone(),
    };
    let missing = args.allow_missing_data;
    let body = json!({ "version": version, "allowMissingData": missing, "nodes": dead });
    let json = client.post("ClusterLayoutSkipDeadNodes", &body)?;
    Ok(Done::new(json, |json| {
        let nodes = json["ackUpdated"].as_array().map_or(&[][..], Vec::as_slice);
        if nodes.is_empty() {
            return "No node is down.\n".to_owned();
        }
        let lines = nodes.iter().filter_map(Value::as_str);
        lines.map(|id| format!("{id} is no longer waited for.\n")).collect()
    }))
}

/// The ids of nodes with a role that the asked one is not connected to.
fn down(status: &Value) -> Vec<String> {
    let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
    let down = nodes.iter().filter(|node| {
        node["isUp"] == false && (!node["role"].is_null() || node["draining"] == true)
    });
    down.filter_map(|node| node["id"].as_str().map(str::to_owned)).collect()
}

fn assign(client: &Client, args: args::LayoutAssign) -> Result<Done, Failure> {
    let id = resolve(client, &args.node)?;
    let layout = client.get("GetClusterLayout")?;
    // What is staged counts before what is in force: two commands may each change a part.
    let lists = [&layout["stagedRoleChanges"], &layout["roles"]];
    let roles = lists.iter().filter_map(|list| list.as_array()).flatten();
    let old = roles.into_iter().find(|role| role["id"] == id.as_str() && role["remove"] != true);
    let old = old.cloned().unwrap_or_default();
    let zone = args.zone.map(Value::from).unwrap_or_else(|| old["zone"].clone());
    if zone.is_null() {
        return Err(Failure::Usage("a node without a role needs --zone".to_owned()));
    }
    let capacity = match (args.gateway, args.capacity) {
        (true, None) => Value::Null,
        (false, Some(text)) => json!(mews_core::size::parse(&text).map_err(Failure::Usage)?),
        (false, None) if !old.is_null() => old["capacity"].clone(),
        (true, Some(_)) | (false, None) => {
            let reason = "give either --capacity or --gateway";
            return Err(Failure::Usage(reason.to_owned()));
        }
    };
    let old_tags = if old.is_null() { json!([]) } else { old["tags"].clone() };
    let tags = if args.tag.is_empty() { old_tags } else { json!(args.tag) };
    let role = json!({ "id": id, "zone": zone, "capacity": capacity, "tags": tags });
    staged(client.post("UpdateClusterLayout", &json!({ "roles": [role], "force": args.force }))?)
}

fn parameters(args: &args::LayoutConfig) -> Result<Value, Failure> {
    let mut parameters = serde_json::Map::new();
    if let Some(zones) = &args.redundancy {
        let value = match (zones.as_str(), zones.parse::<u16>()) {
            ("max" | "maximum", _) => json!("maximum"),
            (_, Ok(zones)) => json!({ "atLeast": zones }),
            (_, Err(_)) => {
                let reason = format!("--redundancy {zones}: it must be a number, or max");
                return Err(Failure::Usage(reason));
            }
        };
        parameters.insert("zoneRedundancy".to_owned(), value);
    }
    if let Some(copies) = args.replication_factor {
        parameters.insert("replicationFactor".to_owned(), json!(copies));
    }
    if let Some(partitions) = args.partitions {
        parameters.insert("partitions".to_owned(), json!(partitions));
    }
    if parameters.is_empty() {
        return Err(Failure::Usage("say what to change, for example --redundancy 2".to_owned()));
    }
    Ok(Value::Object(parameters))
}

/// `mews repair`.
pub fn repair(client: &Client, args: &args::Repair) -> Result<Done, Failure> {
    let action = args.action.as_deref().unwrap_or("start");
    let what = args.what.as_str();
    let kind = match what {
        "scrub" => json!({ "scrub": action }),
        "tables" | "blocks" | "versions" | "uploads" | "counters" | "rebalance" => json!(args.what),
        "block-refs" => json!("blockRefs"),
        other => {
            return Err(Failure::Usage(format!(
                "there is no repair `{other}`; there are tables, blocks, versions, uploads, block-refs, counters, rebalance, scrub"
            )));
        }
    };
    let cancel = match (what, action) {
        ("scrub", "start" | "pause" | "resume" | "cancel") | (_, "start") => false,
        (_, "cancel") => true,
        (what, other) => return Err(Failure::Usage(format!("{what} cannot be told to {other}"))),
    };
    let body = json!({ "repairType": kind, "cancel": cancel });
    let json = about_nodes(client, "LaunchRepairOperation", &args.node, Some(&body))?;
    let said = match (what, action) {
        ("scrub", "pause") => "The scrub rests for a day, or until `mews repair scrub resume`.",
        ("scrub", "resume") => "The scrub goes on.",
        ("scrub", "cancel") => "This pass of the scrub ends; the next one begins in its time.",
        (_, "cancel") => "It ends. What it has repaired stays repaired.",
        (_, _) => "It begins. Watch it with `mews worker list`.",
    };
    Ok(Done::each(json, |_| format!("{said}\n")))
}

/// `mews worker`.
pub fn worker(client: &Client, args: args::Worker) -> Result<Done, Failure> {
    let args::WorkerCommand::List(args) = args.command;
    let json = about_nodes(client, "ListWorkers", &args.node, Some(&json!({})))?;
    Ok(Done::each(json, show::workers))
}

/// `mews block`.
pub fn block(client: &Client, args: args::Block) -> Result<Done, Failure> {
    use args::BlockCommand;
    match args.command {
        BlockCommand::ListErrors(args) => {
            let json = about_nodes(client, "ListBlockErrors", &args.node, None)?;
            Ok(Done::each(json, show::block_errors))
        }
        BlockCommand::Info(args) => {
            let body = json!({ "blockHash": args.hash });
            let json = about_nodes(client, "GetBlockInfo", &args.node, Some(&body))?;
            Ok(Done::each(json, show::block))
        }
        BlockCommand::RetryNow(args) => {
            let body = match (args.all, args.hashes.is_empty()) {
                (true, true) => json!({ "all": true }),
                (false, false) => json!({ "blockHashes": args.hashes }),
                (true, false) | (false, true) => {
                    return Err(Failure::Usage("give hashes, or --all".to_owned()));
                }
            };
            let json = about_nodes(client, "RetryBlockResync", &args.node, Some(&body))?;
            Ok(Done::each(json, |json| format!("{} blocks are tried now.\n", json["count"])))
        }
        BlockCommand::Purge(args) => {
            if args.hashes.is_empty() {
                return Err(Failure::Usage("give the hashes of blocks".to_owned()));
            }
            if !args.yes {
                return Err(Failure::Usage(
                    "this deletes every object that has one of these blocks; add --yes if that is meant"
                        .to_owned(),
                ));
            }
            let json = about_nodes(client, "PurgeBlocks", "self", Some(&json!(args.hashes)))?;
            Ok(Done::each(json, show::purged))
        }
    }
}

fn about_nodes(
    client: &Client,
    call: &str,
    node: &str,
    body: Option<&Value>,
) -> Result<Value, Failure> {
    let node = if node == "self" || node == "*" { node.to_owned() } else { resolve(client, node)? };
    let path = format!("/v2/{call}?node={node}");
    client.send(if body.is_some() { "POST" } else { "GET" }, &path, body)
}

/// `mews json-api`.
pub fn json_api(client: &Client, args: &args::JsonApi) -> Result<Done, Failure> {
    let call = mews_core::admin::call::Call::from_name(&args.call);
    let call = call.ok_or_else(|| Failure::Usage(format!("there is no call {}", args.call)))?;
    let usage = |reason: &str| Err(Failure::Usage(format!("{} {reason}", call.name())));
    if args.body.is_some() && !call.takes_body() {
        return usage("takes no body");
    }
    if args.node.is_some() && !call.is_about_nodes() {
        return usage("is about the cluster: ask without --node");
    }
    let body = match args.body.as_deref().map(serde_json::from_str).transpose() {
        Ok(body) => body.unwrap_or_else(|| json!({})),
        Err(error) => return Err(Failure::Usage(format!("the body is not JSON: {error}"))),
    };
    let method = call.method().name();
    let body = (method == "POST").then_some(&body);
    let json = match &args.node {
        Some(node) => about_nodes(client, call.name(), node, body)?,
        None => client.send(method, &format!("/v2/{}", call.name()), body)?,
    };
    Ok(Done::new(json, |json| format!("{json:#}\n")))
}
