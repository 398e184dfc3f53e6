//! Where this node was told to look for others.

use super::{Membership, OWN_ADDRESS};
use crate::{
    id::NodeId,
    node::{
        Contact,
        gossip::Known,
        peers::{Backoff, canonical},
        status::PlaceStatus,
    },
    time::Now,
};

/// A place to find the cluster at.
#[derive(Default)]
pub(super) struct Bootstrap {
    pub(super) address: String,
    /// Who must be there, if that is known.
    pub(super) expected: Option<NodeId>,
    /// Who answered there last; ourselves, perhaps.
    pub(super) met: Option<NodeId>,
    pub(super) backoff: Backoff,
    /// Why the last attempt has failed, since somebody asked for one.
    pub(super) trouble: Option<String>,
    pub(super) dialling: bool,
}

impl Membership {
    /// Looks for a node at this place from now on; at once, even if the next attempt would be due later.
    pub(in crate::node) fn contact(&mut self, contact: Contact, now: Now) {
        let Contact { id: expected, address } = contact;
        if let Some(id) = expected {
            self.learn(&Known { id, addresses: vec![address.clone()] }, now);
            self.peers.entry(id).and_modify(|peer| peer.try_next(&canonical(&address)));
        }
        let same =
            |other: &&mut Bootstrap| (&other.address, other.expected) == (&address, expected);
        match self.bootstrap.iter_mut().find(same) {
            Some(place) => {
                // What was found before is no answer to whoever asks now.
                (place.backoff, place.trouble) = (Backoff::default(), None);
                place.met = place.met.filter(|met| *met != self.me);
            }
            None => self.bootstrap.push(Bootstrap { address, expected, ..Bootstrap::default() }),
        }
    }

    /// Where this node was told to look, and what became of that.
    pub(in crate::node) fn places(&self) -> impl Iterator<Item = PlaceStatus> {
        self.bootstrap.iter().map(|place| {
            let met = place.expected.or(place.met).filter(|id| self.is_up(*id));
            let trouble = match self.is_own(&place.address) || place.met == Some(self.me) {
                true => Some(OWN_ADDRESS.to_owned()),
                false => place.trouble.clone(),
            };
            let contact = Contact { id: place.expected, address: place.address.clone() };
            PlaceStatus { contact, met, trouble: trouble.filter(|_| met.is_none()) }
        })
    }

    /// An attempt at a peer has failed, at an address where this node was perhaps told to look for it.
    pub(super) fn failed_at(&mut self, peer: NodeId, address: &str, reason: &str) {
        let there = |place: &&mut Bootstrap| {
            place.expected == Some(peer) && canonical(&place.address) == address
        };
        for place in self.bootstrap.iter_mut().filter(there) {
            place.trouble = Some(reason.to_owned());
        }
    }

    pub(super) fn wants_bootstrap(&self, place: &Bootstrap) -> bool {
        // Whoever was met there is looked for at its own addresses; but if it stays away, another may be there by now.
        // While the peer that must be there is known to be, it is dialled as that.
        let peer = place.expected.and_then(|id| self.peers.get(&id));
        let known = peer.is_some_and(|peer| peer.addresses.contains(&place.address));
        let there = place.expected.or(place.met).is_some_and(|id| self.is_up(id));
        !place.dialling && !self.is_own(&place.address) && !known && !there
    }

    /// Whether this node is known to listen there itself.
    fn is_own(&self, address: &str) -> bool {
        let own = |known: &Option<String>| known.as_deref() == Some(address);
        own(&self.card.address) || own(&self.listens_at)
    }
}
