//! What a machine asks of the world, and what the world answers.
//!
//! An [`Effect`] is plain data; so is its [`Completion`]. The shell performs effects, the simulator performs them too, and
//! neither can tell what the core will do next. Bytes of objects are never looked at by the core: they pass as
//! [`Payload`]s.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{
    block::{
        Payload,
        chore::{Chore, ChoreReport},
    },
    http::ResponseHead,
    id::{Hash, NodeId},
    node::{
        control::{Command, Refusal, Report},
        pace::Waits,
    },
    rpc::AdminCall,
    s3::intake::{BodyError, Intake, Summary},
    store::{Answer, Batch, Outcome, Read, StoreError},
    time::Timestamp,
};

/// Names one effect of one machine, for its completion or cancellation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectId(pub u64);

/// Something the shell must do. Each variant names the [`Completion`] that answers it.
#[derive(Debug)]
pub enum Effect {
    /// Ask a node's database → [`Completion::Read`]. For the own node: a snapshot, at once.
    Read {
        /// Whom to ask.
        at: NodeId,
        /// What.
        read: Read,
    },
    /// Change a node's database → [`Completion::Committed`], once durable there.
    Commit {
        /// Where.
        at: NodeId,
        /// The change.
        batch: Batch,
    },
    /// Store a block on a node's disk, then commit the rows that refer to it → [`Completion::Committed`]. The file is durable
    /// before the commit begins, and no reaper may unlink it in between.
    StoreBlock {
        /// Where.
        at: NodeId,
        /// The block.
        block: Payload,
        /// Its reference, and whatever else belongs into the same transaction.
        then: Batch,
    },
    /// Fetch a block, verified against its hash → [`Completion::Loaded`].
    LoadBlock {
        /// From where.
        at: NodeId,
        /// Which.
        hash: Hash,
    },
    /// Which of these blocks a node has files of, unverified → [`Completion::Held`].
    Holds {
        /// Whom to ask.
        at: NodeId,
        /// Which blocks.
        blocks: Vec<Hash>,
    },
    /// Maintenance of the own node's block files → [`Completion::Chore`].
    Chore(Chore),
    /// Something about snapshots of the own node's metadata → [`Completion::Snapshots`].
    Snapshot(Shot),
    /// Something for the own node's machine, by [`Node::control`](crate::node::Node::control) → [`Completion::Control`].
    Control(Box<Command>),
    /// A call of the Admin API about another node, done there → [`Completion::Asked`].
    Ask {
        /// Whom to ask.
        at: NodeId,
        /// What.
        call: AdminCall,
    },
    /// How the request's body is to be decoded and checked. No completion; comes before the first pull.
    Open(Box<Intake>),
    /// The next piece of the request's body → [`Completion::Pulled`]. Bytes enter only by this, so a handler that does not
    /// pull makes the client wait. `100 Continue` is sent at the first pull.
    Pull {
        /// A block is cut when so many bytes are there, or at the body's end.
        block: u32,
        /// A whole body up to this size is handed over as [`Chunk::Inline`], unhashed and uncompressed.
        inline: u32,
    },
    /// The whole of the request's body, when it is a small document → [`Completion::Collected`].
    Collect {
        /// More than this is [`BodyError::TooLarge`].
        max: u32,
    },
    /// The response's head, and its body unless that is streamed. Exactly one for each request. No completion.
    Respond {
        /// Status and headers.
        head: ResponseHead,
        /// What follows.
        body: ResponseBody,
    },
    /// The next bytes of a streamed response body → [`Completion::Sent`], once there is room for more.
    Send(Bytes),
    /// How long the machine has waited for others since it last said so, for
    /// [`Node::waited`](crate::node::Node::waited). No completion.
    Waited(Waits),
    /// The machine no longer waits for this effect. It may be abandoned or completed; the completion is ignored.
    Cancel(EffectId),
}

impl Effect {
    /// What it is, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Read { .. } => "Read",
            Self::Commit { .. } => "Commit",
            Self::StoreBlock { .. } => "StoreBlock",
            Self::LoadBlock { .. } => "LoadBlock",
            Self::Holds { .. } => "Holds",
            Self::Chore(_) => "Chore",
            Self::Snapshot(_) => "Snapshot",
            Self::Control(_) => "Control",
            Self::Ask { .. } => "Ask",
            Self::Open(_) => "Open",
            Self::Pull { .. } => "Pull",
            Self::Collect { .. } => "Collect",
            Self::Respond { .. } => "Respond",
            Self::Send(_) => "Send",
            Self::Waited(_) => "Waited",
            Self::Cancel(_) => "Cancel",
        }
    }

    /// The node that is to do it, for what any node can do.
    pub fn at(&self) -> Option<NodeId> {
        match self {
            Self::Read { at, .. }
            | Self::Commit { at, .. }
            | Self::StoreBlock { at, .. }
            | Self::LoadBlock { at, .. }
            | Self::Holds { at, .. }
            | Self::Ask { at, .. } => Some(*at),
            Self::Chore(_)
            | Self::Snapshot(_)
            | Self::Control(_)
            | Self::Open(_)
            | Self::Pull { .. }
            | Self::Collect { .. }
            | Self::Respond { .. }
            | Self::Send(_)
            | Self::Waited(_)
            | Self::Cancel(_) => None,
        }
    }
}

/// What is to be done about snapshots of the metadata. Each is named by when it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shot {
    /// Nothing.
    List,
    /// Make one, of the rows as they are now or a little later.
    Take {
        /// Its name.
        at: Timestamp,
        /// How long to rest after each piece, in times of what that took.
        rest: u32,
    },
    /// Remove one. One that is not there is as good.
    Remove {
        /// Its name.
        at: Timestamp,
    },
}

/// What follows a response's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseBody {
    /// Nothing (or, answering a HEAD, nothing although the head declares a length).
    Empty,
    /// These bytes.
    Full(Bytes),
    /// As many bytes as the head's `content-length` declares, by [`Effect::Send`]. If the task ends before that, the connection is
    /// broken off, so that the client can tell.
    Stream,
}

/// The answer to an [`Effect`].
#[derive(Debug)]
pub enum Completion {
    /// To [`Effect::Read`].
    Read(Result<Answer, PeerError>),
    /// To [`Effect::Commit`] and [`Effect::StoreBlock`].
    Committed(Result<Outcome, PeerError>),
    /// To [`Effect::LoadBlock`].
    Loaded(Result<Payload, PeerError>),
    /// To [`Effect::Holds`]: for each block in turn.
    Held(Result<Vec<bool>, PeerError>),
    /// To [`Effect::Chore`].
    Chore(Result<ChoreReport, PeerError>),
    /// To [`Effect::Snapshot`]: the snapshots that there are then, oldest first.
    Snapshots(Result<Vec<Timestamp>, PeerError>),
    /// To [`Effect::Control`].
    Control(Result<Report, Refusal>),
    /// To [`Effect::Ask`]: JSON, of the answer or of the error.
    Asked(Result<Result<String, String>, PeerError>),
    /// To [`Effect::Pull`].
    Pulled(Result<Pulled, BodyError>),
    /// To [`Effect::Collect`].
    Collected(Result<Bytes, BodyError>),
    /// To [`Effect::Send`].
    Sent(Result<(), ClientGone>),
}

impl Completion {
    /// Why a node did not do what it was asked, if it did not.
    pub fn failure(&self) -> Option<&PeerError> {
        match self {
            Self::Read(result) => result.as_ref().err(),
            Self::Committed(result) => result.as_ref().err(),
            Self::Loaded(result) => result.as_ref().err(),
            Self::Held(result) => result.as_ref().err(),
            Self::Chore(result) => result.as_ref().err(),
            Self::Snapshots(result) => result.as_ref().err(),
            Self::Asked(result) => result.as_ref().err(),
            Self::Control(_) | Self::Pulled(_) | Self::Collected(_) | Self::Sent(_) => None,
        }
    }
}

/// One step through a request's body.
#[derive(Debug, Clone)]
pub struct Pulled {
    /// What came.
    pub chunk: Chunk,
    /// Set with the last chunk, once the body has ended as declared and every checksum and signature in it holds.
    pub end: Option<Summary>,
}

/// A piece of a request's body.
#[derive(Debug, Clone)]
pub enum Chunk {
    /// Nothing more: the body had ended with the chunk before, or is empty.
    None,
    /// The whole body, small enough to live in a row.
    Inline(Bytes),
    /// A block, hashed and, where it helps, compressed.
    Block(Payload),
}

/// Why a node (ours or another) did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PeerError {
    /// There is no connection to it.
    Unreachable,
    /// It did not answer in time.
    TimedOut,
    /// Too much is already on its way to it, or being done by it.
    Busy,
    /// The asker's layout is older than any in force there; it must learn the newer one first.
    Outdated,
    /// It is still fetching what its database has lost or never had, and cannot vouch for what it does not find.
    Syncing,
    /// Its answer (or our question) does not decode: a release that does not go with ours, or damage.
    Malformed,
    /// Its database failed.
    Store(StoreError),
    /// It does not have the block.
    Missing,
    /// It has the block, but damaged; it has set the file aside.
    Corrupt,
    /// Its disks are down to their reserve: only what frees space is accepted.
    Full,
    /// Its disk failed. The text is the operating system's.
    Disk(String),
}

impl std::fmt::Display for PeerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable => write!(f, "node unreachable"),
            Self::TimedOut => write!(f, "node did not answer in time"),
            Self::Busy => write!(f, "node is busy"),
            Self::Outdated => write!(f, "the cluster's layout has moved on"),
            Self::Syncing => write!(f, "node is still fetching its data"),
            Self::Malformed => write!(f, "node's message does not decode"),
            Self::Store(error) => error.fmt(f),
            Self::Missing => write!(f, "block missing"),
            Self::Corrupt => write!(f, "block damaged on disk"),
            Self::Full => write!(f, "data directories are full (only their reserve is left)"),
            Self::Disk(reason) => write!(f, "disk: {reason}"),
        }
    }
}

impl std::error::Error for PeerError {}

/// The client closed the connection, or stopped reading for longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientGone;
