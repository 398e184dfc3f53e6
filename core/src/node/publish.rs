//! The node's view: what tasks may know of the cluster, replaced whenever that has changed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::Node;
use crate::{
    id::NodeId,
    time::Now,
    view::{Peer, View},
};

/// A round trip must differ by this share of itself, and by [`RTT_STEP`], for the order of replicas to be looked at again.
const RTT_SHARE: u32 = 4;

/// See [`RTT_SHARE`].
const RTT_STEP: Duration = Duration::from_millis(1);

impl Node {
    /// Whether the peers of the view are not those that there are.
    pub(super) fn peers_changed(&self) -> bool {
        let differs = |a: Option<Duration>, b: Option<Duration>| match (a, b) {
            (Some(a), Some(b)) => a.abs_diff(b) > RTT_STEP.max(a / RTT_SHARE),
            (a, b) => a.is_some() != b.is_some(),
        };
        let mut up = self.membership.up();
        let mut before = self.view.peers.iter().filter(|(_, peer)| peer.up);
        loop {
            match (up.next(), before.next()) {
                (None, None) => return false,
                (Some((a, peer)), Some((b, old))) if a == *b && !differs(old.rtt, peer.rtt) => {}
                _ => return true,
            }
        }
    }

    /// Whether the database has got or lost what the view says of it.
    pub(super) fn database_changed(&self) -> bool {
        let ours = (self.layouts.is_recovering(), self.layouts.complete());
        (self.view.recovering, self.view.complete) != ours
    }

    /// Replaces the view.
    pub(super) fn publish(&mut self, now: Now) {
        let me = self.view.node;
        let members = self.layouts.brief().members.iter().filter(|id| **id != me);
        let down = Peer { up: false, rtt: None };
        let mut peers: BTreeMap<NodeId, Peer> = members.map(|id| (*id, down)).collect();
        peers.extend(self.membership.up().map(|(id, peer)| (id, Peer { up: true, rtt: peer.rtt })));
        let near = |id: NodeId| {
            let far = match peers.get(&id) {
                _ if id == me => 0,
                Some(Peer { up: true, rtt }) => rtt.map_or(u64::MAX - 1, |rtt| {
                    1 + u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX - 3)
                }),
                Some(Peer { up: false, .. }) | None => u64::MAX,
            };
            (far, id)
        };
        let ring = self.layouts.ring(self.view.config.consistency, &near);
        if ring.version() != self.view.ring.version() {
            match ring.version() {
                0 => log::info!("this node knows of no layout yet"),
                version => log::info!("this node goes by layout version {version}"),
            }
        }
        if self.epoch.0 != self.layouts.epoch() {
            self.epoch = (self.layouts.epoch(), now.mono);
        }
        let recovering = self.layouts.is_recovering();
        self.membership.card.recovering = recovering;
        let complete = self.layouts.complete();
        self.view = Arc::new(View { ring, peers, recovering, complete, ..View::clone(&self.view) });
    }
}
