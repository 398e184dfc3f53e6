//! All layouts that still matter, what is staged for the next one, and how far each node has got: the state that nodes gossip.
//!
//! It is a CRDT: [`History::merge`] is commutative, associative and idempotent. What follows from it locally (a version that no
//! one needs any more) is a step of its own, [`History::advance`], so that merging stays a merge.
//!
//! A new version passes through three [steps](Step): once every node has *acknowledged* it, all writes reach its replica sets; then
//! its storage nodes *sync*; once all of them have, reads go to it, and when every node *reads* by it, older versions retire.
//! Compare Garage's layout trackers; here a version is readable when all its storage nodes are synced.

mod stage;
mod stored;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub use stage::{ApplyError, Draft, StageError};

use super::{
    layout::{Layout, Role},
    staging::Staged,
    trackers::{Step, Trackers},
};
use crate::id::{ClusterId, NodeId};

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
        self.vouched_version().unwrap_or(self.floor)
    }

    /// The newest version in force whose storage nodes have all said that they have its data. `None` while a cluster's first layout is
    /// new: then there is no data yet.
    pub fn vouched_version(&self) -> Option<u64> {
        let synced = |layout: &&Arc<Layout>| {
            let mut nodes = layout.storage.iter();
            nodes.all(|node| self.trackers.get(Step::Sync, *node) >= layout.version)
        };
        self.active().rev().find(synced).map(|layout| layout.version)
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
            if ours == theirs {
                continue;
            }
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
}

/// What is compared to choose between two layouts of one version.
fn encoded(layout: &Layout) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(layout, &mut bytes).expect("plain data, and memory does not fail");
    bytes
}
