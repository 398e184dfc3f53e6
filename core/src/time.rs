//! Time as the core knows it: values handed in by the shell, never read from a clock.
//!
//! `std::time::Instant` cannot be built from a number or written to a trace, so the core has its own two newtypes:
//! [`Instant`] for "how long until", [`Timestamp`] for "when, as people and other nodes count it".

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point on the shell's monotonic clock, in nanoseconds since an origin of the shell's choosing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(pub u64);

impl Instant {
    /// The instant `wait` later; saturates at the end of time rather than wrapping.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// How long it is from `earlier` to here; zero if `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// Wall-clock time, in milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The timestamp `wait` later; saturates.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The timestamp `wait` earlier; stops at the epoch.
    pub fn before(self, wait: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Whole seconds since the epoch.
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }
}

/// Both clocks at one moment. Every call into a machine carries one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// For timeouts and durations.
    pub mono: Instant,
    /// For dates in rows, signatures and listings.
    pub wall: Timestamp,
}

/// A hybrid logical clock reading (Kulkarni et al., 2014): 48 bits of milliseconds, 16 bits of counter.
///
/// It follows the wall clock, and yet a writer that has seen a stamp can always make a greater one, however the clocks of
/// the two machines disagree.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The first stamp of the wall clock's current millisecond.
    pub fn from_wall(wall: Timestamp) -> Self {
        Self(wall.0 << 16)
    }

    /// A stamp at `wall`, or just past `seen` if the clock has not got there yet.
    pub fn past(wall: Timestamp, seen: Self) -> Self {
        Self::from_wall(wall).max(Self(seen.0.saturating_add(1)))
    }

    /// The wall-clock part, as shown to people.
    pub fn wall(self) -> Timestamp {
        Timestamp(self.0 >> 16)
    }
}
