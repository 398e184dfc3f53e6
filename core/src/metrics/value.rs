//! Numbers that many threads add to without waiting for each other.

use std::{
    fmt,
    marker::PhantomData,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// What it has come to.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that is set.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// Adds so many.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    /// Takes away so many that were added.
    pub fn subtract(&self, count: u64) {
        self.0.fetch_sub(count, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What a [`Histogram`] tells apart.
pub trait Scale {
    /// The upper ends of its ranges, each with how it is written. What is above the last is a range of its own.
    const LIMITS: &'static [(u64, &'static str)];
    /// How many of what is recorded make one of what is written.
    const UNIT: f64;
}

/// Times, recorded in nanoseconds and written in seconds.
#[derive(Debug, Default)]
pub struct Seconds;

impl Scale for Seconds {
    const LIMITS: &'static [(u64, &'static str)] = &[
        (100_000, "0.0001"),
        (250_000, "0.00025"),
        (500_000, "0.0005"),
        (1_000_000, "0.001"),
        (2_500_000, "0.0025"),
        (5_000_000, "0.005"),
        (10_000_000, "0.01"),
        (25_000_000, "0.025"),
        (50_000_000, "0.05"),
        (100_000_000, "0.1"),
        (250_000_000, "0.25"),
        (500_000_000, "0.5"),
        (1_000_000_000, "1"),
        (2_500_000_000, "2.5"),
        (5_000_000_000, "5"),
        (10_000_000_000, "10"),
        (25_000_000_000, "25"),
        (50_000_000_000, "50"),
        (100_000_000_000, "100"),
    ];
    const UNIT: f64 = 1e9;
}

/// How many of something there were at once.
#[derive(Debug, Default)]
pub struct Sizes;

impl Scale for Sizes {
    const LIMITS: &'static [(u64, &'static str)] = &[
        (1, "1"),
        (2, "2"),
        (4, "4"),
        (8, "8"),
        (16, "16"),
        (32, "32"),
        (64, "64"),
        (128, "128"),
        (256, "256"),
        (512, "512"),
        (1024, "1024"),
    ];
    const UNIT: f64 = 1.0;
}

/// How often values of which size were seen.
pub struct Histogram<S> {
    /// One for each limit, and one for what is above.
    ranges: Box<[AtomicU64]>,
    sum: AtomicU64,
    _scale: PhantomData<S>,
}

impl<S: Scale> Default for Histogram<S> {
    fn default() -> Self {
        let ranges = (0..=S::LIMITS.len()).map(|_| AtomicU64::new(0)).collect();
        Self { ranges, sum: AtomicU64::new(0), _scale: PhantomData }
    }
}

impl<S: Scale> Histogram<S> {
    /// Notes a value.
    pub fn record(&self, value: u64) {
        let range = S::LIMITS.partition_point(|(limit, _)| *limit < value);
        self.ranges[range].fetch_add(1, Relaxed);
        self.sum.fetch_add(value, Relaxed);
    }

    /// The upper end of each range as it is written, and how many values were at most that; `+Inf` is the last.
    pub fn cumulative(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let limits = S::LIMITS.iter().map(|(_, text)| *text).chain(["+Inf"]);
        let mut below = 0;
        limits.zip(&self.ranges).map(move |(limit, count)| {
            below += count.load(Relaxed);
            (limit, below)
        })
    }

    /// All values together, in the unit that is written.
    #[allow(
        clippy::cast_precision_loss,
        reason = "a sum is read as a rate, and needs no more than 53 bits"
    )]
    pub fn sum(&self) -> f64 {
        self.sum.load(Relaxed) as f64 / S::UNIT
    }
}

impl Histogram<Seconds> {
    /// Notes how long something has taken.
    pub fn took(&self, time: Duration) {
        self.record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl<S: Scale> fmt::Debug for Histogram<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.cumulative()).finish()
    }
}

/// One `T` for each key. Keys are names that the program itself has, so there are few; more than `N` of them share the rest.
pub struct Labelled<K, T, const N: usize> {
    slots: [OnceLock<(K, Box<T>)>; N],
    rest: OnceLock<Box<T>>,
}

impl<K, T, const N: usize> Default for Labelled<K, T, N> {
    fn default() -> Self {
        Self { slots: std::array::from_fn(|_| OnceLock::new()), rest: OnceLock::new() }
    }
}

impl<K: Copy + Ord, T: Default, const N: usize> Labelled<K, T, N> {
    /// That of this key; made when first asked for.
    pub fn of(&self, key: K) -> &T {
        for slot in &self.slots {
            let (holder, value) = slot.get_or_init(|| (key, Box::default()));
            if *holder == key {
                return value;
            }
        }
        self.rest.get_or_init(Box::default)
    }

    /// Those that were asked for, in order of key; the shared one comes last, without a key.
    pub fn iter(&self) -> impl Iterator<Item = (Option<K>, &T)> {
        let mut all: Vec<_> = self.slots.iter().filter_map(OnceLock::get).collect();
        all.sort_by_key(|(key, _)| *key);
        let rest = self.rest.get().map(|value| (None, &**value));
        all.into_iter().map(|(key, value)| (Some(*key), &**value)).chain(rest)
    }
}

impl<K: Copy + Ord + fmt::Debug, T: Default + fmt::Debug, const N: usize> fmt::Debug
    for Labelled<K, T, N>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_in_every_range_that_it_is_at_most_the_end_of() {
        let times = Histogram::<Seconds>::default();
        for nanos in [100_000, 100_001, 2_000_000_000, u64::from(u32::MAX) * 1000] {
            times.took(Duration::from_nanos(nanos));
        }
        let counts: Vec<_> = times.cumulative().collect();
        assert_eq!(counts[0], ("0.0001", 1));
        assert_eq!(counts[1], ("0.00025", 2));
        assert_eq!(counts[13], ("2.5", 3));
        assert_eq!(counts[18], ("100", 3));
        assert_eq!(counts[19], ("+Inf", 4));
        assert!((times.sum() - 4296.9675).abs() < 0.01, "{}", times.sum());
    }

    #[test]
    fn limits_ascend_and_are_written_as_what_they_are() {
        fn check<S: Scale>() {
            assert!(S::LIMITS.is_sorted_by(|a, b| a.0 < b.0));
            for (limit, text) in S::LIMITS {
                let written: f64 = text.parse().expect("a number");
                let limit = f64::from(u32::try_from(limit / 1000).expect("small")) * 1000.0
                    + f64::from(u32::try_from(limit % 1000).expect("small"));
                assert!((written * S::UNIT - limit).abs() < 0.5, "{text}");
            }
        }
        check::<Seconds>();
        check::<Sizes>();
    }

    #[test]
    fn keys_beyond_the_room_share_what_is_left() {
        let counts = Labelled::<&'static str, Counter, 2>::default();
        for key in ["b", "a", "c", "d", "a"] {
            counts.of(key).increment();
        }
        let all: Vec<_> = counts.iter().map(|(key, count)| (key, count.get())).collect();
        assert_eq!(all, [(Some("a"), 2), (Some("b"), 1), (None, 2)]);
    }
}
