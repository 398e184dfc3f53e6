//! The node: the long-lived machine of one process. It says what may begin (requests) and when (background jobs), and hands
//! out the randomness that both start from. It waits for nothing and moves no data: what it starts are [`Task`]s.

pub mod gossip;
pub mod layouts;
mod links;
mod schedule;
mod setup;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use crate::{
    effect::{EffectId, PeerError},
    http::RequestHead,
    id::NodeId,
    job::{self, Job, Verdict},
    rpc::{self, Origin},
    s3::{
        error::{Code, S3Error},
        serve,
    },
    seed::Seed,
    task::{Reason, Task},
    time::{Instant, Now},
    view::{Peer, View},
    wire::{Message, Priority},
};
use layouts::Layouts;
use links::{Link, Links};
use schedule::Schedule;

pub use links::LinkId;
pub use setup::{Contact, Saved, Setup, SetupError, StateFile};

/// Requests in flight; one more is answered with 503 SlowDown, which every client of S3 takes for "again, and slower". At 10 ms
/// each, so many are 200,000 a second, more than a node can serve: beyond, they would only wait and hold memory. Each holds some
/// 16 KiB beside the shell's pooled buffers, so all together 32 MiB at most.
pub const REQUESTS_MAX: usize = 2048;

/// Requests of peers in flight; one more is answered with [`PeerError::Busy`]. As many as of clients, since each of those asks
/// for a little more than one of every node. What they hold is bounded by the credit windows of the connections.
pub const SERVED_MAX: usize = 4096;

/// Something the shell must do for the node.
pub enum NodeEffect {
    /// Drive this task to its end, then say [`NodeEvent::Done`], also if it has panicked. It has no client: it never emits
    /// effects about a request or its response.
    Run(Task),
    /// Connect to this address, and say [`Node::link_up`] or [`Node::link_down`].
    Dial {
        /// Names the connection from now on.
        link: LinkId,
        /// `HOST:PORT`.
        address: String,
        /// Who must be there, if that is known.
        expected: Option<NodeId>,
    },
    /// Close a connection, or give up dialling it. The node has forgotten it; [`Node::link_down`] is not needed and harmless.
    Close {
        /// Which.
        link: LinkId,
    },
    /// Send a request → [`NodeEvent::Answered`].
    Call {
        /// By which connection.
        link: LinkId,
        /// How urgent it is.
        priority: Priority,
        /// The request.
        message: Message,
        /// How long to wait for the answer.
        patience: Duration,
    },
    /// Replace a state file, durably → [`NodeEvent::Saved`]. Saves of one file are done in the order given.
    Save {
        /// Which.
        file: StateFile,
        /// What it is to hold.
        bytes: Vec<u8>,
    },
}

impl std::fmt::Debug for NodeEffect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Run(task) => write!(f, "Run({})", task.name()),
            Self::Dial { link, address, .. } => write!(f, "Dial({}, {address})", link.0),
            Self::Close { link } => write!(f, "Close({})", link.0),
            Self::Call { link, message, .. } => {
                let len = message.head.len() + message.payload.len();
                write!(f, "Call({}, {len} B)", link.0)
            }
            Self::Save { file, bytes } => write!(f, "Save({file:?}, {} B)", bytes.len()),
        }
    }
}

/// Something the node learns about one of its effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// The task of a [`NodeEffect::Run`] has ended.
    Done,
    /// To [`NodeEffect::Call`].
    Answered(Result<Message, PeerError>),
    /// To [`NodeEffect::Save`]. The text is the operating system's.
    Saved(Result<(), String>),
}

/// What to do with a peer's request.
pub enum Served {
    /// Answer this.
    Reply(Message),
    /// Drive this task to its end, without a client, then answer what the slot holds ([`PeerError::Busy`] if it has panicked
    /// and the slot is empty), and call [`Node::served`].
    Run(Task, rpc::Slot),
}

/// The machine. See the [crate's run loop](crate#the-run-loop); it never ends.
pub struct Node {
    view: Arc<View>,
    seed: Seed,
    requests: usize,
    served: usize,
    links: Links,
    schedule: Schedule,
    running: BTreeMap<EffectId, (Job, job::Slot)>,
    effects: VecDeque<(EffectId, NodeEffect)>,
    next_effect: u64,
}

impl Node {
    /// The node as of a start of its process.
    ///
    /// # Errors
    /// What an earlier run saved is damaged.
    pub fn new(setup: Setup, now: Now) -> Result<Self, SetupError> {
        let layouts = Layouts::load(setup.saved.layout.as_deref())
            .map_err(|reason| SetupError::Damaged(StateFile::Layout, reason))?;
        let view = View {
            node: setup.id,
            boot: setup.boot,
            ring: layouts.ring(setup.id, setup.config.consistency),
            peers: BTreeMap::new(),
            recovering: false,
            config: setup.config,
        };
        Ok(Self {
            view: Arc::new(view),
            seed: setup.seed,
            requests: 0,
            served: 0,
            links: Links::default(),
            schedule: Schedule::new(now.mono),
            running: BTreeMap::new(),
            effects: VecDeque::new(),
            next_effect: 0,
        })
    }

    /// The cluster and the configuration as they are now.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    fn origin(&self, background: bool) -> Origin {
        Origin { layout: self.view.ring.version(), background }
    }

    /// A connection that was dialled is up: the handshake is done, and this peer is at its other end.
    pub fn link_up(&mut self, _now: Now, link: LinkId, peer: NodeId, address: String) {
        self.links.insert(link, Link { peer, outbound: true, address });
        self.republish();
    }

    /// A peer has connected to this node, and the handshake is done. `address` is where it came from.
    pub fn link_accepted(&mut self, _now: Now, peer: NodeId, address: String) -> LinkId {
        let link = self.links.fresh();
        self.links.insert(link, Link { peer, outbound: false, address });
        self.republish();
        link
    }

    /// A connection has ended, or could not be made. `reason` is for the log.
    pub fn link_down(&mut self, _now: Now, link: LinkId, reason: &str) {
        if let Some(link) = self.links.remove(link) {
            log::info!("connection to {} at {} is down: {reason}", link.peer, link.address);
            self.republish();
        }
    }

    /// The connection to send requests for `peer` by.
    pub fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        self.links.to(self.view.node, peer)
    }

    /// A peer's request has come by `link`.
    pub fn serve(&mut self, _now: Now, link: LinkId, message: Message) -> Served {
        if self.links.get(link).is_none() {
            return Served::Reply(rpc::failed(PeerError::Unreachable));
        }
        if self.served >= SERVED_MAX {
            return Served::Reply(rpc::failed(PeerError::Busy));
        }
        self.served += 1;
        let (task, slot) = rpc::serve(Arc::clone(&self.view), message, self.seed.child());
        Served::Run(task, slot)
    }

    /// A task of [`Served::Run`] has ended, however it did. Call once for each, with [`Task::origin`].
    pub fn served(&mut self, _now: Now, _origin: Origin) {
        self.served = self.served.checked_sub(1).expect("each is reported once");
    }

    /// Another node did not do what a task asked of it.
    pub fn note_failure(&mut self, _now: Now, peer: NodeId, error: &PeerError) {
        log::debug!("{peer}: {error}");
    }

    /// A write that nobody waited for any more has not reached this node: it lacks something now.
    pub fn note_missed(&mut self, _now: Now, peer: NodeId) {
        log::debug!("{peer} has missed a write");
    }

    fn republish(&mut self) {
        let mut view = View::clone(&self.view);
        let peers = self.links.peers().map(|peer| (peer, Peer { up: true, rtt: None }));
        view.peers = peers.collect();
        self.view = Arc::new(view);
    }

    /// Begins a request. The task is to be driven to its end, and then to be [released](Node::released).
    pub fn admit(&mut self, _now: Now, head: RequestHead) -> Task {
        self.requests += 1;
        let (view, seed) = (Arc::clone(&self.view), self.seed.child());
        if self.requests <= REQUESTS_MAX {
            let task = Task::new("request", seed, |cx| serve::serve(cx, view, head));
            return task.of(self.origin(false));
        }
        let task = Task::new("refusal", seed, |cx| async move {
            let error = S3Error::new(Code::SlowDown, "Please reduce your request rate.");
            serve::refuse(cx, &view, &head, &error);
        });
        task.of(self.origin(false))
    }

    /// A request has ended, however it did. Call once for each [`Node::admit`], with [`Task::origin`].
    pub fn released(&mut self, _now: Now, _origin: Origin) {
        self.requests = self.requests.checked_sub(1).expect("each request is released once");
    }

    /// How many requests are in flight.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Tells the node that time has passed. Spurious calls are harmless. Then drain [`Node::poll_effect`].
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(job) = self.schedule.begin(now.mono) {
            let (task, slot) = job.task(Arc::clone(&self.view), self.seed.child());
            let task = task.of(self.origin(true));
            let id = EffectId(self.next_effect);
            self.next_effect += 1;
            // The queue's line would come every second.
            let level = if job == Job::Queue { log::Level::Trace } else { log::Level::Debug };
            log::log!(level, "{}: begins", job.name());
            self.running.insert(id, (job, slot));
            self.effects.push_back((id, NodeEffect::Run(task)));
        }
    }

    /// Hands in the answer to an effect. Then drain [`Node::poll_effect`].
    pub fn handle_event(&mut self, now: Now, id: EffectId, event: NodeEvent) {
        match event {
            NodeEvent::Done => self.job_done(now, id),
            NodeEvent::Answered(_) => {}
            NodeEvent::Saved(Ok(())) => {}
            NodeEvent::Saved(Err(reason)) => log::error!("cannot save the node's state: {reason}"),
        }
    }

    fn job_done(&mut self, now: Now, id: EffectId) {
        let Some((job, slot)) = self.running.remove(&id) else { return };
        let verdict = slot.get().copied().unwrap_or_else(|| {
            log::error!("{}: the job has panicked", job.name());
            Verdict::Failed
        });
        let wait = self.schedule.end(now.mono, job, verdict);
        if verdict == Verdict::Failed {
            log::warn!("{}: failed; it comes again in {} s", job.name(), wait.as_secs());
        }
        self.handle_timeout(now);
    }

    /// The next effect to perform. Poll until `None` after every `handle_*`.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<(EffectId, NodeEffect)> {
        self.effects.pop_front()
    }

    /// When the node wants [`Node::handle_timeout`], and why. `None` while every job that may run does.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        self.schedule.next().map(|(at, job)| (at, Reason(job.name())))
    }
}
