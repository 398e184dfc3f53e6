//! The layout: staged, planned, applied, looked at.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    cluster::{self, OneNode, node_id, role_json},
    error::Error,
    stored,
};
use crate::{
    id::NodeId,
    node::{
        control::{Command, Report},
        status::Status,
    },
    placement::{
        explain::{Failures, Plan},
        history::{ApplyError, Draft, History, Waiting},
        layout::{self, Layout, Parameters, Redundancy, Role},
        trackers::Step,
    },
    task::Cx,
    view::View,
};

/// What [`update`] takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Update {
    #[serde(default)]
    roles: Vec<RoleChange>,
    #[serde(default)]
    parameters: Option<ParametersChange>,
    /// Ours: also roles of nodes that the asked one has never heard of.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RoleChange {
    id: String,
    #[serde(default)]
    remove: bool,
    #[serde(default)]
    zone: Option<String>,
    #[serde(default)]
    capacity: Option<u64>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ParametersChange {
    #[serde(default)]
    zone_redundancy: Option<ZoneRedundancy>,
    /// Ours: Garage's cannot be changed.
    #[serde(default)]
    replication_factor: Option<u16>,
    /// Ours, and only before the first layout: 256 to 4096.
    #[serde(default)]
    partitions: Option<u16>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
enum ZoneRedundancy {
    Maximum,
    AtLeast(u16),
}

impl RoleChange {
    pub(super) fn parse(self) -> Result<(NodeId, Option<Role>), Error> {
        let id = node_id(&self.id)?;
        if self.remove {
            let more = self.zone.is_some() || self.capacity.is_some() || !self.tags.is_empty();
            return if more {
                Err(Error::bad(format!("{id}: give either `remove` or what its role is to be")))
            } else {
                Ok((id, None))
            };
        }
        let zone = self.zone.ok_or_else(|| Error::bad(format!("{id}: `zone` is missing")))?;
        Ok((id, Some(Role { zone, capacity: self.capacity, tags: self.tags })))
    }
}

impl ParametersChange {
    fn parse(self) -> Result<layout::ParametersChange, Error> {
        let redundancy = self.zone_redundancy.map(|zones| match zones {
            ZoneRedundancy::Maximum => Redundancy::Maximum,
            ZoneRedundancy::AtLeast(zones) => Redundancy::AtLeast(zones),
        });
        let bits = match self.partitions {
            None => None,
            Some(n) if n.is_power_of_two() => Some(u8::try_from(n.ilog2()).unwrap_or(u8::MAX)),
            Some(n) => {
                return Err(Error::bad(format!("{n} partitions: it must be a power of two")));
            }
        };
        Ok(layout::ParametersChange { replication: self.replication_factor, redundancy, bits })
    }
}

/// The layout in force, and what is staged.
pub(super) fn get(status: &Status) -> Value {
    let layout = status.history.current().map(AsRef::as_ref);
    layout_json(&status.history, status.parameters, layout)
}

fn layout_json(history: &History, parameters: Parameters, layout: Option<&Layout>) -> Value {
    let staged = history.staged();
    let staged_roles = staged.roles().map(|(node, role)| match role {
        Some(role) => with(json!({ "id": node.to_string() }), role_json(role)),
        None => json!({ "id": node.to_string(), "remove": true }),
    });
    json!({
        "version": layout.map_or(0, |layout| layout.version),
        "roles": layout.map(roles_json).unwrap_or_default(),
        "parameters": parameters_json(parameters),
        "partitionSize": layout.map_or(0, Layout::partition_size),
        "stagedRoleChanges": staged_roles.collect::<Vec<_>>(),
        "stagedParameters": staged.parameters().map(parameters_json),
    })
}

fn roles_json(layout: &Layout) -> Vec<Value> {
    let loads = layout.loads();
    let size = layout.partition_size();
    let roles = layout.roles.iter().map(|(node, role)| {
        let load = layout.storage.binary_search(node).ok().map(|index| loads[index]);
        let stored = json!({
            "id": node.to_string(),
            "storedPartitions": load,
            "usableCapacity": load.map(|load| load * size),
        });
        with(stored, role_json(role))
    });
    roles.collect()
}

fn parameters_json(parameters: Parameters) -> Value {
    json!({
        "zoneRedundancy": match parameters.redundancy {
            Redundancy::Maximum => json!("maximum"),
            Redundancy::AtLeast(zones) => json!({ "atLeast": zones }),
        },
        "replicationFactor": parameters.replication,
        "partitions": 1_u32 << parameters.bits,
    })
}

/// Both objects' fields.
fn with(mut object: Value, more: Value) -> Value {
    if let (Value::Object(fields), Value::Object(more)) = (&mut object, more) {
        fields.extend(more);
    }
    object
}

pub(super) async fn update(cx: Cx, update: Update) -> Result<Value, Error> {
    let roles = update.roles.into_iter().map(RoleChange::parse).collect::<Result<_, _>>()?;
    let parameters = update.parameters.map(ParametersChange::parse).transpose()?;
    staged(cx, Command::Stage { roles, parameters, force: update.force }).await
}

async fn staged(cx: Cx, command: Command) -> Result<Value, Error> {
    cx.control(command).await?;
    Ok(get(&cluster::settled(cx).await?))
}

pub(super) async fn revert(cx: Cx) -> Result<Value, Error> {
    staged(cx, Command::Revert).await
}

pub(super) async fn drain(cx: Cx, one: OneNode) -> Result<Value, Error> {
    staged(cx, Command::Drain(node_id(&one.node)?)).await
}

/// What [`replace`] takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pair {
    old: String,
    new: String,
}

pub(super) async fn replace(cx: Cx, pair: Pair) -> Result<Value, Error> {
    let (old, new) = (node_id(&pair.old)?, node_id(&pair.new)?);
    staged(cx, Command::Replace { old, new }).await
}

pub(super) async fn preview(cx: Cx, view: &View) -> Result<Value, Error> {
    // Worked out here and not under the node's lock: with a hundred nodes it takes a while.
    let status = cluster::status(cx).await?;
    match status.history.draft() {
        Ok(Draft { layout, mut plan, .. }) => {
            plan.stored = stored::in_all(cx, view, &status).await?;
            Ok(json!({
                "message": lines(&plan, &status),
                "newLayout": layout_json(&History::default(), layout.parameters, Some(&layout)),
                "plan": plan_json(&plan),
            }))
        }
        Err(error @ (ApplyError::NothingStaged | ApplyError::Unsolvable(_))) => {
            Ok(json!({ "error": error.to_string() }))
        }
        Err(
            error @ (ApplyError::WrongVersion { .. }
            | ApplyError::InTransition
            | ApplyError::Changed),
        ) => Err(Error::bad(error.to_string())),
    }
}

/// What a plan means, and whom it will wait for.
pub(super) fn lines(plan: &Plan, status: &Status) -> Vec<String> {
    let mut lines: Vec<String> = plan.to_string().lines().map(str::to_owned).collect();
    let missing = plan.nodes.iter().map(|node| node.node).filter(|node| !status.is_up(*node));
    let missing = missing.map(|id| {
        let met = status.nodes.iter().any(|node| node.id == id && node.version.is_some());
        let state = if met { "is down" } else { "was never met" };
        format!("Node {id} {state}: the change goes on only when it is there.")
    });
    let missing: Vec<String> = missing.collect();
    if !missing.is_empty() {
        lines.push(String::new());
        lines.extend(missing);
    }
    lines
}

fn plan_json(plan: &Plan) -> Value {
    let failures = |failures: Failures| json!({ "zones": failures.zones, "nodes": failures.nodes });
    json!({
        "version": plan.version,
        "replicationFactor": plan.replication,
        "zones": plan.zones,
        "partitions": plan.partitions,
        "partitionSize": plan.partition_size.1,
        "usableCapacity": plan.usable(),
        "usableCapacityBefore": plan.usable_before(),
        "partitionsMoved": plan.moved(),
        "bytesStored": plan.stored,
        "bytesMoved": plan.bytes(plan.moved()),
        "survives": {
            "writes": failures(plan.survives.writes),
            "reads": failures(plan.survives.reads),
            "data": failures(plan.survives.data),
        },
        "nodes": plan.nodes.iter().map(|node| json!({
            "id": node.node.to_string(),
            "before": node.before.as_ref().map(role_json),
            "after": node.after.as_ref().map(role_json),
            "partitions": node.partitions(),
            "kept": node.kept,
            "gained": node.gained,
            "lost": node.lost,
            "bytesGained": plan.bytes(node.gained),
        })).collect::<Vec<_>>(),
    })
}

/// What [`apply`] takes.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Version {
    version: u64,
}

pub(super) async fn apply(cx: Cx, view: &View, which: Version) -> Result<Value, Error> {
    let status = cluster::status(cx).await?;
    let stored = stored::in_all(cx, view, &status).await?;
    let history = &status.history;
    let draft = history.may_apply(which.version).and_then(|()| history.draft());
    let draft = draft.map_err(|error| Error::bad(error.to_string()))?;
    match cx.control(Command::Apply(Box::new(draft))).await? {
        Report::Applied(mut plan) => {
            plan.stored = stored;
            Ok(json!({
                "message": lines(&plan, &status),
                "layout": get(&cluster::settled(cx).await?),
                "plan": plan_json(&plan),
            }))
        }
        Report::Done | Report::Status(_) | Report::Skipped(_) | Report::Rest(_) => {
            Err(Error::internal("the node answered something else than a plan"))
        }
    }
}

/// What [`skip_dead`] takes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Skip {
    version: u64,
    #[serde(default)]
    allow_missing_data: bool,
    /// Ours: who is dead for good. Without it, all that have been down for a minute.
    #[serde(default)]
    nodes: Vec<String>,
}

pub(super) async fn skip_dead(cx: Cx, skip: Skip) -> Result<Value, Error> {
    let Skip { version, allow_missing_data: missing_data, nodes } = skip;
    let nodes = nodes.iter().map(|id| node_id(id)).collect::<Result<_, _>>()?;
    match cx.control(Command::SkipDead { version, nodes, missing_data }).await? {
        Report::Skipped(nodes) => {
            cluster::settled(cx).await?;
            let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            let synced = if missing_data { ids.clone() } else { Vec::new() };
            Ok(json!({ "ackUpdated": ids, "syncUpdated": synced }))
        }
        Report::Done | Report::Status(_) | Report::Applied(_) | Report::Rest(_) => {
            Err(Error::internal("the node answered something else than a list of nodes"))
        }
    }
}

/// The versions, newest first, and how far each node has got.
pub(super) fn history(status: &Status) -> Value {
    let history = &status.history;
    let current = history.version();
    let version = |layout: &Layout, state: &str| {
        json!({
            "version": layout.version,
            "status": state,
            "storageNodes": layout.storage.len(),
            "gatewayNodes": layout.roles.len() - layout.storage.len(),
        })
    };
    let active = history.active().rev().map(|layout| {
        version(layout, if layout.version == current { "Current" } else { "Draining" })
    });
    let retired = history.retired().map(|layout| version(layout, "Historical"));
    let trackers: serde_json::Map<String, Value> = history
        .members()
        .into_iter()
        .map(|node| {
            let at = |step| history.trackers().get(step, node);
            let of = json!({
                "ack": at(Step::Ack),
                "sync": at(Step::Sync),
                "syncAck": at(Step::Read),
            });
            (node.to_string(), of)
        })
        .collect();
    json!({
        "currentVersion": current,
        "minAck": history.min(Step::Ack),
        "readVersion": history.read_version(),
        "versions": active.chain(retired).collect::<Vec<_>>(),
        "updateTrackers": trackers,
        "waitingFor": history.waiting_for().iter().map(waiting_json).collect::<Vec<_>>(),
        "conflicts": history.conflicts().collect::<Vec<_>>(),
    })
}

pub(super) fn waiting_json(waiting: &Waiting) -> Value {
    json!({
        "version": waiting.version,
        "step": match waiting.step {
            Step::Ack => "ack",
            Step::Sync => "sync",
            Step::Read => "syncAck",
        },
        "nodes": waiting.nodes.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
