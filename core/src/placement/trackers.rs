//! How far each node has got with the layouts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::NodeId;

/// One of the steps that every node goes through with a new layout, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing under way at the node writes by older layouts alone any more.
    Ack,
    /// The node has all the data that the layout gives it.
    Sync,
    /// The node reads by this layout, and nothing under way there reads by an older one.
    Read,
}

/// For each node and step, the newest version that it is done with. Only ever counts up, so merging is taking the greater.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trackers {
    #[serde(rename = "a")]
    ack: BTreeMap<NodeId, u64>,
    #[serde(rename = "s")]
    sync: BTreeMap<NodeId, u64>,
    #[serde(rename = "r")]
    read: BTreeMap<NodeId, u64>,
}

impl Trackers {
    /// How far `node` has got with `step`; 0 if it has never said.
    pub fn get(&self, step: Step, node: NodeId) -> u64 {
        self.of(step).get(&node).copied().unwrap_or(0)
    }

    /// All that have said how far they have got with `step`.
    pub fn of(&self, step: Step) -> &BTreeMap<NodeId, u64> {
        match step {
            Step::Ack => &self.ack,
            Step::Sync => &self.sync,
            Step::Read => &self.read,
        }
    }

    /// A claim about a version after `last`, if there is one.
    pub(super) fn above(&self, last: u64) -> Option<u64> {
        let claims = [&self.ack, &self.sync, &self.read].into_iter().flat_map(BTreeMap::values);
        claims.copied().find(|version| *version > last)
    }

    /// How many nodes have claims, at the step where most have.
    pub(super) fn len(&self) -> usize {
        self.ack.len().max(self.sync.len()).max(self.read.len())
    }

    /// Raises a tracker; says whether that was news.
    pub(super) fn raise(&mut self, step: Step, node: NodeId, version: u64) -> bool {
        // No claim at all: a row of zero would make two histories differ that say the same.
        if version == 0 {
            return false;
        }
        let entry = self.of_mut(step).entry(node).or_insert(0);
        let news = *entry < version;
        *entry = version.max(*entry);
        news
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for step in [Step::Ack, Step::Sync, Step::Read] {
            for (node, version) in other.of(step) {
                self.raise(step, *node, *version);
            }
        }
    }

    /// What is left of these claims if layouts from `version` on were not what they were made for.
    pub(super) fn capped(&self, version: u64) -> Self {
        let cap = |of: &BTreeMap<NodeId, u64>| {
            of.iter().map(|(node, at)| (*node, (*at).min(version - 1))).collect()
        };
        Self { ack: cap(&self.ack), sync: cap(&self.sync), read: cap(&self.read) }
    }

    /// Drops what says nothing about the versions from `version` on.
    pub(super) fn forget_before(&mut self, version: u64) {
        for step in [Step::Ack, Step::Sync, Step::Read] {
            self.of_mut(step).retain(|_, at| *at >= version.max(1));
        }
    }

    fn of_mut(&mut self, step: Step) -> &mut BTreeMap<NodeId, u64> {
        match step {
            Step::Ack => &mut self.ack,
            Step::Sync => &mut self.sync,
            Step::Read => &mut self.read,
        }
    }
}
