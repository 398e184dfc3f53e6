//! The clocks.

use std::time::{self, Duration, SystemTime, UNIX_EPOCH};

use mews_core::time::{Instant, Now, Timestamp};

/// The wall clock.
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    // A clock before 1970 is as good as none; signatures will say so.
    since.map_or(Timestamp(0), |since| {
        Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}

/// Both clocks. The monotonic one counts from the start of the process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: time::Instant,
}

impl Clock {
    /// Starts counting.
    pub fn start() -> Self {
        Self { origin: time::Instant::now() }
    }

    /// Both clocks.
    pub fn now(self) -> Now {
        Now { mono: self.mono(), wall: wall() }
    }

    /// The monotonic clock.
    pub fn mono(self) -> Instant {
        Instant::default().after(self.origin.elapsed())
    }

    /// The standard library's name for an instant.
    pub fn std(self, at: Instant) -> time::Instant {
        // So far away that it never comes.
        let never = Duration::from_secs(30 * 365 * 86400);
        let since = at.since(Instant::default()).min(never);
        self.origin + since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_that_never_comes_has_a_name() {
        let clock = Clock::start();
        let never = Instant::default().after(Duration::MAX);
        assert!(clock.std(never) > clock.std(clock.mono()) + Duration::from_secs(86400));
    }
}
