//! How long things took, in a histogram of bounded size.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Result;
use hdrhistogram::Histogram;

/// What takes longer counts as this: ten minutes.
const LONGEST_MICROS: u64 = 600_000_000;

/// Times in microseconds, three digits each.
pub(crate) struct Latencies(Mutex<Histogram<u64>>);

impl Latencies {
    pub(crate) fn new() -> Result<Self> {
        Ok(Latencies(Mutex::new(Histogram::new_with_bounds(1, LONGEST_MICROS, 3)?)))
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, took: Duration) {
        self.lock().saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_MICROS));
    }

    /// The time within which `share` (0 to 1) of them came to their end, in milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        self.lock().value_at_quantile(share) as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let latencies = Latencies::new().expect("a histogram");
        (1..=1_000).for_each(|millis| latencies.record(Duration::from_millis(millis)));
        let near = |share: f64, millis: f64| (latencies.quantile_ms(share) - millis).abs() < millis / 500.0;
        assert!(near(0.5, 500.0), "{}", latencies.quantile_ms(0.5));
        assert!(near(0.99, 990.0), "{}", latencies.quantile_ms(0.99));
    }
}
