//! What a node can tell of itself and of the cluster.

use std::{sync::Arc, time::Duration};

use super::{Contact, Node, gossip::Space, links::LinkId, pace::PaceStatus};
use crate::{
    id::NodeId,
    job::Job,
    placement::{history::History, layout::Parameters},
    time::{Instant, Now, Timestamp},
};

/// How things are, as the asked node sees them.
#[derive(Clone, Debug)]
pub struct Status {
    /// The asked node.
    pub node: NodeId,
    /// The layouts, what is staged, and how far each node has got.
    pub history: Arc<History>,
    /// The parameters in force; before the first layout, those that it gets unless others are staged.
    pub parameters: Parameters,
    /// The number of the save that brings all of that to this node's disk, so that others are told of it.
    pub save: u64,
    /// The number of the last save that has got there.
    pub saved: u64,
    /// Every node that is known, this one too, in order of id.
    pub nodes: Vec<NodeStatus>,
    /// Where the asked node was told to look for others.
    pub places: Vec<PlaceStatus>,
    /// Background work on this node.
    pub jobs: Vec<JobStatus>,
    /// How long that rests.
    pub pace: PaceStatus,
    /// Requests of clients in flight.
    pub requests: usize,
    /// Requests of other nodes in flight.
    pub served: usize,
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
    /// Where it was last reached, `HOST:PORT`; of the asked node what its operator says, or else where it listens.
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
    /// Its data directories, all together.
    pub disk: Option<Space>,
    /// It is still fetching rows that it should have.
    pub recovering: bool,
}

/// What became of looking for a node somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceStatus {
    /// Where, and for whom.
    pub contact: Contact,
    /// Who answered there, or was to be there, and is connected.
    pub met: Option<NodeId>,
    /// Why nobody is, if an attempt has failed since somebody last asked to look there.
    pub trouble: Option<String>,
}

/// How a background job is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Which.
    pub job: Job,
    /// When it is due next; `None` while it runs.
    pub due: Option<Instant>,
    /// How often in a row it has failed.
    pub failures: u32,
    /// How often it has failed since the node's start.
    pub errors: u64,
    /// The last time that it has failed, even if it has succeeded since.
    pub last_error: Option<JobError>,
}

/// A failure of a background job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobError {
    /// When.
    pub at: Instant,
    /// Why.
    pub reason: String,
}

impl Node {
    /// Says where this node listens for peers, `HOST:PORT`, as one connects to it on this machine. Others are not told.
    pub fn listens_at(&mut self, address: String) {
        self.membership.listens_at = Some(address);
    }

    /// The attempt of a [`NodeEffect::Dial`](super::NodeEffect::Dial) has reached this very node.
    pub fn link_to_self(&mut self, now: Now, link: LinkId, address: String) {
        let me = self.view.node;
        self.link_up(now, link, me, address);
    }

    /// How things are.
    pub fn status(&self, now: Now) -> Status {
        let card = &self.membership.card;
        let me = NodeStatus {
            id: self.view.node,
            up: true,
            address: card.address.as_ref().or(self.membership.listens_at.as_ref()).cloned(),
            hostname: Some(card.hostname.clone()),
            version: Some(card.version.clone()),
            disk: card.disk,
            recovering: card.recovering,
            ..NodeStatus::default()
        };
        let peers = self.membership.peers.iter().map(|(id, peer)| {
            let up = self.membership.is_up(*id);
            let card = peer.card.as_ref();
            NodeStatus {
                id: *id,
                up,
                address: peer.addresses.first().cloned(),
                hostname: card.map(|card| card.hostname.clone()),
                version: card.map(|card| card.version.clone()),
                seen: (!up && card.is_some()).then_some(peer.seen),
                rtt: peer.rtt.filter(|_| up),
                skew: peer.skew.filter(|_| up),
                disk: card.and_then(|card| card.disk),
                recovering: card.is_some_and(|card| card.recovering),
            }
        });
        let mut nodes: Vec<NodeStatus> = peers.chain([me]).collect();
        // Those with a role that nobody here has ever met.
        for member in self.history().members() {
            if nodes.iter().all(|node| node.id != member) {
                nodes.push(NodeStatus { id: member, ..NodeStatus::default() });
            }
        }
        nodes.sort_by_key(|node| node.id);
        let (save, saved) = self.layouts.saves();
        let current = self.history().current().map(|layout| layout.parameters);
        Status {
            node: self.view.node,
            history: Arc::new(self.history().clone()),
            parameters: current.unwrap_or_else(|| self.configured_parameters()),
            save,
            saved,
            nodes,
            places: self.membership.places().collect(),
            jobs: self.schedule.lines().collect(),
            pace: self.pacer.status(self.view.config.tuning.pace),
            requests: self.requests,
            served: self.served,
            now,
        }
    }
}
