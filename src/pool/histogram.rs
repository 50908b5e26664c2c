//! A histogram of durations, as plain data.
//!
//! Buckets are fixed: below 8 ns there is one for each nanosecond; above, eight of equal width for each power of two. So a bucket
//! is at most an eighth of its durations wide, and the histograms of all pools and processes can be merged.

use core::fmt;
use core::time::Duration;

/// The number of buckets for each power of two, as its logarithm.
const SUB_BITS: u32 = 3;
const SUB: usize = 1 << SUB_BITS;
/// Powers of two from `SUB_BITS` to 63, and the exact buckets below.
const BUCKETS: usize = SUB + (u64::BITS - SUB_BITS) as usize * SUB;

/// How often durations of each length occurred: see [`Timings`](crate::pool::Timings).
///
/// Plain data of fixed size, with buckets that are the same everywhere: each is at most an eighth of its durations wide. So
/// [quantiles](Histogram::quantile) are accurate to an eighth, and histograms of several pools, or of several moments, can be
/// [merged](Histogram::merge) or [subtracted](Histogram::since).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use workring::pool::Histogram;
///
/// let mut histogram = Histogram::default();
/// for milliseconds in 1..=100 {
///     histogram.record(Duration::from_millis(milliseconds));
/// }
/// assert_eq!((histogram.count(), histogram.max()), (100, Some(Duration::from_millis(100))));
/// let median = histogram.quantile(0.5).expect("it is not empty");
/// assert!((Duration::from_millis(50)..Duration::from_millis(57)).contains(&median), "{median:?}");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64; BUCKETS]>,
    count: u64,
    sum: u128,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: Box::new([0; BUCKETS]),
            count: 0,
            sum: 0,
            max: 0,
        }
    }
}

/// Returns the bucket of a number of nanoseconds.
#[allow(
    clippy::cast_possible_truncation,
    reason = "masked to the bits of a bucket's number"
)]
const fn bucket_of(nanoseconds: u64) -> usize {
    let Some(power) = nanoseconds.checked_ilog2() else {
        return 0;
    };
    if power < SUB_BITS {
        return nanoseconds as usize;
    }
    let shift = power - SUB_BITS;
    let sub = (nanoseconds >> shift) as usize & (SUB - 1);
    SUB + shift as usize * SUB + sub
}

/// Returns the longest duration of a bucket, in nanoseconds.
const fn end_of(bucket: usize) -> u64 {
    if bucket < SUB {
        return bucket as u64;
    }
    let (shift, sub) = ((bucket - SUB) / SUB, (bucket - SUB) % SUB);
    let start = ((SUB + sub) as u64) << shift;
    start + ((1 << shift) - 1)
}

impl Histogram {
    /// Adds a duration.
    pub fn record(&mut self, duration: Duration) {
        self.record_nanos(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn record_nanos(&mut self, nanoseconds: u64) {
        if let Some(count) = self.counts.get_mut(bucket_of(nanoseconds)) {
            *count += 1;
        }
        self.count += 1;
        self.sum += u128::from(nanoseconds);
        self.max = self.max.max(nanoseconds);
    }

    /// Adds the durations of another histogram.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::Histogram;
    ///
    /// let mut sum = Histogram::default();
    /// for seconds in [1, 2] {
    ///     let mut one = Histogram::default();
    ///     one.record(Duration::from_secs(seconds));
    ///     sum.merge(&one);
    /// }
    /// assert_eq!((sum.count(), sum.sum()), (2, Duration::from_secs(3)));
    /// ```
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts.iter()) {
            *count += more;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// Returns what was added since an earlier state of this histogram. The longest duration of the difference is not known
    /// exactly: its [`max`](Histogram::max) is the end of a bucket.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::Histogram;
    ///
    /// let mut histogram = Histogram::default();
    /// histogram.record(Duration::from_secs(1));
    /// let earlier = histogram.clone();
    /// histogram.record(Duration::from_secs(2));
    /// assert_eq!(histogram.since(&earlier).sum(), Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut difference = Self {
            count: self.count.saturating_sub(earlier.count),
            sum: self.sum.saturating_sub(earlier.sum),
            ..Self::default()
        };
        let counts = self.counts.iter().zip(earlier.counts.iter());
        for ((bucket, count), (now, before)) in difference.counts.iter_mut().enumerate().zip(counts)
        {
            *count = now.saturating_sub(*before);
            if *count > 0 {
                difference.max = end_of(bucket).min(self.max);
            }
        }
        difference
    }

    /// Returns how many durations were added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Returns the sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        nanos(self.sum)
    }

    /// Returns the mean; `None` if the histogram is empty.
    #[must_use]
    pub fn mean(&self) -> Option<Duration> {
        Some(nanos(self.sum.checked_div(self.count.into())?))
    }

    /// Returns the longest duration; `None` if the histogram is empty.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max))
    }

    /// Returns the duration that the given part of all durations does not exceed, for instance 0.99; `None` if the histogram is
    /// empty. The result is the end of a bucket, so up to an eighth too long, and never longer than the [longest](Histogram::max).
    /// Numbers below 0 count as 0, above 1 as 1, and NaN as 1.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let last = self.count.checked_sub(1)?;
        // Precise enough: a bucket is far wider than what rounding a rank may move it.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "clamped to the ranks that exist"
        )]
        let rank = if part >= 0.0 {
            ((part * self.count as f64).ceil() as u64).clamp(1, last + 1)
        } else if part < 0.0 {
            1
        } else {
            last + 1
        };
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        })?;
        Some(Duration::from_nanos(end_of(bucket).min(self.max)))
    }

    /// Returns the buckets that are not empty, in ascending order: the longest duration of each, and how many durations it has.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use workring::pool::Histogram;
    ///
    /// let mut histogram = Histogram::default();
    /// histogram.record(Duration::from_nanos(5));
    /// histogram.record(Duration::from_nanos(17));
    /// let buckets: Vec<_> = histogram.buckets().collect();
    /// assert_eq!(buckets, [(Duration::from_nanos(5), 1), (Duration::from_nanos(17), 1)]);
    /// ```
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        let buckets = self.counts.iter().enumerate();
        buckets
            .filter(|&(_, &count)| count > 0)
            .map(|(bucket, &count)| (Duration::from_nanos(end_of(bucket)), count))
    }
}

fn nanos(nanoseconds: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("mean", &self.mean())
            .field("p99", &self.quantile(0.99))
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_a_bucket_that_is_at_most_an_eighth_of_it_wide() {
        let mut samples: Vec<u64> = (0..5_000).collect();
        samples.extend((0..64).flat_map(|power| {
            let start = 1_u64 << power;
            [start - 1, start, start + start / 3, start | (start - 1)]
        }));
        for nanoseconds in samples {
            let bucket = bucket_of(nanoseconds);
            assert!(bucket < BUCKETS, "{nanoseconds}");
            let end = end_of(bucket);
            assert!(end >= nanoseconds, "{nanoseconds} {end}");
            assert!(end - nanoseconds <= nanoseconds / 8, "{nanoseconds} {end}");
            if let Some(before) = bucket.checked_sub(1) {
                assert!(end_of(before) < nanoseconds, "{nanoseconds}");
            }
        }
        assert_eq!(end_of(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn quantiles_are_those_of_the_durations() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        (1..=1_000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for (part, exact) in [(0.0, 1), (0.001, 1), (0.5, 500), (0.99, 990), (1.0, 1_000)] {
            let found = histogram.quantile(part).expect("it is not empty");
            let exact = Duration::from_micros(exact);
            assert!(
                found >= exact && found <= exact * 9 / 8,
                "{part}: {found:?}"
            );
        }
        let longest = Some(Duration::from_millis(1));
        assert_eq!(histogram.quantile(f64::NAN), longest);
        assert_eq!(histogram.quantile(7.0), longest);
        assert_eq!(histogram.quantile(-1.0), histogram.quantile(0.0));
        assert_eq!(histogram.mean(), Some(Duration::from_nanos(500_500)));
    }

    #[test]
    fn a_difference_and_what_was_before_make_the_whole() {
        let mut histogram = Histogram::default();
        histogram.record(Duration::from_secs(9));
        let before = histogram.clone();
        histogram.record(Duration::MAX);
        histogram.record(Duration::from_millis(3));
        let mut merged = histogram.since(&before);
        assert_eq!(merged.count(), 2);
        merged.merge(&before);
        assert_eq!(merged, histogram);
    }
}
