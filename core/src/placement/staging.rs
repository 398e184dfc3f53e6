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
        if self.roles.len() > STAGED_MAX {
            return Err(format!("roles are staged for {} nodes", self.roles.len()));
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
        self.parameters = match (self.parameters.take(), other.parameters.clone()) {
            (Some(ours), Some(theirs)) => Some(ours.merge(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.forget_cleared();
    }

    fn forget_cleared(&mut self) {
        let cleared = self.cleared;
        self.roles.retain(|_, role| role.at > cleared);
        self.parameters = self.parameters.take().filter(|parameters| parameters.at > cleared);
    }

    /// A stamp past all that is in here, so that the order of commands given at one node holds whatever its clock does.
    fn next(&self, now: Timestamp) -> Stamp {
        let roles = self.roles.values().map(|role| role.at);
        let parameters = self.parameters.as_ref().map(|parameters| parameters.at);
        let seen = roles.chain(parameters).fold(self.cleared, Stamp::max);
        Stamp::past(now, seen)
    }
}
