//! What an operator asks of the node's machine, by the Admin API.

use std::{sync::Arc, time::Duration};

use super::{
    Contact, Node,
    pace::{Ask, Turn},
    status::Status,
};
use crate::{
    id::{ClusterId, NodeId},
    job::Job,
    placement::{
        explain::Plan,
        history::{ApplyError, Draft, History, StageError},
        layout::{Parameters, ParametersChange, Role},
    },
    time::Now,
    view::{Config, Tuning, View},
};

/// How long a node must have been away to be taken for dead without being named: longer than a machine takes to start anew, and
/// than a line that flaps takes to come back.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Something for the machine to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Say how things are → [`Report::Status`].
    Status,
    /// Look for nodes at these places from now on → [`Report::Done`].
    Connect(Vec<Contact>),
    /// Stage roles (`None` takes a node out) and parameters, all or none of them → [`Report::Done`].
    Stage {
        /// New roles.
        roles: Vec<(NodeId, Option<Role>)>,
        /// What is to change of the parameters: those staged, or else those in force, or else those of the configuration.
        parameters: Option<ParametersChange>,
        /// Also for nodes that nobody has ever met.
        force: bool,
    },
    /// Stage that a node gives its data to the others and leaves → [`Report::Done`].
    Drain(NodeId),
    /// Stage that one node takes the place of another → [`Report::Done`].
    Replace {
        /// Who leaves.
        old: NodeId,
        /// Who comes.
        new: NodeId,
    },
    /// Forget a node that has no role any more → [`Report::Done`].
    Forget(NodeId),
    /// Make this the next version → [`Report::Applied`]. Worked out by who asks: meanwhile, this node has others to answer.
    Apply(Box<Draft>),
    /// Drop what is staged → [`Report::Done`].
    Revert,
    /// No longer wait for nodes that are dead → [`Report::Skipped`].
    SkipDead {
        /// For which version.
        version: u64,
        /// Which, by the operator's word; if none are named, all with a role that have been away from this node for a while.
        nodes: Vec<NodeId>,
        /// Also give up the data that only they have.
        missing_data: bool,
    },
    /// Let background work go by this from now on → [`Report::Done`]. Runs under way go on as they are, at the new pace.
    Tune(Tuning),
    /// Run a job as soon as its slot is free → [`Report::Done`].
    Start(Job),
    /// Say how long a job rests now → [`Report::Rest`].
    Rest(Ask),
}

/// What the machine answers.
#[derive(Clone, Debug)]
pub enum Report {
    /// It is done, or begun.
    Done,
    /// How things are.
    Status(Box<Status>),
    /// A layout was applied, and this is what it means.
    Applied(Box<Plan>),
    /// These are no longer waited for.
    Skipped(Vec<NodeId>),
    /// How long the job rests.
    Rest(Turn),
}

/// Why the machine does not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It cannot be staged.
    Stage(StageError),
    /// It cannot be applied.
    Apply(ApplyError),
    /// There is no such version in force.
    NoSuchVersion(u64),
    /// The command names this node itself, and that makes no sense.
    Myself,
    /// This node has never heard of that one: its id may be a slip.
    Unknown(NodeId),
    /// No version in force names that node, so nothing waits for it.
    NoMember(NodeId),
    /// These are not dead: this node is connected to them, or was until just now.
    Alive(Vec<NodeId>),
    /// This node may be the one that is cut off.
    Minority {
        /// How many nodes with a role it reaches, itself counted.
        reached: usize,
        /// How many there are.
        members: usize,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stage(error) => error.fmt(f),
            Self::Apply(error) => error.fmt(f),
            Self::NoSuchVersion(version) => {
                write!(f, "there is no layout version {version} in force")
            }
            Self::Myself => {
                write!(f, "the node that is asked cannot do this to itself: ask another one")
            }
            Self::Unknown(node) => write!(
                f,
                "node {node} was never met, and every change would wait for it: connect it first, or force it if it is to come"
            ),
            Self::NoMember(node) => write!(f, "node {node} has no role in a layout in force"),
            Self::Alive(nodes) => {
                let ids: Vec<String> = nodes.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "not dead, or down for less than {} seconds: {}. Wait, or name the nodes that are dead for good",
                    DEAD_AFTER.as_secs(),
                    ids.join(", ")
                )
            }
            Self::Minority { reached, members } => write!(
                f,
                "the asked node reaches {reached} of {members} nodes, so it may be the one that is cut off: ask another, or name \
                 the nodes that are dead for good"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

impl Node {
    /// Does what an operator asks. Then drain [`Node::poll_effect`].
    ///
    /// # Errors
    /// It makes no sense as things are; nothing has changed then.
    pub fn control(&mut self, now: Now, command: Command) -> Result<Report, Refusal> {
        let wall = now.wall;
        match command {
            Command::Status => return Ok(Report::Status(Box::new(self.status(now)))),
            Command::Rest(ask) => return Ok(Report::Rest(self.rest(now, ask))),
            Command::Connect(contacts) => {
                for contact in contacts {
                    self.connect(now, contact);
                }
            }
            Command::Stage { roles, parameters, force } => {
                let given = roles.iter().filter(|(_, role)| role.is_some() && !force);
                given.map(|(node, _)| *node).try_for_each(|node| self.is_known(node))?;
                let first = self.first_parameters();
                let old = first.unwrap_or_else(|| self.history().proposed().1);
                let parameters = parameters.map(|change| change.upon(old)).or(first);
                self.change_layout(now, |history| {
                    roles
                        .into_iter()
                        .try_for_each(|(node, role)| history.stage(node, role, wall))?;
                    parameters.map_or(Ok(()), |new| history.stage_parameters(new, wall))
                })
                .map_err(Refusal::Stage)?;
            }
            Command::Drain(node) => self.stage(now, |history| history.drain(node, wall))?,
            Command::Replace { old, new } => {
                self.is_known(new)?;
                self.stage(now, |history| history.replace(old, new, wall))?;
            }
            Command::Forget(node) if node == self.view.node => return Err(Refusal::Myself),
            Command::Forget(node) => {
                self.stage(now, |history| history.forget_node(node, wall))?;
                self.forget(now, node);
            }
            Command::Apply(draft) => {
                let fresh = ClusterId(self.seed.bytes());
                let plan = self.change_layout(now, |history| history.apply(*draft, fresh, wall));
                return plan.map(|plan| Report::Applied(Box::new(plan))).map_err(Refusal::Apply);
            }
            Command::Revert => self.stage(now, |history| {
                history.revert(wall);
                Ok(())
            })?,
            Command::SkipDead { version, nodes, missing_data } => {
                let dead = self.dead(now, version, nodes)?;
                self.stage(now, |history| {
                    history.skip_dead(version, &dead, missing_data);
                    Ok(())
                })?;
                return Ok(Report::Skipped(dead));
            }
            Command::Tune(tuning) => {
                let config = Config { tuning, ..self.view.config.clone() };
                self.view = Arc::new(View { config, ..View::clone(&self.view) });
            }
            Command::Start(job) => self.schedule.hasten(now.mono, job),
        }
        Ok(Report::Done)
    }

    fn is_known(&self, node: NodeId) -> Result<(), Refusal> {
        let known = node == self.view.node
            || self.membership.peers.contains_key(&node)
            || self.history().members().contains(&node);
        if known { Ok(()) } else { Err(Refusal::Unknown(node)) }
    }

    /// What the configuration says about a cluster's first layout, if that is what is being staged. Staged, and so seen by all:
    /// the layout must not depend on which node it is asked of.
    fn first_parameters(&self) -> Option<Parameters> {
        let history = self.history();
        let first = history.current().is_none() && history.staged().parameters().is_none();
        first.then(|| self.configured_parameters())
    }

    /// What the configuration says about a cluster's first layout.
    pub(super) fn configured_parameters(&self) -> Parameters {
        let replication = self.view.config.replication_factor;
        Parameters { replication, ..Parameters::default() }
    }

    /// Where the configuration and the layout in force disagree on the number of copies, the layout's; it is what counts.
    pub fn other_replication(&self) -> Option<u16> {
        let layout = self.history().current()?;
        let replication = layout.parameters.replication;
        (replication != self.view.config.replication_factor).then_some(replication)
    }

    fn stage(
        &mut self,
        now: Now,
        change: impl FnOnce(&mut History) -> Result<(), StageError>,
    ) -> Result<(), Refusal> {
        self.change_layout(now, change).map_err(Refusal::Stage)
    }

    /// Whom [`Command::SkipDead`] is about. That a node is not connected to this one says little: a line may be cut, this node may
    /// be the one that is away, or the other just starts anew. So the operator names who is dead, or a majority must be here.
    fn dead(&self, now: Now, version: u64, named: Vec<NodeId>) -> Result<Vec<NodeId>, Refusal> {
        if !self.history().active().any(|layout| layout.version == version) {
            return Err(Refusal::NoSuchVersion(version));
        }
        let members = self.history().members();
        let me = self.view.node;
        let is_up = |node: &NodeId| *node == me || self.membership.is_up(*node);
        if let Some(stranger) = named.iter().find(|node| !members.contains(node)) {
            return Err(Refusal::NoMember(*stranger));
        }
        if !named.is_empty() {
            let alive: Vec<NodeId> = named.iter().copied().filter(is_up).collect();
            return if alive.is_empty() { Ok(named) } else { Err(Refusal::Alive(alive)) };
        }
        let (up, down): (Vec<NodeId>, Vec<NodeId>) = members.iter().copied().partition(is_up);
        if up.len() * 2 <= members.len() {
            return Err(Refusal::Minority { reached: up.len(), members: members.len() });
        }
        let just_now = |node: &NodeId| self.membership.away(*node, now) < DEAD_AFTER;
        let alive: Vec<NodeId> = down.iter().copied().filter(just_now).collect();
        if alive.is_empty() { Ok(down) } else { Err(Refusal::Alive(alive)) }
    }
}
