//! From staged changes to the next version.

use std::{collections::BTreeMap, sync::Arc};

use super::{History, IN_FORCE_MAX};
use crate::{
    id::{ClusterId, NodeId},
    placement::{
        explain::{self, Plan},
        layout::{Layout, LayoutError, NODES_MAX, Parameters, Role},
        solve::{self, SolveError},
        staging::Staged,
    },
    time::Timestamp,
};

/// The next version, worked out and not applied yet.
///
/// With many nodes that takes seconds, so it is done where nobody waits for it; what it was made of is kept beside it, so that it
/// is applied only if that is still what it should be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    upon: Option<Arc<Layout>>,
    staged: Staged,
    /// The layout that applying makes.
    pub layout: Layout,
    /// What it would mean.
    pub plan: Plan,
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
    /// What is staged, or what it is to change, is not what it was when this was worked out.
    Changed,
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
            Self::Changed => write!(
                f,
                "somebody has staged something else while this was worked out: look at the plan again"
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
        if self.staged.len() >= NODES_MAX && !self.staged.names(node) {
            return Err(StageError::Invalid(LayoutError::Nodes(self.staged.len() + 1)));
        }
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
            self.staged.unstage(node, now);
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
        let current = self.current().map(|layout| layout.parameters);
        let mut parameters = self.staged.parameters().or(current).unwrap_or_default();
        // Staged elsewhere, perhaps, by who did not know of the first layout.
        parameters.bits = current.map_or(parameters.bits, |current| current.bits);
        (roles, parameters)
    }

    /// The next version that applying would make, and what it would mean. The same on every node that knows the same. Takes
    /// seconds where nodes and partitions are many.
    pub fn draft(&self) -> Result<Draft, ApplyError> {
        if self.staged.is_empty() && self.conflicts().next().is_none() {
            return Err(ApplyError::NothingStaged);
        }
        let (roles, parameters) = self.proposed();
        let (upon, version) = (self.current().cloned(), self.version() + 1);
        let layout = solve::solve(upon.as_deref(), version, roles, parameters)
            .map_err(ApplyError::Unsolvable)?;
        let plan = explain::explain(upon.as_deref(), &layout);
        Ok(Draft { upon, staged: self.staged.clone(), layout, plan })
    }

    /// Whether what is staged can be made version `version` at all.
    pub fn may_apply(&self, version: u64) -> Result<(), ApplyError> {
        let next = self.version() + 1;
        if version != next {
            return Err(ApplyError::WrongVersion { next });
        }
        if self.active().count() >= IN_FORCE_MAX {
            return Err(ApplyError::InTransition);
        }
        Ok(())
    }

    /// Makes this the next version, if it is still what would be worked out. `fresh` names the cluster if this is its first
    /// layout. Says what it means.
    pub fn apply(
        &mut self,
        draft: Draft,
        fresh: ClusterId,
        now: Timestamp,
    ) -> Result<Plan, ApplyError> {
        let Draft { upon, staged, layout, plan } = draft;
        let version = layout.version;
        self.may_apply(version)?;
        if upon.as_ref() != self.current() || staged != self.staged {
            return Err(ApplyError::Changed);
        }
        self.cluster.get_or_insert(fresh);
        self.layouts.insert(version, Arc::new(layout));
        if self.floor == 0 {
            (self.floor, self.forgotten) = (version, version);
        }
        self.staged.clear(now);
        Ok(plan)
    }
}
