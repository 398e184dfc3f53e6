//! The connections to other nodes.

use std::{cmp::Reverse, collections::BTreeMap};

use crate::{id::NodeId, time::Instant};

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
    pub(super) since: Instant,
    /// Which start of the peer's process is at the other end, once it has said so.
    pub(super) boot: Option<u64>,
}

/// All that are up.
#[derive(Debug, Default)]
pub(super) struct Links {
    next: u64,
    up: BTreeMap<LinkId, Link>,
    /// The same, by peer; asked for with every request to another node.
    of: BTreeMap<NodeId, Vec<LinkId>>,
}

impl Links {
    pub(super) fn fresh(&mut self) -> LinkId {
        let id = LinkId(self.next);
        self.next += 1;
        id
    }

    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        self.of.entry(link.peer).or_default().push(id);
        self.up.insert(id, link);
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.up.remove(&id)?;
        let of = self.of.get_mut(&link.peer).expect("it is indexed");
        of.retain(|other| *other != id);
        if of.is_empty() {
            self.of.remove(&link.peer);
        }
        Some(link)
    }

    /// Whether there is one to `peer`.
    pub(super) fn is_up(&self, peer: NodeId) -> bool {
        self.of.contains_key(&peer)
    }

    pub(super) fn get(&self, id: LinkId) -> Option<&Link> {
        self.up.get(&id)
    }

    pub(super) fn of(&self, peer: NodeId) -> impl Iterator<Item = (LinkId, &Link)> {
        let ids = self.of.get(&peer).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.up.get(id)?)))
    }

    /// The peer behind `id` has said which start of its process it is. Connections to earlier starts are dead, whatever TCP
    /// says: they are taken out and given back.
    pub(super) fn booted(&mut self, id: LinkId, boot: u64) -> Vec<LinkId> {
        let Some(link) = self.up.get_mut(&id) else { return Vec::new() };
        link.boot = Some(boot);
        let (peer, since) = (link.peer, link.since);
        let earlier = |link: &Link| match link.boot {
            Some(other) => other < boot,
            None => link.since < since,
        };
        let dead: Vec<LinkId> = self
            .of(peer)
            .filter(|(other, link)| *other != id && earlier(link))
            .map(|(other, _)| other)
            .collect();
        dead.iter().for_each(|link| drop(self.remove(*link)));
        dead
    }

    /// The connection to use, where there are several: both ends choose one that the lesser of the two ids has dialled, and of
    /// those the newest.
    pub(super) fn to(&self, me: NodeId, peer: NodeId) -> Option<LinkId> {
        let best = |(id, link): &(LinkId, &Link)| (link.outbound != (me < peer), Reverse(*id));
        self.of(peer).min_by_key(best).map(|(id, _)| id)
    }

    /// Connections that `me` has dialled, that have been up since `before`, and that nobody chooses.
    pub(super) fn superfluous(&self, me: NodeId, before: Instant) -> Vec<LinkId> {
        let candidates = self.up.iter().filter(|(_, link)| link.outbound && link.since < before);
        let unused = candidates.filter(|(id, link)| {
            let chosen =
                self.to(me, link.peer).and_then(|chosen| Some((chosen, self.get(chosen)?)));
            chosen.is_some_and(|(chosen, other)| chosen != **id && other.since < before)
        });
        unused.map(|(id, _)| *id).collect()
    }
}
