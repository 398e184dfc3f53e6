//! Changes that were proposed and are not applied yet.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::layout::{NODES_MAX, Parameters, Role};
use crate::{
    id::NodeId,
    table::access::Lww,
    time::{Stamp, Timestamp},
};

/// Nodes that something is believed to be staged for: at one node no more can be than a layout may have, and several may have been
/// asked at once.
const STAGED_MAX: usize = 4 * NODES_MAX;

/// The latest stamp that is believed. Beyond it there would be no later one for what is staged next.
const STAMP_MAX: Stamp = Stamp(u64::MAX >> 1);

/// What the next layout is to change. A CRDT: a register for each node and one for the parameters; of two writers of one
/// register, the later wins.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// Everything staged up to then was applied or reverted.
    #[serde(rename = "x")]
    cleared: Stamp,
    /// The new role of a node; `None` takes it out.
    #[serde(rename = "n", default)]
    roles: BTreeMap<NodeId, Lww<Option<Role>>>,
    /// Until when what was staged for a node was unstaged again.
    #[serde(rename = "u", default, skip_serializing_if = "BTreeMap::is_empty")]
    unstaged: BTreeMap<NodeId, Stamp>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    parameters: Option<Lww<Parameters>>,
}

impl Staged {
    /// Whether nothing is staged.
    pub fn is_empty(&self) -> bool {
        self.roles.is_empty() && self.parameters.is_none()
    }

    /// The staged roles; `None` for nodes to be taken out.
    pub fn roles(&self) -> impl Iterator<Item = (NodeId, Option<&Role>)> {
        self.roles.iter().map(|(node, role)| (*node, role.value.as_ref()))
    }

    /// The staged parameters, if there are any.
    pub fn parameters(&self) -> Option<Parameters> {
        self.parameters.as_ref().map(|parameters| parameters.value)
    }

    /// Whether anything is staged for `node`.
    pub fn names(&self, node: NodeId) -> bool {
        self.roles.contains_key(&node)
    }

    /// How many nodes something is staged for.
    pub(super) fn len(&self) -> usize {
        self.roles.len()
    }

    /// Whether this is something that can be staged: a peer or a disk may give anything.
    pub(super) fn check(&self) -> Result<(), String> {
        let nodes = self.roles.len().max(self.unstaged.len());
        if nodes > STAGED_MAX {
            return Err(format!("roles are staged for {nodes} nodes"));
        }
        let roles = self.roles.values().filter_map(|role| role.value.as_ref());
        roles.map(Role::check).find(Result::is_err).unwrap_or(Ok(())).map_err(|e| e.to_string())?;
        if let Some(parameters) = self.parameters() {
            parameters.check().map_err(|error| error.to_string())?;
        }
        if self.next(Timestamp(0)) > STAMP_MAX {
            return Err("it was staged by a clock that is thousands of years ahead".to_owned());
        }
        Ok(())
    }

    pub(super) fn stage(&mut self, node: NodeId, role: Option<Role>, now: Timestamp) {
        let at = self.next(now);
        self.roles.insert(node, Lww { at, value: role });
    }

    /// Nothing is staged for `node` any more. Unlike its removal, that is no change.
    pub(super) fn unstage(&mut self, node: NodeId, now: Timestamp) {
        let at = self.next(now);
        self.unstaged.insert(node, at);
        self.forget_cleared();
    }

    pub(super) fn stage_parameters(&mut self, parameters: Parameters, now: Timestamp) {
        let at = self.next(now);
        self.parameters = Some(Lww { at, value: parameters });
    }

    pub(super) fn clear(&mut self, now: Timestamp) {
        self.cleared = self.next(now);
        self.forget_cleared();
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.cleared = self.cleared.max(other.cleared);
        for (node, theirs) in &other.roles {
            let ours = self.roles.entry(*node).or_insert_with(|| theirs.clone());
            *ours = ours.clone().merge(theirs.clone());
        }
        for (node, theirs) in &other.unstaged {
            let ours = self.unstaged.entry(*node).or_insert(*theirs);
            *ours = (*theirs).max(*ours);
        }
        self.parameters = match (self.parameters.take(), other.parameters.clone()) {
            (Some(ours), Some(theirs)) => Some(ours.merge(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.forget_cleared();
    }

    fn forget_cleared(&mut self) {
        let cleared = self.cleared;
        self.unstaged.retain(|_, at| *at > cleared);
        let unstaged = &self.unstaged;
        let until = |node: &NodeId| unstaged.get(node).copied().unwrap_or(cleared);
        self.roles.retain(|node, role| role.at > until(node));
        self.parameters = self.parameters.take().filter(|parameters| parameters.at > cleared);
    }

    /// A stamp past all that is in here, so that the order of commands given at one node holds whatever its clock does.
    fn next(&self, now: Timestamp) -> Stamp {
        let roles = self.roles.values().map(|role| role.at);
        let parameters = self.parameters.as_ref().map(|parameters| parameters.at);
        let unstaged = self.unstaged.values().copied();
        let seen = roles.chain(parameters).chain(unstaged).fold(self.cleared, Stamp::max);
        Stamp::past(now, seen)
    }
}
