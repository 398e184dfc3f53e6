//! The connections to other nodes.

use std::{cmp::Reverse, collections::BTreeMap, time::Duration};

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
    /// When the end that dialled has last shown that it uses this one: when it came up, or by what the peer has asked since.
    used: Instant,
    /// When the last question was asked by it that the peer has answered.
    answered: Option<Instant>,
}

impl Link {
    /// One that is up from now on.
    pub(super) fn new(peer: NodeId, outbound: bool, address: String, now: Instant) -> Self {
        Self { peer, outbound, address, since: now, boot: None, used: now, answered: None }
    }
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

    /// The peer has asked something by `id`. If it is the one that has dialled, it uses this connection, and so do we.
    pub(super) fn heard(&mut self, id: LinkId, now: Instant) {
        if let Some(link) = self.up.get_mut(&id).filter(|link| !link.outbound) {
            link.used = now;
        }
    }

    /// The peer has answered what was asked by `id` at this time.
    pub(super) fn answered(&mut self, id: LinkId, asked: Instant) {
        if let Some(link) = self.up.get_mut(&id) {
            link.answered = link.answered.max(Some(asked));
        }
    }

    /// The connection to use, where there are several: both ends choose one that the lesser of the two ids has dialled. Of those it
    /// chooses the newest, and the other end the one by which it was last asked something: two that come up at once may do so in
    /// one order here, and in the other there.
    pub(super) fn to(&self, me: NodeId, peer: NodeId) -> Option<LinkId> {
        let best = |(id, link): &(LinkId, &Link)| {
            (link.outbound != (me < peer), Reverse(link.used), Reverse(*id))
        };
        self.of(peer).min_by_key(best).map(|(id, _)| id)
    }

    /// Connections that `me` has dialled, that have been up since `before`, and that nobody chooses: where `me` has dialled the
    /// chosen one, too, it has been answered by that since the other was up at both ends, which takes no longer than `handshake`.
    pub(super) fn superfluous(
        &self,
        me: NodeId,
        before: Instant,
        handshake: Duration,
    ) -> Vec<LinkId> {
        let candidates = self.up.iter().filter(|(_, link)| link.outbound && link.since < before);
        let unused = candidates.filter(|(id, link)| {
            let chosen =
                self.to(me, link.peer).and_then(|chosen| Some((chosen, self.get(chosen)?)));
            chosen.is_some_and(|(chosen, other)| {
                let both = link.since.max(other.since).after(handshake);
                let agreed = !other.outbound || other.answered.is_some_and(|asked| asked >= both);
                chosen != **id && other.since < before && agreed
            })
        });
        unused.map(|(id, _)| *id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Hash;

    const HANDSHAKE: Duration = Duration::from_secs(30);

    fn at(seconds: u64) -> Instant {
        Instant(0).after(Duration::from_secs(seconds))
    }

    fn two(outbound: bool, peer: NodeId) -> (Links, [LinkId; 2]) {
        let mut links = Links::default();
        let ids = [links.fresh(), links.fresh()];
        for id in ids {
            links.insert(id, Link::new(peer, outbound, "host:1".to_owned(), at(1)));
        }
        (links, ids)
    }

    #[test]
    fn who_was_dialled_uses_what_the_dialler_uses() {
        let names = [b"a", b"b"].map(|name| NodeId(Hash::of(name).0));
        for (me, peer) in [(names[0], names[1]), (names[1], names[0])] {
            let (mut links, [older, newer]) = two(false, peer);
            assert_eq!(links.to(me, peer), Some(newer));
            links.heard(older, at(2));
            assert_eq!(links.to(me, peer), Some(older));
            // It has found that one dead, and dialled anew.
            let newest = links.fresh();
            links.insert(newest, Link::new(peer, false, "host:1".to_owned(), at(3)));
            assert_eq!(links.to(me, peer), Some(newest));
        }
    }

    #[test]
    fn what_was_dialled_twice_is_closed_once_the_peer_uses_the_same_one() {
        let (me, peer) = (NodeId(Hash::of(b"a").0), NodeId(Hash::of(b"b").0));
        let (mut links, [older, newer]) = two(true, peer);
        assert_eq!(links.to(me, peer), Some(newer));
        links.answered(newer, at(20));
        // The peer may have had the older one up only after that.
        assert_eq!(links.superfluous(me, at(100), HANDSHAKE), []);
        links.answered(newer, at(40));
        assert_eq!(links.superfluous(me, at(1), HANDSHAKE), [], "both are young");
        assert_eq!(links.superfluous(me, at(100), HANDSHAKE), [older]);
    }
}
