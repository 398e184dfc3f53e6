//! What is known of one peer, and where to find it.

use std::{net::SocketAddr, time::Duration};

use super::gossip::{Card, Digest};
use crate::{
    effect::EffectId,
    id::{ClusterId, Hash},
    seed::Seed,
    time::{Instant, Timestamp},
};

/// Addresses remembered of one node: what its operator says, what was seen at a few places, and some that are out of date.
pub(super) const ADDRESSES_MAX: usize = 8;

/// The longest `HOST:PORT`: a domain name has at most 253 characters (RFC 1035 §2.3.4).
const ADDRESS_LEN_MAX: usize = 253 + 6;

/// The first wait after a failed attempt; it doubles with each round through the addresses.
const BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait between attempts: a home line that was cut is back within the minute it comes up, and fifty nodes that
/// are all away cost two attempts a second.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// A connection that has lived for so long was a good one. Longer than it takes to notice that the other end is silent.
const STEADY: Duration = Duration::from_secs(30);

/// Attempts in a row that must fail before a peer's addresses are all held to be out of date, and the log says so.
pub(super) const FAILURES_DOWN: u32 = 5;

/// Whether this could be the address of a node.
pub(super) fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_LEN_MAX
        && text.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && host.chars().all(|c| c.is_ascii_graphic() && c != '@')
                && matches!(port.parse::<u16>(), Ok(1..))
        })
}

/// The address as all nodes write it. One that listens on `[::]` sees IPv4 addresses wrapped into IPv6 ones (RFC 4291 §2.5.5.2),
/// which hosts without IPv6 cannot dial.
pub(super) fn canonical(address: &str) -> String {
    match address.parse::<SocketAddr>() {
        Ok(socket) if socket.ip().to_canonical() != socket.ip() => {
            SocketAddr::new(socket.ip().to_canonical(), socket.port()).to_string()
        }
        Ok(_) | Err(_) => address.to_owned(),
    }
}

/// When to try again what fails.
#[derive(Clone, Debug, Default)]
pub(super) struct Backoff {
    pub(super) failures: u32,
    pub(super) at: Instant,
}

impl Backoff {
    /// One more failure. `round` is how many attempts make the wait double.
    pub(super) fn fail(&mut self, now: Instant, round: usize, seed: &mut Seed) {
        self.fail_up_to(BACKOFF_MAX, now, round, seed);
    }

    /// The same, with `most` as the longest wait.
    pub(super) fn fail_up_to(
        &mut self,
        most: Duration,
        now: Instant,
        round: usize,
        seed: &mut Seed,
    ) {
        let rounds = self.failures / u32::try_from(round.max(1)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let wait = BACKOFF.saturating_mul(1 << rounds.min(16)).min(most);
        // Half of it at random, so that nodes that lost each other at once do not come back at once.
        let wait = wait / 2 + Duration::from_millis(seed.below(1 + half_millis(wait)));
        self.at = self.at.max(now.after(wait));
    }

    /// A connection has ended that had been up for so long. After one that was good, the next is tried at once; else it waits
    /// as after a first failure, because what ends connections as soon as they are up may go on doing so.
    pub(super) fn fell(&mut self, lived: Duration, now: Instant, seed: &mut Seed) {
        self.failures = 0;
        match lived >= STEADY {
            true => self.at = Instant(0),
            false => self.fail(now, 1, seed),
        }
    }
}

fn half_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis() / 2).unwrap_or(u64::MAX)
}

/// Another node.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// What it last said of itself.
    pub(super) card: Option<Card>,
    /// How far its clock is ahead of ours, in milliseconds.
    pub(super) skew: Option<i64>,
    /// The round trip to it by the connection that is used, smoothed.
    pub(super) rtt: Option<Duration>,
    /// Where it may be, the best first.
    pub(super) addresses: Vec<String>,
    /// Which of them is tried next.
    pub(super) turn: usize,
    pub(super) backoff: Backoff,
    /// An attempt at it is under way.
    pub(super) dialling: bool,
    /// The exchange with it that is under way.
    pub(super) call: Option<EffectId>,
    /// Since this connection came up, it was told of everybody.
    pub(super) introduced: bool,
    /// The hash of its layout history, as it last said; nothing before it has said anything.
    pub(super) digest: Option<Option<Digest>>,
    /// The hash of the layouts in it.
    pub(super) layouts: Option<Hash>,
    /// The hash of our history as it was last sent there.
    pub(super) sent: Option<Digest>,
    /// It belongs to this other cluster.
    pub(super) foreign: Option<ClusterId>,
    /// A write has not reached it, and it was not told yet.
    pub(super) missed: bool,
    /// When its last connection ended, or when it was first heard of.
    pub(super) seen: Timestamp,
    /// The same by the clock that does not jump.
    pub(super) lost: Instant,
}

impl Peer {
    /// Takes note of an address. Says whether it was new.
    pub(super) fn learn(&mut self, address: &str) -> bool {
        let address = canonical(address);
        if !is_address(&address) || self.addresses.contains(&address) {
            return false;
        }
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.pop();
        }
        // Behind the one that is known to work.
        self.addresses.insert(self.addresses.len().min(1), address);
        // What is new may be right: not to be kept waiting by what was wrong.
        self.turn = self.addresses.len().min(2) - 1;
        self.backoff.at = Instant(0);
        true
    }

    /// It was reached at this address. Says whether that is another than before.
    pub(super) fn reached(&mut self, address: &str) -> bool {
        let changed = self.addresses.first().is_none_or(|first| first != address);
        self.addresses.retain(|known| known != address);
        self.addresses.insert(0, address.to_owned());
        self.addresses.truncate(ADDRESSES_MAX);
        changed
    }

    /// This address is tried next, and at once.
    pub(super) fn try_next(&mut self, address: &str) {
        if let Some(at) = self.addresses.iter().position(|known| known == address) {
            (self.turn, self.backoff) = (at, Backoff::default());
        }
    }

    /// The address to try next.
    pub(super) fn next_address(&mut self) -> Option<String> {
        if self.addresses.is_empty() {
            return None;
        }
        let address = self.addresses[self.turn % self.addresses.len()].clone();
        self.turn = (self.turn + 1) % self.addresses.len();
        Some(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_each_round_and_stay_below_their_bound() {
        let (mut backoff, mut seed) = (Backoff::default(), Seed::new([1; 32]));
        let mut waits = Vec::new();
        for _ in 0..14 {
            let before = backoff.at;
            backoff.fail(before, 2, &mut seed);
            waits.push(backoff.at.since(before).as_millis());
        }
        for (at, wait) in waits.iter().enumerate() {
            let full = (1000 << (at / 2)).min(30_000);
            assert!((full / 2..=full).contains(wait), "{waits:?}");
        }
        let (now, second) = (backoff.at, Duration::from_secs(1));
        backoff.fell(second * 20, now, &mut seed);
        assert_eq!(backoff.failures, 1, "it was up, and did not stay");
        assert!((now.after(second / 2)..=now.after(second)).contains(&backoff.at));
        backoff.fell(second * 60, now, &mut seed);
        assert_eq!((backoff.failures, backoff.at), (0, Instant(0)));
    }

    #[test]
    fn a_new_address_is_tried_at_once_and_the_oldest_goes() {
        let mut peer = Peer::default();
        for port in 1..=9 {
            assert!(peer.learn(&format!("host:{port}")));
        }
        assert_eq!(peer.addresses.len(), ADDRESSES_MAX);
        assert_eq!(peer.addresses[..2], ["host:1", "host:9"]);
        assert_eq!(peer.next_address().as_deref(), Some("host:9"));
        assert!(!peer.learn("host:9") && !peer.learn("nonsense") && !peer.learn("a@b:1"));
        assert!(peer.reached("host:9") && !peer.reached("host:9"));
        assert_eq!(peer.addresses[..2], ["host:9", "host:1"]);
    }

    #[test]
    fn an_address_is_the_same_however_a_socket_names_it() {
        let mut peer = Peer::default();
        assert!(peer.learn("[::ffff:10.0.0.1]:3901") && !peer.learn("10.0.0.1:3901"));
        assert!(
            peer.learn("[2001:db8::1]:3901") && peer.learn("häuschen:1") == peer.learn("a b:1")
        );
        assert_eq!(peer.addresses, ["10.0.0.1:3901", "[2001:db8::1]:3901"]);
    }
}
