//! Gossip: what is said to a peer, and what is made of its answer.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;

use super::{Brief, CLAIMS_GAP, Exchange, Membership, NAMED_ADDRESSES, URGENT_GAP};
use crate::{
    effect::{EffectId, PeerError},
    id::{ClusterId, NodeId},
    node::{
        LinkId, NodeEffect,
        effects::Effects,
        gossip::{Gossip, Known},
    },
    rpc::{self, Reply, Request},
    time::{Now, Timestamp},
    wire::{Message, Priority},
};

/// How long an exchange may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Clocks that differ by more are worth a warning: signatures of requests bear 15 minutes, but the last writer wins by its clock.
const SKEW_MAX: i64 = 3_000;

/// Peers named in a round, after the first one on a connection, which names all.
const NAMED: usize = 16;

/// A node of another cluster is not spoken to for so long.
const SHUN: Duration = Duration::from_secs(300);

/// What came out of a message.
pub(in crate::node) struct Heard {
    pub(in crate::node) peer: NodeId,
    /// The peer's history, if it has sent it.
    pub(in crate::node) history: Bytes,
}

impl Membership {
    pub(super) fn choose(&mut self, mut from: Vec<NodeId>, count: usize) -> Vec<NodeId> {
        let mut chosen = Vec::with_capacity(count.min(from.len()));
        while chosen.len() < count && !from.is_empty() {
            let at = self.seed.below(from.len() as u64);
            chosen.push(from.swap_remove(usize::try_from(at).unwrap_or(0)));
        }
        chosen.sort_unstable();
        chosen
    }

    /// Our history has changed: whoever does not know that is to be told at once, or soon if no layout is new to them.
    pub(in crate::node) fn tell_all(&mut self, now: Now, brief: &Brief) {
        let behind = self.up().filter(|(_, peer)| peer.digest != Some(brief.digest));
        let (behind, lacks): (BTreeSet<NodeId>, Vec<bool>) =
            behind.map(|(id, peer)| (id, peer.layouts != brief.layouts)).unzip();
        if lacks.contains(&true) {
            self.urgent_at = self.urgent_at.min(now.mono.after(URGENT_GAP));
        } else if self.urgent.is_empty() {
            self.urgent_at = now.mono.after(CLAIMS_GAP);
        }
        self.urgent = behind;
    }

    /// To be called when a peer has been heard and its history taken in: if it lacks something that we have not sent yet, it is
    /// told at once.
    pub(in crate::node) fn answer_back(&mut self, peer: NodeId, brief: &Brief) {
        let Some(entry) = self.peers.get(&peer) else { return };
        let behind = entry.digest != Some(brief.digest) && entry.sent != brief.digest;
        if behind && brief.digest.is_some() {
            self.urgent.insert(peer);
        }
    }

    /// This peer knows something that we should know, too.
    pub(in crate::node) fn ask(&mut self, peer: NodeId) {
        if self.is_up(peer) {
            self.urgent.insert(peer);
        }
    }

    pub(super) fn exchange(&mut self, id: NodeId, now: Now, brief: &Brief, effects: &mut Effects) {
        let Some(link) = self.link_to(id) else { return };
        if self.peers.get(&id).is_none_or(|peer| peer.call.is_some()) {
            // One at a time: its answer comes back with the rest.
            return;
        }
        let (gossip, payload) = self.speak(id, now, brief);
        let told = gossip.missed;
        let message = rpc::encode_request(&Request::Gossip(Box::new(gossip)), payload);
        let call =
            NodeEffect::Call { link, priority: Priority::Control, message, patience: PATIENCE };
        let effect = effects.push(call);
        self.exchanges.insert(effect, Exchange { peer: id, link, sent: now.mono, told });
        self.peers.entry(id).and_modify(|peer| peer.call = Some(effect));
    }

    /// What to say to a peer.
    fn speak(&mut self, to: NodeId, now: Now, brief: &Brief) -> (Gossip, Bytes) {
        let introduced = self.peers.get(&to).is_some_and(|peer| peer.introduced);
        let worth = self.peers.iter().filter(|(id, peer)| {
            **id != to
                && !peer.addresses.is_empty()
                && peer.foreign.is_none()
                && (brief.members.contains(id) || self.is_up(**id))
        });
        let worth: Vec<NodeId> = worth.map(|(id, _)| *id).collect();
        let named = if introduced { self.choose(worth, NAMED) } else { worth };
        let known = |id: NodeId| {
            let addresses = self.peers.get(&id)?.addresses.iter().take(NAMED_ADDRESSES);
            Some(Known { id, addresses: addresses.cloned().collect() })
        };
        let gossip = Gossip {
            card: self.card.clone(),
            clock: now.wall,
            cluster: brief.cluster,
            peers: named.into_iter().filter_map(known).collect(),
            missed: self.peers.get(&to).is_some_and(|peer| peer.missed),
            layout: brief.digest,
            layouts: brief.layouts,
        };
        let Some(peer) = self.peers.get_mut(&to) else { return (gossip, Bytes::new()) };
        peer.introduced = true;
        // Before it has said what it has, its word is awaited: mostly, it has the same.
        if brief.digest.is_some() && peer.digest.is_some_and(|theirs| theirs != brief.digest) {
            peer.sent = brief.digest;
            let same = brief.layouts.is_some() && peer.layouts == brief.layouts;
            return (gossip, if same { brief.news.clone() } else { brief.bytes.clone() });
        }
        (gossip, Bytes::new())
    }

    /// A peer's gossip has come by `link`. What it has to say; nothing, if it is of another cluster.
    pub(in crate::node) fn hear(
        &mut self,
        now: Now,
        link: LinkId,
        gossip: Gossip,
        history: Bytes,
        brief: &Brief,
        effects: &mut Effects,
    ) -> Option<Heard> {
        let (peer, from) = self.links.get(link).map(|link| (link.peer, link.address.clone()))?;
        if let (Some(ours), Some(theirs)) = (brief.cluster, gossip.cluster)
            && ours != theirs
        {
            self.shun(peer, ours, theirs, now);
            return None;
        }
        for dead in self.links.booted(link, gossip.card.boot) {
            effects.push(NodeEffect::Close { link: dead });
        }
        let outbound = self.links.get(link).is_some_and(|link| link.outbound);
        let guess = gossip.card.port.filter(|_| !outbound).and_then(|port| {
            let (host, _) = from.rsplit_once(':')?;
            Some(format!("{host}:{port}"))
        });
        let told = gossip.card.address.clone().into_iter().chain(guess).collect();
        self.learn(&Known { id: peer, addresses: told }, now);
        for known in &gossip.peers {
            self.learn(known, now);
        }
        let entry = self.peers.get_mut(&peer)?;
        self.behind |= gossip.missed;
        (entry.foreign, entry.digest) = (None, Some(gossip.layout));
        entry.layouts = gossip.layouts;
        entry.card = Some(gossip.card);
        Some(Heard { peer, history })
    }

    fn shun(&mut self, peer: NodeId, ours: ClusterId, theirs: ClusterId, now: Now) {
        let entry = self.peers.entry(peer).or_default();
        if entry.foreign.replace(theirs).is_none() {
            log::error!(
                "node {peer} belongs to another cluster ({theirs}, and this one is {ours}): two clusters cannot be joined. \
                 If it is to come here, stop it and move its data away; else take its address out of the configuration"
            );
        }
        entry.backoff.at = now.mono.after(SHUN);
        for place in self.bootstrap.iter_mut().filter(|place| place.met == Some(peer)) {
            place.backoff.at = now.mono.after(SHUN);
        }
    }

    /// An exchange is over. What the peer has answered.
    pub(in crate::node) fn answered(
        &mut self,
        now: Now,
        effect: EffectId,
        answer: Result<Message, PeerError>,
        brief: &Brief,
        effects: &mut Effects,
    ) -> Option<Heard> {
        let Exchange { peer, link, sent, told } = self.exchanges.remove(&effect)?;
        let entry = self.peers.get_mut(&peer)?;
        if entry.call == Some(effect) {
            entry.call = None;
        }
        let answered =
            answer.and_then(|message| Ok((rpc::decode_reply(&message)?, message.payload)));
        let (gossip, history) = match answered {
            Ok((Reply::Gossip(gossip), history)) => (*gossip, history),
            Ok((other, _)) => {
                log::warn!("node {peer} answers gossip with {other:?}");
                return None;
            }
            Err(error) => {
                log::debug!("node {peer} does not answer gossip: {error}");
                // What was sent has perhaps not arrived.
                (entry.sent, entry.introduced) = (None, false);
                return None;
            }
        };
        entry.missed &= !told;
        self.links.answered(link, sent);
        // Half of the time is a guess, and good enough for what people set clocks by.
        let theirs = gossip.clock.after(now.mono.since(sent) / 2);
        self.compare_clocks(peer, theirs, now.wall);
        let heard = self.hear(now, link, gossip, history, brief, effects);
        if heard.is_none() && self.peers.get(&peer).is_some_and(|peer| peer.foreign.is_some()) {
            // It knows by our question what we know by its answer.
            self.close(link, now, effects);
        }
        heard
    }

    fn compare_clocks(&mut self, peer: NodeId, theirs: Timestamp, ours: Timestamp) {
        let Some(entry) = self.peers.get_mut(&peer) else { return };
        let signed = |time: Timestamp| i64::try_from(time.0).unwrap_or(i64::MAX);
        let skew = signed(theirs).saturating_sub(signed(ours));
        let before = entry.skew.replace(skew);
        if skew.abs() > SKEW_MAX && before.is_none_or(|before| before.abs() <= SKEW_MAX) {
            let seconds = skew.abs() / 1000;
            let which = if skew > 0 { "ahead of" } else { "behind" };
            log::warn!(
                "the clock of node {peer} is {seconds} s {which} this one's: run NTP on both. Of two writers of one object, \
                 the one whose clock is ahead wins"
            );
        }
    }

    /// The reply to a peer's gossip.
    pub(in crate::node) fn reply(&mut self, to: NodeId, now: Now, brief: &Brief) -> Message {
        let (gossip, payload) = self.speak(to, now, brief);
        rpc::encode_reply(&Reply::Gossip(Box::new(gossip)), payload)
    }
}
