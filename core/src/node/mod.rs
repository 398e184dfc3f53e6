//! The node: the long-lived machine of one process. It says what may begin (requests) and when (background jobs), and hands
//! out the randomness that both start from. It waits for nothing and moves no data: what it starts are [`Task`]s.

pub mod control;
mod effects;
pub mod gossip;
mod jobs;
pub mod layouts;
mod links;
mod membership;
pub mod pace;
mod peers;
mod publish;
mod schedule;
mod setup;
pub mod status;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    admin::{self, auth::Tokens},
    effect::{EffectId, PeerError},
    http::RequestHead,
    id::NodeId,
    placement::history::History,
    rpc::{self, Origin, Request},
    s3::{
        error::{Code, S3Error},
        serve,
    },
    seed::Seed,
    task::{Reason, Task},
    time::{Instant, Now},
    view::View,
    web,
    wire::{Message, Priority, WireError},
};
use effects::Effects;
use gossip::{Card, Space};
use jobs::{JOB_GRACE, Running};
use layouts::Layouts;
use membership::{Heard, Membership};
use pace::Pacer;
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
    /// Break off the task of the [`NodeEffect::Run`] with this id, as a crash would, and say [`NodeEvent::Done`] for it.
    Stop(EffectId),
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
            Self::Stop(run) => write!(f, "Stop({})", run.0),
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

/// Which of a node's APIs a request has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// S3.
    S3,
    /// Websites.
    Web,
    /// For operators.
    Admin,
}

/// Connections to the Admin API; one more is answered with 503. Operators and monitoring, and nobody's load.
pub const ADMIN_CONNECTIONS: usize = 64;

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
    /// The epoch that it belongs to, and since when.
    epoch: (u64, Instant),
    seed: Seed,
    requests: usize,
    served: usize,
    membership: Membership,
    layouts: Layouts,
    schedule: Schedule,
    pacer: Pacer,
    tokens: Arc<Tokens>,
    /// The layout that a sync was last hastened for.
    hastened: u64,
    /// When the last sync has ended.
    synced_at: Instant,
    running: BTreeMap<EffectId, Running>,
    effects: Effects,
}

impl Node {
    /// The node as of a start of its process.
    ///
    /// # Errors
    /// The layout that an earlier run saved is damaged.
    pub fn new(mut setup: Setup, now: Now) -> Result<Self, SetupError> {
        let Saved { layout, peers, synced, lost } = setup.saved;
        let layouts = Layouts::load(setup.id, layout.as_deref(), synced, lost)
            .map_err(|reason| SetupError::Damaged(StateFile::Layout, reason))?;
        let card = Card {
            boot: setup.boot,
            hostname: setup.hostname,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            address: setup.public,
            port: setup.listen,
            disk: setup.disk,
            recovering: false,
        };
        let (peers, seed) = (peers.as_deref(), setup.seed.child());
        let membership = Membership::new(setup.id, card, setup.bootstrap, peers, seed, now);
        let snapshots = setup.config.snapshot_interval;
        let view = View::single(setup.id, setup.boot, setup.config);
        let mut this = Self {
            view: Arc::new(view),
            epoch: (0, now.mono),
            seed: setup.seed,
            requests: 0,
            served: 0,
            membership,
            layouts,
            schedule: Schedule::new(now.mono, snapshots),
            pacer: Pacer::new(now.mono),
            tokens: Arc::default(),
            hastened: 0,
            synced_at: now.mono,
            running: BTreeMap::new(),
            effects: Effects::default(),
        };
        this.publish(now);
        Ok(this)
    }

    /// The cluster and the configuration as they are now.
    pub fn view(&self) -> &Arc<View> {
        &self.view
    }

    /// A connection that was dialled is up: the handshake is done, and this peer is at its other end.
    /// `address` is the one dialled.
    pub fn link_up(&mut self, now: Now, link: LinkId, peer: NodeId, address: String) {
        self.membership.link_up(now, link, peer, address, &mut self.effects);
        self.settle(now);
    }

    /// A peer has connected to this node, and the handshake is done. `address` is where it came from, `HOST:PORT`.
    pub fn link_accepted(&mut self, now: Now, peer: NodeId, address: String) -> LinkId {
        let link = self.membership.link_accepted(now, peer, &address);
        self.settle(now);
        link
    }

    /// A connection has ended, or could not be made. `reason` is for the log.
    pub fn link_down(&mut self, now: Now, link: LinkId, reason: &str) {
        self.membership.link_down(now, link, reason);
        self.settle(now);
    }

    /// A connection that another node has made has ended before that one had shown that it belongs here.
    pub fn link_refused(&mut self, now: Now, address: &str, error: &WireError) {
        self.view.metrics.refused.handshakes.increment();
        self.membership.link_refused(now, address, error);
    }

    /// A connection that another node has made was closed at once, because there are too many.
    pub fn link_crowded(&self, address: &str) {
        self.view.metrics.refused.rpc.increment();
        log::debug!("{address}: too many connections of other nodes");
    }

    /// A connection to an API was not served, because there are too many.
    pub fn crowded(&self, api: Api) {
        self.view.metrics.refused.of(api).increment();
    }

    /// The round trip of a connection, smoothed, as its pings have measured it. To be called when it has changed.
    pub fn link_measured(&mut self, now: Now, link: LinkId, rtt: Duration) {
        self.membership.link_measured(link, rtt);
        self.settle(now);
    }

    /// The connection to send requests for `peer` by.
    pub fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        self.membership.link_to(peer)
    }

    /// Looks for a node at this place from now on.
    pub fn connect(&mut self, now: Now, contact: Contact) {
        self.membership.contact(contact, now);
        self.settle(now);
    }

    /// A peer's request has come by `link`.
    pub fn serve(&mut self, now: Now, link: LinkId, message: Message) -> Served {
        let Some(peer) = self.membership.peer_of(link) else {
            return Served::Reply(rpc::failed(PeerError::Unreachable));
        };
        self.membership.links.heard(link, now.mono);
        if rpc::is_gossip(&message) {
            return Served::Reply(self.hear(now, link, peer, &message));
        }
        if self.served >= SERVED_MAX {
            return Served::Reply(rpc::failed(PeerError::Busy));
        }
        self.served += 1;
        let (task, slot) = rpc::serve(Arc::clone(&self.view), peer, message, self.seed.child());
        // Counted like our own: what was let in by an older layout is over before this node says that it has left that.
        let origin = self.layouts.begin(false);
        Served::Run(self.task(task, origin), slot)
    }

    /// A task of [`Served::Run`] has ended, however it did. Call once for each, with its [`Task::origin`].
    pub fn served(&mut self, now: Now, origin: Origin) {
        self.served = self.served.checked_sub(1).expect("each is reported once");
        self.task_ended(now, origin);
    }

    fn hear(&mut self, now: Now, link: LinkId, peer: NodeId, message: &Message) -> Message {
        let gossip = match rpc::decode_request(message) {
            Ok(Request::Gossip(gossip)) => *gossip,
            Ok(_) => return rpc::failed(PeerError::Malformed),
            Err(error) => return rpc::failed(error),
        };
        let (brief, effects) = (self.layouts.brief(), &mut self.effects);
        let history = message.payload.clone();
        let heard = self.membership.hear(now, link, gossip, history, brief, effects);
        if let Some(heard) = heard {
            self.take_in(now, heard);
        }
        let reply = self.membership.reply(peer, now, self.layouts.brief());
        self.settle(now);
        reply
    }

    fn take_in(&mut self, now: Now, heard: Heard) {
        if let Err(other) = self.layouts.merge(&heard.history, heard.peer) {
            log::error!("node {}: {other}", heard.peer);
            return;
        }
        self.layouts.advance(now, &mut self.effects);
        self.membership.answer_back(heard.peer, self.layouts.brief());
    }

    /// Another node did not do what a task asked of it. To be called with every error that comes of a call.
    pub fn note_failure(&mut self, now: Now, peer: NodeId, error: &PeerError) {
        if *error == PeerError::Outdated {
            self.membership.ask(peer);
            self.settle(now);
        }
    }

    /// A write that nobody waited for any more has not reached this node: it lacks something now, and is told so when it is
    /// there again.
    pub fn note_missed(&mut self, _now: Now, peer: NodeId) {
        self.membership.missed(peer);
    }

    /// How much room the data directories have, all together. To be called from time to time.
    pub fn measured(&mut self, disk: Space) {
        self.membership.card.disk = Some(disk);
    }

    /// The layouts as this node knows them.
    pub fn history(&self) -> &History {
        self.layouts.known()
    }

    /// Changes the layouts by an operator's will. The change counts, and is told to others, once it is saved.
    ///
    /// # Errors
    /// Those of `change`; nothing is changed then.
    pub fn change_layout<T, E>(
        &mut self,
        now: Now,
        change: impl FnOnce(&mut History) -> Result<T, E>,
    ) -> Result<T, E> {
        let result = self.layouts.change(change);
        self.settle(now);
        result
    }

    /// Forgets a peer that has no role. If it still runs, it comes back by itself.
    pub fn forget(&mut self, now: Now, peer: NodeId) {
        self.membership.forget(peer, now, &mut self.effects);
        self.settle(now);
    }

    /// Begins a request. The task is to be driven to its end, and then to be [released](Node::released).
    pub fn admit(&mut self, now: Now, head: RequestHead) -> Task {
        self.for_client(now, |view, seed, refusal| match refusal {
            None => Task::new("request", seed, |cx| serve::serve(cx, view, head)),
            Some(error) => Task::new("refusal", seed, move |cx| async move {
                serve::refuse(cx, &view, &head, &error);
            }),
        })
    }

    /// The same for a request to a website.
    pub fn admit_web(&mut self, now: Now, head: RequestHead) -> Task {
        self.for_client(now, |view, seed, refusal| match refusal {
            None => Task::new("page", seed, |cx| web::serve::serve(cx, view, head)),
            Some(error) => {
                Task::new("refusal", seed, |cx| web::serve::refuse(cx, view, head, error))
            }
        })
    }

    /// The task of a client's request, made by `begin`; it is told why the request is to be refused, if it is.
    fn for_client(
        &mut self,
        now: Now,
        begin: impl FnOnce(Arc<View>, Seed, Option<S3Error>) -> Task,
    ) -> Task {
        let refusal = self.begin_request(now);
        let task = begin(Arc::clone(&self.view), self.seed.child(), refusal);
        let origin = self.layouts.begin(false);
        self.task(task.serving(), origin)
    }

    /// A client's request has come: why it cannot be served, if it cannot.
    fn begin_request(&mut self, now: Now) -> Option<S3Error> {
        self.requests += 1;
        self.pacer.request(now.mono);
        let unable = |why| Some(S3Error::new(Code::ServiceUnavailable, why));
        if self.requests > REQUESTS_MAX {
            Some(S3Error::new(Code::SlowDown, "Please reduce your request rate."))
        } else if self.view.ring.version() == 0 {
            unable(
                "This node belongs to no cluster yet: give it a role in a layout, and apply that.",
            )
        } else if !self.view.ring.everyone().contains(&self.view.node) {
            unable("This node has no role in the cluster's layout.")
        } else {
            None
        }
    }

    /// A task of this node's, as of now.
    fn task(&self, task: Task, origin: Origin) -> Task {
        task.of(origin).metered(self.view.node, Arc::clone(&self.view.metrics))
    }

    /// Begins a request to one of the APIs: [`Node::admit`], [`Node::admit_web`] or [`Node::admit_admin`].
    pub fn admit_to(&mut self, api: Api, now: Now, head: RequestHead) -> Task {
        match api {
            Api::S3 => self.admit(now, head),
            Api::Web => self.admit_web(now, head),
            Api::Admin => self.admit_admin(now, head),
        }
    }

    /// Begins a request to the Admin API; otherwise as [`Node::admit`], and [released](Node::released) like that. Not refused
    /// while there are many others, for then it may be needed most, nor while there is no layout: it makes the first.
    pub fn admit_admin(&mut self, _now: Now, head: RequestHead) -> Task {
        self.requests += 1;
        let (view, seed) = (Arc::clone(&self.view), self.seed.child());
        let (tokens, origin) = (Arc::clone(&self.tokens), self.layouts.begin(false));
        let task = Task::new("admin", seed, |cx| admin::serve(cx, view, head, tokens));
        self.task(task.serving(), origin)
    }

    /// Lets whoever has one of these use the Admin API.
    pub fn set_tokens(&mut self, tokens: Tokens) {
        self.tokens = Arc::new(tokens);
    }

    /// A request has ended, however it did. Call once for each [`Node::admit`], with its [`Task::origin`].
    pub fn released(&mut self, now: Now, origin: Origin) {
        self.requests = self.requests.checked_sub(1).expect("each request is released once");
        self.pacer.request(now.mono);
        self.task_ended(now, origin);
    }

    fn task_ended(&mut self, now: Now, origin: Origin) {
        let was_behind = self.layouts.is_behind(origin);
        self.layouts.end(origin);
        if was_behind && self.layouts.behind() == 0 {
            self.settle(now);
        }
    }

    /// How many requests are in flight.
    pub fn requests(&self) -> usize {
        self.requests
    }

    /// Tells the node that time has passed. Spurious calls are harmless. Then drain [`Node::poll_effect`].
    pub fn handle_timeout(&mut self, now: Now) {
        self.membership.handle_timeout(now, self.layouts.brief(), &mut self.effects);
        self.settle(now);
        self.stop_late_jobs(now);
        self.hasten_sync(now.mono);
        self.begin_jobs(now);
    }

    /// Hands in the answer to an effect. Then drain [`Node::poll_effect`].
    pub fn handle_event(&mut self, now: Now, id: EffectId, event: NodeEvent) {
        match event {
            NodeEvent::Done => self.job_done(now, id),
            NodeEvent::Answered(answer) => {
                let (brief, effects) = (self.layouts.brief(), &mut self.effects);
                let heard = self.membership.answered(now, id, answer, brief, effects);
                if let Some(heard) = heard {
                    self.take_in(now, heard);
                }
            }
            NodeEvent::Saved(result) => match self.layouts.handle_saved(now, id, &result) {
                Some(changed) => {
                    if changed {
                        self.publish(now);
                        self.membership.tell_all(now, self.layouts.brief());
                    }
                }
                None => self.membership.handle_saved(now, result),
            },
        }
        self.handle_timeout(now);
    }

    /// Draws what follows from a change.
    fn settle(&mut self, now: Now) {
        self.layouts.advance(now, &mut self.effects);
        if self.peers_changed() || self.database_changed() {
            self.publish(now);
        }
    }

    /// The next effect to perform. Poll until `None` after every call that changes the node.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<(EffectId, NodeEffect)> {
        self.effects.pop()
    }

    /// When the node wants [`Node::handle_timeout`], and why.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Reason)> {
        let mut next = (self.membership.next_timeout(), Reason("peers"));
        let mut sooner = |at: Option<Instant>, reason: &'static str| {
            if let Some(at) = at.filter(|at| *at < next.0) {
                next = (at, Reason(reason));
            }
        };
        sooner(self.layouts.next_timeout(), "saving the layout");
        let late = self.running.values().any(|r| !r.stopped && self.layouts.is_behind(r.origin));
        sooner(late.then(|| self.epoch.1.after(JOB_GRACE)), "jobs of an older layout");
        if let Some((at, job)) = self.schedule.next() {
            sooner(Some(at), job.name());
        }
        Some(next)
    }
}
