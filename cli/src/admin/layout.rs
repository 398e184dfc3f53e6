//! `mews layout`.

use argh::{ArgsInfo, FromArgs};
use serde_json::{Value, json};

use super::{
    Client, Done, Failure,
    confirm::confirm,
    find,
    value::{bytes, fields, id, list, short, text},
    wait,
};
use crate::page::{Page, row};

/// The layout: which node holds how much, and the plan for changing that.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(
    subcommand,
    name = "layout",
    example = "  {command_name} assign 1f3a --zone attic --capacity 2T\n  {command_name} plan\n  {command_name} apply --version 2 --wait"
)]
pub struct Layout {
    #[argh(subcommand)]
    pub command: LayoutCommand,
}

#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand)]
pub enum LayoutCommand {
    Show(LayoutShow),
    Assign(LayoutAssign),
    Remove(LayoutRemove),
    Config(LayoutConfig),
    Plan(LayoutPlan),
    Apply(LayoutApply),
    Revert(LayoutRevert),
    History(LayoutHistory),
    SkipDeadNodes(LayoutSkip),
}

/// The layout in force, and what is staged.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "show")]
pub struct LayoutShow {}

/// Stage a role for a node.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "assign")]
pub struct LayoutAssign {
    /// the beginning of its id, or its host's name
    #[argh(positional)]
    pub node: String,
    /// nodes that are likely to fail together share a zone (default: the one it has)
    #[argh(option, short = 'z')]
    pub zone: Option<String>,
    /// bytes that it gives: 500G, 2T, 1TiB
    #[argh(option, short = 'c')]
    pub capacity: Option<String>,
    /// it serves requests and stores no objects
    #[argh(switch, short = 'g')]
    pub gateway: bool,
    /// also if the asked node has never heard of it
    #[argh(switch)]
    pub force: bool,
    /// words for people; may be repeated
    #[argh(option, short = 't')]
    pub tag: Vec<String>,
}

/// Stage that a node leaves.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "remove")]
pub struct LayoutRemove {
    /// the beginning of its id, or its host's name
    #[argh(positional)]
    pub node: String,
}

/// Stage how many copies there are, and over how many zones they are spread.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "config")]
pub struct LayoutConfig {
    /// zones that each object is in: a number, or max
    #[argh(option, short = 'r')]
    pub redundancy: Option<String>,
    /// copies of each object
    #[argh(option)]
    pub replication_factor: Option<u16>,
    /// partitions, 256 to 4096; only before the first layout
    #[argh(option)]
    pub partitions: Option<u16>,
}

/// What applying the staged changes would mean.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "plan")]
pub struct LayoutPlan {}

/// Apply the staged changes.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "apply")]
pub struct LayoutApply {
    /// the number that the plan named, so that nothing else is applied by mistake (default: the next)
    #[argh(option)]
    pub version: Option<u64>,
    /// wait until all nodes go by the new layout, and show how it goes; Ctrl-C ends the waiting, not the change
    #[argh(switch)]
    pub wait: bool,
}

/// Drop the staged changes.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "revert")]
pub struct LayoutRevert {}

/// The versions in force and before, and how far each node has got.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "history")]
pub struct LayoutHistory {}

/// No longer wait for nodes that are dead for good: those named, or all that have been down for a minute.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(subcommand, name = "skip-dead-nodes")]
pub struct LayoutSkip {
    /// one that is dead: the beginning of its id, or its host's name; may be repeated
    #[argh(option)]
    pub node: Vec<String>,
    /// for this version (default: the newest)
    #[argh(option)]
    pub version: Option<u64>,
    /// also give up data that only they have
    #[argh(switch)]
    pub allow_missing_data: bool,
    /// do not ask
    #[argh(switch)]
    pub yes: bool,
}

/// What is staged now.
pub(super) fn staged(json: Value) -> Result<Done, Failure> {
    Ok(Done::new(json, show_layout))
}

/// `mews layout`.
pub fn layout(client: &Client, args: Layout) -> Result<Done, Failure> {
    match args.command {
        LayoutCommand::Show(_) => Ok(Done::new(client.get("GetClusterLayout", &[])?, show_layout)),
        LayoutCommand::Assign(args) => assign(client, args),
        LayoutCommand::Remove(args) => {
            let id = find::node(client, &args.node)?;
            let roles = json!({ "roles": [{ "id": id, "remove": true }] });
            staged(client.post("UpdateClusterLayout", &roles)?)
        }
        LayoutCommand::Config(args) => {
            let parameters = wanted(&args)?;
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
            Ok(Done::new(json, |json| plan(json).text(apply.as_str())))
        }
        LayoutCommand::Apply(args) => apply(client, &args),
        LayoutCommand::Revert(_) => staged(client.post("RevertClusterLayout", &json!({}))?),
        LayoutCommand::History(_) => {
            Ok(Done::new(client.get("GetClusterLayoutHistory", &[])?, history))
        }
        LayoutCommand::SkipDeadNodes(args) => skip_dead(client, &args),
    }
}

/// Applies what is staged.
fn apply(client: &Client, args: &LayoutApply) -> Result<Done, Failure> {
    let version = match args.version {
        Some(version) => version,
        None => client.get("GetClusterLayout", &[])?["version"].as_u64().unwrap_or(0) + 1,
    };
    let json = client.post("ApplyClusterLayout", &json!({ "version": version }))?;
    let end = if args.wait {
        wait::transition(client)?
    } else {
        "It is applied; the nodes are at work. See `mews layout history`.\n".to_owned()
    };
    Ok(Done::new(json, |json| plan(json).gap().text(end.as_str())))
}

fn skip_dead(client: &Client, args: &LayoutSkip) -> Result<Done, Failure> {
    let status = client.get("GetClusterStatus", &[])?;
    let dead = args.node.iter().map(|name| find::node(client, name));
    let dead: Vec<String> = dead.collect::<Result<_, _>>()?;
    let down = if dead.is_empty() { down(&status) } else { dead.clone() };
    if down.is_empty() && !args.yes {
        return Err(Failure::Failed("no node with a role is down".to_owned()));
    }
    confirm(
        args.yes,
        &format!(
            "these will not be waited for any more: {}. If one of them is not dead for good, what it has under way may be lost",
            down.join(", ")
        ),
    )?;
    let version = match args.version {
        Some(version) => json!(version),
        None => status["layoutVersion"].clone(),
    };
    let missing = args.allow_missing_data;
    let body = json!({ "version": version, "allowMissingData": missing, "nodes": dead });
    let json = client.post("ClusterLayoutSkipDeadNodes", &body)?;
    Ok(Done::new(json, |json| {
        let nodes = list(&json["ackUpdated"]);
        if nodes.is_empty() {
            return Page::new().line("No node is down.");
        }
        nodes.iter().fold(Page::new(), |page, id| {
            page.line(format!("{} is no longer waited for.", text(id)))
        })
    }))
}

/// The ids of nodes with a role that the asked one is not connected to.
pub(super) fn down(status: &Value) -> Vec<String> {
    let down = list(&status["nodes"]).iter().filter(|node| {
        node["isUp"] == false && (!node["role"].is_null() || node["draining"] == true)
    });
    down.filter_map(|node| node["id"].as_str().map(str::to_owned)).collect()
}

fn assign(client: &Client, args: LayoutAssign) -> Result<Done, Failure> {
    let id = find::node(client, &args.node)?;
    let layout = client.get("GetClusterLayout", &[])?;
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

fn wanted(args: &LayoutConfig) -> Result<Value, Failure> {
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

/// Of `GetClusterLayout`.
pub(super) fn show_layout(layout: &Value) -> Page {
    let page = match layout["version"].as_u64() {
        Some(0) | None => Page::new().line("There is no layout yet."),
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
            Page::new().line(format!("Layout version {version}: {parameters}.")).gap().table(rows)
        }
    };
    let staged = list(&layout["stagedRoleChanges"]);
    if staged.is_empty() && layout["stagedParameters"].is_null() {
        return page.gap().line("Nothing is staged.");
    }
    let rows: Vec<Vec<String>> = staged
        .iter()
        .map(|role| {
            if role["remove"] == true {
                return vec![id(&role["id"]), "leaves".to_owned()];
            }
            vec![id(&role["id"]), text(&role["zone"]), capacity(role), tags(role)]
        })
        .collect();
    let mut page = page.gap().line("Staged:").pairs(rows);
    if !layout["stagedParameters"].is_null() {
        page = page.line(parameters(&layout["stagedParameters"]));
    }
    page.gap()
        .line("See what it would mean with `mews layout plan`; drop it with `mews layout revert`.")
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
pub(super) fn plan(plan: &Value) -> Page {
    list(&plan["message"]).iter().fold(Page::new(), |page, line| page.line(text(line)))
}

/// Of `GetClusterLayoutHistory`.
pub(super) fn history(history: &Value) -> Page {
    let mut rows = vec![row(&["version", "state", "storage nodes", "gateways"])];
    for version in list(&history["versions"]) {
        let cells = ["version", "status", "storageNodes", "gatewayNodes"];
        rows.push(cells.iter().map(|cell| text(&version[*cell])).collect());
    }
    let page = Page::new().table(rows).gap();
    let mut rows = vec![row(&["node", "acknowledged", "synced", "reads by"])];
    for (node, trackers) in fields(&history["updateTrackers"]) {
        let node = short(&node);
        let at = |step: &str| text(&trackers[step]);
        rows.push(vec![node, at("ack"), at("sync"), at("syncAck")]);
    }
    let page = page.table(rows).gap().text(waiting(history));
    list(&history["conflicts"]).iter().fold(page, |page, version| {
        page.warning(format!(
            "Two different layouts were applied as version {version}. One of them is in force; apply a new version to end the doubt."
        ))
    })
}

/// What a transition waits for, a line each; one line if there is none.
pub(super) fn waiting(history: &Value) -> String {
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

/// What a role stores.
pub(super) fn capacity(role: &Value) -> String {
    let capacity = &role["capacity"];
    if capacity.is_null() { "gateway".to_owned() } else { bytes(capacity) }
}

fn tags(role: &Value) -> String {
    list(&role["tags"]).iter().map(text).collect::<Vec<_>>().join(",")
}
