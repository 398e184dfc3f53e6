//! The cluster: who is there, and whether all is well.

use std::time::Duration;

use serde_json::{Value, json};

use super::{error::Error, layout::waiting_json, serve};
use crate::{
    id::NodeId,
    node::{
        Contact,
        control::{Command, Report},
        gossip::Space,
        status::{NodeStatus, PlaceStatus, Status},
    },
    placement::{explain::Bytes, layout::Role},
    task::{Cx, Reason},
    view::{Consistency, View},
};

/// How long a change may take to reach the disk.
const SETTLE: Duration = Duration::from_secs(10);

/// How long nodes that are looked for may take to answer, before it is said that they have not. What has failed before is said at
/// once.
const MEETING: Duration = Duration::from_secs(5);

/// How things are.
pub(super) async fn status(cx: Cx) -> Result<Status, Error> {
    match cx.control(Command::Status).await? {
        Report::Status(status) => Ok(*status),
        Report::Done | Report::Applied(_) | Report::Skipped(_) | Report::Rest(_) => {
            Err(Error::internal("the node answered something else than its status"))
        }
    }
}

/// How things are once what has changed until now is on disk, so that what was asked for is not forgotten by a crash after the
/// answer.
pub(super) async fn settled(cx: Cx) -> Result<Status, Error> {
    let begun = cx.now().mono;
    let mut wanted = None;
    loop {
        let status = status(cx).await?;
        if status.saved >= *wanted.get_or_insert(status.save) {
            return Ok(status);
        }
        if cx.now().mono.since(begun) > SETTLE {
            let message =
                "the change is made, but cannot be written to this node's disk; see its log";
            return Err(Error::internal(message));
        }
        cx.sleep(Duration::from_millis(5), Reason("the layout is being saved")).await;
    }
}

/// A node's id, from its 64 digits.
pub(super) fn node_id(text: &str) -> Result<NodeId, Error> {
    let id = NodeId::from_hex(text);
    id.ok_or_else(|| Error::bad(format!("`{text}` is not a node's id: 64 hexadecimal digits")))
}

pub(super) fn get_status(view: &View, status: &Status) -> Value {
    let nodes: Vec<Value> = status.nodes.iter().map(|node| node_json(status, node)).collect();
    json!({
        "layoutVersion": status.history.version(),
        "clusterId": status.history.cluster().map(|id| id.to_string()),
        "node": status.node.to_string(),
        "waitingFor": status.history.waiting_for().iter().map(waiting_json).collect::<Vec<_>>(),
        "consistencyMode": match view.config.consistency {
            Consistency::Consistent => "consistent",
            Consistency::Degraded => "degraded",
            Consistency::Dangerous => "dangerous",
        },
        "nodes": nodes,
        "jobs": status.jobs.iter().map(|job| json!({
            "name": job.job.name(),
            "running": job.due.is_none(),
            "dueInSecs": job.due.map(|due| due.since(status.now.mono).as_secs()),
            "failures": job.failures,
        })).collect::<Vec<_>>(),
    })
}

fn node_json(status: &Status, node: &NodeStatus) -> Value {
    let history = &status.history;
    let role = history.role(node.id);
    let space = |space: Space| json!({ "available": space.available, "total": space.total });
    let seen = node.seen.map(|seen| status.now.wall.0.saturating_sub(seen.0) / 1000);
    json!({
        "id": node.id.to_string(),
        "garageVersion": node.version,
        "addr": node.address,
        "hostname": node.hostname,
        "isUp": node.up,
        "lastSeenSecsAgo": seen,
        "role": role.map(role_json),
        "draining": role.is_none() && history.members().contains(&node.id),
        "dataPartition": node.disk.map(space),
        "metadataPartition": Value::Null,
        "rttMillis": node.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
        "clockSkewMillis": node.skew,
        "recovering": node.recovering,
    })
}

pub(super) fn role_json(role: &Role) -> Value {
    json!({ "zone": role.zone, "capacity": role.capacity, "tags": role.tags })
}

/// How the partitions are.
pub(super) struct Health {
    status: &'static str,
    pub storage: Vec<NodeId>,
    pub up: usize,
    pub partitions: usize,
    /// That have the quorums which requests need by the mode, in every version in force.
    pub quorum: usize,
    /// All of whose nodes are up.
    pub all: usize,
}

impl Health {
    /// Whether everything can be read and written.
    pub fn is_available(&self) -> bool {
        self.partitions > 0 && self.quorum == self.partitions
    }
}

pub(super) fn health(status: &Status, mode: Consistency) -> Health {
    let mut storage: Vec<NodeId> =
        status.history.active().flat_map(|layout| layout.storage.iter().copied()).collect();
    storage.sort_unstable();
    storage.dedup();
    let reachable: Vec<NodeId> =
        storage.iter().copied().filter(|node| status.is_up(*node)).collect();
    let is_up = |node: &NodeId| reachable.binary_search(node).is_ok();
    let partitions = status.history.current().map_or(0, |layout| layout.partitions());
    let (mut quorum, mut all) = (0, 0);
    for partition in 0..partitions {
        let (mut has_quorum, mut has_all) = (true, true);
        for layout in status.history.active() {
            let nodes = layout.replicas(partition);
            let up = nodes.iter().filter(|node| is_up(node)).count();
            let needed = mode.quorums(nodes.len());
            has_quorum &= up >= needed.write.max(needed.read);
            has_all &= up == nodes.len();
        }
        quorum += usize::from(has_quorum);
        all += usize::from(has_all);
    }
    let summary = if partitions == 0 || quorum < partitions {
        "unavailable"
    } else if reachable.len() < storage.len() {
        "degraded"
    } else {
        "healthy"
    };
    Health { status: summary, up: reachable.len(), storage, partitions, quorum, all }
}

pub(super) fn get_health(status: &Status, mode: Consistency) -> Value {
    let health = health(status, mode);
    json!({
        "status": health.status,
        "knownNodes": status.nodes.len(),
        "connectedNodes": status.nodes.iter().filter(|node| node.up).count(),
        "storageNodes": health.storage.len(),
        "storageNodesUp": health.up,
        // As it was called before it was renamed.
        "storageNodesOk": health.up,
        "partitions": health.partitions,
        "partitionsQuorum": health.quorum,
        "partitionsAllOk": health.all,
    })
}

/// For load balancers: whether requests can be served, and a line that says why.
pub(super) fn health_line(status: &Status, mode: Consistency) -> (bool, String) {
    let health = health(status, mode);
    let text = format!(
        "Mews is {}: {} of {} partitions have a quorum, {} of {} storage nodes are up.\n",
        health.status,
        health.quorum,
        health.partitions,
        health.up,
        health.storage.len()
    );
    (health.is_available(), text)
}

pub(super) fn get_statistics(status: &Status) -> Value {
    let members = status.history.members();
    let disks: Vec<Space> =
        status.nodes.iter().filter(|n| members.contains(&n.id)).filter_map(|n| n.disk).collect();
    let (free, total) =
        disks.iter().fold((0, 0), |sum, disk| (sum.0 + disk.available, sum.1 + disk.total));
    let layout = status.history.current();
    let usable = layout.map_or(0, |layout| layout.partition_size() * layout.partitions() as u64);
    let copies = layout.map_or(1, |layout| u64::from(layout.parameters.replication));
    json!({
        "freeform": format!(
            "Usable capacity of the layout: {}\nFree on the disks: {} of {}, room for {} of new data\n",
            Bytes(usable), Bytes(free), Bytes(total), Bytes(free / copies)
        ),
        "dataAvail": free / copies,
        "usableCapacity": usable,
    })
}

pub(super) async fn connect(cx: Cx, places: Vec<String>) -> Result<Value, Error> {
    let parsed: Vec<Place> = places.iter().map(|place| place.parse()).collect();
    let contacts = parsed.iter().filter_map(|contact| contact.clone().ok()).collect();
    cx.control(Command::Connect(contacts)).await?;
    let begun = cx.now().mono;
    loop {
        let status = status(cx).await?;
        let waits = parsed.iter().any(|place| is_open(place, &status));
        if !waits || cx.now().mono.since(begun) > MEETING {
            let results = parsed.iter().map(|place| meeting(place, &status));
            return Ok(results.map(connected).collect());
        }
        cx.sleep(Duration::from_millis(50), Reason("nodes are being looked for")).await;
    }
}

/// A place as it was given, or why it is none.
type Place = Result<Contact, String>;

fn looked_for<'a>(contact: &Contact, status: &'a Status) -> Option<&'a PlaceStatus> {
    status.places.iter().find(|place| place.contact == *contact)
}

/// Whether nothing has come yet of looking there.
fn is_open(place: &Place, status: &Status) -> bool {
    let place = place.as_ref().ok().and_then(|contact| looked_for(contact, status));
    place.is_some_and(|place| place.met.is_none() && place.trouble.is_none())
}

/// Who is connected of a place that nodes were looked for at; or why nobody is.
pub(super) fn meeting(place: &Place, status: &Status) -> Result<NodeId, String> {
    let contact = place.clone()?;
    let place = looked_for(&contact, status);
    place.and_then(|place| place.met).ok_or_else(|| {
        let trouble = place.and_then(|place| place.trouble.as_deref());
        let trouble = trouble.unwrap_or("no answer so far");
        format!("not connected to {contact}: {trouble}. This node goes on looking there")
    })
}

fn connected(result: Result<NodeId, String>) -> Value {
    match result {
        Ok(node) => json!({ "success": true, "error": Value::Null, "node": node.to_string() }),
        Err(error) => json!({ "success": false, "error": error, "node": Value::Null }),
    }
}

/// What [`forget`] takes.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OneNode {
    pub node: String,
}

pub(super) async fn forget(cx: Cx, one: OneNode) -> Result<Value, Error> {
    cx.control(Command::Forget(node_id(&one.node)?)).await?;
    settled(cx).await?;
    Ok(serve::done())
}
