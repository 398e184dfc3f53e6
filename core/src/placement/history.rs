//! All layouts that still matter, what is staged for the next one, and how far each node has got: the state that nodes gossip.
//!
//! It is a CRDT: [`History::merge`] is commutative, associative and idempotent. What follows from it locally (a version that no
//! one needs any more) is a step of its own, [`History::advance`], so that merging stays a merge.
//!
//! A new version passes through three [steps](Step): once every node has *acknowledged* it, all writes reach its replica sets; then
//! its storage nodes *sync*; once all of them have, reads go to it, and when every node *reads* by it, older versions retire.
//! Compare Garage's layout trackers; here a version is readable when all its storage nodes are synced.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    explain::{self, Plan},
    layout::{Layout, LayoutError, Parameters, Role},
    solve::{self, SolveError},
    staging::Staged,
    trackers::{Step, Trackers},
};
use crate::{
    id::{ClusterId, NodeId},
    time::Timestamp,
};

/// The first byte of an encoded history.
const FORMAT: u8 = 1;

/// Retired layouts that are remembered, because blocks may still be where these put them.
pub const RETIRED_MAX: usize = 5;

/// Layouts in force at once. Each costs every write another replica set, so a transition that hangs is to be looked at before
/// more are begun.
pub const IN_FORCE_MAX: usize = 5;

/// See the [module](self).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Which cluster this is about; `None` before its first layout.
    cluster: Option<ClusterId>,
    /// Those in force and those retired.
    layouts: BTreeMap<u64, Arc<Layout>>,
    /// The oldest version in force; older ones are retired. 0 before the first.
    floor: u64,
    /// Versions below are gone for good.
    forgotten: u64,
    /// Versions of which two different layouts were made.
    conflicts: BTreeSet<u64>,
    staged: Staged,
    trackers: Trackers,
}

/// What a merge has changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// Versions came, went or were replaced.
    pub layouts: bool,
    /// Some tracker moved.
    pub trackers: bool,
    /// Something was staged or unstaged.
    pub staged: bool,
    /// The lowest version of which the other side had another layout than this one. The same one of the two wins everywhere, and
    /// what had been claimed for the loser is void. The operator should look at the layout and apply a new version.
    pub conflict: Option<u64>,
}

impl Merged {
    /// Whether anything changed.
    pub fn any(self) -> bool {
        self.layouts || self.trackers || self.staged
    }
}

/// The other history is about another cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherCluster {
    /// This cluster.
    pub ours: ClusterId,
    /// That cluster.
    pub theirs: ClusterId,
}

impl std::fmt::Display for OtherCluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ours, theirs } = self;
        write!(
            f,
            "that node belongs to cluster {theirs}, this one to {ours}: two clusters cannot be joined"
        )
    }
}

impl std::error::Error for OtherCluster {}

/// What the cluster waits for before a version in force gets on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The version.
    pub version: u64,
    /// The step it is at.
    pub step: Step,
    /// Those who have not done it yet.
    pub nodes: Vec<NodeId>,
}

/// Why staged changes cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// Nothing is staged.
    NothingStaged,
    /// The next version is another than the one that was named: somebody else has applied one, or it was a slip.
    WrongVersion {
        /// What would be right.
        next: u64,
    },
    /// Too many versions are in force already; see [`IN_FORCE_MAX`].
    InTransition,
    /// No layout satisfies this.
    Unsolvable(SolveError),
}

impl std::fmt::Display for ApplyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NothingStaged => write!(f, "nothing is staged"),
            Self::WrongVersion { next } => write!(
                f,
                "the next version is {next}: look at the plan again, then apply version {next}"
            ),
            Self::InTransition => write!(
                f,
                "{IN_FORCE_MAX} versions are in force already: wait for the transition, or skip the nodes that are dead"
            ),
            Self::Unsolvable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ApplyError {}

/// Why a change cannot be staged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageError {
    /// The node has no role, so there is nothing to take from it.
    NoRole(NodeId),
    /// The node has a role in a version in force: drain or replace it first.
    InUse(NodeId),
    /// The number of partitions cannot be changed once there is a layout.
    BitsAreFixed,
    /// Parameters that no layout can have.
    Invalid(LayoutError),
}

impl std::fmt::Display for StageError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoRole(node) => write!(f, "node {node} has no role in the layout"),
            Self::InUse(node) => write!(
                f,
                "node {node} has a role in a layout in force: drain or replace it first, and wait for that to end"
            ),
            Self::BitsAreFixed => {
                write!(f, "the number of partitions is fixed when the first layout is applied")
            }
            Self::Invalid(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for StageError {}

impl History {
    /// The history of a cluster of one, whose first layout is this.
    pub fn new(cluster: ClusterId, layout: Layout) -> Self {
        let version = layout.version;
        Self {
            cluster: Some(cluster),
            layouts: BTreeMap::from([(version, Arc::new(layout))]),
            floor: version,
            forgotten: version,
            ..Self::default()
        }
    }

    /// Which cluster this is about; `None` before its first layout.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The newest version's number; 0 before the first.
    pub fn version(&self) -> u64 {
        self.layouts.last_key_value().map_or(0, |(version, _)| *version)
    }

    /// The newest layout.
    pub fn current(&self) -> Option<&Arc<Layout>> {
        self.layouts.last_key_value().map(|(_, layout)| layout)
    }

    /// The layout of that version, if it is in force or was lately.
    pub fn layout(&self, version: u64) -> Option<&Arc<Layout>> {
        self.layouts.get(&version)
    }

    /// The versions in force, oldest first.
    pub fn active(&self) -> impl DoubleEndedIterator<Item = &Arc<Layout>> {
        self.layouts.range(self.floor..).map(|(_, layout)| layout)
    }

    /// The retired versions that are remembered, newest first.
    pub fn retired(&self) -> impl Iterator<Item = &Arc<Layout>> {
        self.layouts.range(..self.floor).rev().map(|(_, layout)| layout)
    }

    /// The oldest version in force; 0 before the first.
    pub fn oldest(&self) -> u64 {
        self.floor
    }

    /// What is staged for the next version.
    pub fn staged(&self) -> &Staged {
        &self.staged
    }

    /// How far each node has got.
    pub fn trackers(&self) -> &Trackers {
        &self.trackers
    }

    /// Versions in force of which two different layouts were made. One of them won; a new version ends the doubt.
    pub fn conflicts(&self) -> impl Iterator<Item = u64> {
        self.conflicts.range(self.floor..).copied()
    }

    /// Everybody with a role in a version in force, gateways too, in order of id.
    pub fn members(&self) -> BTreeSet<NodeId> {
        self.active().flat_map(|layout| layout.roles.keys().copied()).collect()
    }

    /// The role of `node` in the newest layout.
    pub fn role(&self, node: NodeId) -> Option<&Role> {
        self.current()?.roles.get(&node)
    }

    /// The version that every member has reached with `step`.
    pub fn min(&self, step: Step) -> u64 {
        let reached = self.members().into_iter().map(|node| self.trackers.get(step, node));
        reached.min().unwrap_or(0)
    }

    /// The version that reads go to: the newest in force whose storage nodes all have its data, or the oldest in force.
    pub fn read_version(&self) -> u64 {
        let synced = |layout: &&Arc<Layout>| {
            let mut nodes = layout.storage.iter();
            nodes.all(|node| self.trackers.get(Step::Sync, *node) >= layout.version)
        };
        self.active().rev().find(synced).map_or(self.floor, |layout| layout.version)
    }

    /// The newest version in force that every member writes to, hence the one that its storage nodes may fetch their data for.
    pub fn sync_version(&self) -> u64 {
        self.min(Step::Ack).clamp(self.floor, self.version().max(self.floor))
    }

    /// What each version in force waits for; nothing, once all read by the newest.
    pub fn waiting_for(&self) -> Vec<Waiting> {
        let members = self.members();
        let newest = self.active().rev().take(IN_FORCE_MAX);
        let mut waiting: Vec<Waiting> = newest
            .filter_map(|layout| {
                let version = layout.version;
                let behind = |step: Step, nodes: &mut dyn Iterator<Item = NodeId>| {
                    let nodes: Vec<NodeId> =
                        nodes.filter(|node| self.trackers.get(step, *node) < version).collect();
                    (!nodes.is_empty()).then_some(Waiting { version, step, nodes })
                };
                behind(Step::Ack, &mut members.iter().copied())
                    .or_else(|| behind(Step::Sync, &mut layout.storage.iter().copied()))
                    .or_else(|| behind(Step::Read, &mut members.iter().copied()))
            })
            .collect();
        waiting.reverse();
        waiting
    }

    /// Records that `node` has done `step` for `version` and all before. Says whether that was news. Versions that do not exist
    /// are not recorded.
    pub fn reach(&mut self, step: Step, node: NodeId, version: u64) -> bool {
        version <= self.version() && self.trackers.raise(step, node, version)
    }

    /// Retires the versions that nobody needs any more: those before the version that every member reads by. Says whether there
    /// were any.
    pub fn advance(&mut self) -> bool {
        let floor = self.min(Step::Read).min(self.version());
        if floor <= self.floor {
            return false;
        }
        self.floor = floor;
        let last = self.retired().nth(RETIRED_MAX - 1).map_or(0, |layout| layout.version);
        self.forgotten = self.forgotten.max(last);
        self.forget();
        true
    }

    /// Takes the dead out of what is waited for: from now on `nodes` count as having acknowledged `version` and reading by it; if
    /// `missing_data`, also as having synced it, so that what only they had is given up. If one of them is not dead after all, what
    /// it has under way while this is done may be lost.
    pub fn skip_dead(&mut self, version: u64, nodes: &[NodeId], missing_data: bool) -> bool {
        let steps = [Some(Step::Ack), missing_data.then_some(Step::Sync), Some(Step::Read)];
        let mut news = false;
        for node in nodes {
            for step in steps.into_iter().flatten() {
                news |= self.reach(step, *node, version);
            }
        }
        news
    }

    /// Stages a role for `node`, or its removal.
    pub fn stage(
        &mut self,
        node: NodeId,
        role: Option<Role>,
        now: Timestamp,
    ) -> Result<(), StageError> {
        if role.is_none() && self.role(node).is_none() && !self.staged.names(node) {
            return Err(StageError::NoRole(node));
        }
        role.as_ref().map_or(Ok(()), Role::check).map_err(StageError::Invalid)?;
        self.staged.stage(node, role, now);
        Ok(())
    }

    /// Stages parameters for the next version.
    pub fn stage_parameters(&mut self, new: Parameters, now: Timestamp) -> Result<(), StageError> {
        new.check().map_err(StageError::Invalid)?;
        if self.current().is_some_and(|layout| layout.parameters.bits != new.bits) {
            return Err(StageError::BitsAreFixed);
        }
        self.staged.stage_parameters(new, now);
        Ok(())
    }

    /// Stages that `node` gives its data to the others and leaves.
    pub fn drain(&mut self, node: NodeId, now: Timestamp) -> Result<(), StageError> {
        if self.role(node).is_none() {
            return Err(StageError::NoRole(node));
        }
        self.stage(node, None, now)
    }

    /// Stages that `new` takes the place of `old`: its zone, capacity and tags, and so its partitions.
    pub fn replace(&mut self, old: NodeId, new: NodeId, now: Timestamp) -> Result<(), StageError> {
        let role = self.role(old).cloned().ok_or(StageError::NoRole(old))?;
        if self.role(new).is_some() {
            return Err(StageError::InUse(new));
        }
        self.stage(old, None, now)?;
        self.stage(new, Some(role), now)
    }

    /// Whether `node` may be forgotten: it has no role in any version in force. What is staged for it is unstaged.
    pub fn forget_node(&mut self, node: NodeId, now: Timestamp) -> Result<(), StageError> {
        if self.members().contains(&node) {
            return Err(StageError::InUse(node));
        }
        if self.staged.names(node) {
            self.staged.stage(node, None, now);
        }
        Ok(())
    }

    /// Drops everything that is staged.
    pub fn revert(&mut self, now: Timestamp) {
        self.staged.clear(now);
    }

    /// The roles and the parameters that the next version would have.
    pub fn proposed(&self) -> (BTreeMap<NodeId, Role>, Parameters) {
        let mut roles = self.current().map(|layout| layout.roles.clone()).unwrap_or_default();
        for (node, role) in self.staged.roles() {
            match role {
                Some(role) => roles.insert(node, role.clone()),
                None => roles.remove(&node),
            };
        }
        let current = self.current().map(|layout| layout.parameters).unwrap_or_default();
        (roles, self.staged.parameters().unwrap_or(current))
    }

    /// The layout that applying would make, and what it would mean. The same on every node that knows the same.
    pub fn plan(&self) -> Result<(Layout, Plan), ApplyError> {
        if self.staged.is_empty() && self.conflicts().next().is_none() {
            return Err(ApplyError::NothingStaged);
        }
        let (roles, parameters) = self.proposed();
        let current = self.current().map(Arc::as_ref);
        let version = self.version() + 1;
        let layout =
            solve::solve(current, version, roles, parameters).map_err(ApplyError::Unsolvable)?;
        let plan = explain::explain(current, &layout);
        Ok((layout, plan))
    }

    /// Makes what is staged the next version, which must be number `version`. `fresh` names the cluster if this is its first
    /// layout.
    pub fn apply(
        &mut self,
        version: u64,
        fresh: ClusterId,
        now: Timestamp,
    ) -> Result<Plan, ApplyError> {
        let next = self.version() + 1;
        if version != next {
            return Err(ApplyError::WrongVersion { next });
        }
        if self.active().count() >= IN_FORCE_MAX {
            return Err(ApplyError::InTransition);
        }
        let (layout, plan) = self.plan()?;
        self.cluster.get_or_insert(fresh);
        self.layouts.insert(version, Arc::new(layout));
        if self.floor == 0 {
            (self.floor, self.forgotten) = (version, version);
        }
        self.staged.clear(now);
        Ok(plan)
    }

    /// Takes in what another node knows.
    pub fn merge(&mut self, other: &Self) -> Result<Merged, OtherCluster> {
        match (self.cluster, other.cluster) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                return Err(OtherCluster { ours, theirs });
            }
            _ => self.cluster = self.cluster.or(other.cluster),
        }
        let before = self.clone();
        self.forgotten = self.forgotten.max(other.forgotten);
        let (lost, won) = self.merge_layouts(other);
        // What was claimed about a layout that turns out not to be that version is void.
        let capped = |lost: Option<u64>, of: &Self| match lost {
            Some(version) => (of.trackers.capped(version), of.floor.min(version - 1)),
            None => (of.trackers.clone(), of.floor),
        };
        let (ours, our_floor) = capped(lost, self);
        let (theirs, their_floor) = capped(won, other);
        self.trackers = ours;
        self.trackers.merge(&theirs);
        self.floor = our_floor.max(their_floor).max(self.forgotten);
        self.conflicts.extend(&other.conflicts);
        self.conflicts.extend(lost.into_iter().chain(won));
        self.staged.merge(&other.staged);
        self.forget();
        Ok(Merged {
            layouts: self.layouts != before.layouts || self.floor != before.floor,
            trackers: self.trackers != before.trackers,
            staged: self.staged != before.staged,
            conflict: lost.into_iter().chain(won).min(),
        })
    }

    /// Merges the layouts; gives the lowest versions at which ours lost and won against another.
    fn merge_layouts(&mut self, other: &Self) -> (Option<u64>, Option<u64>) {
        let (mut lost, mut won) = (None::<u64>, None::<u64>);
        for (version, theirs) in &other.layouts {
            let ours = self.layouts.entry(*version).or_insert_with(|| Arc::clone(theirs));
            match encoded(ours).cmp(&encoded(theirs)) {
                std::cmp::Ordering::Less => {
                    *ours = Arc::clone(theirs);
                    lost = lost.or(Some(*version));
                }
                std::cmp::Ordering::Equal => {}
                std::cmp::Ordering::Greater => won = won.or(Some(*version)),
            }
        }
        (lost, won)
    }

    fn forget(&mut self) {
        let forgotten = self.forgotten;
        self.layouts.retain(|version, _| *version >= forgotten);
        self.conflicts.retain(|version| *version >= forgotten);
        self.trackers.forget_before(forgotten);
    }

    /// What two nodes compare to see whether they know the same.
    pub fn digest(&self) -> [u8; 32] {
        *blake3::hash(&self.encode()).as_bytes()
    }

    /// The history as bytes: a format byte, then CBOR.
    pub fn encode(&self) -> Vec<u8> {
        let stored = Stored {
            cluster: self.cluster,
            layouts: self.layouts.values().map(|layout| layout.as_ref().clone()).collect(),
            floor: self.floor,
            forgotten: self.forgotten,
            conflicts: self.conflicts.clone(),
            staged: self.staged.clone(),
            trackers: self.trackers.clone(),
        };
        let mut bytes = vec![FORMAT];
        ciborium::into_writer(&stored, &mut bytes).expect("plain data, and memory does not fail");
        bytes
    }

    /// The history in these bytes, checked: a peer or a disk may give anything.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let Some((&FORMAT, mut body)) = bytes.split_first() else {
            let format = bytes.first().map_or("none".to_owned(), u8::to_string);
            return Err(format!(
                "layout history: format {format}, and this program knows {FORMAT}"
            ));
        };
        let stored: Stored =
            ciborium::from_reader(&mut body).map_err(|error| format!("layout history: {error}"))?;
        if !body.is_empty() {
            return Err("layout history: bytes after its end".to_owned());
        }
        stored.checked().map_err(|error| format!("layout history: {error}"))
    }
}

/// What is compared to choose between two layouts of one version.
fn encoded(layout: &Layout) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(layout, &mut bytes).expect("plain data, and memory does not fail");
    bytes
}

/// How a history is encoded.
#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "c")]
    cluster: Option<ClusterId>,
    #[serde(rename = "l")]
    layouts: Vec<Layout>,
    #[serde(rename = "f")]
    floor: u64,
    #[serde(rename = "g")]
    forgotten: u64,
    #[serde(rename = "x", default)]
    conflicts: BTreeSet<u64>,
    #[serde(rename = "s")]
    staged: Staged,
    #[serde(rename = "t")]
    trackers: Trackers,
}

impl Stored {
    fn checked(self) -> Result<History, String> {
        let mut layouts = BTreeMap::new();
        for layout in self.layouts {
            let version = layout.version;
            layout.check().map_err(|error| format!("version {version}: {error}"))?;
            layouts.insert(version, Arc::new(layout));
        }
        let last = layouts.last_key_value().map_or(0, |(version, _)| *version);
        if self.floor > last || (last > 0 && !layouts.contains_key(&self.floor)) {
            return Err(format!("version {} is said to be in force and is not there", self.floor));
        }
        if layouts.keys().next().is_some_and(|first| *first < self.forgotten.max(1))
            || layouts.is_empty() != self.cluster.is_none()
        {
            return Err("it contradicts itself".to_owned());
        }
        Ok(History {
            cluster: self.cluster,
            layouts,
            floor: self.floor,
            forgotten: self.forgotten,
            conflicts: self.conflicts,
            staged: self.staged,
            trackers: self.trackers,
        })
    }
}
