//! Latencies: a mean and a distribution that forget with time.

use std::time::Duration;

use super::decision::Time;

/// Time constant of the mean.
const MEAN_OVER: Duration = Duration::from_secs(10);
/// Smallest weight of a sample in the mean: many samples a second do not make it follow each of them.
const MIN_WEIGHT: f64 = 1.0 / 16.0;
/// Time after which the mean of a deployment that got no calls counts half, so that it is tried again.
const FORGET_OVER: Duration = Duration::from_secs(60);

/// A mean that follows its samples within seconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mean {
    seconds: f64,
    /// Time of the last sample; `None` before the first.
    at: Option<Time>,
}

impl Mean {
    /// Takes a sample.
    pub fn record(&mut self, now: Time, sample: Duration) {
        let sample = sample.as_secs_f64();
        let weight = match self.at {
            None => 1.0,
            Some(at) => {
                let gap = now.saturating_sub(at).as_secs_f64();
                (1.0 - (-gap / MEAN_OVER.as_secs_f64()).exp()).max(MIN_WEIGHT)
            }
        };
        self.seconds += (sample - self.seconds) * weight;
        self.at = Some(now);
    }

    /// Returns the mean, in seconds.
    pub fn get(&self) -> Option<f64> {
        self.at.map(|_| self.seconds)
    }

    /// Returns the mean as an estimate for now, in seconds: it falls while there are no samples.
    pub fn estimate(&self, now: Time) -> Option<f64> {
        let age = now.saturating_sub(self.at?).as_secs_f64();
        let halvings = age / FORGET_OVER.as_secs_f64();
        Some(if halvings < 1e-3 { self.seconds } else { self.seconds * (-halvings).exp2() })
    }
}

/// Shortest latency that is told apart.
const SHORTEST: f64 = 1e-3;
/// Number of buckets for each doubling of the latency: bounds are 9 % apart.
const PER_DOUBLING: f64 = 8.0;
/// Number of buckets: up to 17 minutes.
const BUCKETS: usize = 160;
/// Time after which a sample counts half.
const HALF_LIFE: Duration = Duration::from_secs(120);
/// Number of half-lives after which the weights are scaled down. New samples weigh 2ⁿ after n half-lives, which is the same
/// as if old ones weighed less.
const RESCALE_AFTER: f64 = 60.0;

/// A distribution of latencies in which old samples count less.
#[derive(Debug, Clone)]
pub struct Histogram {
    weights: Box<[f32; BUCKETS]>,
    total: f64,
    /// Moment at which a sample weighs 1.
    since: Time,
    /// Time of the last sample.
    at: Time,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { weights: Box::new([0.0; BUCKETS]), total: 0.0, since: Time::ZERO, at: Time::ZERO }
    }
}

impl Histogram {
    fn half_lives(&self, now: Time) -> f64 {
        now.saturating_sub(self.since).as_secs_f64() / HALF_LIFE.as_secs_f64()
    }

    /// Takes a sample.
    pub fn record(&mut self, now: Time, sample: Duration) {
        if self.half_lives(now) > RESCALE_AFTER {
            let scale = (-self.half_lives(now)).exp2();
            self.weights.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * scale) as f32);
            self.total = self.weights.iter().map(|weight| f64::from(*weight)).sum();
            self.since = now;
        }
        let weight = self.half_lives(now).exp2();
        let bucket = (sample.as_secs_f64() / SHORTEST).log2() * PER_DOUBLING;
        // A negative or infinite number becomes the nearest bound.
        self.weights[(bucket as usize).min(BUCKETS - 1)] += weight as f32;
        self.total += weight;
        self.at = now;
    }

    /// Returns the number of samples, of which old ones count less.
    pub fn count(&self) -> f64 {
        self.total * (-self.half_lives(self.at)).exp2()
    }

    /// Returns the latency that a part `quantile` of the samples does not exceed, within 9 %.
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let wanted = self.total * quantile;
        let mut sum = 0.0;
        for (bucket, weight) in self.weights.iter().enumerate() {
            let weight = f64::from(*weight);
            if weight > 0.0 && sum + weight >= wanted {
                let within = ((wanted - sum) / weight).clamp(0.0, 1.0);
                let seconds = SHORTEST * ((bucket as f64 + within) / PER_DOUBLING).exp2();
                return Some(Duration::from_secs_f64(seconds));
            }
            sum += weight;
        }
        // The sum in another order may fall short of the total by its last digits.
        let last = self.weights.iter().rposition(|weight| *weight > 0.0)?;
        Some(Duration::from_secs_f64(SHORTEST * ((last as f64 + 1.0) / PER_DOUBLING).exp2()))
    }
}

/// Latencies of the first token, or of the whole answer of calls that are not streamed.
#[derive(Debug, Clone, Default)]
pub struct Latency {
    /// Mean.
    pub mean: Mean,
    /// Distribution.
    pub histogram: Histogram,
}

impl Latency {
    /// Takes a sample.
    pub fn record(&mut self, now: Time, sample: Duration) {
        self.mean.record(now, sample);
        self.histogram.record(now, sample);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Time {
        Duration::from_secs(seconds)
    }

    fn near(found: Duration, expected: f64) {
        let ratio = found.as_secs_f64() / expected;
        assert!((0.9..1.1).contains(&ratio), "{found:?} is not {expected}");
    }

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), None);
        for milliseconds in 1..=1000 {
            histogram.record(at(1), Duration::from_millis(milliseconds));
        }
        for (quantile, seconds) in [(0.5, 0.5), (0.95, 0.95), (0.99, 0.99), (1.0, 1.0)] {
            near(histogram.quantile(quantile).unwrap(), seconds);
        }
        assert!((histogram.count() - 1000.0).abs() < 1e-6);
        // Out of range on either side.
        histogram.record(at(1), Duration::ZERO);
        histogram.record(at(1), Duration::from_secs(1 << 40));
        near(histogram.quantile(1.0).unwrap(), 1048.0);
    }

    #[test]
    fn old_samples_count_less() {
        let mut histogram = Histogram::default();
        (0..1000).for_each(|_| histogram.record(at(0), Duration::from_secs(10)));
        (0..1000).for_each(|_| histogram.record(at(120), Duration::from_secs(1)));
        near(histogram.quantile(0.6).unwrap(), 1.0);
        near(histogram.quantile(0.7).unwrap(), 10.0);
        assert!((histogram.count() - 1500.0).abs() < 1.0);
        // Days later, through many scalings.
        for day in 1..20 {
            histogram.record(at(day * 86_400), Duration::from_secs(2));
        }
        assert!((histogram.count() - 1.0).abs() < 1e-6);
        near(histogram.quantile(0.01).unwrap(), 2.0);
    }

    #[test]
    fn the_mean_follows_within_seconds_and_fades() {
        let mut mean = Mean::default();
        assert_eq!(mean.estimate(at(5)), None);
        mean.record(at(5), Duration::from_secs(1));
        assert_eq!(mean.get(), Some(1.0));
        for second in 6..=45 {
            mean.record(at(second), Duration::from_secs(3));
        }
        assert!((mean.get().unwrap() - 3.0).abs() < 0.05);
        // One among many of the same moment moves it by a sixteenth.
        mean.record(at(45), Duration::from_secs(19));
        assert!((mean.get().unwrap() - 4.0).abs() < 0.05);
        let (now, later) = (mean.estimate(at(45)).unwrap(), mean.estimate(at(105)).unwrap());
        assert!((later * 2.0 - now).abs() < 1e-9);
    }
}
