//! How much and how long a connection may take. One struct, used by both shells.

use std::time::Duration;

use crate::time::Instant;

/// The bounds of one HTTP connection. Every number is a default that a configuration may replace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request's head, from the first of its request line to its empty line. A key of 1024 bytes takes 3 KiB when
    /// percent-encoded, user metadata up to 2 KiB, a presigned query 1 KiB: four times that is generous. More is a 431.
    pub head_bytes: usize,
    /// Header fields in a head. More is a 431.
    pub header_count: usize,
    /// Bytes of one chunk-size line, with its extensions. Nobody uses extensions; 256 is what a signature in one would take.
    pub chunk_line_bytes: usize,
    /// Bytes of a chunked body's trailer section.
    pub trailer_bytes: usize,
    /// Fields in a trailer section.
    pub trailer_count: usize,
    /// How long a connection may stay open without a request.
    pub idle: Duration,
    /// How long a head may take, from its first byte to its last. Longer is a 408.
    pub head: Duration,
    /// Whenever we wait for a body, `floor_bytes` of it must come in this time, or its end.
    pub body: Duration,
    /// Whenever we wait for room to write, `floor_bytes` must go out in this time. Twice `body`, because a kernel reports room in
    /// steps of a third of its send buffer, which a slow line needs long to empty.
    pub write: Duration,
    /// The least progress that renews `body` and `write`. A byte a minute must not hold a buffer for ever.
    pub floor_bytes: u64,
    /// An unread body up to this length is read and dropped to keep the connection; with a longer one it is closed.
    pub drain_bytes: u64,
    /// What a lingering close reads at most, so that the client can read our answer before a reset destroys it.
    pub linger_bytes: u64,
    /// How long a lingering close takes at most.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 << 10,
            header_count: 128,
            chunk_line_bytes: 256,
            trailer_bytes: 8 << 10,
            trailer_count: 32,
            idle: Duration::from_secs(30),
            head: Duration::from_secs(15),
            body: Duration::from_secs(30),
            write: Duration::from_secs(60),
            floor_bytes: 4 << 10,
            drain_bytes: 64 << 10,
            linger_bytes: 4 << 20,
            linger: Duration::from_secs(2),
        }
    }
}

/// The deadline of one direction of a connection: it runs only while we wait for the peer, and only real progress renews it.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    wait: Duration,
    floor: u64,
    passed: u64,
    clock: Clock,
}

#[derive(Clone, Copy, Debug)]
enum Clock {
    /// Stopped, with so much patience left.
    Stopped(Duration),
    /// Running out at this time.
    Running(Instant),
}

impl Pace {
    /// A pace at which `floor` bytes pass in `wait`. Nothing is awaited yet.
    pub fn new(wait: Duration, floor: u64) -> Self {
        Self { wait, floor, passed: 0, clock: Clock::Stopped(wait) }
    }

    /// The pace that a request's body must keep.
    pub fn of_body(limits: &Limits) -> Self {
        Self::new(limits.body, limits.floor_bytes)
    }

    /// The pace at which a client must take a response.
    pub fn of_write(limits: &Limits) -> Self {
        Self::new(limits.write, limits.floor_bytes)
    }

    /// Waiting for the peer begins, or goes on.
    pub fn wait(&mut self, now: Instant) {
        if let Clock::Stopped(left) = self.clock {
            self.clock = Clock::Running(now.after(left));
        }
    }

    /// The peer has moved `bytes`. The waiting is over until it begins again: our own slowness is not held against the peer.
    pub fn progress(&mut self, now: Instant, bytes: u64) {
        if let Clock::Running(until) = self.clock {
            self.clock = Clock::Stopped(until.since(now));
        }
        self.passed = self.passed.saturating_add(bytes);
        if self.passed >= self.floor {
            *self = Self::new(self.wait, self.floor);
        }
    }

    /// All that was awaited has come.
    pub fn rest(&mut self) {
        *self = Self::new(self.wait, self.floor);
    }

    /// When patience ends, while waiting.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.clock {
            Clock::Stopped(_) => None,
            Clock::Running(until) => Some(until),
        }
    }

    /// Whether patience has ended.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        self.deadline().is_some_and(|until| until <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(seconds: u64) -> Instant {
        Instant::default().after(Duration::from_secs(seconds))
    }

    #[test]
    fn a_drip_does_not_renew_the_deadline() {
        let mut pace = Pace::new(10 * SECOND, 100);
        for second in 0..9 {
            pace.wait(at(second));
            pace.progress(at(second + 1), 1);
        }
        pace.wait(at(9));
        assert_eq!(pace.deadline(), Some(at(10)));
        assert!(pace.is_over(at(10)));
    }

    #[test]
    fn real_progress_renews_the_deadline() {
        let mut pace = Pace::new(10 * SECOND, 100);
        pace.wait(at(0));
        pace.progress(at(4), 60);
        pace.wait(at(4));
        pace.progress(at(9), 60);
        pace.wait(at(9));
        assert_eq!(pace.deadline(), Some(at(19)));
    }

    #[test]
    fn our_own_slowness_is_not_counted() {
        let mut pace = Pace::new(10 * SECOND, 100);
        pace.wait(at(0));
        pace.progress(at(3), 1);
        assert!(!pace.is_over(at(1000)));
        pace.wait(at(1000));
        assert_eq!(pace.deadline(), Some(at(1007)));
    }
}
