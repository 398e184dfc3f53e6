//! Keepalive: pings, how long they take, and when silence means that the peer is gone.

use std::time::Duration;

use super::{
    WireError,
    limits::{PING_EVERY, PONG_PATIENCE},
};
use crate::{
    task::Reason,
    time::{Instant, Now},
};

/// One ping is under way at a time, so memory and answers stay constant however slow the peer is.
pub(super) struct Pulse {
    next_ping: Instant,
    /// The ping that was made last, and when it left, if it has.
    token: u64,
    left: Option<Instant>,
    /// Whether it waits to be sent.
    due: bool,
    /// Since when we wait to hear anything.
    listening: Option<Instant>,
    /// The peer's last ping, unanswered.
    owed: Option<u64>,
    rtt: Option<Duration>,
}

impl Pulse {
    /// The first ping is due at once: it measures early, and it tells a dialer that its secret was right.
    pub fn new(now: Now) -> Self {
        Self {
            next_ping: now.mono.after(PING_EVERY),
            token: 1,
            left: None,
            due: true,
            listening: Some(now.mono),
            owed: None,
            rtt: None,
        }
    }

    /// A record has come that the peer has sealed.
    pub fn heard(&mut self) {
        self.listening = None;
    }

    /// Makes a ping if it is time.
    pub fn handle_timeout(&mut self, now: Now) -> Result<(), WireError> {
        if self.listening.is_some_and(|since| now.mono >= since.after(PONG_PATIENCE)) {
            return Err(WireError::Silent);
        }
        if now.mono >= self.next_ping {
            self.next_ping = now.mono.after(PING_EVERY);
            self.listening.get_or_insert(now.mono);
            if !self.due && self.left.is_none() {
                self.token += 1;
                self.due = true;
            }
        }
        Ok(())
    }

    pub fn poll_timeout(&self) -> (Instant, Reason) {
        let ping = (self.next_ping, Reason("next ping"));
        match self.listening {
            Some(since) if since.after(PONG_PATIENCE) < ping.0 => {
                (since.after(PONG_PATIENCE), Reason("silence"))
            }
            _ => ping,
        }
    }

    /// The ping to be sent now.
    pub fn take_ping(&mut self, now: Now) -> Option<u64> {
        std::mem::take(&mut self.due).then(|| {
            self.left = Some(now.mono);
            self.token
        })
    }

    /// The peer pings.
    pub fn ping(&mut self, token: u64) {
        self.owed = Some(token);
    }

    /// The pong to be sent now.
    pub fn take_pong(&mut self) -> Option<u64> {
        self.owed.take()
    }

    /// The peer answers; an answer to nothing is ignored.
    pub fn pong(&mut self, now: Now, token: u64) {
        if token != self.token {
            return;
        }
        let Some(left) = self.left.take() else { return };
        let sample = now.mono.since(left);
        // RFC 6298 §2: a new sample weighs an eighth.
        self.rtt = Some(self.rtt.map_or(sample, |rtt| rtt - rtt / 8 + sample / 8));
    }

    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Now {
        Now { mono: Instant(millis * 1_000_000), ..Now::default() }
    }

    #[test]
    fn a_silent_peer_is_given_up_after_fifteen_seconds() {
        let mut pulse = Pulse::new(at(0));
        assert_eq!(pulse.handle_timeout(at(0)), Ok(()));
        assert_eq!(pulse.take_ping(at(0)), Some(1));
        pulse.heard();
        pulse.pong(at(30), 1);
        assert_eq!(pulse.rtt(), Some(Duration::from_millis(30)));
        assert_eq!(pulse.poll_timeout(), (at(5000).mono, Reason("next ping")));
        assert_eq!(pulse.handle_timeout(at(5000)), Ok(()));
        assert_eq!(pulse.take_ping(at(5000)), Some(2));
        assert_eq!(pulse.handle_timeout(at(10_000)), Ok(()));
        assert_eq!(pulse.take_ping(at(10_000)), None, "one ping at a time");
        assert_eq!(pulse.poll_timeout(), (at(15_000).mono, Reason("next ping")));
        assert_eq!(pulse.handle_timeout(at(14_999)), Ok(()));
        assert_eq!(pulse.handle_timeout(at(15_000)), Err(WireError::Silent));
    }

    #[test]
    fn whatever_is_heard_proves_life() {
        let mut pulse = Pulse::new(at(0));
        for second in 0..100 {
            assert_eq!(pulse.handle_timeout(at(second * 1000)), Ok(()));
            pulse.heard();
        }
        assert_eq!(pulse.rtt(), None, "but measures nothing");
    }

    #[test]
    fn round_trips_are_smoothed_and_strange_pongs_ignored() {
        let mut pulse = Pulse::new(at(0));
        let mut round = |begin: u64, end: u64| {
            pulse.handle_timeout(at(begin)).expect("alive");
            let token = pulse.take_ping(at(begin)).expect("due");
            pulse.heard();
            pulse.pong(at(begin), token + 7);
            pulse.pong(at(end), token);
            pulse.pong(at(end + 1000), token);
            pulse.rtt()
        };
        assert_eq!(round(0, 80), Some(Duration::from_millis(80)));
        assert_eq!(round(5000, 5160), Some(Duration::from_millis(90)));
    }
}
