//! Who else is there: connections to everybody, addresses, and gossip.
//!
//! Every node keeps a connection to every other (a full mesh). It begins with one address: whoever answers there tells of the
//! others. Nodes that change their address are found because they dial the others themselves, who then tell the rest. Every
//! second a node exchanges what it knows with a few others; when its layouts have changed, at once.

mod places;
mod talk;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;

use places::Bootstrap;
pub(super) use talk::Heard;

use super::{
    Contact, NodeEffect, StateFile,
    effects::Effects,
    gossip::{Card, Digest, Known},
    links::{Link, LinkId, Links},
    peers::{FAILURES_DOWN, Peer, canonical},
};
use crate::{
    effect::EffectId,
    id::{ClusterId, Hash, NodeId},
    seed::Seed,
    time::{Instant, Now},
    wire::WireError,
};

/// Nodes that are remembered. Clusters have a hundred at most; the rest bounds what a confused peer can make us hold.
pub(super) const PEERS_MAX: usize = 512;

/// Attempts to connect at a time.
const DIALS_MAX: usize = 16;

/// An attempt that the shell has not reported on is given up. Longer than TCP and the handshake may take together.
const DIAL_MAX: Duration = Duration::from_secs(30);

/// Between two lines of the log about connections that were refused.
const REFUSED: Duration = Duration::from_secs(60);

/// Between rounds of gossip.
const TICK: Duration = Duration::from_secs(1);

/// Peers asked in a round.
const FANOUT: usize = 3;

/// When something has changed: so many are told at a time...
const URGENT_FANOUT: usize = 8;

/// ...and then nobody for so long. They tell others: a hundred nodes know within three such rounds.
const URGENT_GAP: Duration = Duration::from_millis(50);

/// The same where there is no new layout, but only news of how far nodes have got: many of them at once, so they wait for each other
/// a little. Those that are late by this go through the steps of a layout no more than a second later.
const CLAIMS_GAP: Duration = Duration::from_millis(200);

/// Addresses told of each.
pub(super) const NAMED_ADDRESSES: usize = 4;

/// How old two connections must be for one to be closed because there is the other: what went by it has been answered by then.
const SUPERFLUOUS: Duration = Duration::from_secs(60);

/// The longest wait before this node looks again where it has met itself. A name may stand for all nodes of a cluster: then
/// another answers next time, soon enough because the first waits are short.
const MYSELF_MAX: Duration = Duration::from_secs(300);

/// A node without a role that this one has not been connected to for so long is forgotten.
const FORGET: Duration = Duration::from_secs(3600);

/// How long a node of another cluster may stay connected: to learn that it is one.
const FOREIGN: Duration = Duration::from_secs(5);

/// What is said of an attempt that has reached this very node.
const OWN_ADDRESS: &str = "the address is this node's own";

/// Changes of addresses are saved after so long, all together.
const SAVE_AFTER: Duration = Duration::from_secs(5);

/// From a failed save to the next.
const SAVE_AGAIN: Duration = Duration::from_secs(60);

/// The first byte of the file of peers.
const FORMAT: u8 = 1;

/// What is told of the layouts.
#[derive(Clone, Debug, Default)]
pub(super) struct Brief {
    pub(super) cluster: Option<ClusterId>,
    pub(super) digest: Option<Digest>,
    /// The encoded history.
    pub(super) bytes: Bytes,
    /// The hash of the layouts in it, and the encoded history without them.
    pub(super) layouts: Option<Hash>,
    pub(super) news: Bytes,
    /// Everybody with a role.
    pub(super) members: BTreeSet<NodeId>,
}

/// Whom an attempt is for.
enum Target {
    Peer(NodeId),
    Bootstrap(usize),
}

struct Attempt {
    target: Target,
    address: String,
    until: Instant,
}

struct Exchange {
    peer: NodeId,
    link: LinkId,
    sent: Instant,
    /// The peer was told that it has missed something.
    told: bool,
}

/// See the [module](self).
pub(super) struct Membership {
    me: NodeId,
    started: Instant,
    pub(super) card: Card,
    /// Where this node listens, `HOST:PORT`: for people on this machine, if nothing else is known.
    pub(super) listens_at: Option<String>,
    pub(super) links: Links,
    pub(super) peers: BTreeMap<NodeId, Peer>,
    bootstrap: Vec<Bootstrap>,
    attempts: BTreeMap<LinkId, Attempt>,
    exchanges: BTreeMap<EffectId, Exchange>,
    tick: Instant,
    /// Whom to tell at once, and when.
    urgent: BTreeSet<NodeId>,
    urgent_at: Instant,
    save_at: Option<Instant>,
    /// This node may lack what others have: it has been away from one of them, or is told so.
    pub(super) behind: bool,
    /// From when on one more connection that was refused is worth a line in the log.
    refused_at: Instant,
    seed: Seed,
}

impl Membership {
    pub(super) fn new(
        me: NodeId,
        card: Card,
        contacts: Vec<Contact>,
        saved: Option<&[u8]>,
        seed: Seed,
        now: Now,
    ) -> Self {
        let mut this = Self {
            me,
            started: now.mono,
            card,
            listens_at: None,
            links: Links::default(),
            peers: BTreeMap::new(),
            bootstrap: Vec::new(),
            attempts: BTreeMap::new(),
            exchanges: BTreeMap::new(),
            tick: now.mono,
            urgent: BTreeSet::new(),
            urgent_at: now.mono,
            save_at: None,
            behind: false,
            refused_at: now.mono,
            seed,
        };
        // Only a shortcut to what peers tell, and not worth a node that does not start. The next save replaces it.
        match saved.map_or(Ok(Vec::new()), decode) {
            Ok(known) => known.iter().for_each(|known| this.learn(known, now)),
            Err(reason) => log::warn!(
                "the file of peers cannot be read: {reason}. The node begins with bootstrap_peers alone, and with whoever connects"
            ),
        }
        for contact in contacts {
            this.contact(contact, now);
        }
        this.save_at = None;
        this
    }

    /// Forgets a peer. If it still runs, it comes back by itself, or is met where this node was told to look.
    pub(super) fn forget(&mut self, peer: NodeId, now: Now, effects: &mut Effects) {
        let links: Vec<LinkId> = self.links.of(peer).map(|(link, _)| link).collect();
        for link in links {
            self.close(link, now, effects);
        }
        if self.peers.remove(&peer).is_some() {
            self.save_soon(now);
        }
    }

    fn learn(&mut self, known: &Known, now: Now) {
        if known.id == self.me
            || (self.peers.len() >= PEERS_MAX && !self.peers.contains_key(&known.id))
        {
            return;
        }
        let fresh = || Peer { seen: now.wall, lost: now.mono, ..Peer::default() };
        let peer = self.peers.entry(known.id).or_insert_with(fresh);
        let mut news = false;
        for address in known.addresses.iter().take(NAMED_ADDRESSES) {
            news |= peer.learn(address);
        }
        if news {
            self.save_soon(now);
        }
    }

    fn save_soon(&mut self, now: Now) {
        self.save_at.get_or_insert(now.mono.after(SAVE_AFTER));
    }

    /// The peers of this cluster that there are connections to.
    pub(super) fn up(&self) -> impl Iterator<Item = (NodeId, &Peer)> {
        let ours = self.peers.iter().filter(|(_, peer)| peer.foreign.is_none());
        let up = ours.filter(|(id, _)| self.is_up(**id));
        up.map(|(id, peer)| (*id, peer))
    }

    pub(super) fn is_up(&self, peer: NodeId) -> bool {
        self.links.is_up(peer)
    }

    pub(super) fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        self.links.to(self.me, peer)
    }

    /// The peer of this cluster at the other end of `link`, if that is up.
    pub(super) fn peer_of(&self, link: LinkId) -> Option<NodeId> {
        self.links.get(link).map(|link| link.peer)
    }

    /// A peer lacks something that others have. It is told when it is there again, and fetches it.
    pub(super) fn missed(&mut self, peer: NodeId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.missed = true;
        }
    }

    /// The file of peers was saved, or not.
    pub(super) fn handle_saved(&mut self, now: Now, result: Result<(), String>) {
        if let Err(reason) = result {
            log::warn!("the addresses of peers cannot be saved: {reason}");
            self.save_at = Some(now.mono.after(SAVE_AGAIN));
        }
    }

    /// An attempt has succeeded.
    pub(super) fn link_up(
        &mut self,
        now: Now,
        link: LinkId,
        peer: NodeId,
        address: String,
        effects: &mut Effects,
    ) {
        let Some(attempt) = self.attempts.remove(&link) else {
            // It was given up.
            effects.push(NodeEffect::Close { link });
            return;
        };
        if peer == self.me {
            effects.push(NodeEffect::Close { link });
            return self.met_myself(now, attempt);
        }
        match attempt.target {
            Target::Peer(id) => {
                self.peers.entry(id).and_modify(|peer| peer.dialling = false);
            }
            Target::Bootstrap(index) => {
                let bootstrap = &mut self.bootstrap[index];
                (bootstrap.dialling, bootstrap.met) = (false, Some(peer));
                bootstrap.trouble = None;
            }
        }
        self.insert(now, link, peer, address.clone(), true);
        if self.peers.get_mut(&peer).is_some_and(|peer| peer.reached(&address)) {
            self.save_soon(now);
        }
    }

    /// An attempt has ended at this very node.
    fn met_myself(&mut self, now: Now, attempt: Attempt) {
        match attempt.target {
            // It is not there. The address stays: it is told again and again by whoever believes in it.
            Target::Peer(_) => self.failed(now, attempt, OWN_ADDRESS),
            Target::Bootstrap(index) => {
                log::debug!("{} is this node's own address", attempt.address);
                let bootstrap = &mut self.bootstrap[index];
                (bootstrap.dialling, bootstrap.met) = (false, Some(self.me));
                bootstrap.backoff.fail_up_to(MYSELF_MAX, now.mono, 1, &mut self.seed);
            }
        }
    }

    /// A peer has connected to us.
    pub(super) fn link_accepted(&mut self, now: Now, peer: NodeId, address: &str) -> LinkId {
        let link = self.links.fresh();
        if peer != self.me {
            self.insert(now, link, peer, canonical(address), false);
        }
        link
    }

    fn insert(&mut self, now: Now, id: LinkId, peer: NodeId, address: String, outbound: bool) {
        let was_up = self.is_up(peer);
        log::debug!("connected to {peer} at {address}");
        self.links.insert(id, Link::new(peer, outbound, address, now.mono));
        let entry = self.peers.entry(peer).or_default();
        entry.turn = 0;
        let expected = self.bootstrap.iter_mut().filter(|place| place.expected == Some(peer));
        expected.for_each(|place| place.trouble = None);
        if !was_up {
            log::info!("node {peer} is up");
            // It may have restarted, and know nothing any more.
            (entry.digest, entry.sent, entry.introduced) = (None, None, false);
            self.behind = true;
        }
        self.urgent.insert(peer);
    }

    /// For how long this node has had no connection to that one: since it was first heard of, if there never was one.
    pub(super) fn away(&self, id: NodeId, now: Now) -> Duration {
        if self.is_up(id) {
            return Duration::ZERO;
        }
        now.mono.since(self.peers.get(&id).map_or(self.started, |peer| peer.lost))
    }

    /// The pings of a connection say how far the peer is: gossip would count what both ends do beside answering.
    pub(super) fn link_measured(&mut self, link: LinkId, rtt: Duration) {
        if let Some(peer) = self.peer_of(link)
            && self.link_to(peer) == Some(link)
            && let Some(entry) = self.peers.get_mut(&peer)
        {
            entry.rtt = Some(rtt);
        }
    }

    /// A connection has ended, or an attempt has failed.
    pub(super) fn link_down(&mut self, now: Now, link: LinkId, reason: &str) {
        if let Some(attempt) = self.attempts.remove(&link) {
            log::debug!("cannot connect to {}: {reason}", attempt.address);
            self.failed(now, attempt, reason);
        }
        let Some(Link { peer, address, since, .. }) = self.links.remove(link) else { return };
        log::debug!("the connection to {peer} at {address} has ended: {reason}");
        if !self.is_up(peer)
            && let Some(entry) = self.peers.get_mut(&peer)
        {
            log::info!("node {peer} is down: {reason}");
            (entry.seen, entry.lost) = (now.wall, now.mono);
            (entry.rtt, entry.skew, entry.call) = (None, None, None);
            let (lived, seed) = (now.mono.since(since), &mut self.seed);
            entry.backoff.fell(lived, now.mono, seed);
            for place in self.bootstrap.iter_mut().filter(|place| place.met == Some(peer)) {
                place.backoff.fell(lived, now.mono, seed);
            }
        }
    }

    /// A connection that another node has made was refused. Only this end knows why, if the secrets differ: so it says so, and not
    /// for each of the other's attempts.
    pub(super) fn link_refused(&mut self, now: Now, address: &str, error: &WireError) {
        let by_mistake = matches!(error, WireError::Secret | WireError::Version { .. });
        if by_mistake && self.refused_at <= now.mono {
            log::warn!("refused a connection from {address}: {error}");
            self.refused_at = now.mono.after(REFUSED);
        } else {
            log::debug!("refused a connection from {address}: {error}");
        }
    }

    fn failed(&mut self, now: Now, attempt: Attempt, reason: &str) {
        match attempt.target {
            Target::Peer(id) => {
                let Some(peer) = self.peers.get_mut(&id) else { return };
                peer.dialling = false;
                let round = peer.addresses.len();
                peer.backoff.fail(now.mono, round, &mut self.seed);
                if peer.backoff.failures == FAILURES_DOWN {
                    let tried = peer.addresses.join(", ");
                    log::warn!("node {id} cannot be reached ({tried}): {reason}. Still trying");
                }
                self.failed_at(id, &attempt.address, reason);
            }
            Target::Bootstrap(index) => {
                let bootstrap = &mut self.bootstrap[index];
                (bootstrap.dialling, bootstrap.trouble) = (false, Some(reason.to_owned()));
                bootstrap.backoff.fail(now.mono, 1, &mut self.seed);
                if bootstrap.backoff.failures == FAILURES_DOWN {
                    log::warn!("no node answers at {}: {reason}. Still trying", attempt.address);
                }
            }
        }
    }

    fn close(&mut self, link: LinkId, now: Now, effects: &mut Effects) {
        effects.push(NodeEffect::Close { link });
        self.link_down(now, link, "closed by this node");
    }

    /// Does what is due.
    pub(super) fn handle_timeout(&mut self, now: Now, brief: &Brief, effects: &mut Effects) {
        let late =
            |(link, attempt): (&LinkId, &Attempt)| (attempt.until <= now.mono).then_some(*link);
        let late: Vec<LinkId> = self.attempts.iter().filter_map(late).collect();
        for link in late {
            effects.push(NodeEffect::Close { link });
            self.link_down(now, link, "no answer in time");
        }
        self.dial(now, effects);
        if self.tick <= now.mono {
            self.tick = now.mono.after(TICK);
            self.tidy(now, brief, effects);
            let up: Vec<NodeId> = self.up().map(|(id, _)| id).collect();
            for peer in self.choose(up, FANOUT) {
                self.exchange(peer, now, brief, effects);
            }
        }
        if !self.urgent.is_empty() && self.urgent_at <= now.mono {
            self.urgent_at = now.mono.after(URGENT_GAP);
            let urgent: Vec<NodeId> = self.urgent.iter().copied().collect();
            for peer in self.choose(urgent, URGENT_FANOUT) {
                self.urgent.remove(&peer);
                self.exchange(peer, now, brief, effects);
            }
        }
        if self.save_at.is_some_and(|at| at <= now.mono) {
            self.save_at = None;
            let (file, bytes) = (StateFile::Peers, self.encode());
            effects.push(NodeEffect::Save { file, bytes });
        }
    }

    /// When [`Membership::handle_timeout`] has something to do.
    pub(super) fn next_timeout(&self) -> Instant {
        let attempts = self.attempts.values().map(|attempt| attempt.until);
        let urgent = (!self.urgent.is_empty()).then_some(self.urgent_at);
        let mut next = attempts.chain(urgent).chain(self.save_at).fold(self.tick, Instant::min);
        if self.attempts.len() < DIALS_MAX {
            let peers = self.peers.iter().filter(|(id, peer)| self.wants_dial(**id, peer));
            let bootstrap = self.bootstrap.iter().filter(|place| self.wants_bootstrap(place));
            let due = peers.map(|(_, peer)| peer.backoff.at);
            next = due.chain(bootstrap.map(|place| place.backoff.at)).fold(next, Instant::min);
        }
        next
    }

    fn wants_dial(&self, id: NodeId, peer: &Peer) -> bool {
        !peer.dialling && !peer.addresses.is_empty() && !self.is_up(id)
    }

    /// Begins the attempts that are due, as many as there is room for: who has waited longest goes first, so that those who
    /// never answer do not keep the places to themselves.
    fn dial(&mut self, now: Now, effects: &mut Effects) {
        let places = self.bootstrap.iter().enumerate();
        let places = places.filter(|(_, place)| self.wants_bootstrap(place));
        let places = places.map(|(at, place)| (place.backoff.at, Target::Bootstrap(at)));
        let peers = self.peers.iter().filter(|(id, peer)| self.wants_dial(**id, peer));
        let peers = peers.map(|(id, peer)| (peer.backoff.at, Target::Peer(*id)));
        let mut due: Vec<_> = places.chain(peers).filter(|(at, _)| *at <= now.mono).collect();
        due.sort_by_key(|(at, _)| *at);
        for (_, target) in due.into_iter().take(DIALS_MAX.saturating_sub(self.attempts.len())) {
            let (address, expected) = match target {
                Target::Bootstrap(index) => {
                    let place = &mut self.bootstrap[index];
                    place.dialling = true;
                    (place.address.clone(), place.expected)
                }
                Target::Peer(id) => {
                    let peer = self.peers.get_mut(&id).expect("it is due");
                    peer.dialling = true;
                    (peer.next_address().expect("it wants to be dialled"), Some(id))
                }
            };
            self.attempt(target, address, expected, now, effects);
        }
    }

    fn attempt(
        &mut self,
        target: Target,
        address: String,
        expected: Option<NodeId>,
        now: Now,
        effects: &mut Effects,
    ) {
        let link = self.links.fresh();
        let until = now.mono.after(DIAL_MAX);
        self.attempts.insert(link, Attempt { target, address: address.clone(), until });
        effects.push(NodeEffect::Dial { link, address, expected });
    }

    /// Closes connections that nobody uses, forgets nodes that are long gone.
    fn tidy(&mut self, now: Now, brief: &Brief, effects: &mut Effects) {
        let before = |age| Instant(now.mono.0.saturating_sub(nanos(age)));
        let mut close = self.links.superfluous(self.me, before(SUPERFLUOUS), DIAL_MAX);
        // A peer of another cluster closes the connection itself, as soon as it knows; if not, we do.
        let foreign = self.peers.iter().filter(|(_, peer)| peer.foreign.is_some());
        for (link, of) in foreign.flat_map(|(id, _)| self.links.of(*id)) {
            if of.since < before(FOREIGN) {
                close.push(link);
            }
        }
        for link in close {
            self.close(link, now, effects);
        }
        // By the clock that is never set: a board without a battery begins in 1970, and then it is today.
        let gone = self.peers.iter().filter(|(id, peer)| {
            peer.lost < before(FORGET) && !brief.members.contains(id) && !self.is_up(**id)
        });
        let gone: Vec<NodeId> = gone.map(|(id, _)| *id).collect();
        for id in gone {
            log::info!("node {id} has no role and was not seen for an hour: forgotten");
            self.forget(id, now, effects);
        }
    }

    /// The file of peers.
    fn encode(&self) -> Vec<u8> {
        let known = self.peers.iter().filter(|(_, peer)| !peer.addresses.is_empty());
        let known = known.map(|(id, peer)| Known { id: *id, addresses: peer.addresses.clone() });
        let mut bytes = vec![FORMAT];
        ciborium::into_writer(&known.collect::<Vec<_>>(), &mut bytes)
            .expect("plain data, and memory does not fail");
        bytes
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<Known>, String> {
    let Some((&FORMAT, body)) = bytes.split_first() else {
        return Err("it is of another format: was it written by a newer Mews?".to_owned());
    };
    ciborium::from_reader(body).map_err(|error| error.to_string())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
