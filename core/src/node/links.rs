//! The connections to other nodes.

use std::collections::BTreeMap;

use crate::id::NodeId;

/// Names one connection to a peer, or one attempt at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A connection that is up.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) peer: NodeId,
    /// Whether we dialled.
    pub(super) outbound: bool,
    /// `HOST:PORT` of the other end: what we dialled, or what the connection came from.
    pub(super) address: String,
}

/// All that are up.
#[derive(Debug, Default)]
pub(super) struct Links {
    next: u64,
    up: BTreeMap<LinkId, Link>,
}

impl Links {
    pub(super) fn fresh(&mut self) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        id
    }

    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        self.up.insert(id, link);
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.up.remove(&id)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.up.get(&id)
    }

    /// The peers that there are connections to.
    pub(super) fn peers(&self) -> impl Iterator<Item = NodeId> {
        self.up.values().map(|link| link.peer)
    }

    /// The connection to use, where there may be two: both ends choose the one that the lesser of the two ids dialled.
    pub(super) fn to(&self, me: NodeId, peer: NodeId) -> Option<LinkId> {
        let links = self.up.iter().filter(|(_, link)| link.peer == peer);
        let best = links.min_by_key(|(id, link)| (link.outbound != (me < peer), **id));
        best.map(|(id, _)| *id)
    }
}
