//! A histogram of times with a bounded relative error, in constant memory: each power of two is cut into 64 equal parts, so a
//! value read back is at most 1.6 % too high.

use std::time::Duration;

const PARTS_LOG2: u32 = 6;
const PARTS: usize = 1 << PARTS_LOG2;
/// Nanoseconds up to 2⁶⁴: 58 powers of two beyond the exact ones.
const BUCKETS: usize = PARTS * (64 - PARTS_LOG2 as usize + 1);

/// Counts of times.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0, sum: 0, max: 0 }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanos)] += 1;
        self.total += 1;
        self.sum += u128::from(nanos);
        self.max = self.max.max(nanos);
    }

    /// Counts what the other has counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The least time that at least this share (0 to 1) of all did not exceed; zero if there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = ((share * self.total as f64).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return Duration::from_nanos(top(index).min(self.max));
            }
        }
        Duration::ZERO
    }

    /// The greatest.
    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.max)
    }

    /// The mean; zero if there are none.
    pub fn mean(&self) -> Duration {
        let mean = self.sum / u128::from(self.total.max(1));
        Duration::from_nanos(u64::try_from(mean).unwrap_or(u64::MAX))
    }
}

/// Which bucket a value falls into: small values have one each, the others share by their leading bits.
fn bucket(nanos: u64) -> usize {
    let shift = (63 - PARTS_LOG2).saturating_sub(nanos.leading_zeros());
    let within = (nanos >> shift) as usize;
    if shift == 0 { within } else { shift as usize * PARTS + within }
}

/// The greatest value of a bucket.
fn top(index: usize) -> u64 {
    if index < 2 * PARTS {
        return index as u64;
    }
    let shift = index / PARTS - 1;
    let within = (index % PARTS + PARTS) as u128;
    u64::try_from(((within + 1) << shift) - 1).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_below_the_top_of_its_bucket_and_above_the_one_before() {
        let mut values: Vec<u64> = (0..2000).collect();
        for power in 11..64 {
            let value = 1u64 << power;
            values.extend([value - 1, value, value + 1, value + value / 3]);
        }
        values.push(u64::MAX);
        for value in values {
            let index = bucket(value);
            assert!(index < BUCKETS, "{value}");
            assert!(value <= top(index), "{value} {index} {}", top(index));
            assert!(index == 0 || value > top(index - 1), "{value} {index}");
            assert!((top(index) - value) as f64 <= value as f64 * 0.016, "{value}");
        }
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut halves = [Histogram::default(), Histogram::default()];
        for value in 1..=1000u64 {
            halves[usize::from(value > 500)].record(Duration::from_micros(value));
        }
        let [mut all, other] = halves;
        all.merge(&other);
        let close = |share: f64, micros: f64| {
            let got = all.quantile(share).as_nanos() as f64 / 1000.0;
            assert!((got - micros).abs() <= micros * 0.016, "{share}: {got}");
        };
        close(0.0, 1.0);
        close(0.5, 500.0);
        close(0.99, 990.0);
        close(1.0, 1000.0);
        assert_eq!((all.count(), all.max()), (1000, Duration::from_millis(1)));
        assert_eq!(all.mean(), Duration::from_nanos(500_500));
        assert_eq!(Histogram::default().quantile(0.5), Duration::ZERO);
    }
}
